"""What the simulated broker keeps: its account, assets, positions, orders, fills and other activities."""

import hashlib
import uuid
from dataclasses import dataclass, field
from decimal import Decimal

LIVE = ("new", "accepted", "pending_new", "held", "partially_filled", "pending_cancel", "pending_replace")
ZERO = Decimal(0)


@dataclass(slots=True, kw_only=True)
class Asset:
    """One stock of the list."""

    symbol: str
    price: Decimal
    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    is_halted: bool = False


@dataclass(slots=True, kw_only=True)
class Account:
    """Cash and what the account may do; ``multiplier`` is buying power per equity."""

    account_number: str = "PA3SIMULATED"
    id: str = "11111111-2222-4333-8444-555555555555"
    status: str = "ACTIVE"
    currency: str = "USD"
    cash: Decimal = Decimal(100_000)
    last_equity: Decimal = Decimal(100_000)
    multiplier: int = 1
    shorting_enabled: bool = True
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False


@dataclass(slots=True, kw_only=True)
class Holding:
    """A position; the quantity of a short one is negative."""

    symbol: str
    qty: Decimal = ZERO
    avg_entry_price: Decimal = ZERO


@dataclass(slots=True, kw_only=True)
class Order:
    """One order as the broker holds it."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    extended_hours: bool = False
    status: str = "accepted"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    is_triggered: bool = False
    replaced_by: str | None = None
    replaces: str | None = None
    submitted_ms: int = 0
    updated_ms: int = 0
    filled_ms: int | None = None
    canceled_ms: int | None = None
    expired_ms: int | None = None
    failed_ms: int | None = None
    replaced_ms: int | None = None
    expires_ms: int | None = None
    is_hidden: bool = False
    """Accepted, but shown nowhere yet: what a late arrival looks like from outside."""

    @property
    def is_live(self) -> bool:
        """Whether it can still fill."""
        return self.status in LIVE

    @property
    def rest(self) -> Decimal:
        """What is not filled."""
        return self.qty - self.filled_qty


@dataclass(slots=True, kw_only=True)
class Fill:
    """One execution; ``activity`` is its id among the account's activities."""

    execution_id: str
    activity: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    at_ms: int


@dataclass(slots=True, kw_only=True)
class CashActivity:
    """Money that came or went without a trade."""

    activity: str
    activity_type: str
    net_amount: Decimal
    at_ms: int
    date: str
    symbol: str | None = None
    description: str = ""


@dataclass(slots=True)
class Book:
    """Everything the broker knows; ``count`` numbers what was ever made, so that ids repeat for equal histories."""

    account: Account = field(default_factory=Account)
    assets: dict[str, Asset] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    cash_activities: list[CashActivity] = field(default_factory=list)
    count: int = 0
    closed_days: set[str] = field(default_factory=set)

    def new_id(self, kind: str) -> str:
        """A new UUID."""
        self.count += 1
        mark = hashlib.sha256(f"{self.account.id}/{kind}/{self.count}".encode()).digest()
        return str(uuid.UUID(bytes=mark[:16], version=4))

    def by_client_id(self, client_order_id: str) -> Order | None:
        """The order of a client's id, shown or not."""
        return next((o for o in self.orders.values() if o.client_order_id == client_order_id), None)

    def live(self, symbol: str | None = None) -> list[Order]:
        """Open orders in the order they came (of one symbol)."""
        return [o for o in self.orders.values() if o.is_live and symbol in (None, o.symbol)]

    def held(self, symbol: str) -> Decimal:
        """The position in a symbol, negative when short."""
        holding = self.holdings.get(symbol)
        return ZERO if holding is None else holding.qty

    def held_for_orders(self, symbol: str, side: str, *, but: str | None = None) -> Decimal:
        """What open orders of a side will take from the position, but for one of them."""
        return sum((o.rest for o in self.live(symbol) if o.side == side and o.id != but), ZERO)

    @property
    def equity(self) -> Decimal:
        """Cash and positions at their last price."""
        return self.account.cash + sum(
            (h.qty * self.assets[h.symbol].price for h in self.holdings.values()), ZERO
        )

    def buying_power(self, *, but: str | None = None) -> Decimal:
        """What may still be opened: equity times the multiplier, less positions and open opening orders."""
        used = sum((abs(h.qty) * self.assets[h.symbol].price for h in self.holdings.values()), ZERO)
        used += sum((self.opening_value(o) for o in self.live() if o.id != but), ZERO)
        return max(ZERO, self.equity * self.account.multiplier - used)

    def opening_value(self, order: Order) -> Decimal:
        """What an order takes of the buying power: nothing for what closes a position."""
        held = self.held(order.symbol)
        is_closing = held < 0 if order.side == "buy" else held > 0
        if is_closing:
            return ZERO
        price = self.assets[order.symbol].price
        if order.side == "sell":
            price = max(order.limit_price or ZERO, price * Decimal("1.03"))
        elif order.limit_price is not None:
            price = order.limit_price
        return order.rest * price
