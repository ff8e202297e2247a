"""Sender: brings committed intents to the broker exactly once, and finds out what became of doubtful ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import StoredOrder
from finagent.domain.facts import Journalled, OrderMoved, PlanMoved, ReservationReleased, StopMoved
from finagent.domain.legs import ENTRY, EXIT, STOP
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerOrder, OrderState
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import (
    Clock,
    DuplicateClientOrderIdError,
    GiveUpError,
    Job,
    JsonValue,
    NewJob,
    OrderExecutionPort,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="sender",
    consumes=(Step.SEND, Step.SEND_EXIT, Step.REPLACE, Step.CANCEL_ENTRY),
    needs=("queue", "broker"),
)


MOST_EXITS = 20
EXIT_AGAIN_MS = 1_000


@dataclass(frozen=True, slots=True)
class SenderService:
    """Takes ``send``, ``send_exit`` and ``cancel_entry`` jobs ``{order}`` and ``replace`` jobs ``{order, old}``.

    The claim of a send job is its sending mark: with more than one attempt the id is looked up before anything is
    sent, and the same id and body are sent again only within the intent's time to live.
    """

    store: Store
    broker: OrderExecutionPort
    clock: Clock
    entry_ttl_ms: int

    async def handle(self, job: Job, tx: Tx) -> None:
        """One order's next step at the broker."""
        order = await self.store.order(str(job.payload["order"]))
        if order is None:
            raise GiveUpError(f"{job.type} job {job.idem_key} names no order that was committed")
        if job.type == Step.CANCEL_ENTRY:
            if order.state not in TERMINAL_ORDER_STATES:
                await self._cancel_rest(order, tx)
        elif order.state in (OrderState.INTENT, OrderState.UNKNOWN):
            await self._send(job, order, tx)
        elif order.intent.leg == ENTRY:
            await self._overtaken(order, tx)

    async def _send(self, job: Job, order: StoredOrder, tx: Tx) -> None:
        legs = await self._legs(order)
        old_id = str(job.payload["old"]) if job.type == Step.REPLACE else None
        stored = await self.store.plan(order.intent.plan_id)
        not_before_ms = stored.plan.entry_from_ms if stored is not None else 0
        is_doubtful = job.attempts > 1 or order.state is OrderState.UNKNOWN
        found = await self.broker.find(order.intent.client_order_id) if is_doubtful else None
        if found is not None:
            self._adopt(order, legs, found, tx, old_id=old_id, not_before_ms=not_before_ms)
            return
        age_ms = self.clock.now_ms() - order.intent.created_at_ms
        if order.intent.leg == ENTRY and age_ms > order.intent.time_to_live_ms:
            self._too_late(order, legs, is_doubtful, tx)
            return
        try:
            accepted = await self._submit(job, order, legs)
        except OrderRejectedError as error:
            self._rejected(order, legs, str(error), tx)
            return
        except DuplicateClientOrderIdError:
            accepted = await self._look_up(order)
        except OutcomeUnknownError as error:
            raise RetryError(f"{order.intent.client_order_id}: {error}") from error
        self._adopt(order, legs, accepted, tx, old_id=old_id, not_before_ms=not_before_ms)

    async def _submit(self, job: Job, order: StoredOrder, legs: Sequence[StoredOrder]) -> BrokerOrder:
        if job.type == Step.REPLACE:
            return await self.broker.replace(str(job.payload["old"]), new=order.intent)
        return await self.broker.submit([order.intent, *(leg.intent for leg in legs)])

    async def _look_up(self, order: StoredOrder) -> BrokerOrder:
        found = await self.broker.find(order.intent.client_order_id)
        if found is None:
            raise RetryError(
                f"{order.intent.client_order_id}: the broker refuses a second one and shows none"
            )
        return found

    async def _overtaken(self, order: StoredOrder, tx: Tx) -> None:
        """Its events came before its reply was recorded (a crash in between): accept its legs, start its timer."""
        for leg in await self._legs(order):
            found = None
            if leg.state is OrderState.INTENT:
                found = await self.broker.find(leg.intent.client_order_id)
            if found is not None:
                tx.put(_accepted(leg, found.accepted_at_ms))
        if order.state not in TERMINAL_ORDER_STATES:
            self._start_timer(order, order.accepted_at_ms or 0, tx)

    async def _legs(self, order: StoredOrder) -> list[StoredOrder]:
        if order.intent.leg != ENTRY:
            return []
        parent = order.intent.client_order_id
        attached = [
            o for o in await self.store.orders_of(order.intent.plan_id) if o.intent.parent_id == parent
        ]
        live = [leg for leg in attached if leg.state not in TERMINAL_ORDER_STATES]
        return sorted(live, key=lambda leg: (leg.intent.leg != STOP, leg.intent.leg))

    def _adopt(
        self,
        order: StoredOrder,
        legs: Sequence[StoredOrder],
        found: BrokerOrder,
        tx: Tx,
        *,
        old_id: str | None,
        not_before_ms: int,
    ) -> None:
        at_ms = found.accepted_at_ms
        for each in (order, *legs):
            tx.put(_accepted(each, at_ms))
        if old_id is not None:
            tx.put(OrderMoved(client_order_id=old_id, to_state=OrderState.CANCELLED, reason="replaced"))
        ref = order.intent.client_order_id
        tx.put(Journalled(kind="accepted", ref=ref, data={"broker_at_ms": at_ms}))
        if order.intent.leg == STOP and order.intent.stop_e4 is not None:
            tx.put(StopMoved(plan_id=order.intent.plan_id, stop_e4=order.intent.stop_e4))
        if order.intent.leg == ENTRY:
            self._start_timer(order, max(at_ms, not_before_ms), tx)

    def _start_timer(self, order: StoredOrder, working_from_ms: int, tx: Tx) -> None:
        """The unfilled rest of an entry is cancelled in time; a second timer of one entry changes nothing."""
        order_id, plan_id = order.intent.client_order_id, order.intent.plan_id
        due_ms = max(working_from_ms, self.clock.now_ms()) + self.entry_ttl_ms
        payload = {"order": order_id}
        tx.enqueue(NewJob(Step.CANCEL_ENTRY, payload, idem_key=order_id, key=plan_id, run_at_ms=due_ms))

    def _rejected(self, order: StoredOrder, legs: Sequence[StoredOrder], reason: str, tx: Tx) -> None:
        for each in (order, *legs):
            tx.put(
                OrderMoved(
                    client_order_id=each.intent.client_order_id, to_state=OrderState.REJECTED, reason=reason
                )
            )
        tx.put(Journalled(kind="rejected", ref=order.intent.client_order_id, data={"reason": reason}))
        if order.intent.leg == ENTRY:
            _end_plan(order, PlanState.CANCELLED, f"rejected: {reason}", tx)
        elif order.intent.leg == EXIT and order.intent.generation < MOST_EXITS:
            self._exit_again(order, tx)

    def _exit_again(self, order: StoredOrder, tx: Tx) -> None:
        """A refused exit leaves the position naked: its next generation follows at once, a bounded number of times."""
        plan_id, order_id = order.intent.plan_id, order.intent.client_order_id
        payload: dict[str, JsonValue] = {"plan": plan_id, "reason": order.intent.reason}
        due_ms = self.clock.now_ms() + EXIT_AGAIN_MS
        tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{order_id}/again", key=plan_id, run_at_ms=due_ms))

    def _too_late(self, order: StoredOrder, legs: Sequence[StoredOrder], is_doubtful: bool, tx: Tx) -> None:
        """Never sent: cancelled. Perhaps sent and not found: unknown, and its reservation stays."""
        to_state = OrderState.UNKNOWN if is_doubtful else OrderState.CANCELLED
        for each in (order, *legs):
            tx.put(
                OrderMoved(
                    client_order_id=each.intent.client_order_id, to_state=to_state, reason="time_to_live_over"
                )
            )
        tx.put(Journalled(kind="too_late", ref=order.intent.client_order_id, data={"state": to_state.value}))
        if not is_doubtful:
            _end_plan(order, PlanState.NOT_FILLED, "too_late_to_send", tx)

    async def _cancel_rest(self, order: StoredOrder, tx: Tx) -> None:
        """Cancel what an entry did not get in time; fills under way come first.

        An unknown order may still arrive: only the evidence after the close ends it.
        """
        entry_id = order.intent.client_order_id
        await self.broker.cancel(entry_id)
        found = await self.broker.find(entry_id)
        if found is None and order.state is OrderState.UNKNOWN:
            return
        if found is not None and found.filled_e4 != order.filled_e4:
            raise RetryError(f"{entry_id}: fills are on their way", retry_after_s=1)
        await cancelled_entry(self.store, order, "entry_ttl", tx)


async def cancelled_entry(store: Store, order: StoredOrder, reason: str, tx: Tx) -> None:
    """Record that an entry is over at the broker: with no fill its legs and its plan end with it."""
    entry_id = order.intent.client_order_id
    tx.put(OrderMoved(client_order_id=entry_id, to_state=OrderState.CANCELLED, reason=reason))
    tx.put(Journalled(kind="cancelled", ref=entry_id, data={"reason": reason, "filled_e4": order.filled_e4}))
    if order.filled_e4 > 0:
        plan_id = order.intent.plan_id
        tx.put(ReservationReleased(plan_id=plan_id))
        booking = {"plan": plan_id}
        tx.enqueue(NewJob(Step.RECORD_TRADE, booking, idem_key=f"{plan_id}/entry_over", key=plan_id))
        return
    for leg in await store.orders_of(order.intent.plan_id):
        if leg.intent.parent_id == entry_id and leg.state not in TERMINAL_ORDER_STATES:
            tx.put(
                OrderMoved(
                    client_order_id=leg.intent.client_order_id, to_state=OrderState.CANCELLED, reason=reason
                )
            )
    _end_plan(order, PlanState.NOT_FILLED, reason, tx)


def _accepted(order: StoredOrder, at_ms: int) -> OrderMoved:
    order_id = order.intent.client_order_id
    return OrderMoved(client_order_id=order_id, to_state=OrderState.ACCEPTED, accepted_at_ms=at_ms)


def _end_plan(order: StoredOrder, state: PlanState, reason: str, tx: Tx) -> None:
    plan_id = order.intent.plan_id
    tx.put(PlanMoved(plan_id=plan_id, from_states=(PlanState.ENTERING,), to_state=state, reason=reason))
    tx.put(ReservationReleased(plan_id=plan_id))
