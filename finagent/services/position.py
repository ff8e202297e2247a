"""Position: folds what the broker reports into orders and positions, and sees each plan to its end."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.book import StoredOrder, StoredPlan, attached_to
from finagent.domain.facts import (
    ACCOUNT_ROW,
    FillRecorded,
    Journalled,
    OrderMoved,
    PlanMoved,
    PlanReopened,
    PositionRecorded,
    ReservationReduced,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY, EXIT, STOP
from finagent.domain.manual import MANUAL
from finagent.domain.market import Side
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill, OrderState
from finagent.domain.plan import REOPENED_FROM, Plan, PlanState
from finagent.domain.positions import ExitReason, fold, open_position
from finagent.domain.protection import is_attached
from finagent.domain.steps import Step
from finagent.ports import Clock, GiveUpError, Job, NewJob, RetryError, Store, Tx
from finagent.runtime.service import ServiceContract

LOG = logging.getLogger(__name__)
MOST_EXITS = 20
AGAIN_MS = 1_000
CONTRACT = ServiceContract(name="position", consumes=(Step.BROKER_EVENT,), needs=("queue",))


@dataclass(frozen=True, slots=True)
class PositionService:
    """Takes ``broker_event`` jobs: ``{event: "fill", ...}`` or ``{event: "cancelled" | "expired" | ..., order}``."""

    store: Store
    clock: Clock

    async def handle(self, job: Job, tx: Tx) -> None:
        """One event of the broker; an event seen before changes nothing."""
        order = await self.store.order(str(job.payload["order"]))
        if order is None:
            raise GiveUpError(
                f"broker event {job.idem_key} is of an order that is not ours: {job.payload['order']}"
            )
        stored = await self.store.plan(order.intent.plan_id)
        if stored is None:
            raise GiveUpError(f"order {order.intent.client_order_id} belongs to no plan")
        tx.touch(ACCOUNT_ROW)
        if job.payload["event"] == "fill":
            await self._fill(fill_from(job.payload, order), order, stored, tx)
        else:
            await self._ended(job, order, stored, tx)

    async def _fill(self, fill: BrokerFill, order: StoredOrder, stored: StoredPlan, tx: Tx) -> None:
        plan = stored.plan
        known = await self.store.fills_of(plan.plan_id)
        if any(each.fill.execution_id == fill.execution_id for each in known):
            return
        held = await self.store.position(plan.plan_id)
        before = held.position if held is not None else open_position(plan)
        position = fold(before, fill)
        leg = order.intent.leg
        reason = _reason(order, fill, plan)
        tx.put(FillRecorded(fill=fill, plan_id=plan.plan_id, leg=leg, session=plan.session, reason=reason))
        tx.put(
            PositionRecorded(position=position, stop_e4=held.stop_e4 if held is not None else plan.stop_e4)
        )
        tx.put(Journalled(kind="fill", ref=order.intent.client_order_id, data=_fill_data(fill, leg)))
        is_complete = order.filled_e4 + fill.quantity_e4 >= order.intent.quantity_e4
        if leg == ENTRY:
            self._entered(order, fill, stored, is_complete, tx)
            if order.unwanted:
                _leave(plan.plan_id, fill.execution_id, tx, reason=order.unwanted)
        surprise = _surprise(order, fill)
        if surprise:
            _differ(order, fill, surprise, tx)
        orders = await self.store.orders_of(plan.plan_id)
        is_separate = not is_attached([each.own for each in orders])
        if position.quantity_e4 == 0:
            self._closed(order, orders, len(known) + 1, is_separate, tx)
        elif stored.state in REOPENED_FROM:
            tx.put(PlanReopened(plan_id=plan.plan_id))
        if is_separate:
            _protect(plan.plan_id, fill.execution_id, tx)
        elif surprise and position.quantity_e4 != 0:
            _leave(plan.plan_id, fill.execution_id, tx)

    def _entered(
        self, order: StoredOrder, fill: BrokerFill, stored: StoredPlan, is_complete: bool, tx: Tx
    ) -> None:
        plan_id = stored.plan.plan_id
        if stored.state is PlanState.ENTERING:
            tx.put(PlanMoved(plan_id=plan_id, from_states=(PlanState.ENTERING,), to_state=PlanState.OPEN))
        if is_complete:
            tx.put(ReservationReleased(plan_id=plan_id))
            return
        left_e4 = order.intent.quantity_e4 - order.filled_e4 - fill.quantity_e4
        worst_e4 = abs(fill.price_e4 - stored.plan.stop_e4) + stored.plan.risk_per_share_e4 // 2
        tx.put(
            ReservationReduced(
                plan_id=plan_id, notional_e8=left_e4 * fill.price_e4, worst_case_e8=left_e4 * worst_e4
            )
        )

    def _closed(
        self, order: StoredOrder, orders: Sequence[StoredOrder], fills: int, is_separate: bool, tx: Tx
    ) -> None:
        """Flat: the trade is booked once the entry is over. Attached exits are over at the broker by themselves."""
        plan_id = order.intent.plan_id
        is_entering = any(o.intent.leg == ENTRY and o.state not in TERMINAL_ORDER_STATES for o in orders)
        for other in orders:
            other_id = other.intent.client_order_id
            if other_id == order.intent.client_order_id or other.state in TERMINAL_ORDER_STATES:
                continue
            if other.intent.leg == ENTRY:
                job = NewJob(
                    Step.CANCEL_ENTRY,
                    {"order": other_id, "reason": "position_closed"},
                    idem_key=f"{other_id}/closed",
                    key=plan_id,
                    priority=2,
                )
                tx.enqueue(job)
            elif not is_separate and not is_entering:  # else the rest of the entry arms them again
                tx.put(
                    OrderMoved(
                        client_order_id=other_id, to_state=OrderState.CANCELLED, reason="position_closed"
                    )
                )
        tx.enqueue(NewJob(Step.RECORD_TRADE, {"plan": plan_id}, idem_key=f"{plan_id}/{fills}", key=plan_id))

    async def _ended(self, job: Job, order: StoredOrder, stored: StoredPlan, tx: Tx) -> None:
        """An order is over at the broker without (all of) its fills; an end that knows of more fills waits for them."""
        if order.state in TERMINAL_ORDER_STATES:
            return
        state, reason = OrderState(str(job.payload["event"])), str(job.payload["reason"])
        order_id, plan_id = order.intent.client_order_id, stored.plan.plan_id
        filled_e4 = job.payload.get("filled_e4")
        if isinstance(filled_e4, int) and filled_e4 > order.filled_e4:
            raise RetryError(f"{order_id}: {state}, and its fills are on their way", retry_after_s=1)
        tx.put(OrderMoved(client_order_id=order_id, to_state=state, reason=reason))
        tx.put(Journalled(kind="order_ended", ref=order_id, data={"state": state.value, "reason": reason}))
        if order.intent.leg == ENTRY:
            await self._entry_ended(state, reason, order, stored, tx)
        elif order.intent.leg == EXIT and state is OrderState.REJECTED:
            self._exit_again(order, tx)
        elif order.intent.parent_id is None and state is not OrderState.EXPIRED:
            _protect(plan_id, f"{order_id}:{state}", tx)  # it was not we who ended it: nothing may stay bare

    def _exit_again(self, order: StoredOrder, tx: Tx) -> None:
        """An exit that was taken and refused after all: its next generation, a bounded number of times."""
        if order.intent.generation >= MOST_EXITS:
            return
        plan_id, key = order.intent.plan_id, f"{order.intent.client_order_id}/refused"
        payload = {"plan": plan_id, "reason": order.intent.reason}
        due_ms = self.clock.now_ms() + AGAIN_MS
        tx.enqueue(NewJob(Step.EXIT, dict(payload), idem_key=key, key=plan_id, run_at_ms=due_ms))

    async def _entry_ended(
        self, state: OrderState, reason: str, order: StoredOrder, stored: StoredPlan, tx: Tx
    ) -> None:
        plan_id = stored.plan.plan_id
        tx.put(ReservationReleased(plan_id=plan_id))
        if order.filled_e4 > 0:
            await self._end_attached(order, tx)
            booking = {"plan": plan_id}
            tx.enqueue(NewJob(Step.RECORD_TRADE, booking, idem_key=f"{plan_id}/entry_over", key=plan_id))
        elif stored.state is PlanState.ENTERING and await self.store.position(plan_id) is None:
            tx.put(
                PlanMoved(
                    plan_id=plan_id,
                    from_states=(PlanState.ENTERING,),
                    to_state=PlanState.NOT_FILLED,
                    reason=reason or state.value,
                )
            )

    async def _end_attached(self, entry: StoredOrder, tx: Tx) -> None:
        """The entry is over; where all it brought is closed, its exits are over at the broker by themselves."""
        held = await self.store.position(entry.intent.plan_id)
        if held is None or held.position.quantity_e4 != 0:
            return
        for leg in attached_to(entry, await self.store.orders_of(entry.intent.plan_id)):
            leg_id = leg.intent.client_order_id
            tx.put(
                OrderMoved(client_order_id=leg_id, to_state=OrderState.CANCELLED, reason="position_closed")
            )


def _protect(plan_id: str, cause: str, tx: Tx) -> None:
    """What is held of the plan changed, or what rests for it: see that both fit."""
    tx.enqueue(NewJob(Step.PROTECT, {"plan": plan_id}, idem_key=f"{cause}/protect", key=plan_id))


def _surprise(order: StoredOrder, fill: BrokerFill) -> str:
    """How a fill differs from what the journal expects of its order; empty when it does not."""
    if order.filled_e4 + fill.quantity_e4 > order.intent.quantity_e4:
        return "overfill"
    return "late_fill" if order.state in TERMINAL_ORDER_STATES else ""


def _differ(order: StoredOrder, fill: BrokerFill, kind: str, tx: Tx) -> None:
    """Counted like any other, and told: the broker did what its own word excluded."""
    order_id = order.intent.client_order_id
    data: dict[str, JsonData] = {
        "kind": kind,
        "execution": fill.execution_id,
        "state": order.state.value,
        "quantity_e4": order.intent.quantity_e4,
        "filled_e4": order.filled_e4 + fill.quantity_e4,
    }
    tx.put(Journalled(kind="difference", ref=order_id, data=data))
    LOG.error("order.difference", extra={"order": order_id, "difference": kind})


def _leave(plan_id: str, cause: str, tx: Tx, *, reason: str = ExitReason.FLATTEN.value) -> None:
    """Close what came beyond what was expected (attached exits were cut to that), or of an entry wanted gone."""
    payload = {"plan": plan_id, "reason": reason}
    tx.enqueue(NewJob(Step.EXIT, dict(payload), idem_key=f"{cause}/beyond", key=plan_id))


def _reason(order: StoredOrder, fill: BrokerFill, plan: Plan) -> ExitReason | None:
    leg = order.intent.leg
    if leg == ENTRY:
        return None
    if fill.is_forced_close:
        return ExitReason.CLOSE_FORCED
    if leg in (EXIT, MANUAL):
        return ExitReason(order.intent.reason)
    if leg == STOP:
        is_moved = order.intent.stop_e4 != plan.stop_e4
        return ExitReason.TRAILING if is_moved else ExitReason.STOP
    return ExitReason.TARGET


def fill_from(payload: Mapping[str, object], order: StoredOrder) -> BrokerFill:
    """The fill behind a ``broker_event`` payload; GiveUpError when it is malformed."""
    numbers = [payload.get(name) for name in ("quantity_e4", "price_e4", "at_ms", "fees_e8")]
    reference = payload.get("reference_e4")
    if not all(isinstance(n, int) for n in numbers) or not isinstance(reference, int | None):
        raise GiveUpError(f"broker event is malformed: {dict(payload)}")
    quantity, price, at, fees = (n for n in numbers if isinstance(n, int))
    return BrokerFill(
        execution_id=str(payload["execution"]),
        client_order_id=order.intent.client_order_id,
        symbol=order.intent.symbol,
        side=Side(str(payload["side"])),
        quantity_e4=quantity,
        price_e4=price,
        at_ms=at,
        fees_e8=fees,
        reference_e4=reference,
        is_ambiguous=payload.get("ambiguous") is True,
        is_forced_close=payload.get("forced") is True,
    )


def _fill_data(fill: BrokerFill, leg: str) -> dict[str, JsonData]:
    return {
        "leg": leg,
        "side": fill.side.value,
        "quantity_e4": fill.quantity_e4,
        "price_e4": fill.price_e4,
        "at_ms": fill.at_ms,
        "fees_e8": fill.fees_e8,
        "ambiguous": fill.is_ambiguous,
        "forced": fill.is_forced_close,
    }
