"""Exits: closes positions (time stop, flatten, kill) and moves their stops; never blocked by entry controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.approvals import ApprovalState
from finagent.domain.book import OpenPosition, StoredOrder, StoredPlan
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ApprovalAnswered,
    IntentRecorded,
    Journalled,
    OrderMoved,
    PlanMoved,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY, EXIT, STOP, exit_intent, stop_intent
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    OrderState,
    OwnOrder,
    Scope,
    StillLive,
    body_hash,
    next_generation,
)
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    GiveUpError,
    Job,
    NewJob,
    OrderExecutionPort,
    RetryError,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="exits", consumes=(Step.FLATTEN, Step.EXIT, Step.MOVE_STOP), needs=("queue", "broker")
)
NOT_ENTERED = (PlanState.PLANNED, PlanState.PENDING, PlanState.APPROVED, PlanState.ARMED)


@dataclass(frozen=True, slots=True)
class ExitService:
    """Takes ``flatten {session, symbol, reason}``, ``exit {plan, reason}`` and ``move_stop {plan, stop_e4}`` jobs."""

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock
    scope: Scope

    async def handle(self, job: Job, tx: Tx) -> None:
        """One exit step."""
        if job.type == Step.FLATTEN:
            await self._flatten(job, tx)
            return
        held = await self.store.position(str(job.payload["plan"]))
        if held is None or held.position.quantity_e4 == 0:
            return
        if job.type == Step.MOVE_STOP:
            await self._move_stop(job, held, tx)
        else:
            await self._exit(str(job.payload["reason"]), held, tx)

    async def _flatten(self, job: Job, tx: Tx) -> None:
        """Ends plans that have not entered, and leaves an exit job for every open position and working entry."""
        date, symbol, reason = str(job.payload["session"]), job.payload["symbol"], str(job.payload["reason"])
        tx.touch(ACCOUNT_ROW)
        before = job.payload.get("before")
        if before is not None:
            await self._close_earlier(str(before), reason, job, tx)
            return
        for stored in await self.store.plans(date, states=NOT_ENTERED):
            if symbol is None or stored.plan.symbol == symbol:
                plan_id = stored.plan.plan_id
                tx.put(
                    PlanMoved(
                        plan_id=plan_id, from_states=NOT_ENTERED, to_state=PlanState.CANCELLED, reason=reason
                    )
                )
                tx.put(ReservationReleased(plan_id=plan_id))
                await self._close_question(stored, reason, tx)
                tx.put(
                    Journalled(kind="plan_ended", ref=plan_id, data={"state": "cancelled", "reason": reason})
                )
        entries = [o for o in await self.store.live_orders() if o.intent.leg == ENTRY]
        for order in entries:
            if symbol is None or order.intent.symbol == symbol:
                entry_id = order.intent.client_order_id
                key = f"{entry_id}/{job.idem_key}"
                tx.enqueue(
                    NewJob(
                        Step.CANCEL_ENTRY,
                        {"order": entry_id},
                        idem_key=key,
                        key=order.intent.plan_id,
                        priority=1,
                    )
                )
        for held in await self.store.open_positions():
            if symbol is None or held.plan.symbol == symbol:
                plan_id = held.plan.plan_id
                payload = {"plan": plan_id, "reason": reason}
                tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{plan_id}/{job.idem_key}", key=plan_id))

    async def _close_question(self, stored: StoredPlan, reason: str, tx: Tx) -> None:
        """A plan that was cancelled waits for no answer any more."""
        if stored.state is not PlanState.PENDING:
            return
        approval = await self.store.approval(stored.plan.plan_id)
        if approval is not None:
            tx.put(
                ApprovalAnswered(
                    plan_id=approval.plan_id,
                    plan_hash=approval.plan_hash,
                    state=ApprovalState.SUPERSEDED.value,
                    channel=reason,
                    identity="",
                )
            )

    async def _close_earlier(self, date: str, reason: str, job: Job, tx: Tx) -> None:
        """Only positions of sessions before ``date``; today's plans and entries go on."""
        for held in await self.store.open_positions():
            if held.plan.session < date:
                plan_id = held.plan.plan_id
                payload = {"plan": plan_id, "reason": reason}
                tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{plan_id}/{job.idem_key}", key=plan_id))

    async def _exit(self, reason: str, held: OpenPosition, tx: Tx) -> None:
        """Free the quantity at the broker, see that it is free, then commit the next exit generation."""
        plan = held.plan
        orders = await self.store.orders_of(plan.plan_id)
        live = [order for order in orders if order.state not in TERMINAL_ORDER_STATES]
        if any(order.intent.leg == EXIT for order in live):
            return
        for order in live:
            await self._cancelled(order, tx)
        generation = next_generation(_own(orders), plan_id=plan.plan_id, leg=EXIT)
        assert isinstance(generation, int)
        intent = exit_intent(
            plan,
            abs(held.position.quantity_e4),
            generation=generation,
            reason=reason,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
        )
        tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {
            "order": intent.client_order_id,
            "reason": reason,
            "quantity_e4": intent.quantity_e4,
        }
        tx.put(Journalled(kind="exit", ref=plan.plan_id, data=data))
        tx.put(ReservationReleased(plan_id=plan.plan_id))
        order_id = intent.client_order_id
        tx.enqueue(NewJob(Step.SEND_EXIT, {"order": order_id}, idem_key=order_id, key=plan.plan_id))

    async def _cancelled(self, order: StoredOrder, tx: Tx) -> None:
        order_id = order.intent.client_order_id
        if order.state is OrderState.INTENT:
            found = await self.broker.find(order_id)
            if found is not None:
                raise RetryError(f"{order_id}: its acceptance is on its way", retry_after_s=1)
        else:
            await self.broker.cancel(order_id)
            found = await self.broker.find(order_id)
            if (
                found is None
                or found.state not in TERMINAL_ORDER_STATES
                or found.filled_e4 != order.filled_e4
            ):
                raise RetryError(f"{order_id}: not free yet at the broker", retry_after_s=1)
        tx.put(OrderMoved(client_order_id=order_id, to_state=OrderState.CANCELLED, reason="exit"))

    async def _move_stop(self, job: Job, held: OpenPosition, tx: Tx) -> None:
        """Commit the stop's next generation, which will replace the resting one at the broker in one step."""
        stop_e4 = job.payload["stop_e4"]
        if not isinstance(stop_e4, int):
            raise GiveUpError(f"move_stop job {job.idem_key} has no stop: {dict(job.payload)}")
        plan = held.plan
        orders = await self.store.orders_of(plan.plan_id)
        stops = [o for o in orders if o.intent.leg == STOP and o.state not in TERMINAL_ORDER_STATES]
        is_exiting = any(o.intent.leg == EXIT and o.state not in TERMINAL_ORDER_STATES for o in orders)
        if is_exiting or not stops or plan.direction.sign * (stop_e4 - held.stop_e4) <= 0:
            return
        generation = next_generation(_own(orders), plan_id=plan.plan_id, leg=STOP, is_replacement=True)
        if isinstance(generation, StillLive):
            raise RetryError(f"{generation.client_order_id}: the stop before is on its way", retry_after_s=1)
        old = stops[-1]
        is_entering = any(o.intent.leg == ENTRY and o.state not in TERMINAL_ORDER_STATES for o in orders)
        held_e4 = abs(held.position.quantity_e4)
        intent = stop_intent(
            plan,
            old.intent.quantity_e4 if is_entering else held_e4,
            stop_e4,
            generation=generation,
            parent_id=old.intent.parent_id,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
        )
        order_id = intent.client_order_id
        tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {
            "order": order_id,
            "stop_e4": stop_e4,
            "reason": str(job.payload["reason"]),
        }
        tx.put(Journalled(kind="move_stop", ref=plan.plan_id, data=data))
        payload = {"order": order_id, "old": old.intent.client_order_id}
        tx.enqueue(NewJob(Step.REPLACE, payload, idem_key=order_id, key=plan.plan_id))


def _own(orders: Sequence[StoredOrder]) -> list[OwnOrder]:
    return [OwnOrder(intent=o.intent, state=o.state, filled_e4=o.filled_e4) for o in orders]
