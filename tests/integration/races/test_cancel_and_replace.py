"""Cancels that come late, fills that come first, replacements that are refused, lost or overtaken."""

import json
from pathlib import Path
from typing import Any

import pytest

from finagent.domain.orders import OrderState
from finagent.domain.steps import Step
from finagent.ports import NewJob, OrderRejectedError
from tests.integration.races.stage import PATIENT, OutsideStage
from tests.integration.services.world import DAY

SHARES = 1_660_000
PART = 700_000


async def flatten(stage: OutsideStage) -> None:
    await stage.control.flatten(symbol="AAA", identity="ann")
    await stage.quiet()


def asked(stage: OutsideStage) -> int:
    """How many exits were posted, taken or not."""
    return sum(body.leg == "exit" for body in stage.broker.bodies)


def exits(stage: OutsideStage) -> list[str]:
    """Ids of the exit leg's orders that the broker took, as generations."""
    return [i for i, o in stage.broker.book.items() if o.intent.leg == "exit"]


# ---------------------------------------------------------------- cancels
async def test_exit_waits_for_the_cancel_to_come_true(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.is_slow_to_cancel = True
        await flatten(stage)
        await stage.wait(5)
        assert asked(stage) == 0
        stage.broker.end_cancels()
        await stage.wait(2)
        assert len(exits(stage)) == 1


async def test_cancel_that_is_told_while_the_exit_waits_brings_no_new_stop(home: Path) -> None:
    """The end of the stop is heard before the exit looks again: the exit is under way, nothing is placed beside it."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.is_slow_to_cancel = True
        await flatten(stage)
        stage.broker.end_cancels()
        await stage.hear()
        await stage.wait(3)
        assert {name for name in await stage.orders() if name.startswith("stop")} == {"stop-1"}
        assert len(exits(stage)) == 1


async def test_stop_that_fills_while_it_is_cancelled_leaves_nothing_to_exit(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.is_slow_to_cancel = True
        await flatten(stage)
        stage.broker.fill(stage.broker.the("stop"))
        await stage.wait(3)
        assert exits(stage) == []
        await stage.hear()
        await stage.wait(3)
        assert exits(stage) == []
        assert await stage.states() == {"AAA": "closed stop"}


async def test_stop_that_fills_in_part_while_it_is_cancelled_leaves_an_exit_of_the_rest(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.is_slow_to_cancel = True
        await flatten(stage)
        stage.broker.fill(stage.broker.the("stop"), PART)
        stage.broker.end_cancels()
        await stage.wait(3)
        assert asked(stage) == 0
        await stage.hear()
        await stage.wait(3)
        (order_id,) = exits(stage)
        assert stage.broker.book[order_id].intent.quantity_e4 == SHARES - PART
        stage.broker.fill(order_id)
        await stage.hear()
        assert await stage.states() == {"AAA": "closed flatten"}


async def test_entrys_rest_is_over_only_when_the_broker_says_so(home: Path) -> None:
    async with OutsideStage(home, settings={**PATIENT, "execution": {"entry_ttl_s": 60}}) as stage:
        await stage.entered(PART)
        stage.broker.is_slow_to_cancel = True
        await stage.wait(70)
        assert (await stage.order_states())["entry-1"] == "partially_filled"
        stage.broker.fill(stage.broker.the("entry"), 100_000)
        stage.broker.end_cancels()
        await stage.hear()
        await stage.wait(5)
        orders = await stage.orders()
        assert (orders["entry-1"].state, orders["entry-1"].filled_e4) == ("cancelled", PART + 100_000)
        resting = [o for n, o in orders.items() if n.startswith("stop") and o.state == "accepted"]
        assert [o.intent.quantity_e4 for o in resting] == [PART + 100_000]


async def test_rest_of_an_entry_whose_position_is_closed_ends_for_that_reason(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered(PART)
        stage.broker.fill(stage.broker.the("stop"))
        await stage.hear()
        await stage.wait(3)
        assert await stage.states() == {"AAA": "closed stop"}
        assert [json.loads(data)["reason"] for _, data in await stage.journal("cancelled")] == [
            "position_closed"
        ]


async def test_end_that_knows_of_more_fills_waits_for_them(home: Path) -> None:
    """Cancelled with a part filled is told before the part."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        entry = stage.broker.the("entry")
        plan_id = (await stage.plan()).plan.plan_id
        ended = {"event": "cancelled", "order": entry, "reason": "", "filled_e4": PART}
        await stage.publish(NewJob(Step.BROKER_EVENT, ended, idem_key=f"{entry}:cancelled", key=plan_id))
        assert await stage.states() == {"AAA": "entering"}
        stage.broker.fill(entry, PART)
        stage.broker._end(entry, OrderState.CANCELLED, "")
        await stage.hear()
        await stage.wait(3)
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert await stage.states() == {"AAA": "open"}


async def test_never_sent_entry_is_withdrawn_without_the_broker(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        entry = stage.broker.the("entry")
        del stage.broker.book[entry]
        await stage.forge(
            "UPDATE broker_order SET state = 'intent', accepted_at = NULL",
            "DELETE FROM job_queue WHERE type IN ('send', 'cancel_entry')",
        )
        await flatten(stage)
        assert stage.broker.cancels == []
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert (await stage.states())["AAA"].startswith("not_filled")


async def test_entry_that_may_have_left_is_cancelled_when_it_shows_and_not_on_a_404(home: Path) -> None:
    """The post is under way; a flatten finds no order: it may still arrive."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.broker.line += ["late", *["dropped"] * 50]
        await stage.until("09:31")
        await flatten(stage)
        assert (await stage.order_states())["entry-1"] == "unknown"
        stage.broker.line.clear()
        stage.broker.deliver()
        await stage.wait(2)
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert not any(order.is_open for order in stage.broker.book.values())


# ---------------------------------------------------------------- replacements
async def test_lost_reply_of_a_resize_is_adopted(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered(PART)
        stage.broker.line += ["reply lost"]
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(2)
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"]) == ("cancelled", "accepted")
        assert stage.broker.posts.count(stage.broker.the("stop", 2)) == 1


async def test_replacement_that_never_arrived_is_sent_again(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered(PART)
        stage.broker.line += ["dropped"]
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        assert (await stage.order_states())["stop-1"] == "accepted"
        await stage.wait(2)
        assert (await stage.order_states())["stop-2"] == "accepted"
        assert stage.broker.book[stage.broker.the("stop", 2)].intent.quantity_e4 == SHARES


async def test_stop_that_filled_before_its_replacement_arrived_is_the_end(home: Path) -> None:
    """The replacement is refused, since there is nothing to replace any more; the fill is heard next."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        plan_id = (await stage.plan()).plan.plan_id
        stop = stage.broker.the("stop")
        stage.broker.before_post = lambda intent: stage.broker.fill(stop)
        move = {"plan": plan_id, "stop_e4": 985_000, "reason": "trailing"}
        await stage.publish(NewJob(Step.MOVE_STOP, move, idem_key="m", key=plan_id))
        stage.broker.before_post = lambda intent: None
        assert (await stage.order_states())["stop-2"] == "rejected"
        await stage.hear()
        await stage.wait(3)
        assert await stage.states() == {"AAA": "closed stop"}
        assert exits(stage) == []


async def test_replacement_in_doubt_is_over_once_what_it_replaces_has_ended(home: Path) -> None:
    """Each of its requests is lost; the old stop fills in part and ends, so the new one can never arrive."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        plan_id = (await stage.plan()).plan.plan_id
        stage.broker.line += ["dropped"] * 400
        move = {"plan": plan_id, "stop_e4": 985_000, "reason": "trailing"}
        await stage.publish(NewJob(Step.MOVE_STOP, move, idem_key="m", key=plan_id))
        assert (await stage.order_states())["stop-2"] == "unknown"
        stage.broker.fill(stage.broker.the("stop"), PART)
        stage.broker._end(stage.broker.the("stop"), OrderState.CANCELLED, "")
        await stage.hear()
        await stage.wait(20)
        assert (await stage.order_states())["stop-2"] == "rejected"
        stage.broker.line.clear()
        await stage.wait(20)
        (order_id,) = exits(stage)
        assert stage.broker.book[order_id].intent.quantity_e4 == SHARES - PART


async def test_replaced_stop_that_fills_after_all_closes_the_position_and_its_successor(home: Path) -> None:
    """The broker took the replacement, then filled the old order and rejected the new one."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        plan_id = (await stage.plan()).plan.plan_id
        move = {"plan": plan_id, "stop_e4": 985_000, "reason": "trailing"}
        await stage.publish(NewJob(Step.MOVE_STOP, move, idem_key="m", key=plan_id))
        old, new = stage.broker.the("stop", 1), stage.broker.the("stop", 2)
        assert (await stage.order_states())["stop-1"] == "cancelled"
        stage.broker.fill(old, SHARES)
        stage.broker.refuse_late(new)
        await stage.hear()
        await stage.wait(3)
        assert stage.broker.held_e4("AAA") == 0
        assert await stage.states() == {"AAA": "closed stop"}
        orders = await stage.orders()
        assert (orders["stop-1"].state, orders["stop-1"].filled_e4) == ("filled", SHARES)
        assert orders["stop-2"].state == "rejected"


async def test_refused_resize_is_cancelled_and_placed_anew_and_the_gap_is_closed(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered(PART)
        stage.broker.can_replace = False
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(2)
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"], states["stop-3"]) == ("cancelled", "rejected", "accepted")
        assert stage.broker.book[stage.broker.the("stop", 3)].intent.quantity_e4 == SHARES


async def test_target_of_a_fraction_that_cannot_be_replaced_is_still_taken(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.can_replace = False
        plan_id = (await stage.plan()).plan.plan_id
        take: dict[str, Any] = {"plan": plan_id, "reason": "target", "legs": ["target-1"]}
        await stage.publish(NewJob(Step.EXIT, take, idem_key="t", key=plan_id))
        await stage.wait(3)
        assert stage.broker.book[stage.broker.the("target-1")].is_open
        assert stage.broker.book[stage.broker.the("stop")].state is OrderState.CANCELLED


@pytest.mark.parametrize("reason", ["insufficient_quantity"])
async def test_stop_refused_since_shares_are_not_free_yet_is_tried_again_before_anything_is_sold(
    home: Path, reason: str
) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        stage.broker.line += [OrderRejectedError(reason, "0 free")] * 2
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(4)
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"], states["stop-3"]) == ("rejected", "rejected", "accepted")
        assert exits(stage) == []


async def test_stop_refused_again_and_again_leaves_at_the_market(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        stage.broker.line += [OrderRejectedError("insufficient_quantity", "0 free")] * 6
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(10)
        assert len(exits(stage)) == 1


async def test_stop_rejected_after_it_was_taken_is_replaced_or_left(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.refuse_late(stage.broker.the("stop"))
        await stage.hear()
        assert (await stage.order_states())["stop-2"] == "accepted"
        stage.broker.price_e4 = 960_000
        stage.broker.refuse_late(stage.broker.the("stop", 2))
        await stage.hear()
        assert len(exits(stage)) == 1


async def test_exit_rejected_after_it_was_taken_is_sent_anew(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        await flatten(stage)
        stage.broker.refuse_late(stage.broker.the("exit"))
        await stage.hear()
        await stage.wait(3)
        assert stage.broker.book[stage.broker.the("exit", 2)].is_open
