"""The pool of real processes: results, progress, ends of every kind, and nobody else is harmed."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from finagent.adapters.pool.processes import PoolService, ProcessComputePool, default_workers
from finagent.adapters.pool.worker import Patience
from finagent.queue.compute import (
    ComputeCancelledError,
    ComputeClosedError,
    ComputeEncodingError,
    ComputeFailedError,
    ComputeKilledError,
    ComputeProgress,
    ComputeTask,
    ComputeTimeoutError,
    path_of,
)
from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError, RetryError, ReturnJobError
from finagent.runtime.tasks import spawn
from tests.integration.compute import functions
from tests.integration.compute.functions import path_to

SOON_S = 20
HASTY = Patience(grace_s=0.2, term_s=0.3)


def task(name: str, key: str = "a", *, timeout_s: float | None = None, **arguments: JsonValue) -> ComputeTask:
    return ComputeTask(function=path_to(name), arguments=arguments, key=key, timeout_s=timeout_s)


@dataclass
class Ear:
    """Hears progress and knows when the function has begun."""

    heard: list[ComputeProgress] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, progress: ComputeProgress) -> None:
        self.heard.append(progress)
        if progress.text == "waiting for a worker":
            self.waits.set()
        if progress.text.startswith("pid "):
            self.begun.set()

    async def pid(self) -> int:
        """The worker of the function, once it runs."""
        await asyncio.wait_for(self.begun.wait(), SOON_S)
        return int(self.heard[-1].text.removeprefix("pid "))


def begin(
    pool: ProcessComputePool, todo: ComputeTask, ear: Callable[[ComputeProgress], None]
) -> asyncio.Task[JsonValue]:
    return spawn(pool.run(todo, on_progress=ear), "test")


async def gone(*pids: int) -> bool:
    """Whether these processes end within a few seconds."""
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, left = await asyncio.to_thread(psutil.wait_procs, alive, 5)
    return not left


@pytest.fixture
async def pool() -> AsyncIterator[ProcessComputePool]:
    """Two workers, started when needed; none is left afterwards."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with ProcessComputePool(workers=2, patience=HASTY) as pool:
        yield pool
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert left == set()


async def test_function_gets_its_arguments_and_gives_its_result(pool: ProcessComputePool) -> None:
    assert await pool.run(task("add", a=2, b=3)) == 5
    text = "Zürich \u2028 \udc80 \x00\n"
    assert await pool.run(task("echo", text=text, list=[1, None, 2.5])) == {
        "text": text,
        "list": [1, None, 2.5],
    }
    assert await pool.run(task("give_much", chars=1_000_000)) == "x" * 1_000_000


async def test_no_process_is_started_before_it_is_needed_and_it_is_used_again(
    pool: ProcessComputePool,
) -> None:
    assert pool.pids == []
    results = [await pool.run(task("whoami")) for _ in range(3)]
    assert len(pool.pids) == 1
    assert results == [{"pid": pool.pids[0], "attempt": 1, "scratch": "None"}] * 3


async def test_worker_loads_nothing_that_its_function_does_not_ask_for(pool: ProcessComputePool) -> None:
    loaded = await pool.run(task("modules"))
    assert isinstance(loaded, list)
    heavy = ("pandas", "numpy", "pyarrow", "pydantic", "yaml", "sqlite3", "aiosqlite", "prometheus_client")
    roots = {str(name).partition(".")[0] for name in loaded}
    assert not roots & {*heavy, "asyncio", "multiprocessing", "pytest", "socket"}
    ours = {str(name) for name in loaded if str(name).startswith("finagent.")}
    assert {name for name in ours if not name.startswith(("finagent.adapters.pool", "finagent.queue"))} == {
        "finagent.adapters",
        "finagent.runtime",
        "finagent.runtime.errors",
    }
    assert not ours & {
        "finagent.queue.worker",
        "finagent.queue.processor",
        "finagent.adapters.pool.processes",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_worker_inherits_no_file_of_the_database(pool: ProcessComputePool, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    links = await pool.run(task("open_files"))
    connection.close()
    assert isinstance(links, list)
    assert not [link for link in links if str(tmp_path) in str(link)]
    assert (
        len([link for link in links if str(link).startswith("socket:")]) == 2
    )  # its channel, read and written


async def test_progress_arrives_while_the_function_runs_and_is_throttled(pool: ProcessComputePool) -> None:
    ear = Ear()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    calls = 300_000
    assert await pool.run(task("report_often", calls=calls), on_progress=ear) == calls
    took_s = loop.time() - started_s
    fractions = [progress.fraction for progress in ear.heard]
    assert 1 <= len(fractions) <= took_s / 0.1 + 1
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert ear.heard[0].text == "step 0"


async def test_old_task_cannot_report_into_a_new_one(pool: ProcessComputePool, tmp_path: Path) -> None:
    ear = Ear()
    assert await pool.run(task("report_from_a_thread_later", gate=str(tmp_path / "gate"))) == "left a thread"
    await pool.run(task("report_often", calls=300_000), on_progress=ear)
    (tmp_path / "gate").touch()
    assert "an old task" not in {progress.text for progress in ear.heard}


# ---------------------------------------------------------------- how a task ends early


@pytest.mark.parametrize("name", ["burn", "burn_and_swallow"])
async def test_cancelled_task_ends_and_its_worker_goes_on(pool: ProcessComputePool, name: str) -> None:
    ear = Ear()
    running = begin(pool, task(name), ear)
    pid = await ear.pid()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await pool.run(task("whoami")) == {"pid": pid, "attempt": 1, "scratch": "None"}


@pytest.mark.parametrize("name", ["burn_silently", "burn_stubbornly"])
async def test_cancelled_task_that_does_not_listen_loses_its_process(
    pool: ProcessComputePool, name: str
) -> None:
    ear = Ear()
    running = begin(pool, task(name), ear)
    pid = await ear.pid()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, SOON_S)
    assert not psutil.pid_exists(pid)
    assert await pool.run(task("add", a=1, b=1)) == 2


async def test_second_cancel_kills_at_once() -> None:
    ear = Ear()
    async with ProcessComputePool(workers=1, patience=Patience(grace_s=600, term_s=600)) as pool:
        running = begin(pool, task("burn_stubbornly"), ear)
        pid = await ear.pid()
        running.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, SOON_S)
        assert await gone(pid)
        assert await pool.run(task("add", a=1, b=1)) == 2


async def test_cancelling_at_any_step_of_the_start_leaves_nothing_behind(pool: ProcessComputePool) -> None:
    for steps in range(12):
        running = begin(pool, task("burn_silently"), Ear())
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await pool.run(task("add", a=1, b=1)) == 2


async def test_task_cancelled_by_its_key_says_why_and_no_other_ends(
    pool: ProcessComputePool, tmp_path: Path
) -> None:
    ear, other = Ear(), Ear()
    gate = tmp_path / "gate"
    running = begin(pool, task("burn", key="a"), ear)
    unharmed = begin(pool, task("wait_for_gate", key="b", gate=str(gate)), other)
    await ear.pid()
    pid = await other.pid()
    assert not pool.cancel("c", "nobody")
    assert pool.cancel("a", "Ada asked for it")
    with pytest.raises(ComputeCancelledError, match="Ada asked for it"):
        await running
    assert not pool.cancel("a", "again")
    gate.touch()
    assert await unharmed == pid


async def test_task_over_its_time_is_stopped(pool: ProcessComputePool) -> None:
    with pytest.raises(ComputeTimeoutError, match=r"burn_silently was stopped after 0\.3 s"):
        await pool.run(task("burn_silently", timeout_s=0.3))
    assert issubclass(ComputeTimeoutError, RetryError)


async def test_killed_worker_fails_its_own_task_only(pool: ProcessComputePool, tmp_path: Path) -> None:
    ear, other = Ear(), Ear()
    gate = tmp_path / "gate"
    doomed = begin(pool, task("burn", key="a"), ear)
    unharmed = begin(pool, task("wait_for_gate", key="b", gate=str(gate)), other)
    waiting = begin(pool, task("add", key="c", a=1, b=1), Ear())
    victim, pid = await ear.pid(), await other.pid()
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(ComputeKilledError, match="was killed by SIGKILL while it ran") as caught:
        await doomed
    assert (caught.value.pid, caught.value.exit_code) == (victim, -9)
    assert await waiting == 2
    gate.touch()
    assert await unharmed == pid
    assert issubclass(ComputeKilledError, RetryError)


async def test_worker_killed_while_idle_costs_nobody_anything(pool: ProcessComputePool) -> None:
    await pool.run(task("add", a=1, b=1))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert await pool.run(task("add", a=1, b=2)) == 3


async def test_worker_ignores_an_interrupt_from_the_keyboard(
    pool: ProcessComputePool, tmp_path: Path
) -> None:
    ear = Ear()
    gate = tmp_path / "gate"
    running = begin(pool, task("wait_for_gate", gate=str(gate)), ear)
    pid = await ear.pid()
    os.kill(pid, signal.SIGINT)
    gate.touch()
    assert await running == pid


async def test_listener_that_raises_ends_the_task(pool: ProcessComputePool) -> None:
    def broken(progress: ComputeProgress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await pool.run(task("burn"), on_progress=broken)
    assert await pool.run(task("add", a=1, b=1)) == 2


# ---------------------------------------------------------------- functions that misbehave

FAILING = [
    ("raise_error", "ValueError", "the 7th bar has no close"),
    ("raise_unreadable", "UnreadableError", "its message cannot be read"),
    ("exit_politely", "SystemExit", "3"),
    ("recurse", "RecursionError", "maximum recursion depth"),
    ("report_nan", "ValueError", "the progress is nan"),
    ("stop_uninvited", "ComputeStopError", "nobody asked it to"),
]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tests.integration.compute.functions:no_such_function", "no function no_such_function in tests"),
        ("tests.integration.compute.functions:signal", "there is no function signal in"),
        ("tests.integration.compute.nowhere:add", "there is no module tests.integration.compute.nowhere"),
        ("nowhere.at.all:add", "there is no module nowhere for nowhere.at.all:add"),
    ],
)
async def test_function_that_does_not_exist_gives_up(pool: ProcessComputePool, path: str, said: str) -> None:
    with pytest.raises(ComputeEncodingError, match=said):
        await pool.run(ComputeTask(function=path, arguments={}, key="k"))


async def test_module_whose_import_fails_is_a_failure_of_its_own(
    pool: ProcessComputePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it needs may be there at the next try."""
    (tmp_path / "needy.py").write_text("import not_there_yet\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ComputeFailedError, match="raised ModuleNotFoundError"):
        await pool.run(ComputeTask(function="needy:add", arguments={}, key="k"))


@pytest.mark.parametrize(("name", "kind", "message"), FAILING, ids=[name for name, _, _ in FAILING])
async def test_function_that_raises_fails_with_its_type_and_message(
    pool: ProcessComputePool, name: str, kind: str, message: str
) -> None:
    with pytest.raises(ComputeFailedError, match=message) as caught:
        await pool.run(task(name))
    assert caught.value.type == kind
    assert name in str(caught.value)
    before = pool.pids
    assert await pool.run(task("add", a=1, b=1)) == 2
    assert pool.pids == before


async def test_traceback_of_the_worker_is_kept(pool: ProcessComputePool) -> None:
    with pytest.raises(ComputeFailedError) as caught:
        await pool.run(task("raise_error"))
    assert "functions.py" in caught.value.traceback_text
    assert "in raise_error" in caught.value.traceback_text
    assert caught.value.traceback_text in "".join(caught.value.__notes__)


async def test_reactions_of_a_function_are_kept(pool: ProcessComputePool) -> None:
    with pytest.raises(GiveUpError, match="there is no such dataset"):
        await pool.run(task("give_up"))
    with pytest.raises(RetryError, match="the disk is busy") as caught:
        await pool.run(task("ask_for_retry"))
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("exit_hard", "ended with exit code 3"),
        ("crash", "was killed by SIGSEGV"),
        ("close_channel", "ended with exit code 1"),
        ("write_on_all_files", "was killed by SIGKILL"),
    ],
)
async def test_function_that_takes_its_worker_along_is_named(name: str, how: str) -> None:
    async with ProcessComputePool(workers=1) as pool:
        with pytest.raises(ComputeKilledError, match=f"{how} while it ran .*{name}"):
            await asyncio.wait_for(pool.run(task(name)), SOON_S)
        assert await pool.run(task("add", a=1, b=1)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nobody forks here")
async def test_dead_worker_is_noticed_though_its_heir_holds_the_channel_open(
    pool: ProcessComputePool,
) -> None:
    ear = Ear()
    running = begin(pool, task("die_with_heir"), ear)
    heir = await ear.pid()
    try:
        with pytest.raises(ComputeKilledError, match="was killed by SIGKILL while it ran"):
            await asyncio.wait_for(running, SOON_S)
    finally:
        os.kill(heir, signal.SIGKILL)


async def test_streams_of_a_function_never_reach_the_output_of_a_command(
    pool: ProcessComputePool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await pool.run(task("talk")) == "said"
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello from a worker" in err
    assert "hello from below python" in err
    assert await pool.run(task("close_streams")) == "closed"


# ---------------------------------------------------------------- what cannot be sent


@pytest.mark.parametrize("name", ["give_object", "give_nan", "give_much"])
async def test_result_that_cannot_be_sent_is_given_up_by_name(pool: ProcessComputePool, name: str) -> None:
    with pytest.raises(ComputeEncodingError, match=f"the result of .*{name}"):
        await pool.run(task(name, chars=1 << 20))
    assert issubclass(ComputeEncodingError, GiveUpError)


@pytest.mark.parametrize("bad", [object(), float("inf"), "x" * (1 << 20), {1, 2}])
async def test_arguments_that_cannot_be_sent_start_no_worker(pool: ProcessComputePool, bad: object) -> None:
    with pytest.raises(ComputeEncodingError, match=r"the arguments of .*echo \(a\)"):
        await pool.run(task("echo", bad=bad))  # type: ignore[arg-type]
    assert pool.pids == []


def test_function_that_no_worker_can_find_is_refused() -> None:
    def inner(arguments: functions.Arguments, context: functions.ComputeContext) -> JsonValue:
        return None

    with pytest.raises(ComputeEncodingError, match="move it to the top level"):
        path_of(inner)
    with pytest.raises(ComputeEncodingError, match="move it to the top level"):
        path_of(lambda arguments, context: None)
    assert path_of(functions.add) == path_to("add")


async def test_name_that_is_no_function_is_refused(pool: ProcessComputePool) -> None:
    for name in ("os.system", "os:system('ls')", "", "a b:c", "a:b.c"):
        with pytest.raises(ComputeEncodingError, match=r"write package\.module:name"):
            await pool.run(ComputeTask(function=name, arguments={}, key="a"))


# ---------------------------------------------------------------- the pool as a whole


async def test_closing_ends_what_runs_and_what_waits() -> None:
    pool = ProcessComputePool(workers=1, patience=HASTY)
    ear, waiting = Ear(), Ear()
    running = begin(pool, task("burn_silently", key="a"), ear)
    pid = await ear.pid()
    queued = begin(pool, task("add", key="b", a=1, b=1), waiting)
    same_key = begin(pool, task("add", key="a", a=1, b=1), Ear())
    await asyncio.wait_for(waiting.waits.wait(), SOON_S)
    await pool.close()
    for ended in (running, queued, same_key):
        with pytest.raises(ComputeClosedError):
            await ended
    assert not psutil.pid_exists(pid)
    with pytest.raises(ComputeClosedError, match="start it before running a task"):
        await pool.run(task("add", a=1, b=1))
    await pool.close()
    assert issubclass(ComputeClosedError, ReturnJobError)


async def test_closing_that_is_cancelled_kills_what_is_left() -> None:
    pool = ProcessComputePool(workers=2, patience=Patience(grace_s=600, term_s=600))
    ear = Ear()
    running = begin(pool, task("burn_stubbornly", key="a"), ear)
    await pool.run(task("add", key="b", a=1, b=1))
    await ear.pid()
    pids = pool.pids
    closing = spawn(pool.close(), "closing")
    for _ in range(5):
        await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ComputeClosedError):
        await asyncio.wait_for(running, SOON_S)
    assert len(pids) == 2
    assert await gone(*pids)


async def test_service_closes_the_pool_when_it_is_stopped() -> None:
    pool = ProcessComputePool(workers=1)
    service = PoolService(pool, needs=("backtest",))
    stop = asyncio.Event()
    running = spawn(service.run(stop), "pool")
    await pool.run(task("add", a=1, b=1))
    stop.set()
    await asyncio.wait_for(running, SOON_S)
    assert pool.pids == []


async def test_two_tasks_of_one_key_never_overlap(pool: ProcessComputePool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ear, behind = Ear(), Ear()
    first = begin(pool, task("wait_for_gate", gate=str(gate)), ear)
    await ear.pid()
    others = [begin(pool, task("wait_for_gate", gate=str(gate)), behind) for _ in range(3)]
    assert await pool.run(task("add", key="b", a=1, b=1)) == 2
    assert {progress.text for progress in behind.heard} == {"waiting for a worker"}
    assert len(pool.pids) == 2
    gate.touch()
    assert len({str(pid) for pid in await asyncio.gather(first, *others)}) <= 2


async def test_waiting_task_that_is_cancelled_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with ProcessComputePool(workers=1) as pool:
        ear, waiting = Ear(), Ear()
        first = begin(pool, task("wait_for_gate", key="a", gate=str(gate)), ear)
        await ear.pid()
        second = begin(pool, task("add", key="b", a=1, b=1), waiting)
        third = begin(pool, task("add", key="c", a=1, b=2), Ear())
        await asyncio.wait_for(waiting.waits.wait(), SOON_S)
        second.cancel()
        gate.touch()
        await first
        assert await third == 3
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_thousand_tiny_tasks_all_give_their_own_result(pool: ProcessComputePool) -> None:
    results = await asyncio.gather(*(pool.run(task("add", key=str(n), a=n, b=1)) for n in range(1000)))
    assert results == list(range(1, 1001))
    assert len(pool.pids) == 2


def test_pool_has_a_core_less_than_the_machine_and_at_least_one() -> None:
    assert default_workers() >= 1
    with pytest.raises(ValueError, match="a pool of 0 workers"):
        ProcessComputePool(workers=0)
