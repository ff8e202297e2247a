"""The evidence that an order never arrived: two complete listings a minute apart that do not show it."""

from collections.abc import Mapping
from dataclasses import dataclass

from finagent.domain.book import StoredOrder
from finagent.domain.facts import ACCOUNT_ROW, Journalled, OrderMoved, PlanMoved, ReservationReleased
from finagent.domain.legs import ENTRY, EXIT
from finagent.domain.orders import OrderState
from finagent.domain.plan import PlanState
from finagent.domain.protection import is_stuck
from finagent.domain.steps import Step
from finagent.ports import Clock, Job, JsonValue, NewJob, OrderExecutionPort, Store, Tx

BETWEEN_LISTINGS_MS = 60_000


@dataclass(frozen=True, slots=True)
class ArrivalDesk:
    """Takes ``reconcile {reason: unknown, order, session, look}`` jobs.

    They come after the close, and in the session for an exit that can never be sent again (``is_stuck``): it would
    close more than is held, or waits for another in doubt as that one does for it, and what is held is bare.
    """

    store: Store
    broker: OrderExecutionPort
    clock: Clock

    async def resolve(self, job: Job, tx: Tx) -> None:
        """Look in the day's complete listing: found, the order is adopted; missing twice, it never arrived."""
        order_id, look = str(job.payload["order"]), job.payload["look"]
        order = await self.store.order(order_id)
        if order is not None and order.state is OrderState.INTENT:
            self._look_later(
                job.payload, f"{order_id}/{look}@{self.clock.now_ms()}", tx
            )  # its sender is about it
            if (
                "@" in job.idem_key and order.intent.leg == ENTRY
            ):  # or was not, for a minute: cancelled, or dead
                again: dict[str, JsonValue] = {"order": order_id, "try": 1}
                key = f"{order_id}/evening"
                tx.enqueue(NewJob(Step.SEND, again, idem_key=key, key=order.intent.plan_id))
            return
        if order is None or order.state is not OrderState.UNKNOWN:
            return
        in_session = job.payload.get("is_stuck") is True
        if in_session and not await self._is_stuck(order):
            return
        sessions = sorted(
            {order.session, str(job.payload["session"])}
        )  # an exit of yesterday's plan is today's order
        looks = [await self.broker.orders(session=session) for session in sessions]
        listed = {each.client_order_id for look in looks for each in look}
        if (
            order_id in listed or await self.broker.find(order_id) is not None
        ):  # a listing has what came in its day
            step = Step.SEND if order.intent.leg == ENTRY else Step.SEND_EXIT
            key = f"{order_id}/found@{self.clock.now_ms()}"
            tx.enqueue(NewJob(step, {"order": order_id}, idem_key=key, key=order.intent.plan_id))
            return
        if look == 1:
            self._look_later({**job.payload, "look": 2}, f"{job.idem_key}/2", tx)
            return
        await self._never_arrived(order, tx)
        if in_session:
            self._ask_again(order, tx)

    def _look_later(self, payload: Mapping[str, JsonValue], key: str, tx: Tx) -> None:
        due_ms = self.clock.now_ms() + BETWEEN_LISTINGS_MS
        tx.enqueue(NewJob(Step.RECONCILE, dict(payload), idem_key=key, run_at_ms=due_ms))

    async def _is_stuck(self, order: StoredOrder) -> bool:
        held = await self.store.position(order.intent.plan_id)
        held_e4 = -order.intent.side.sign * held.position.quantity_e4 if held is not None else 0
        orders = await self.store.orders_of(order.intent.plan_id)
        return is_stuck([each.own for each in orders], order.own, held_e4=held_e4)

    async def _never_arrived(self, order: StoredOrder, tx: Tx) -> None:
        """The order, and what was sent with it, is over; an entry's plan and reservation end with it."""
        order_id, plan_id = order.intent.client_order_id, order.intent.plan_id
        for each in await self.store.orders_of(plan_id):
            is_meant = order_id in (each.intent.client_order_id, each.intent.parent_id)
            if is_meant and each.state is OrderState.UNKNOWN:
                gone = OrderState.NEVER_ARRIVED
                each_id = each.intent.client_order_id
                tx.put(OrderMoved(client_order_id=each_id, to_state=gone, reason="not listed"))
        stored = await self.store.plan(plan_id)
        is_entry = order.intent.leg == ENTRY
        if is_entry and stored is not None and stored.state is PlanState.ENTERING:
            tx.put(
                PlanMoved(
                    plan_id=plan_id,
                    from_states=(PlanState.ENTERING,),
                    to_state=PlanState.NOT_FILLED,
                    reason="never_arrived",
                )
            )
        if is_entry:
            tx.put(ReservationReleased(plan_id=plan_id))
        tx.put(Journalled(kind="never_arrived", ref=order_id, data={"listings": 2}))
        tx.touch(ACCOUNT_ROW)

    def _ask_again(self, order: StoredOrder, tx: Tx) -> None:
        """What the exit was for, now that its place is free."""
        plan_id, key = order.intent.plan_id, f"{order.intent.client_order_id}/gone"
        payload: dict[str, JsonValue] = {"plan": plan_id}
        if order.intent.leg == EXIT:
            again = {**payload, "reason": order.intent.reason}
            tx.enqueue(NewJob(Step.EXIT, again, idem_key=key, key=plan_id))
        else:
            tx.enqueue(NewJob(Step.PROTECT, payload, idem_key=key, key=plan_id))
