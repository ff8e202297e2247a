"""Exits: closes positions, keeps and moves their stops; never blocked by entry controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import OpenPosition, StoredOrder
from finagent.domain.escalation import may_replace, working_exit
from finagent.domain.facts import IntentRecorded, Journalled, OrderMoved, ReservationReleased
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY, EXIT, STOP, entry_side, exit_intent, exit_side, stop_intent
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    OrderIntent,
    OrderState,
    OwnOrder,
    Scope,
    StillLive,
    body_hash,
    next_generation,
)
from finagent.domain.positions import ExitReason
from finagent.domain.protection import (
    CloseOut,
    FreeQuantity,
    PlaceStop,
    ResizeStop,
    WaitFor,
    can_replace,
    free_e4,
    is_attached,
    live_exits,
    protection_of,
    target_shares,
)
from finagent.domain.steps import Step
from finagent.ports import (
    Clock,
    GiveUpError,
    Job,
    JsonValue,
    NewJob,
    OrderExecutionPort,
    RetryError,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="exits", consumes=(Step.EXIT, Step.PROTECT, Step.MOVE_STOP), needs=("queue", "broker")
)
REST_GRACE_MS = 2_000
"""How long the rest of an entry may go on filling before it makes room for the stop."""
SOON, SLOW_S = 15, 10
"""After so many looks at what is in the way there is one in so many seconds: fifty outlast the evidence for it."""


@dataclass(frozen=True, slots=True)
class ExitService:
    """Takes ``exit {plan, reason}``, ``protect {plan}`` and ``move_stop {plan, stop_e4, reason}`` jobs.

    An exit with ``legs`` takes these targets alone and protects the rest. One with ``rung`` is a step of the flatten
    ladder: an exit that has worked for a minute is cancelled, and the next generation follows once it is over;
    ``is_banded`` does the same after a halt, with a ``limit_e4`` as long as there is one.
    """

    store: Store
    broker: OrderExecutionPort
    clock: Clock
    scope: Scope

    async def handle(self, job: Job, tx: Tx) -> None:
        """One exit step; what is in the way is looked at again, soon at first."""
        try:
            await self._step(job, tx)
        except RetryError as error:
            if job.attempts <= SOON:
                raise
            raise RetryError(str(error), retry_after_s=SLOW_S) from error

    async def _step(self, job: Job, tx: Tx) -> None:
        held = await self.store.position(str(job.payload["plan"]))
        if held is None:
            return
        orders = await self.store.orders_of(held.plan.plan_id)
        if job.type == Step.PROTECT:
            await self._protect(job, held, orders, tx)
        elif held.position.quantity_e4 == 0:
            return
        elif job.type == Step.MOVE_STOP:
            await self._move_stop(job, held, orders, tx)
        elif "legs" in job.payload:
            await self._take_targets(job, held, orders, tx)
        else:
            await self._exit(job, held, orders, tx)

    # ------------------------------------------------------------ all of it
    async def _exit(self, job: Job, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx) -> None:
        """Free the quantity at the broker, see that it is free, then commit the next exit generation."""
        plan, reason, limit_e4 = held.plan, str(job.payload["reason"]), job.payload.get("limit_e4")
        if not isinstance(limit_e4, int | None):
            raise GiveUpError(f"exit job {job.idem_key} has a limit that is no number: {dict(job.payload)}")
        live = [order for order in orders if order.state not in TERMINAL_ORDER_STATES]
        side = exit_side(plan) if _held_e4(held) > 0 else entry_side(plan)
        working = working_exit([order.own for order in live], side)
        if working is not None:
            is_harder = "rung" in job.payload or "is_banded" in job.payload
            if not is_harder or not may_replace(working, limit_e4=limit_e4, now_ms=self.clock.now_ms()):
                self._look_again(held, orders, tx)
                return
            reason = working.intent.reason  # why we leave has not changed, only how hard we try
        if _held_e4(held) < 0:
            await self._agree(orders)
        for order in live:
            await self._freed(order, tx)
        intent = exit_intent(
            plan,
            abs(held.position.quantity_e4),
            generation=_next(orders, plan.plan_id, EXIT, is_replacement=working is not None),
            reason=reason,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
            side=side,
            limit_e4=limit_e4,
        )
        if working is not None:
            self._tell_harder(working, intent, job, tx)
        self._send(intent, held, kind="exit", tx=tx)
        tx.put(ReservationReleased(plan_id=plan.plan_id))

    def _tell_harder(self, old: OwnOrder, new: OrderIntent, job: Job, tx: Tx) -> None:
        """An exit that had its time makes room for the next generation; it is over at the broker by now."""
        data: dict[str, JsonData] = {
            "old": old.intent.client_order_id,
            "order": new.client_order_id,
            "after_ms": self.clock.now_ms() - old.intent.created_at_ms,
            "rung": str(job.payload.get("rung", "band")),
        }
        tx.put(Journalled(kind="exit_escalated", ref=new.plan_id, data=data))

    # ------------------------------------------------------------ separate exits
    async def _protect(self, job: Job, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx) -> None:
        """One step towards one resting stop for all that no other exit has claimed."""
        own = [order.own for order in orders]
        if is_attached(own) or await self.store.is_exiting(held.plan.plan_id):
            return  # the broker minds attached ones; an exit under way protects what it leaves
        by_id = {order.intent.client_order_id: order for order in orders}
        step = protection_of(own, held_e4=_held_e4(held))
        if isinstance(step, PlaceStop | ResizeStop) and not await self._has_room(job, held, orders, tx):
            return
        match step:
            case None | WaitFor():
                return
            case CloseOut():
                plan_id = held.plan.plan_id
                reason = ExitReason.STOP if _held_e4(held) > 0 else ExitReason.FLATTEN
                out: dict[str, JsonValue] = {"plan": plan_id, "reason": reason.value}
                key = f"{plan_id}/out-{self.clock.now_ms()}"
                tx.enqueue(NewJob(Step.EXIT, out, idem_key=key, key=plan_id))
            case FreeQuantity(freed):
                for order in freed:
                    stored = by_id[order.intent.client_order_id]
                    if not await self._may_yet_arrive(stored, held):
                        await self._freed(stored, tx)
                self._look_again(held, orders, tx)
            case PlaceStop(quantity_e4, free):
                for order in free:
                    await self._freed(by_id[order.intent.client_order_id], tx)
                self._place_stop(held, orders, quantity_e4, held.stop_e4, tx)
            case ResizeStop(stop, quantity_e4):
                old = by_id[stop.intent.client_order_id]
                self._replace_stop(old, held, orders, quantity_e4, held.stop_e4, "resize", tx)

    async def _has_room(self, job: Job, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx) -> bool:
        """Where no exit is taken beside a working entry, its rest gets a moment to fill, then it is cancelled."""
        entry = next((o for o in orders if _is_live(o) and o.intent.leg == ENTRY), None)
        if entry is None or self.broker.capabilities.has_opposite_orders:
            return True
        plan_id, entry_id = held.plan.plan_id, entry.intent.client_order_id
        if job.payload.get("rest") == "cancel":
            await self._freed(entry, tx)
            tx.put(ReservationReleased(plan_id=plan_id))
            return True
        later: dict[str, JsonValue] = {"plan": plan_id, "rest": "cancel"}
        due_ms = self.clock.now_ms() + REST_GRACE_MS
        key = f"{entry_id}/rest@{due_ms}"
        tx.enqueue(NewJob(Step.PROTECT, later, idem_key=key, key=plan_id, run_at_ms=due_ms))
        return False

    def _look_again(self, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx) -> None:
        """What was freed, or found under way, may leave something bare."""
        if held.position.quantity_e4 != 0 and not is_attached([order.own for order in orders]):
            plan_id = held.plan.plan_id
            key = f"{plan_id}/freed-{self.clock.now_ms()}"
            tx.enqueue(NewJob(Step.PROTECT, {"plan": plan_id}, idem_key=key, key=plan_id))

    async def _take_targets(
        self, job: Job, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx
    ) -> None:
        """Exits for the shares of the targets reached; the stop shrinks to what remains, in one step if it can."""
        legs = job.payload["legs"]
        if not isinstance(legs, list):
            raise GiveUpError(f"exit job {job.idem_key} names no legs: {dict(job.payload)}")
        own = [order.own for order in orders]
        claimed = [order for order in live_exits(own) if order.intent.leg != STOP]
        if is_attached(own) or any(order.intent.leg == EXIT for order in claimed):
            self._look_again(held, orders, tx)
            return
        for order in orders:
            if order.intent.leg == ENTRY and order.state not in TERMINAL_ORDER_STATES:
                await self._freed(order, tx)  # what has reached its target is not added to
        free = free_e4(claimed, held_e4=_held_e4(held))
        wanted: list[tuple[str, int]] = []
        for leg, part_e4 in target_shares(held.plan, own):
            quantity_e4 = min(part_e4, free) if leg in legs else 0
            free -= quantity_e4
            if quantity_e4 > 0:
                wanted.append((leg, quantity_e4))
        if not wanted:
            self._look_again(held, orders, tx)
            return
        await self._shrink_stop(held, orders, free, tx)
        for leg, quantity_e4 in wanted:
            intent = exit_intent(
                held.plan,
                quantity_e4,
                generation=_next(orders, held.plan.plan_id, leg),
                reason=str(job.payload["reason"]),
                scope=self.scope,
                now_ms=self.clock.now_ms(),
                leg=leg,
            )
            self._send(intent, held, kind="exit", tx=tx)

    async def _shrink_stop(
        self, held: OpenPosition, orders: Sequence[StoredOrder], rest_e4: int, tx: Tx
    ) -> None:
        """Bring the resting stop down to what will remain; the order of jobs makes room before the exit leaves."""
        stops = [o for o in orders if o.intent.leg == STOP and o.state not in TERMINAL_ORDER_STATES]
        if any(order.state in (OrderState.INTENT, OrderState.UNKNOWN) for order in stops):
            raise RetryError(f"{stops[-1].intent.client_order_id}: the stop is on its way", retry_after_s=1)
        own = [order.own for order in orders]
        if rest_e4 > 0 and len(stops) == 1 and can_replace(own, stops[0].own):
            self._replace_stop(stops[0], held, orders, rest_e4, held.stop_e4, "target", tx)
            return
        for stop in stops:
            await self._freed(stop, tx)
        if rest_e4 > 0:
            self._place_stop(held, orders, rest_e4, held.stop_e4, tx)

    # ------------------------------------------------------------ stops
    async def _move_stop(self, job: Job, held: OpenPosition, orders: Sequence[StoredOrder], tx: Tx) -> None:
        """Commit the stop's next generation, which will replace the resting one at the broker in one step."""
        stop_e4 = job.payload["stop_e4"]
        if not isinstance(stop_e4, int):
            raise GiveUpError(f"move_stop job {job.idem_key} has no stop: {dict(job.payload)}")
        stops = [o for o in orders if o.intent.leg == STOP and o.state not in TERMINAL_ORDER_STATES]
        is_exiting = any(o.intent.leg == EXIT and o.state not in TERMINAL_ORDER_STATES for o in orders)
        if is_exiting or not stops or held.plan.direction.sign * (stop_e4 - held.stop_e4) <= 0:
            return
        own = [order.own for order in orders]
        generation = next_generation(own, plan_id=held.plan.plan_id, leg=STOP, is_replacement=True)
        if isinstance(generation, StillLive):
            raise RetryError(f"{generation.client_order_id}: the stop before is on its way", retry_after_s=1)
        old, reason = stops[-1], str(job.payload["reason"])
        if is_attached(own):
            is_entering = any(o.intent.leg == ENTRY and o.state not in TERMINAL_ORDER_STATES for o in orders)
            quantity_e4 = old.intent.quantity_e4 if is_entering else abs(held.position.quantity_e4)
        elif can_replace(own, old.own):
            quantity_e4 = old.own.remaining_e4
        elif old.filled_e4 == 0:
            await self._freed(old, tx)
            self._place_stop(held, orders, old.own.remaining_e4, stop_e4, tx)
            return
        else:
            return  # it fills already
        self._replace_stop(old, held, orders, quantity_e4, stop_e4, reason, tx)

    def _replace_stop(
        self,
        old: StoredOrder,
        held: OpenPosition,
        orders: Sequence[StoredOrder],
        quantity_e4: int,
        stop_e4: int,
        reason: str,
        tx: Tx,
    ) -> None:
        plan = held.plan
        intent = stop_intent(
            plan,
            quantity_e4,
            stop_e4,
            generation=_next(orders, plan.plan_id, STOP, is_replacement=True),
            parent_id=old.intent.parent_id,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
        )
        order_id = intent.client_order_id
        tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {"order": order_id, "stop_e4": stop_e4, "reason": reason}
        if old.intent.parent_id is None:
            data["quantity_e4"] = quantity_e4
        tx.put(Journalled(kind="move_stop", ref=plan.plan_id, data=data))
        payload = {"order": order_id, "old": old.intent.client_order_id}
        tx.enqueue(NewJob(Step.REPLACE, payload, idem_key=order_id, key=plan.plan_id))

    def _place_stop(
        self, held: OpenPosition, orders: Sequence[StoredOrder], quantity_e4: int, stop_e4: int, tx: Tx
    ) -> None:
        plan = held.plan
        intent = stop_intent(
            plan,
            quantity_e4,
            stop_e4,
            generation=_next(orders, plan.plan_id, STOP, is_replacement=True),
            parent_id=None,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
        )
        self._send(intent, held, kind="protect", tx=tx)

    # ------------------------------------------------------------ at the broker
    def _send(self, intent: OrderIntent, held: OpenPosition, *, kind: str, tx: Tx) -> None:
        """The intent, its journal row and the job that sends it."""
        plan, order_id = held.plan, intent.client_order_id
        tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {"order": order_id, "quantity_e4": intent.quantity_e4}
        if kind == "protect":
            data["stop_e4"] = intent.stop_e4
        else:
            data["reason"] = intent.reason
            if intent.limit_e4 is not None:
                data["limit_e4"] = intent.limit_e4
        tx.put(Journalled(kind=kind, ref=plan.plan_id, data=data))
        tx.enqueue(NewJob(Step.SEND_EXIT, {"order": order_id}, idem_key=order_id, key=plan.plan_id))

    async def _agree(self, orders: Sequence[StoredOrder]) -> None:
        """More closed than opened may only mean that fills come out of order: nothing is bought back on that."""
        for order in orders:
            order_id = order.intent.client_order_id
            found = await self.broker.find(order_id)
            if found is not None and found.filled_e4 != order.filled_e4:
                raise RetryError(f"{order_id}: fills are on their way", retry_after_s=1)

    async def _may_yet_arrive(self, order: StoredOrder, held: OpenPosition) -> bool:
        """Whether an exit of unknown fate is not at the broker, and nothing is held that would wait for its end.

        Its sender goes on looking and asks for this again once it is there; else the evidence after the close ends it.
        """
        if held.position.quantity_e4 != 0 or order.state is not OrderState.UNKNOWN:
            return False
        return await self.broker.find(order.intent.client_order_id) is None

    async def _freed(self, order: StoredOrder, tx: Tx) -> None:
        """See that an order can fill no more, then record it; RetryError as long as nobody can know."""
        order_id, is_alone = order.intent.client_order_id, order.intent.parent_id is None
        if order.state is OrderState.INTENT:
            if not is_alone or await self.store.was_sent(order_id):
                found = await self.broker.find(order_id)
                if found is not None or is_alone:
                    raise RetryError(f"{order_id}: its acceptance is on its way", retry_after_s=1)
        else:
            await self.broker.cancel(order_id)
            found = await self.broker.find(order_id)
            is_over = found is not None and found.state in TERMINAL_ORDER_STATES
            if found is None or not is_over or found.filled_e4 != order.filled_e4:
                raise RetryError(f"{order_id}: not free yet at the broker", retry_after_s=1)
        tx.put(OrderMoved(client_order_id=order_id, to_state=OrderState.CANCELLED, reason="exit"))
        data: dict[str, JsonData] = {"reason": "exit", "filled_e4": order.filled_e4}
        tx.put(Journalled(kind="cancelled", ref=order_id, data=data))


def _is_live(order: StoredOrder) -> bool:
    return order.state not in TERMINAL_ORDER_STATES


def _held_e4(held: OpenPosition) -> int:
    """What is held, signed in the plan's direction."""
    return held.plan.direction.sign * held.position.quantity_e4


def _next(orders: Sequence[StoredOrder], plan_id: str, leg: str, *, is_replacement: bool = False) -> int:
    """The generation to mint; the caller has seen that the ones before are over, or will replace them."""
    own: list[OwnOrder] = [order.own for order in orders]
    generation = next_generation(own, plan_id=plan_id, leg=leg, is_replacement=is_replacement)
    if isinstance(generation, StillLive):
        raise RetryError(f"{generation.client_order_id}: still {generation.state}", retry_after_s=1)
    return generation
