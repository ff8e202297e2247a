"""A broker of the outside world with exits of their own: it holds shares, ends orders late, tells on a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from finagent.domain.market import Side
from finagent.domain.orders import (
    ENTRY_LEG,
    TERMINAL_ORDER_STATES,
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
)
from finagent.ports import (
    Clock,
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
    StreamLostError,
)


@dataclass
class Resting:
    """An order as this broker has it."""

    intent: OrderIntent
    accepted_at_ms: int
    session: str
    state: OrderState = OrderState.ACCEPTED
    filled_e4: int = 0
    reason: str = ""
    replaced_by: str | None = None
    is_ending: bool = False

    @property
    def is_open(self) -> bool:
        return self.state not in TERMINAL_ORDER_STATES

    @property
    def remaining_e4(self) -> int:
        return max(0, self.intent.quantity_e4 - self.filled_e4) if self.is_open else 0

    def seen(self) -> BrokerOrder:
        intent = self.intent
        return BrokerOrder(
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            quantity_e4=intent.quantity_e4,
            filled_e4=self.filled_e4,
            state=self.state,
            accepted_at_ms=self.accepted_at_ms,
            limit_e4=intent.limit_e4,
            stop_e4=intent.stop_e4,
            reason=self.reason,
            replaced_by=self.replaced_by,
        )


class ExternalBroker:
    """Fills only what a test fills. ``line`` is what happens to the next requests on the wire, in order:

    ``ok``, ``dropped`` (never arrives), ``reply lost`` (taken, nobody hears), ``late`` (arrives when ``deliver`` is
    called), or an exception to raise in the place of an answer.
    """

    def __init__(
        self, clock: Clock, session: str, *, has_opposite_orders: bool = True, price_e4: int = 1_000_000
    ) -> None:
        self.clock, self.session, self.price_e4 = clock, session, price_e4
        self.capabilities = BrokerCapabilities(
            name="external",
            has_attached_exits=False,
            has_fractions=False,
            has_shorts=True,
            has_opposite_orders=has_opposite_orders,
        )
        self.book: dict[str, Resting] = {}
        self.executions: list[BrokerFill] = []
        self.line: list[str | Exception] = []
        self.posts: list[str] = []
        self.bodies: list[OrderIntent] = []
        self.cancels: list[str] = []
        self.is_slow_to_cancel = False
        self.can_replace = True
        self.hidden: set[str] = set()
        self.before_post: Callable[[OrderIntent], None] = lambda intent: None
        self._late: list[Callable[[], None]] = []
        self._listeners: list[asyncio.Queue[BrokerUpdate | Exception | None]] = []
        self.connections = 0
        self.is_mute = False

    # ------------------------------------------------------------ the port
    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        (intent,) = intents
        return self._posted(intent, lambda: self._accept(intent))

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        return self._posted(new, lambda: self._replace(client_order_id, new))

    def _posted(self, intent: OrderIntent, take: Callable[[], None]) -> BrokerOrder:
        self.before_post(intent)
        self.posts.append(intent.client_order_id)
        self.bodies.append(intent)
        fate = self.line.pop(0) if self.line else "ok"
        if isinstance(fate, Exception):
            raise fate
        if fate == "late":
            self._late.append(take)
        elif fate != "dropped":
            take()
        if fate != "ok":
            raise OutcomeUnknownError(fate)
        return self.book[intent.client_order_id].seen()

    def deliver(self) -> list[str]:
        """What was under way arrives; gives the refusals nobody hears."""
        refused = []
        for take in self._late:
            try:
                take()
            except (OrderRejectedError, DuplicateClientOrderIdError) as error:
                refused.append(str(error))
        self._late.clear()
        return refused

    def _accept(self, intent: OrderIntent) -> None:
        if intent.client_order_id in self.book:
            raise DuplicateClientOrderIdError(intent.client_order_id)
        self._judge(intent, without=None)
        self._rest(intent)

    def _replace(self, old_id: str, new: OrderIntent) -> None:
        old = self.book.get(old_id)
        if new.client_order_id in self.book:
            raise DuplicateClientOrderIdError(new.client_order_id)
        if old is None or not old.is_open or not self.can_replace:
            raise OrderRejectedError("not_open", old_id)
        self._judge(new, without=old_id)
        self._rest(new)
        old.replaced_by = new.client_order_id
        self._end(old_id, OrderState.CANCELLED, "replaced")

    def _judge(self, intent: OrderIntent, *, without: str | None) -> None:
        if intent.leg == ENTRY_LEG:
            return
        others = [o for o in self.book.values() if o.is_open and o.intent.client_order_id != without]
        same = [o for o in others if o.intent.symbol == intent.symbol]
        against = any(o.intent.side is not intent.side for o in same)
        if against and not self.capabilities.has_opposite_orders:
            raise OrderRejectedError("wash_trade", intent.symbol)
        claimed = sum(o.remaining_e4 for o in same if o.intent.side is intent.side)
        free = -intent.side.sign * self.held_e4(intent.symbol) - claimed
        if intent.quantity_e4 > free:
            raise OrderRejectedError("insufficient_quantity", f"{intent.quantity_e4} asked, {free} free")
        if intent.type is OrderType.STOP and intent.stop_e4 is not None:
            beyond = intent.side is Side.SELL and intent.stop_e4 >= self.price_e4
            if beyond or (intent.side is Side.BUY and intent.stop_e4 <= self.price_e4):
                raise OrderRejectedError("stop_beyond_price", f"{intent.stop_e4} against {self.price_e4}")

    def _rest(self, intent: OrderIntent) -> None:
        self.book[intent.client_order_id] = Resting(intent, self.clock.now_ms(), self.session)
        self._tell(intent.client_order_id)

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        if client_order_id in self.hidden or client_order_id not in self.book:
            return None
        return self.book[client_order_id].seen()

    async def cancel(self, client_order_id: str) -> bool:
        self.cancels.append(client_order_id)
        order = self.book.get(client_order_id)
        if order is None or not order.is_open:
            return False
        if self.is_slow_to_cancel:
            order.is_ending = True
        else:
            self._end(client_order_id, OrderState.CANCELLED, "")
        return True

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        return [o.seen() for i, o in self.book.items() if o.session == session and i not in self.hidden]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        return [
            each
            for each in self.executions
            if self.book[each.client_order_id].session == session and each.client_order_id not in self.hidden
        ]

    async def positions(self) -> Sequence[BrokerPosition]:
        symbols = sorted({each.symbol for each in self.executions})
        held = [BrokerPosition(symbol=s, quantity_e4=self.held_e4(s)) for s in symbols]
        return [each for each in held if each.quantity_e4]

    async def account(self) -> BrokerAccount:
        return BrokerAccount(
            currency="USD", cash_e8=0, equity_e8=0, buying_power_e8=0, last_equity_e8=100_000 * 10**8
        )

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        return ()

    # ------------------------------------------------------------ what a test makes happen
    def held_e4(self, symbol: str) -> int:
        return sum(e.side.sign * e.quantity_e4 for e in self.executions if e.symbol == symbol)

    def claimed_e4(self, like: OrderIntent) -> int:
        """What the open orders of its symbol and side could still close or open together."""
        return sum(
            o.remaining_e4
            for o in self.book.values()
            if (o.intent.symbol, o.intent.side) == (like.symbol, like.side) and o.intent.leg != ENTRY_LEG
        )

    def the(self, leg: str, generation: int = 1) -> str:
        """The id of a leg's generation that is at this broker."""
        return next(
            i for i, o in self.book.items() if (o.intent.leg, o.intent.generation) == (leg, generation)
        )

    def fill(self, order_id: str, quantity_e4: int | None = None, *, price_e4: int | None = None) -> None:
        """Fill (a part of) an order, open or not: a broker may fill over, and after a cancel."""
        order = self.book[order_id]
        quantity = order.remaining_e4 if quantity_e4 is None else quantity_e4
        execution = BrokerFill(
            execution_id=f"x{len(self.executions) + 1}",
            client_order_id=order_id,
            symbol=order.intent.symbol,
            side=order.intent.side,
            quantity_e4=quantity,
            price_e4=price_e4 or self.price_e4,
            at_ms=self.clock.now_ms(),
        )
        self.executions.append(execution)
        order.filled_e4 += quantity
        if order.is_open:
            is_full = order.filled_e4 >= order.intent.quantity_e4
            order.state = OrderState.FILLED if is_full else OrderState.PARTIALLY_FILLED
        self._tell(order_id, execution)

    def end_cancels(self) -> None:
        """Every cancel that was asked for comes true."""
        for order_id, order in list(self.book.items()):
            if order.is_ending and order.is_open:
                self._end(order_id, OrderState.CANCELLED, "")

    def expire(self, order_id: str) -> None:
        self._end(order_id, OrderState.EXPIRED, "")

    def refuse_late(self, order_id: str, reason: str = "exchange") -> None:
        """An order that was taken is rejected after all."""
        self._end(order_id, OrderState.REJECTED, reason)

    def _end(self, order_id: str, state: OrderState, reason: str) -> None:
        order = self.book[order_id]
        order.state, order.reason, order.is_ending = state, reason, False
        self._tell(order_id)

    # ------------------------------------------------------------ the stream
    async def updates(self) -> AsyncIterator[BrokerUpdate | None]:
        self.connections += 1
        queue: asyncio.Queue[BrokerUpdate | Exception | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield None
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                queue.task_done()
        finally:
            self._listeners.remove(queue)

    def lose(self, why: str = "reset") -> None:
        """The stream breaks."""
        for queue in self._listeners:
            queue.put_nowait(StreamLostError(why))

    def say(self, *updates: BrokerUpdate | None) -> None:
        """Tell these, whatever is true."""
        for queue in self._listeners:
            for update in updates:
                queue.put_nowait(update)

    async def heard(self) -> None:
        """Everything told so far has been taken, and its jobs are on disk."""
        for queue in list(self._listeners):
            await queue.join()

    def _tell(self, order_id: str, fill: BrokerFill | None = None) -> None:
        order = self.book[order_id]
        update = BrokerUpdate(
            client_order_id=order_id,
            symbol=order.intent.symbol,
            state=order.state,
            at_ms=self.clock.now_ms(),
            fill=fill,
            reason=order.reason,
            replaced_by=order.replaced_by,
            filled_e4=order.filled_e4,
        )
        if not self.is_mute:
            self.say(update)
