"""A broker with an app of its own: whoever holds the account buys, sells and cancels there, and nobody tells us."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from finagent.domain.legs import ENTRY
from finagent.domain.market import Side
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
    OrderState,
    OrderType,
)
from finagent.ports import (
    Clock,
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
)
from finagent.simulation.orders import as_order

CASH_E8 = 100_000 * 10**8


@dataclass
class AppBroker:
    """Market orders fill at once at ``price_e4``, others rest; an exit for more than is held is refused.

    ``by_hand`` and ``cancel_by_hand`` are the person's.
    ``empty_lists`` is how many times the list of positions comes back empty with status 200; ``is_silent`` lists no
    execution made by hand; without ``has_marks`` positions carry no prices; no order fills by itself of ``resting``.
    While it ``is_deaf`` an order is under way and nobody answers: it never arrives, or it does when a test says so.
    """

    clock: Clock
    price_e4: int = 1_000_000
    is_attached: bool = True
    is_down: bool = False
    is_silent: bool = False
    is_deaf: bool = False
    has_marks: bool = True
    empty_lists: int = 0
    resting: set[str] = field(default_factory=set)
    cash_e8: int = CASH_E8
    last_equity_e8: int | None = None
    submitted: list[str] = field(default_factory=list)
    under_way: dict[str, OrderIntent] = field(default_factory=dict)
    known: dict[str, BrokerOrder] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    executions: list[BrokerFill] = field(default_factory=list)
    flows: list[BrokerCashFlow] = field(default_factory=list)

    @property
    def capabilities(self) -> BrokerCapabilities:
        return BrokerCapabilities(
            name="app", has_attached_exits=self.is_attached, has_fractions=False, has_shorts=True
        )

    # ------------------------------------------------------------ the port
    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        self._reached()
        first = intents[0]
        if first.client_order_id in self.known:
            raise DuplicateClientOrderIdError(first.client_order_id)
        if first.leg != ENTRY and first.quantity_e4 > -first.side.sign * self.held().get(first.symbol, 0):
            raise OrderRejectedError("insufficient_quantity", f"{first.quantity_e4} asked")
        self.submitted += [each.client_order_id for each in intents]
        if self.is_deaf:
            self.under_way[first.client_order_id] = first
            raise OutcomeUnknownError("no answer")
        return self._take(intents)

    def _take(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        first = intents[0]
        for intent in intents:
            self.known[intent.client_order_id] = as_order(intent, self.clock.now_ms())
        if first.type is OrderType.MARKET and first.symbol not in self.resting:
            self.fill(first.client_order_id)
        return self.known[first.client_order_id]

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        self._reached()
        return self.known.get(client_order_id)

    async def cancel(self, client_order_id: str) -> bool:
        self._reached()
        return self.cancel_by_hand(client_order_id)

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        await self.cancel(client_order_id)
        return await self.submit([new])

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        self._reached()
        return list(self.known.values())

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        self._reached()
        return [each for each in self.executions if not (self.is_silent and _is_hand(each))]

    async def positions(self) -> Sequence[BrokerPosition]:
        self._reached()
        if self.empty_lists > 0:
            self.empty_lists -= 1
            return []
        return [
            BrokerPosition(
                symbol=symbol, quantity_e4=quantity_e4, mark_e4=self.price_e4 if self.has_marks else None
            )
            for symbol, quantity_e4 in sorted(self.held().items())
        ]

    async def account(self) -> BrokerAccount:
        self._reached()
        worth_e8 = sum(quantity_e4 * self.price_e4 for quantity_e4 in self.held().values())
        equity_e8 = self.cash_e8 + worth_e8
        return BrokerAccount(
            currency="USD",
            cash_e8=self.cash_e8,
            equity_e8=equity_e8,
            buying_power_e8=self.cash_e8,
            account_id="A1",
            last_equity_e8=self.last_equity_e8,
        )

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        self._reached()
        return list(self.flows)

    # ------------------------------------------------------------ what happens there
    def held(self) -> dict[str, int]:
        """Signed shares by symbol in 1e-4."""
        found: dict[str, int] = {}
        for each in self.executions:
            found[each.symbol] = found.get(each.symbol, 0) + each.side.sign * each.quantity_e4
        return {symbol: quantity_e4 for symbol, quantity_e4 in found.items() if quantity_e4}

    def fill(self, order_id: str, *, quantity_e4: int | None = None) -> BrokerFill:
        """(A part of) an order fills at the price of now."""
        order = self.known[order_id]
        taken_e4 = order.quantity_e4 - order.filled_e4 if quantity_e4 is None else quantity_e4
        filled_e4 = order.filled_e4 + taken_e4
        is_over = filled_e4 >= order.quantity_e4
        state = OrderState.FILLED if is_over else OrderState.PARTIALLY_FILLED
        self.known[order_id] = replace(order, filled_e4=filled_e4, state=state)
        return self._execute(order_id, order.symbol, order.side, taken_e4)

    def arrive(self, order_id: str) -> None:
        """What was under way for long is here."""
        self._take([self.under_way.pop(order_id)])

    def by_hand(self, symbol: str, side: Side, shares: int) -> BrokerFill:
        """The account's holder trades in the app."""
        return self._execute(f"hand-{len(self.executions) + 1}", symbol, side, shares * 10_000)

    def cancel_by_hand(self, order_id: str) -> bool:
        """The account's holder, or we, cancel what is open of an order."""
        order = self.known.get(order_id)
        if order is None or order.state in TERMINAL_ORDER_STATES:
            return False
        self.known[order_id] = replace(order, state=OrderState.CANCELLED, reason="by hand")
        return True

    def _execute(self, order_id: str, symbol: str, side: Side, quantity_e4: int) -> BrokerFill:
        fill = BrokerFill(
            execution_id=f"x{len(self.executions) + 1}",
            client_order_id=order_id,
            symbol=symbol,
            side=side,
            quantity_e4=quantity_e4,
            price_e4=self.price_e4,
            at_ms=self.clock.now_ms(),
        )
        self.executions.append(fill)
        self.cash_e8 -= side.sign * quantity_e4 * self.price_e4
        return fill

    def _reached(self) -> None:
        if self.is_down:
            raise RetryError("the broker does not answer")


def _is_hand(fill: BrokerFill) -> bool:
    return fill.client_order_id.startswith("hand-")
