"""Wiring, restarts, halts and the stop in stages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from finagent.runtime.errors import HaltError
from finagent.runtime.supervisor import ServiceState, ServiceWiringError, Supervisor, stages
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import ManualTicker


async def until_stopped(stop: asyncio.Event) -> None:
    await stop.wait()


@dataclass
class Part:
    name: str
    needs: tuple[str, ...] = ()
    act: Callable[[asyncio.Event], Awaitable[None]] = until_stopped
    log: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        self.log.append(f"start {self.name}")
        try:
            await self.act(stop)
        finally:
            self.log.append(f"end {self.name}")


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_services_are_staged_by_their_needs() -> None:
    parts = [Part("plan", ("scan", "db")), Part("scan", ("queue",)), Part("queue"), Part("news")]
    assert [[part.name for part in stage] for stage in stages(parts, ["db"])] == [
        ["queue", "news"],
        ["scan"],
        ["plan"],
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([Part("plan", ("scam",))], "'plan' needs 'scam', which nobody provides"),
        ([Part("a", ("b",)), Part("b", ("a",)), Part("c")], "in a circle: a, b"),
        ([Part("a"), Part("a")], "two services are called 'a'"),
        ([Part("a", (3,))], "'a' needs 3"),  # type: ignore[arg-type]
        ([object()], "object is no service"),
    ],
)
def test_wrong_wiring_is_refused_by_name(parts: list[object], text: str) -> None:
    with pytest.raises(ServiceWiringError, match=text):
        stages(parts)


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    parts = [Part("b", ("a",), log=log), Part("a", log=log), Part("c", ("b",), log=log)]
    supervisor = Supervisor(parts, ticker=ManualTicker())
    assert supervisor.order == (("a",), ("b",), ("c",))
    task = spawn(supervisor.run(), "supervisor")
    await turns()
    assert supervisor.is_healthy
    supervisor.request_stop()
    assert await asyncio.wait_for(task, 10) is None
    assert log == ["start a", "start b", "start c", "end c", "end b", "end a"]
    assert {health.state for health in supervisor.health().values()} == {ServiceState.STOPPED}


async def test_crashed_service_is_restarted_with_back_off_and_others_go_on() -> None:
    ticker, attempts = ManualTicker(), 0

    async def crash_twice(stop: asyncio.Event) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise ZeroDivisionError("oops")
        await stop.wait()

    steady = Part("steady")
    supervisor = Supervisor([Part("weak", act=crash_twice), steady], ticker=ticker, steady_s=60.0)
    task = spawn(supervisor.run(), "supervisor")
    await turns()
    health = supervisor.health()["weak"]
    assert (health.state, health.last_error) == (ServiceState.FAILED, "ZeroDivisionError: oops")
    ticker.advance(500)
    await turns()
    assert (attempts, health.restarts) == (2, 2)
    ticker.advance(500)
    await turns()
    assert attempts == 2
    ticker.advance(500)
    await turns()
    assert (attempts, health.state) == (3, ServiceState.DEGRADED)
    ticker.advance(60_000)
    await turns()
    assert health.state is ServiceState.RUNNING
    assert steady.log == ["start steady"]
    supervisor.request_stop()
    await asyncio.wait_for(task, 10)


async def test_halt_error_stops_everything_with_its_reason() -> None:
    async def halt(stop: asyncio.Event) -> None:
        raise HaltError("books do not balance")

    other = Part("other")
    supervisor = Supervisor([other, Part("bad", ("other",), act=halt)], ticker=ManualTicker())
    assert await asyncio.wait_for(supervisor.run(), 10) == "bad: books do not balance"
    assert other.log == ["start other", "end other"]
    assert supervisor.health()["bad"].state is ServiceState.FAILED
    supervisor.halt("later")
    assert supervisor.halt_reason == "bad: books do not balance"


async def test_service_that_will_not_stop_is_cancelled_after_its_stage_time() -> None:
    async def deaf(stop: asyncio.Event) -> None:
        await asyncio.Event().wait()

    log: list[str] = []
    supervisor = Supervisor(
        [Part("a", log=log), Part("deaf", ("a",), act=deaf, log=log)],
        ticker=ManualTicker(),
        stage_timeout_s=0.01,
    )
    task = spawn(supervisor.run(), "supervisor")
    await turns()
    supervisor.request_stop()
    await asyncio.wait_for(task, 10)
    assert log == ["start a", "start deaf", "end deaf", "end a"]


async def test_cancelled_supervisor_still_stops_its_services() -> None:
    log: list[str] = []
    task = spawn(Supervisor([Part("a", log=log)], ticker=ManualTicker()).run(), "supervisor")
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["start a", "end a"]
