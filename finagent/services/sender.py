"""Sender: brings committed intents to the broker exactly once, and finds out what became of doubtful ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import StoredOrder
from finagent.domain.broker_event import ended_key, ended_payload
from finagent.domain.facts import Journalled, OrderMoved, PlanMoved, ReservationReleased, StopMoved
from finagent.domain.legs import ENTRY, EXIT, STOP
from finagent.domain.market import MINUTE_MS
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerOrder, OrderState, body_hash
from finagent.domain.plan import PlanState
from finagent.domain.positions import ExitReason
from finagent.domain.protection import free_e4, is_stuck
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
    name="sender", consumes=(Step.SEND, Step.SEND_EXIT, Step.REPLACE), needs=("queue", "broker")
)


MOST_EXITS = 20
MOST_LOOKS = 20
"""So many tries of one job that the broker did not answer (half a minute or more) make an order unknown."""
MOST_BUSY_STOPS = 5
AGAIN_MS = 1_000
LONGEST_AGAIN_MS = 15_000
COMPARE_AGAIN_MS = 10_000
BUSY = ("insufficient_quantity",)
"""Refusals that say that the shares are not free yet, or are not there any more."""


@dataclass(frozen=True, slots=True)
class SenderService:
    """Takes ``send`` and ``send_exit`` jobs ``{order}`` and ``replace`` jobs ``{order, old}``.

    The claim of a send job is its sending mark: with more than one attempt, or a ``try`` in its payload, the id is
    looked up before anything is sent.
    An outcome nobody knows makes the order unknown; the same id and the same bytes are sent again, an entry's
    only within its time to live and while nothing shuts entries, an exit's for as long as it has something to close;
    one with nothing left to close is looked for until it is there or the evidence ends it. An entry that a flatten
    wants gone is cancelled when it is found.
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
        if order.state in (OrderState.INTENT, OrderState.UNKNOWN):
            await self._send_or_doubt(job, order, tx)
        elif order.intent.leg == ENTRY:
            await self._overtaken(job, order, tx)

    async def _send_or_doubt(self, job: Job, order: StoredOrder, tx: Tx) -> None:
        """A broker that answers nothing, or refuses the keys, must not wear this job out: a dead one looks no more."""
        try:
            await self._send(job, order, tx)
        except RetryError as error:
            if job.attempts < MOST_LOOKS:
                raise
            self._doubt(job, order, await self._legs(order), str(error), tx)

    async def _send(self, job: Job, order: StoredOrder, tx: Tx) -> None:
        legs = await self._legs(order)
        old_id = str(job.payload["old"]) if job.type == Step.REPLACE else None
        is_doubtful = job.attempts > 1 or order.state is OrderState.UNKNOWN or "try" in job.payload
        found = await self.broker.find(order.intent.client_order_id) if is_doubtful else None
        if found is not None:
            await self._adopt(order, legs, found, tx, old_id=old_id)
            return
        if is_doubtful and old_id is not None and await self._is_over(old_id):
            await self._rejected(order, legs, OrderRejectedError("not_open", old_id), tx)
            return
        age_ms = self.clock.now_ms() - order.intent.created_at_ms
        if order.intent.leg == ENTRY and age_ms > order.intent.time_to_live_ms:
            self._too_late(order, legs, is_doubtful, "time_to_live_over", tx)
            return
        shut = await self._shut(order) if order.intent.leg == ENTRY else ""
        if shut and is_doubtful:
            self._doubt(job, order, legs, f"not sent again: {shut}", tx)
            return
        if shut:
            self._not_sent(order, legs, shut, tx)
            return
        if not await self._may_leave(job, order, legs, is_doubtful, old_id, tx):
            return
        try:
            accepted = await self._submit(order, legs, old_id)
        except OrderRejectedError as error:
            if is_doubtful and age_ms <= order.intent.time_to_live_ms:
                self._doubt(job, order, legs, f"refused, an earlier try may yet arrive: {error}", tx)
            else:
                await self._rejected(order, legs, error, tx)
        except DuplicateClientOrderIdError:
            found = await self.broker.find(order.intent.client_order_id)
            if found is None:
                self._doubt(job, order, legs, "the broker refuses a second one and shows none", tx)
            else:
                await self._adopt(order, legs, found, tx, old_id=old_id)
        except OutcomeUnknownError as error:
            self._doubt(job, order, legs, str(error), tx)
        else:
            await self._adopt(order, legs, accepted, tx, old_id=old_id)

    async def _submit(
        self, order: StoredOrder, legs: Sequence[StoredOrder], old_id: str | None
    ) -> BrokerOrder:
        if old_id is not None:
            return await self.broker.replace(old_id, new=order.intent)
        return await self.broker.submit([order.intent, *(leg.intent for leg in legs)])

    async def _is_over(self, old_id: str) -> bool:
        """Whether an order ended at the broker in another way than by its replacement, which so can never arrive."""
        old = await self.broker.find(old_id)
        return old is not None and old.state in TERMINAL_ORDER_STATES and old.replaced_by is None

    # ------------------------------------------------------------ before it leaves
    async def _shut(self, order: StoredOrder) -> str:
        """Why an entry must not leave now, though its intent is committed; empty when it may."""
        if order.unwanted:
            return order.unwanted
        control = await self.store.control()
        found = (
            ("killed", control.is_killed),
            ("rearm_needed", control.needs_rearm),
            ("paused", control.is_paused),
            ("symbol_locked", order.intent.symbol in control.locked_symbols),
            ("entry_gate", control.gate_reason is not None),
        )
        return next((name for name, is_true in found if is_true), "")

    def _not_sent(self, order: StoredOrder, legs: Sequence[StoredOrder], reason: str, tx: Tx) -> None:
        """An entry that never left and must not: it ends here, and its plan with it."""
        for each in (order, *legs):
            tx.put(_moved(each, OrderState.CANCELLED, reason))
        tx.put(Journalled(kind="withdrawn", ref=order.intent.client_order_id, data={"reason": reason}))
        _end_plan(order, PlanState.NOT_FILLED, reason, tx)

    async def _may_leave(
        self,
        job: Job,
        order: StoredOrder,
        legs: Sequence[StoredOrder],
        is_doubtful: bool,
        old_id: str | None,
        tx: Tx,
    ) -> bool:
        """The same bytes as committed, and never more to close than is held and not claimed by another exit."""
        if body_hash(order.intent, [leg.intent for leg in legs]) != order.body_hash:
            self._too_late(order, legs, is_doubtful, "body_changed", tx)
            return False
        if order.intent.leg == ENTRY or order.intent.parent_id is not None:
            return True
        held = await self.store.position(order.intent.plan_id)
        orders = await self.store.orders_of(order.intent.plan_id)
        without = [order.intent.client_order_id, *([old_id] if old_id is not None else [])]
        held_e4 = -order.intent.side.sign * held.position.quantity_e4 if held is not None else 0
        free = free_e4([each.own for each in orders], held_e4=held_e4, without=without)
        if order.own.remaining_e4 <= free:
            return True
        if not is_doubtful:
            self._withdraw(order, free, tx)
            return False
        if is_stuck([each.own for each in orders], order.own, held_e4=held_e4):
            self._ask_evidence(order, tx)
        self._doubt(job, order, legs, f"{free} free in 1e-4 shares", tx)
        return False

    def _ask_evidence(self, order: StoredOrder, tx: Tx) -> None:
        """An exit that can never be sent again leaves what is held bare until it is known to be gone."""
        order_id, now_ms = order.intent.client_order_id, self.clock.now_ms()
        payload: dict[str, JsonValue] = {
            "session": order.session, "reason": "unknown", "order": order_id, "look": 1, "is_stuck": True,
        }  # fmt: skip
        key = f"{order_id}/stuck@{now_ms // MINUTE_MS}"
        tx.enqueue(NewJob(Step.RECONCILE, payload, idem_key=key, run_at_ms=now_ms + MINUTE_MS))

    def _withdraw(self, order: StoredOrder, free: int, tx: Tx) -> None:
        """An exit that never left and finds its shares claimed: it ends here, what is needed is asked again."""
        order_id = order.intent.client_order_id
        tx.put(OrderMoved(client_order_id=order_id, to_state=OrderState.CANCELLED, reason="not_free"))
        tx.put(Journalled(kind="withdrawn", ref=order_id, data={"free_e4": free}))
        self._ask_again(order, tx)

    # ------------------------------------------------------------ what became of it
    def _doubt(self, job: Job, order: StoredOrder, legs: Sequence[StoredOrder], detail: str, tx: Tx) -> None:
        """Nobody knows: unknown, and another look soon; the reservation stays."""
        order_id = order.intent.client_order_id
        if order.state is OrderState.INTENT:
            for each in (order, *legs):
                tx.put(_moved(each, OrderState.UNKNOWN, detail))
            tx.put(Journalled(kind="unknown", ref=order_id, data={"detail": detail}))
        self._look_soon(job, order, tx)

    def _look_soon(self, job: Job, order: StoredOrder, tx: Tx) -> None:
        """The same job again, later each time."""
        order_id, tries = order.intent.client_order_id, job.payload.get("try", 0)
        number = tries + 1 if isinstance(tries, int) else 1
        payload: dict[str, JsonValue] = {**job.payload, "try": number}
        wait_ms = min(AGAIN_MS << min(number - 1, 8), LONGEST_AGAIN_MS)
        key = f"{order_id}/try-{number}"
        due_ms = self.clock.now_ms() + wait_ms
        tx.enqueue(NewJob(Step(job.type), payload, idem_key=key, key=order.intent.plan_id, run_at_ms=due_ms))

    async def _overtaken(self, job: Job, order: StoredOrder, tx: Tx) -> None:
        """Its events came before its reply was recorded (a crash in between): accept its legs, start its timer.

        A leg that the broker does not show yet is looked for again, until it is there or the evening's evidence ends
        it.
        """
        missing = False
        for leg in await self._legs(order):
            if leg.state not in (OrderState.INTENT, OrderState.UNKNOWN):
                continue
            found = await self.broker.find(leg.intent.client_order_id)
            if found is not None:
                tx.put(_accepted(leg, found.accepted_at_ms))
            missing |= found is None
        if missing:
            self._look_soon(job, order, tx)
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

    async def _adopt(
        self,
        order: StoredOrder,
        legs: Sequence[StoredOrder],
        found: BrokerOrder,
        tx: Tx,
        *,
        old_id: str | None,
    ) -> None:
        at_ms = found.accepted_at_ms
        for each in (order, *legs):
            tx.put(_accepted(each, at_ms))
        if old_id is not None:
            tx.put(OrderMoved(client_order_id=old_id, to_state=OrderState.CANCELLED, reason="replaced"))
        ref, plan_id = order.intent.client_order_id, order.intent.plan_id
        tx.put(Journalled(kind="accepted", ref=ref, data={"broker_at_ms": at_ms}))
        if order.intent.leg == STOP and order.intent.stop_e4 is not None:
            tx.put(StopMoved(plan_id=plan_id, stop_e4=order.intent.stop_e4))
        is_exit_alone = order.intent.leg != ENTRY and order.intent.parent_id is None
        if is_exit_alone and (order.intent.leg == STOP or order.state is OrderState.UNKNOWN):
            tx.enqueue(NewJob(Step.PROTECT, {"plan": plan_id}, idem_key=f"{ref}/rests", key=plan_id))
        if found.state in TERMINAL_ORDER_STATES and found.state is not OrderState.FILLED:
            self._tell_end(found, plan_id, tx)
        if order.intent.leg == ENTRY:
            stored = await self.store.plan(plan_id)
            not_before_ms = stored.plan.entry_from_ms if stored is not None else 0
            self._start_timer(order, max(at_ms, not_before_ms), tx)

    def _tell_end(self, found: BrokerOrder, plan_id: str, tx: Tx) -> None:
        """It was over before we found it: the same event as its broker's stream leaves."""
        order_id, state = found.client_order_id, found.state
        payload = dict(ended_payload(order_id, state, found.reason, filled_e4=found.filled_e4))
        tx.enqueue(NewJob(Step.BROKER_EVENT, payload, idem_key=ended_key(order_id, state), key=plan_id))

    def _start_timer(self, order: StoredOrder, working_from_ms: int, tx: Tx) -> None:
        """The unfilled rest of an entry is cancelled in time; a second timer of one entry changes nothing."""
        order_id, plan_id = order.intent.client_order_id, order.intent.plan_id
        payload = {"order": order_id}
        if order.unwanted:
            unwanted = {**payload, "reason": order.unwanted}
            key = f"{order_id}/unwanted"
            tx.enqueue(NewJob(Step.CANCEL_ENTRY, dict(unwanted), idem_key=key, key=plan_id, priority=1))
        due_ms = max(working_from_ms, self.clock.now_ms()) + self.entry_ttl_ms
        tx.enqueue(NewJob(Step.CANCEL_ENTRY, payload, idem_key=order_id, key=plan_id, run_at_ms=due_ms))

    # ------------------------------------------------------------ refused
    async def _rejected(
        self, order: StoredOrder, legs: Sequence[StoredOrder], error: OrderRejectedError, tx: Tx
    ) -> None:
        reason = str(error)
        for each in (order, *legs):
            tx.put(_moved(each, OrderState.REJECTED, reason))
        tx.put(Journalled(kind="rejected", ref=order.intent.client_order_id, data={"reason": reason}))
        if order.intent.leg != ENTRY and error.reason in BUSY:
            self._compare_soon(order, tx)
        if order.intent.leg == ENTRY:
            _end_plan(order, PlanState.CANCELLED, f"rejected: {reason}", tx)
        elif (
            order.intent.leg != STOP
            or order.intent.parent_id is not None
            or await self._is_busy(order, error.reason)
        ):
            self._ask_again(order, tx)
        else:
            self._leave_at_market(order, tx)

    async def _is_busy(self, order: StoredOrder, reason: str) -> bool:
        """Whether a refused stop is worth another try: a replacement's old one works on, or shares come free soon."""
        stops = [o for o in await self.store.orders_of(order.intent.plan_id) if o.intent.leg == STOP]
        others = [o for o in stops if o.intent.generation != order.intent.generation]
        if any(other.state not in TERMINAL_ORDER_STATES for other in others):
            return True
        refused = 0
        for other in sorted(others, key=lambda each: -each.intent.generation):
            if other.state is not OrderState.REJECTED:
                break
            refused += 1
        return reason in BUSY and refused < MOST_BUSY_STOPS

    def _compare_soon(self, order: StoredOrder, tx: Tx) -> None:
        """An exit for more than the broker has free may mean a sale by hand: what is left stays bare until it is seen.

        One comparison in so many seconds, however often the exit is asked again.
        """
        payload: dict[str, JsonValue] = {"session": order.session, "reason": "refused"}
        key = f"{order.intent.plan_id}/refused@{self.clock.now_ms() // COMPARE_AGAIN_MS}"
        tx.enqueue(NewJob(Step.RECONCILE, payload, idem_key=key))

    def _leave_at_market(self, order: StoredOrder, tx: Tx) -> None:
        """No stop can rest where this one was meant to: the position leaves at once."""
        plan_id, order_id = order.intent.plan_id, order.intent.client_order_id
        payload: dict[str, JsonValue] = {"plan": plan_id, "reason": ExitReason.STOP.value}
        tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{order_id}/no_stop", key=plan_id))

    def _ask_again(self, order: StoredOrder, tx: Tx) -> None:
        """An exit that is not there leaves shares bare: what it was for is asked again, a bounded number of times."""
        plan_id, order_id, leg = order.intent.plan_id, order.intent.client_order_id, order.intent.leg
        if order.intent.parent_id is not None:
            return
        step, payload = Step.PROTECT, dict[str, JsonValue](plan=plan_id)
        if leg != STOP:
            if order.intent.generation >= MOST_EXITS:
                return
            step, payload["reason"] = Step.EXIT, order.intent.reason
            if leg != EXIT:
                payload["legs"] = [leg]
        due_ms = self.clock.now_ms() + AGAIN_MS
        tx.enqueue(NewJob(step, payload, idem_key=f"{order_id}/again", key=plan_id, run_at_ms=due_ms))

    def _too_late(
        self, order: StoredOrder, legs: Sequence[StoredOrder], is_doubtful: bool, reason: str, tx: Tx
    ) -> None:
        """Never sent: cancelled. Perhaps sent and not found: unknown, and its reservation stays."""
        to_state = OrderState.UNKNOWN if is_doubtful else OrderState.CANCELLED
        for each in (order, *legs):
            tx.put(_moved(each, to_state, reason))
        tx.put(
            Journalled(
                kind="too_late",
                ref=order.intent.client_order_id,
                data={"state": to_state.value, "reason": reason},
            )
        )
        if is_doubtful:
            return
        if order.intent.leg == ENTRY:
            _end_plan(order, PlanState.NOT_FILLED, "too_late_to_send", tx)
        else:
            self._ask_again(order, tx)


def _moved(order: StoredOrder, to_state: OrderState, reason: str) -> OrderMoved:
    return OrderMoved(client_order_id=order.intent.client_order_id, to_state=to_state, reason=reason)


def _accepted(order: StoredOrder, at_ms: int) -> OrderMoved:
    order_id = order.intent.client_order_id
    return OrderMoved(client_order_id=order_id, to_state=OrderState.ACCEPTED, accepted_at_ms=at_ms)


def _end_plan(order: StoredOrder, state: PlanState, reason: str, tx: Tx) -> None:
    plan_id = order.intent.plan_id
    tx.put(PlanMoved(plan_id=plan_id, from_states=(PlanState.ENTERING,), to_state=state, reason=reason))
    tx.put(ReservationReleased(plan_id=plan_id))
