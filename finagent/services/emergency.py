"""Emergency: exits, and never entries, while the database cannot be written; each is in a log of its own first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from finagent.domain.book import OpenPosition, StoredOrder
from finagent.domain.legs import EXIT, STOP, exit_intent
from finagent.domain.manage import OpenState, TimeStop, advance, evaluate
from finagent.domain.market import Session, Side
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    BrokerOrder,
    OrderIntent,
    OrderState,
    OwnOrder,
    Scope,
    body_hash,
    next_generation,
)
from finagent.domain.positions import ExitReason, entry_price_e4, has_entry
from finagent.ports import (
    CalendarPort,
    Clock,
    DuplicateClientOrderIdError,
    MarketDataPort,
    OrderExecutionPort,
    OrderRejectedError,
    OutcomeUnknownError,
    Store,
)

MOST_EXITS = 20


class Trigger(StrEnum):
    """Why a position is closed while the database is locked; the first that applies."""

    KILL = "kill"
    FLATTEN = "flatten"
    LADDER = "ladder"
    TIME = "time"
    UNPROTECTED = "unprotected"


EXIT_REASON: Mapping[Trigger, ExitReason] = {
    Trigger.KILL: ExitReason.KILL,
    Trigger.FLATTEN: ExitReason.FLATTEN,
    Trigger.LADDER: ExitReason.FLATTEN,
    Trigger.TIME: ExitReason.TIME,
    Trigger.UNPROTECTED: ExitReason.FLATTEN,
}


@dataclass(frozen=True, slots=True)
class StopOrder:
    """A person's order to stop, as its flag file says: ``kill`` or ``flatten``, and the symbol or None for all."""

    verb: str
    symbol: str | None


class EmergencyLog(Protocol):
    """Where an exit is written before anything of it happens; on the disk when a call returns."""

    def begun(self, plan_id: str, *, session: str, trigger: Trigger, reason: ExitReason, at_ms: int) -> None:
        """A position will be closed: its orders at the broker are cancelled next."""

    def intent(self, intent: OrderIntent, *, session: str, digest: str, cancelled: Sequence[str]) -> None:
        """An exit will be sent; ``cancelled`` are the orders that were ended for it."""

    def accepted(self, client_order_id: str, *, at_ms: int) -> None:
        """The broker has it."""

    def rejected(self, client_order_id: str, *, reason: str) -> None:
        """The broker refused it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was open when the store was last read."""

    positions: tuple[OpenPosition, ...] = ()
    orders: Mapping[str, tuple[StoredOrder, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Closing:
    """A position under way to flat: why, and the exits written for it, with what the broker said of them."""

    reason: ExitReason
    exits: dict[str, OwnOrder] = field(default_factory=dict)


@dataclass(slots=True)
class EmergencyService:
    """Closes what must not stay open. Ids, generations and quantities follow the rules of ``ExitService``.

    The ids are those that the usual way would derive, so an exit that is under way on both ways is one order.
    """

    store: Store
    broker: OrderExecutionPort
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    scope: Scope
    flatten_from_ms: Callable[[Session], int]
    stop_orders: Callable[[], Sequence[StopOrder]]
    log: EmergencyLog
    known: Known = field(default_factory=Known)
    closing: dict[str, Closing] = field(default_factory=dict)

    async def remember(self) -> None:
        """Read what is open; call it while the database can be read."""
        positions = tuple(await self.store.open_positions())
        orders = {p.plan.plan_id: tuple(await self.store.orders_of(p.plan.plan_id)) for p in positions}
        self.known = Known(positions, orders)

    async def run_once(self) -> Sequence[Exception]:
        """Look at every open position and close what must not wait; gives the errors: one symbol stops no other."""
        errors: list[Exception] = []
        for held in self.known.positions:
            try:
                await self._look(held)
            except Exception as error:
                errors.append(error)
        return errors

    async def _look(self, held: OpenPosition) -> None:
        plan_id = held.plan.plan_id
        if plan_id not in self.closing:
            trigger = await self._trigger(held)
            if trigger is None:
                return
            at_ms = self.clock.now_ms()
            reason = EXIT_REASON[trigger]
            self.log.begun(plan_id, session=held.plan.session, trigger=trigger, reason=reason, at_ms=at_ms)
            self.closing[plan_id] = Closing(reason)
        await self._exit(held, self.closing[plan_id])

    # ------------------------------------------------------------ why
    async def _trigger(self, held: OpenPosition) -> Trigger | None:
        symbol, now_ms = held.plan.symbol, self.clock.now_ms()
        verbs = {order.verb for order in self.stop_orders() if order.symbol in (None, symbol)}
        for asked in (Trigger.KILL, Trigger.FLATTEN):
            if asked.value in verbs:
                return asked
        session = self.calendar.session_at(now_ms)
        if is_ladder_due(held, session, now_ms=now_ms, flatten_from_ms=self.flatten_from_ms(session)):
            return Trigger.LADDER
        if await self._is_time_up(held, session, now_ms):
            return Trigger.TIME
        return None if await self._is_protected(held) else Trigger.UNPROTECTED

    async def _is_time_up(self, held: OpenPosition, session: Session, now_ms: int) -> bool:
        """The time stop as the tick would judge it, from the bars that have ended."""
        opened_at_ms = held.position.opened_at_ms
        if held.plan.management.time_stop_minutes is None or opened_at_ms is None:
            return False
        if not has_entry(held.position):
            return False
        await self.market.load(session)
        bars = self.market.loaded_minutes(held.plan.symbol, session, now_ms)
        entry_e4 = entry_price_e4(held.position)
        state = OpenState(
            entry_e4=entry_e4, best_e4=entry_e4, stop_e4=held.stop_e4, opened_at_ms=opened_at_ms
        )
        for bar in bars:
            state = advance(held.plan, state, bar)
        return bool(bars) and TimeStop() in evaluate(held.plan, state, bars[-1], now_ms)

    async def _is_protected(self, held: OpenPosition) -> bool:
        """Whether a stop rests at the broker, or an exit is on its way already."""
        for order in self.known.orders.get(held.plan.plan_id, ()):
            if order.intent.leg not in (STOP, EXIT) or order.state in TERMINAL_ORDER_STATES:
                continue
            found = await self.broker.find(order.intent.client_order_id)
            if found is not None and found.state not in TERMINAL_ORDER_STATES:
                return True
        return False

    # ------------------------------------------------------------ how
    async def _exit(self, held: OpenPosition, closing: Closing) -> None:
        """As ``ExitService``: free the quantity, see that it is free, write the next generation, send it once."""
        own = self._own(held, closing)
        for order in own.values():
            if order.intent.leg == EXIT and not order.is_terminal:
                found = await self.broker.find(order.intent.client_order_id)
                if found is None or found.state not in TERMINAL_ORDER_STATES:
                    await self._again(order, found, held, closing)
                    return
                own[order.intent.client_order_id] = replace(order, state=found.state)
        cancelled = await self._freed(own)
        if cancelled is None:
            return
        quantity_e4 = await self._open_quantity(held, own)
        generation = next_generation(list(own.values()), plan_id=held.plan.plan_id, leg=EXIT)
        if quantity_e4 == 0 or not isinstance(generation, int) or generation > MOST_EXITS:
            return
        intent = exit_intent(
            held.plan,
            quantity_e4,
            generation=generation,
            reason=closing.reason.value,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
        )
        await self._write_and_send(intent, held, closing, cancelled)

    def _own(self, held: OpenPosition, closing: Closing) -> dict[str, OwnOrder]:
        """The plan's orders by id: those of the store, and over them those of the log."""
        stored = self.known.orders.get(held.plan.plan_id, ())
        own = {
            o.intent.client_order_id: OwnOrder(intent=o.intent, state=o.state, filled_e4=o.filled_e4)
            for o in stored
        }
        return {**own, **closing.exits}

    async def _again(
        self, order: OwnOrder, found: BrokerOrder | None, held: OpenPosition, closing: Closing
    ) -> None:
        """An exit that is written and not over: at the broker it is waited for, else the same id is sent again."""
        order_id = order.intent.client_order_id
        if found is None:
            if order_id in closing.exits:
                await self._send(order.intent, closing)
            else:
                await self._write_and_send(order.intent, held, closing, [])
        elif order.state in (OrderState.INTENT, OrderState.UNKNOWN) and order_id in closing.exits:
            self._accepted(order.intent, found.accepted_at_ms, closing)

    async def _freed(self, own: Mapping[str, OwnOrder]) -> list[str] | None:
        """End what works at the broker; None while something still does. Gives the ids that ended unfilled since."""
        ended: list[str] = []
        for order_id, order in own.items():
            if order.is_terminal or order.intent.leg == EXIT:
                continue
            found = await self.broker.find(order_id)
            if found is not None and found.state not in TERMINAL_ORDER_STATES:
                await self.broker.cancel(order_id)
                found = await self.broker.find(order_id)
                if found is None or found.state not in TERMINAL_ORDER_STATES:
                    return None
            if (
                found is not None
                and found.state is OrderState.CANCELLED
                and found.filled_e4 == order.filled_e4
            ):
                ended.append(order_id)
        return ended

    async def _open_quantity(self, held: OpenPosition, own: Mapping[str, OwnOrder]) -> int:
        """What is open by the broker's executions of our orders, and never more than the broker holds."""
        sessions = {held.plan.session, self.calendar.session_at(self.clock.now_ms()).date}
        signed_e4 = 0
        for session in sorted(sessions):
            for fill in await self.broker.fills(session=session):
                if fill.client_order_id in own:
                    signed_e4 += fill.quantity_e4 if fill.side is Side.BUY else -fill.quantity_e4
        theirs = sum(p.quantity_e4 for p in await self.broker.positions() if p.symbol == held.plan.symbol)
        sign = held.plan.direction.sign
        return max(0, min(sign * signed_e4, sign * theirs))

    async def _write_and_send(
        self, intent: OrderIntent, held: OpenPosition, closing: Closing, cancelled: Sequence[str]
    ) -> None:
        digest, session = body_hash(intent), held.plan.session
        self.log.intent(intent, session=session, digest=digest, cancelled=cancelled)
        closing.exits[intent.client_order_id] = OwnOrder(intent=intent)
        await self._send(intent, closing)

    async def _send(self, intent: OrderIntent, closing: Closing) -> None:
        """Once; what became of it in doubt is looked up at the next look."""
        order_id = intent.client_order_id
        try:
            answer = await self.broker.submit([intent])
        except OutcomeUnknownError:
            return
        except DuplicateClientOrderIdError:
            found = await self.broker.find(order_id)
            if found is not None:
                self._accepted(intent, found.accepted_at_ms, closing)
            return
        except OrderRejectedError as error:
            self.log.rejected(order_id, reason=str(error))
            closing.exits[order_id] = OwnOrder(intent=intent, state=OrderState.REJECTED)
            return
        self._accepted(intent, answer.accepted_at_ms, closing)

    def _accepted(self, intent: OrderIntent, at_ms: int, closing: Closing) -> None:
        self.log.accepted(intent.client_order_id, at_ms=at_ms)
        closing.exits[intent.client_order_id] = OwnOrder(intent=intent, state=OrderState.ACCEPTED)


def is_ladder_due(held: OpenPosition, session: Session, *, now_ms: int, flatten_from_ms: int) -> bool:
    """Whether the flatten ladder has begun for a position; one of an earlier session goes at the open."""
    if not session.open_ms <= now_ms < session.close_ms:
        return False
    return held.plan.session < session.date or now_ms >= flatten_from_ms
