"""After a standstill the missed minutes are played in one commit, before any job acts on what it believes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.domain.steps import Step
from finagent.ports import NewJob
from finagent.runtime import failpoints
from finagent.runtime.clock import VirtualClock
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, NEXT, Stage

BREAK_OUT = {"planning": {"classic_entry": "opening_range_break"}}
NO_TIME_STOP = {"planning": {"time_stop_minutes": None}}


@pytest.fixture
def armed() -> Iterator[None]:
    """No failpoint outlives its test."""
    yield
    failpoints.disarm_all()


class RealPace:
    """Business time that the driver only reads, as it does with the computer's clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()


async def catch_up(stage: Stage) -> int:
    """What the live feed does when it wakes up; gives the number of instants that were missed."""
    driver = stage.engine.driver
    driver._clock = RealPace(stage.clock)
    try:
        played = await driver.catch_up(stage.clock.now_ms())
    finally:
        driver._clock = stage.clock
    await stage.quiet()
    return played


async def stand_still(stage: Stage, until: str, date: str = DAY) -> int:
    """Nothing runs until a later time; then the backlog is played at once."""
    stage.clock.advance(local(date, until))
    return await catch_up(stage)


async def exit_fills(stage: Stage) -> list[tuple[str, int, int]]:
    """(leg, price, instant) of what was sold."""
    rows = await stage.engine.database.read(
        "SELECT leg, json_extract(body, '$.price_e4'), json_extract(body, '$.at_ms') FROM fill"
        " WHERE leg <> 'entry' ORDER BY 3, 1"
    )
    return [(str(leg), int(str(price)), int(str(at))) for leg, price, at in rows]


async def test_stop_that_lay_in_the_missed_bars_closes_at_its_bar_and_is_not_flattened_later(
    home: Path,
) -> None:
    """Down from 09:40 until the flatten ladder has begun: the stop was hit at 10:10."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"10:10": (100, 100, 96, 96.5)})
        await stage.until("09:40")
        held = await stage.held()
        assert held is not None
        stop_e4 = held.stop_e4
        assert await stand_still(stage, "15:46") > 300
        assert await exit_fills(stage) == [("stop", stop_e4, local(DAY, "10:11"))]
        assert "exit-1" not in await stage.orders()
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
    assert violations(stage.path, is_day_over=True) == []


async def test_missed_minutes_are_one_commit(home: Path, armed: None) -> None:
    """A fault in the 100th missed minute takes back the stop's fill in the 31st; the next try plays all of them."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"10:10": (100, 100, 96, 96.5)})
        await stage.until("09:40")
        feed = "SELECT at FROM feed WHERE source = 'tick'"
        before_ms = await stage.value(feed)
        failpoints.arm("tick.in_commit", at=100)
        with pytest.raises(failpoints.FailpointError):
            await stand_still(stage, "15:51")
        assert await stage.value(feed) == stage.engine.driver.at_ms == before_ms
        assert await exit_fills(stage) == []
        assert (await stage.venue_states())["stop-1"] == "accepted"
        failpoints.disarm_all()
        assert await catch_up(stage) > 300
        assert [leg for leg, _, _ in await exit_fills(stage)] == ["stop"]
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_exit_accepted_now_is_not_expired_by_the_last_bar_of_an_earlier_session(home: Path) -> None:
    """A job was quicker than the feed on the morning after: its exit meets only bars that end after it."""
    async with Stage(home, dates=(DAY, NEXT), is_live=True, settings=NO_TIME_STOP) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("AAA", NEXT, open_at=99)
        stage.market.halts.append(("AAA", local(DAY, "15:30"), local(DAY, "16:01")))
        await stage.until("15:31")
        plan_id = (await stage.plan()).plan.plan_id
        stage.clock.advance(local(NEXT, "10:00"))
        leave = {"plan": plan_id, "reason": "flatten"}
        await stage.publish(NewJob(Step.EXIT, dict(leave), idem_key="quick", key=plan_id))
        assert (await stage.venue_states())["exit-1"] == "accepted"
        await catch_up(stage)
        assert (await stage.venue_states())["exit-1"] == "accepted"
        await stage.until("10:01", NEXT)
        assert await exit_fills(stage) == [("exit", 990_000, local(NEXT, "10:00"))]
        assert await stage.states() == {"AAA": "closed flatten"}


async def test_trigger_that_passed_unseen_expires_the_plan_and_sends_nothing(home: Path) -> None:
    """The break-out was at 09:40, the agent is back at 10:00: that price is not chased."""
    async with Stage(home, settings=BREAK_OUT) as stage:
        script = {"09:32": (100, 101, 100, 100), "09:40": (100, 101.5, 100, 101.2)}
        stage.market.day("AAA", DAY, script)
        await stage.until("09:38")
        assert await stage.states() == {"AAA": "armed"}
        await stand_still(stage, "10:00")
        assert await stage.states() == {"AAA": "expired trigger_passed_unseen"}
        assert await stage.orders() == {}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_trigger_within_the_last_minute_is_still_taken(home: Path) -> None:
    """The same standstill, but the trigger's bar has only just ended."""
    async with Stage(home, settings=BREAK_OUT) as stage:
        script = {"09:32": (100, 101, 100, 100), "09:40": (100, 101.5, 100, 101.05)}
        stage.market.day("AAA", DAY, script)
        await stage.until("09:38")
        await stand_still(stage, "09:41")
        assert (await stage.order_states())["entry-1"] == "accepted"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []
