"""An entry on its way when somebody stops trading: it never leaves again, and what it fills all the same is closed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.races.stage import OutsideStage
from tests.integration.services.world import DAY

PART = 700_000
Ordered = Callable[[OutsideStage], Awaitable[object]]


async def kill(stage: OutsideStage) -> None:
    await stage.control.kill(reason="", identity="ann")


async def pause(stage: OutsideStage) -> None:
    await stage.control.pause(reason="lunch", identity="ann")


async def lock(stage: OutsideStage) -> None:
    await stage.control.lock("AAA", is_locked=True, identity="ann")


async def flatten(stage: OutsideStage) -> None:
    await stage.control.flatten(symbol="AAA", identity="ann")


async def shut(stage: OutsideStage) -> None:
    await stage.forge("UPDATE control SET gate_reason = 'clock'")


ORDERED: dict[str, Ordered] = {"kill": kill, "pause": pause, "lock": lock, "flatten": flatten, "gate": shut}


async def doubtful(stage: OutsideStage, *line: str) -> None:
    """The entry's first post has gone wrong in this way; the next ones would be taken."""
    stage.market.day("AAA", DAY)
    stage.broker.line += line
    await stage.until("09:31")
    assert (await stage.order_states())["entry-1"] == "unknown"
    assert len(stage.broker.posts) == 1


@pytest.mark.parametrize("ordered", ORDERED.values(), ids=ORDERED)
async def test_entry_of_unknown_fate_is_not_sent_again_once_entries_are_shut(
    home: Path, ordered: Ordered
) -> None:
    async with OutsideStage(home) as stage:
        await doubtful(stage, "dropped")
        await ordered(stage)
        await stage.wait(90)
        assert len(stage.broker.posts) == 1
        assert (await stage.order_states())["entry-1"] == "unknown"


async def test_entry_of_unknown_fate_is_sent_again_after_a_short_pause(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await doubtful(stage, "dropped")
        await pause(stage)
        await stage.wait(5)
        await stage.control.resume(identity="ann")
        await stage.wait(15)
        assert len(stage.broker.posts) == 2
        assert (await stage.order_states())["entry-1"] == "accepted"


@pytest.mark.parametrize("ordered", [pause, lock, shut])
async def test_entry_that_never_left_ends_where_entries_are_shut(home: Path, ordered: Ordered) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        entry = stage.broker.the("entry")
        del stage.broker.book[entry]
        stage.broker.posts.clear()
        stage.broker.bodies.clear()
        await ordered(stage)
        await stage.forge("UPDATE broker_order SET state = 'intent', accepted_at = NULL")
        plan_id = (await stage.plan()).plan.plan_id
        await stage.publish(NewJob(Step.SEND, {"order": entry}, idem_key="first", key=plan_id))
        await stage.wait(2)
        assert stage.broker.posts == []
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert (await stage.states())["AAA"].startswith("not_filled")


async def test_late_entry_is_cancelled_when_it_shows_after_a_kill(home: Path) -> None:
    """It arrives 68 s after the kill."""
    async with OutsideStage(home) as stage:
        await doubtful(stage, "late")
        await kill(stage)
        await stage.wait(68)
        stage.broker.deliver()
        await stage.hear()
        await stage.wait(3)
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert not any(order.is_open for order in stage.broker.book.values())


async def test_late_entry_that_fills_after_a_kill_is_closed(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await doubtful(stage, "late")
        await kill(stage)
        await stage.wait(20)
        stage.broker.deliver()
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(5)
        exit_id = stage.broker.the("exit")
        assert stage.broker.book[exit_id].is_open
        stage.broker.fill(exit_id)
        await stage.hear()
        await stage.wait(2)
        assert await stage.states() == {"AAA": "closed kill"}
        assert stage.broker.held_e4("AAA") == 0


async def test_part_that_fills_while_a_flatten_cancels_its_entry_is_closed(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        stage.broker.is_slow_to_cancel = True
        await flatten(stage)
        stage.broker.fill(stage.broker.the("entry"), PART)
        await stage.hear()
        stage.broker.is_slow_to_cancel = False
        stage.broker.end_cancels()
        await stage.hear()
        await stage.wait(5)
        exit_id = stage.broker.the("exit")
        assert stage.broker.book[exit_id].intent.quantity_e4 == PART
        stage.broker.fill(exit_id)
        await stage.hear()
        await stage.wait(2)
        assert stage.broker.held_e4("AAA") == 0
        assert (await stage.states())["AAA"].startswith("closed")


async def test_entry_after_a_flatten_is_as_any_other(home: Path) -> None:
    """Only what was under way is unwanted: the next plan in the symbol is entered and kept."""
    async with OutsideStage(home) as stage:
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.entered()
        await stage.wait(5)
        assert await stage.states() == {"AAA": "open"}
