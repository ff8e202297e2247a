"""Clocks, failpoints, lock, tasks, timeline and pacers."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finagent.runtime import failpoints
from finagent.runtime.clock import PacedClock, SystemClock, SystemTicker, VirtualClock
from finagent.runtime.errors import RetryError
from finagent.runtime.lock import FileLock, HomeInUseError
from finagent.runtime.service import LoopService, Service, ServiceContract
from finagent.runtime.tasks import spawn, wait_first
from finagent.runtime.timeline import ImmediatePacer, ScaledPacer, Timeline
from tests.contract.queue_world import ManualTicker


def test_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(10)
    clock.advance(10)
    clock.advance(11)
    assert clock.now_ms() == 11
    with pytest.raises(ValueError, match="cannot go back to 10"):
        clock.advance(10)


def test_paced_clock_runs_from_its_instant_at_its_pace() -> None:
    since_ms = SystemClock().now_ms() - 10_000
    real = PacedClock(at_ms=1_000_000, since_ms=since_ms, pace=1)
    fast = PacedClock(at_ms=1_000_000, since_ms=since_ms, pace=20)
    before_ms = SystemClock().now_ms() - since_ms
    slow_ms, fast_ms = real.now_ms() - 1_000_000, fast.now_ms() - 1_000_000
    after_ms = SystemClock().now_ms() - since_ms
    assert before_ms <= slow_ms <= after_ms
    assert 20 * before_ms <= fast_ms <= 20 * after_ms
    with pytest.raises(ValueError, match="pace of 0"):
        PacedClock(at_ms=0, since_ms=0, pace=0)
    assert RetryError("busy", 2.0).retry_after_s == 2.0


async def test_system_ticker_goes_forward() -> None:
    ticker = SystemTicker()
    before = ticker.monotonic_ms()
    await ticker.sleep(0)
    assert ticker.monotonic_ms() >= before


# ---------------------------------------------------------------- failpoints
@pytest.fixture
def clean_failpoints() -> object:
    failpoints.disarm_all()
    yield
    failpoints.disarm_all()


@pytest.mark.usefixtures("clean_failpoints")
def test_armed_failpoint_raises_at_its_pass_only() -> None:
    failpoints.arm("here", at=2)
    failpoints.hit("here")
    failpoints.hit("elsewhere")
    with pytest.raises(failpoints.FailpointError, match="here"):
        failpoints.hit("here")
    failpoints.hit("here")


def test_failpoints_are_read_from_their_variable() -> None:
    assert failpoints.parse("a@1=kill, b.c@12=exit,") == {"a": (1, "kill"), "b.c": (12, "exit")}
    for wrong in ("a", "a@0=kill", "a@x=kill", "a@1=boom", "@1=kill"):
        with pytest.raises(ValueError, match="write name@N=kill"):
            failpoints.parse(wrong)


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("exit", 77), ("raise", 1)])
def test_failpoint_of_the_environment_ends_the_process(action: str, code: int) -> None:
    script = "from finagent.runtime import failpoints as f; f.hit('x'); f.hit('x')"
    environment = {failpoints.VARIABLE: f"x@2={action}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert done.returncode == code


# ---------------------------------------------------------------- lock
def test_lock_is_exclusive_names_its_holder_and_is_freed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    lock = FileLock(path)
    lock.acquire()
    with pytest.raises(HomeInUseError, match=r"a\.db is in use by process \d+") as caught:
        FileLock(path).acquire()
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()
    FileLock(path).acquire()


# ---------------------------------------------------------------- tasks and services
async def test_first_wait_ends_the_others_and_its_error_is_raised() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await wait_first(forever(), fails(), name="test")
    assert ended.is_set()


async def test_loop_service_runs_its_step_until_stopped() -> None:
    ticker, stop, steps = ManualTicker(), asyncio.Event(), []

    async def step() -> None:
        steps.append(ticker.monotonic_ms())
        if len(steps) == 3:
            stop.set()

    contract = ServiceContract(name="loop", needs=("queue",))
    service = LoopService(contract, step, period_s=1.0, ticker=ticker)
    assert isinstance(service, Service)
    task = spawn(service.run(stop), "loop")
    while not task.done():
        ticker.advance(250)
        await asyncio.sleep(0)
    assert len(steps) == 3
    assert steps[1] - steps[0] >= 1_000


# ---------------------------------------------------------------- timeline
class Steps:
    """Three instants."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.instants = [10, 20, 1_000_000]

    async def wait_quiescent(self) -> None:
        self.log.append("quiet")

    async def next_instant(self) -> int | None:
        return self.instants[0] if self.instants else None

    async def tick(self, T_ms: int) -> None:
        self.log.append(f"tick {T_ms}")
        self.instants.pop(0)


async def test_timeline_ticks_each_instant_after_quiescence_and_ends() -> None:
    steps = Steps()
    timeline = Timeline(steps, ImmediatePacer())
    await timeline.run(asyncio.Event())
    assert steps.log == ["quiet", "tick 10", "quiet", "tick 20", "quiet", "tick 1000000", "quiet"]
    assert timeline.ticks == 3


async def test_timeline_stops_while_it_waits_for_quiescence() -> None:
    class Busy(Steps):
        async def wait_quiescent(self) -> None:
            await asyncio.Event().wait()

    stop = asyncio.Event()
    task = spawn(Timeline(Busy(), ImmediatePacer()).run(stop), "timeline")
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(task, 10)


async def passed(pacer: ScaledPacer, ticker: ManualTicker, T_ms: int) -> int:
    """Real milliseconds until the pacer lets `T_ms` through."""
    before = ticker.monotonic_ms()
    task = spawn(pacer.until(T_ms), "pacer")
    await asyncio.sleep(0)
    while not task.done():
        ticker.advance(1)
        for _ in range(3):
            await asyncio.sleep(0)
    return ticker.monotonic_ms() - before


async def test_scaled_pacer_runs_virtual_time_at_its_speed_and_cuts_long_waits() -> None:
    ticker = ManualTicker()
    pacer = ScaledPacer(60.0, ticker, max_wait_s=2.0)
    assert await passed(pacer, ticker, 0) <= 1
    assert 998 <= await passed(pacer, ticker, 60_000) <= 1_002
    assert 1_998 <= await passed(pacer, ticker, 60_000_000) <= 2_002


async def test_held_pacer_lets_nothing_through_until_released() -> None:
    ticker = ManualTicker()
    pacer = ScaledPacer(1.0, ticker)
    await passed(pacer, ticker, 0)
    pacer.hold()
    assert pacer.is_held
    task = spawn(pacer.until(100), "pacer")
    for _ in range(5):
        ticker.advance(1_000)
        await asyncio.sleep(0)
    assert not task.done()
    pacer.release()
    while not task.done():
        ticker.advance(10)
        await asyncio.sleep(0)


def test_pacer_refuses_a_speed_of_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        ScaledPacer(0, ManualTicker())
