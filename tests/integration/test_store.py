"""The store against the real file: each fact becomes rows once, and what cannot follow is refused whole."""

import inspect
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from finagent.adapters.sqlite import facts as writers
from finagent.domain import facts
from finagent.domain.errors import InvalidTransitionError
from finagent.domain.facts import (
    ApprovalAnswered,
    ControlChanged,
    FillRecorded,
    Journalled,
    OrderMoved,
    PlanMoved,
    PlanRecorded,
    ReservationReduced,
    ReservationReleased,
    SymbolLocked,
)
from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, OrderState
from finagent.domain.plan import PlanState
from finagent.domain.positions import ExitReason
from finagent.ports import Tx
from finagent.queue.errors import GuardFailedError
from tests.integration.services.world import DAY, Stage

SHARES = 1_660_000


@asynccontextmanager
async def entered(home: Path, *, until: str = "09:31", mode: str = "policy") -> AsyncIterator[Stage]:
    """A day with one order at the broker."""
    async with Stage(home, mode=mode, is_checked=False) as stage:
        stage.market.day("AAA", DAY)
        await stage.until(until)
        yield stage


async def put(stage: Stage, *stored: object) -> None:
    tx = Tx()
    for fact in stored:
        tx.put(fact)
    await stage.engine.queue.commit(tx)


def bought(order_id: str, shares_e4: int, execution: str = "x1") -> BrokerFill:
    return BrokerFill(
        execution_id=execution,
        client_order_id=order_id,
        symbol="AAA",
        side=Side.BUY,
        quantity_e4=shares_e4,
        price_e4=1_000_000,
        at_ms=7,
    )


def recorded(plan_id: str, fill: BrokerFill, reason: ExitReason | None = None) -> FillRecorded:
    return FillRecorded(fill=fill, plan_id=plan_id, leg="entry", session=DAY, reason=reason)


def test_every_fact_has_its_writer() -> None:
    known = set(writers._apply.registry)
    kinds = {
        kind
        for _, kind in inspect.getmembers(facts, inspect.isclass)
        if kind.__module__ == "finagent.domain.facts"
    }
    assert kinds <= known


async def test_unknown_fact_is_refused_by_name(home: Path) -> None:
    async with entered(home) as stage:
        with pytest.raises(TypeError, match="no fact str"):
            await put(stage, "a word")


async def test_plan_moves_only_from_where_it_was_seen(home: Path) -> None:
    """A failed guard takes everything of its commit back, the journal row too."""
    async with entered(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        seen_wrong = PlanMoved(plan_id=plan_id, from_states=(PlanState.ARMED,), to_state=PlanState.CANCELLED)
        with pytest.raises(GuardFailedError, match="entering"):
            await put(stage, Journalled(kind="note", ref="x", data={}), seen_wrong)
        absent = PlanMoved(plan_id="pl_x", from_states=(PlanState.ARMED,), to_state=PlanState.CANCELLED)
        with pytest.raises(GuardFailedError, match="absent"):
            await put(stage, absent)
        assert (await stage.plan()).state == "entering"
        assert await stage.journal("note") == []


@pytest.mark.parametrize("to_state", [PlanState.PENDING, PlanState.REJECTED, PlanState.SUPERSEDED])
async def test_step_that_a_plan_does_not_know_is_an_error(home: Path, to_state: PlanState) -> None:
    async with entered(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        with pytest.raises(InvalidTransitionError, match="cannot go from entering"):
            await put(stage, PlanMoved(plan_id=plan_id, from_states=(PlanState.ENTERING,), to_state=to_state))


async def test_plan_recorded_again_is_the_one_that_was_there(home: Path) -> None:
    async with entered(home) as stage:
        plan = await stage.plan()
        await put(stage, PlanRecorded(plan=plan.plan, state=PlanState.PLANNED))
        assert await stage.plan() == plan


async def test_order_that_has_ended_stays_ended(home: Path) -> None:
    async with entered(home) as stage:
        order_id = (await stage.orders())["entry-1"].intent.client_order_id
        await put(stage, OrderMoved(client_order_id=order_id, to_state=OrderState.CANCELLED, reason="first"))
        await put(stage, OrderMoved(client_order_id=order_id, to_state=OrderState.EXPIRED, reason="second"))
        order = (await stage.orders())["entry-1"]
        assert (order.state, order.reason) == ("cancelled", "first")


async def test_accepted_order_cannot_become_unknown_and_an_absent_one_is_refused(home: Path) -> None:
    async with entered(home) as stage:
        order_id = (await stage.orders())["entry-1"].intent.client_order_id
        with pytest.raises(InvalidTransitionError):
            await put(stage, OrderMoved(client_order_id=order_id, to_state=OrderState.UNKNOWN))
        with pytest.raises(GuardFailedError, match="absent"):
            await put(stage, OrderMoved(client_order_id="fa-x", to_state=OrderState.CANCELLED))


async def test_acceptance_after_the_first_fill_does_not_take_it_back(home: Path) -> None:
    async with entered(home) as stage:
        order = (await stage.orders())["entry-1"]
        order_id = order.intent.client_order_id
        await put(stage, recorded(order.intent.plan_id, bought(order_id, 10_000)))
        await put(stage, OrderMoved(client_order_id=order_id, to_state=OrderState.ACCEPTED, accepted_at_ms=1))
        assert (await stage.orders())["entry-1"].state == "partially_filled"


async def test_fill_recorded_twice_counts_once(home: Path) -> None:
    async with entered(home) as stage:
        order = (await stage.orders())["entry-1"]
        fill = recorded(order.intent.plan_id, bought(order.intent.client_order_id, 10_000))
        await put(stage, fill)
        await put(stage, fill)
        assert (await stage.orders())["entry-1"].filled_e4 == 10_000
        assert len(await stage.engine.store.fills_of(order.intent.plan_id)) == 1


async def test_late_fill_of_a_cancelled_order_counts_and_leaves_it_cancelled(home: Path) -> None:
    async with entered(home) as stage:
        order = (await stage.orders())["entry-1"]
        order_id, plan_id = order.intent.client_order_id, order.intent.plan_id
        await put(stage, OrderMoved(client_order_id=order_id, to_state=OrderState.CANCELLED))
        await put(stage, recorded(plan_id, bought(order_id, 10_000)))
        order = (await stage.orders())["entry-1"]
        assert (order.state, order.filled_e4) == ("cancelled", 10_000)
        await put(stage, recorded(plan_id, bought(order_id, SHARES - 10_000, "x2")))
        assert (await stage.orders())["entry-1"].state == "filled"


async def test_first_answer_to_a_question_is_the_only_one(home: Path) -> None:
    async with entered(home, mode="approve") as stage:
        plan = await stage.plan()
        approval = await stage.engine.store.approval(plan.plan.plan_id)
        assert approval is not None

        def answer(plan_hash: str, state: str) -> ApprovalAnswered:
            return ApprovalAnswered(
                plan_id=plan.plan.plan_id, plan_hash=plan_hash, state=state, channel="cli", identity="ann"
            )

        with pytest.raises(GuardFailedError):
            await put(stage, answer("another body", "approved"))
        await put(stage, answer(approval.plan_hash, "rejected"))
        with pytest.raises(GuardFailedError):
            await put(stage, answer(approval.plan_hash, "approved"))
        assert await stage.value("SELECT state FROM approval") == "rejected"


async def test_reservation_only_shrinks_and_is_released_once(home: Path) -> None:
    async with entered(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await put(stage, ReservationReduced(plan_id=plan_id, notional_e8=100, worst_case_e8=10**30 // 10**15))
        assert await stage.value("SELECT notional FROM reservation") == 100
        await put(stage, ReservationReduced(plan_id=plan_id, notional_e8=10**15, worst_case_e8=50))
        assert await stage.value("SELECT notional FROM reservation") == 100
        assert await stage.value("SELECT worst_case FROM reservation") == 50
        await put(stage, ReservationReleased(plan_id=plan_id))
        released = await stage.value("SELECT released_at FROM reservation")
        await stage.until("09:40")
        await put(stage, ReservationReleased(plan_id=plan_id))
        assert await stage.value("SELECT released_at FROM reservation") == released


async def test_controls_change_what_they_name_and_nothing_else(home: Path) -> None:
    async with entered(home) as stage:
        store = stage.engine.store
        await put(stage, ControlChanged(is_paused=True, pause_reason="lunch", paused_by="person"))
        await put(stage, ControlChanged(gate_reason="reconcile"))
        await put(
            stage, SymbolLocked(symbol="ZZZ", is_locked=True), SymbolLocked(symbol="BBB", is_locked=True)
        )
        await put(stage, SymbolLocked(symbol="BBB", is_locked=True))
        control = await store.control()
        assert (control.is_paused, control.pause_reason, control.paused_by) == (True, "lunch", "person")
        assert (control.gate_reason, control.locked_symbols) == ("reconcile", ("BBB", "ZZZ"))
        await put(stage, ControlChanged(gate_opened="reconcile"), SymbolLocked(symbol="ZZZ", is_locked=False))
        await put(stage, ControlChanged(is_paused=False))
        control = await store.control()
        assert (control.gate_reason, control.pause_reason, control.paused_by) == (None, None, None)
        assert control.locked_symbols == ("BBB",)


@pytest.mark.parametrize("sql", ["DELETE FROM journal", "UPDATE journal SET ref = 'x'"])
async def test_journal_is_append_only(home: Path, sql: str) -> None:
    async with entered(home) as stage:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)


async def test_book_counts_a_closed_position_before_its_trade_is_booked(home: Path) -> None:
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.until("09:50")
        store, now_ms = stage.engine.store, stage.clock.now_ms()
        booked = await store.book(DAY, now_ms=now_ms)
        for sql in ("DELETE FROM trade", "UPDATE plan SET state = 'open'"):
            await stage.engine.queue.call(lambda ws, sql=sql: ws.conn.execute(sql).rowcount)
        assert (await store.book(DAY, now_ms=now_ms)).realised_e8 == booked.realised_e8 == SHARES * 90_000


async def test_unknown_ids_are_none(home: Path) -> None:
    async with entered(home) as stage:
        store = stage.engine.store
        assert await store.plan("pl_x") is None
        assert await store.order("fa-x") is None
        assert await store.approval("pl_x") is None
        assert await store.position("pl_x") is None


async def test_gate_opens_for_one_reason_and_stays_shut_for_the_others(home: Path) -> None:
    async with entered(home) as stage:

        async def reasons(**change: str) -> tuple[str, ...]:
            await put(stage, ControlChanged(**change))  # type: ignore[arg-type]
            return (await stage.engine.store.control()).gate_reasons

        assert await reasons(gate_reason="damage") == ("damage",)
        assert await reasons(gate_reason="reconcile") == ("damage", "reconcile")
        assert await reasons(gate_reason="reconcile") == ("damage", "reconcile"), "shut once"
        assert await reasons(gate_opened="clock_skew") == ("damage", "reconcile"), "none of theirs"
        assert await reasons(gate_opened="reconcile") == ("damage",)
        assert await reasons(gate_opened="damage") == ()
        assert (await stage.engine.store.control()).gate_reason is None
