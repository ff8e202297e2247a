"""Canceller: ends entries that are not wanted any more, on the broker's evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import StoredOrder, attached_to
from finagent.domain.facts import Journalled, OrderMoved, PlanMoved, ReservationReleased
from finagent.domain.journal import JsonData
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderState
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import GiveUpError, Job, NewJob, OrderExecutionPort, RetryError, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="canceller", consumes=(Step.CANCEL_ENTRY,), needs=("queue", "broker"))
TIMED_OUT = "entry_ttl"
"""The reason of a cancel that names none: the entry's own timer."""


@dataclass(frozen=True, slots=True)
class CancelService:
    """Takes ``cancel_entry {order, reason}`` jobs: its time is over, its position is closed, or flatten wants it gone.

    ``reason`` is what the order and its plan end with; the timer's job names none. One with ``is_stray`` is of an order
    that is over here and alive at the broker.
    """

    store: Store
    broker: OrderExecutionPort

    async def handle(self, job: Job, tx: Tx) -> None:
        """Cancel what is open of one order."""
        order = await self.store.order(str(job.payload["order"]))
        if order is None:
            raise GiveUpError(f"{job.type} job {job.idem_key} names no order that was committed")
        if order.state not in TERMINAL_ORDER_STATES:
            await self._cancel_rest(order, str(job.payload.get("reason", TIMED_OUT)), tx)
        elif job.payload.get("is_stray") is True:
            await self.broker.cancel(order.intent.client_order_id)

    async def _cancel_rest(self, order: StoredOrder, reason: str, tx: Tx) -> None:
        """Cancel what an entry did not get in time; fills under way come first.

        What may have been sent and is not shown may still arrive: only the evidence after the close ends it.
        """
        entry_id = order.intent.client_order_id
        if order.state is OrderState.INTENT and not await self.store.was_sent(entry_id):
            await self._record(order, reason, tx)
            return
        await self.broker.cancel(entry_id)
        found = await self.broker.find(entry_id)
        if found is None and order.state is OrderState.UNKNOWN:
            return
        if found is None or found.state not in TERMINAL_ORDER_STATES:
            raise RetryError(f"{entry_id}: its end is on its way", retry_after_s=1)
        if found.filled_e4 != order.filled_e4:
            raise RetryError(f"{entry_id}: fills are on their way", retry_after_s=1)
        await self._record(order, reason, tx)

    async def _record(self, order: StoredOrder, reason: str, tx: Tx) -> None:
        """The entry is over at the broker: with no fill its legs and its plan end with it."""
        entry_id, plan_id = order.intent.client_order_id, order.intent.plan_id
        tx.put(OrderMoved(client_order_id=entry_id, to_state=OrderState.CANCELLED, reason=reason))
        data: dict[str, JsonData] = {"reason": reason, "filled_e4": order.filled_e4}
        tx.put(Journalled(kind="cancelled", ref=entry_id, data=data))
        tx.put(ReservationReleased(plan_id=plan_id))
        if order.filled_e4 > 0:
            held = await self.store.position(plan_id)
            if held is not None and held.position.quantity_e4 == 0:
                self._end_legs(attached_to(order, await self.store.orders_of(plan_id)), "position_closed", tx)
            booking = {"plan": plan_id}
            tx.enqueue(NewJob(Step.RECORD_TRADE, booking, idem_key=f"{plan_id}/entry_over", key=plan_id))
            return
        self._end_legs(attached_to(order, await self.store.orders_of(plan_id)), reason, tx)
        tx.put(
            PlanMoved(
                plan_id=plan_id,
                from_states=(PlanState.ENTERING,),
                to_state=PlanState.NOT_FILLED,
                reason=reason,
            )
        )

    def _end_legs(self, legs: Sequence[StoredOrder], reason: str, tx: Tx) -> None:
        for leg in legs:
            leg_id = leg.intent.client_order_id
            tx.put(OrderMoved(client_order_id=leg_id, to_state=OrderState.CANCELLED, reason=reason))
