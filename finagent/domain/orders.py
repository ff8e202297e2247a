"""Orders: identities that are never minted twice, leg generations, and the states an order goes through."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import cast

from finagent.domain.errors import InvalidTransitionError
from finagent.domain.journal import beginning, digest, digest_after
from finagent.domain.market import Side
from finagent.domain.plain import plain
from finagent.domain.rows import maker, quick


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"


class TimeInForce(StrEnum):
    """How long an order works: until the session's close, or in the opening auction alone."""

    DAY = "day"
    OPENING = "opening"


class OrderState(StrEnum):
    """Life of an order; the last five are terminal."""

    INTENT = "intent"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NEVER_ARRIVED = "never_arrived"

    is_terminal: bool

    def __init__(self, name: str) -> None:
        self.is_terminal = name in ("filled", "cancelled", "rejected", "expired", "never_arrived")


TERMINAL_ORDER_STATES = tuple([state for state in OrderState if state.is_terminal])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose orders these are: ids hash it, so that another database or account can never mint the same id."""

    generation: str = "run"
    account: str = "run"
    deployment: str = "default"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """The committed will to send one order; prices and quantities in 1e-4.

    ``leg`` is ``entry``, ``stop``, ``target-1`` ... or ``exit``; ``generation`` counts from 1. ``parent_id``
    attaches an exit leg to its entry: it arms with each fill of the parent and is sent with it as one body.
    """

    client_order_id: str
    plan_id: str
    symbol: str
    leg: str
    generation: int
    side: Side
    type: OrderType
    quantity_e4: int
    limit_e4: int | None = None
    stop_e4: int | None = None
    parent_id: str | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    ignores_participation: bool = False
    time_to_live_ms: int = 60_000
    created_at_ms: int = 0
    reason: str = ""
    """Why an exit was sent (time, flatten, kill, manual ...); empty for entries and attached legs."""


new_intent = maker(OrderIntent)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFill:
    """One execution as the broker reports it; its key is broker + execution id. Fees in 1e-8."""

    execution_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity_e4: int
    price_e4: int
    at_ms: int
    fees_e8: int = 0
    reference_e4: int | None = None
    """The model price before slippage (paper venue); None where the broker does not say."""
    is_ambiguous: bool = False
    is_forced_close: bool = False
    best_e4: int | None = None
    """Best and worst exit price the bar allowed where the order of its events is unknown (paper venue)."""
    worst_e4: int | None = None


new_broker_fill = maker(BrokerFill)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker knows it."""

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity_e4: int
    filled_e4: int
    state: OrderState
    accepted_at_ms: int
    limit_e4: int | None = None
    stop_e4: int | None = None
    parent_id: str | None = None
    reason: str = ""
    replaced_by: str | None = None
    """The client order id of the order that a replacement put in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUpdate:
    """One thing a broker tells by itself: a fill, or the state an order has come to."""

    client_order_id: str
    symbol: str
    state: OrderState
    at_ms: int
    fill: BrokerFill | None = None
    reason: str = ""
    replaced_by: str | None = None
    filled_e4: int | None = None
    """What the order has filled in all as the broker tells it, where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCashFlow:
    """Money that came or went without a trade; the amount in 1e-8 is signed, its key is broker + ``flow_id``.

    ``kind``: deposit, withdrawal, dividend, interest, fee or other.
    """

    flow_id: str
    at_ms: int
    kind: str
    amount_e8: int
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPosition:
    """A position as the broker knows it; quantity signed, in 1e-4 shares."""

    symbol: str
    quantity_e4: int
    mark_e4: int | None = None
    """The price the broker values it at, in 1e-4; None where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccount:
    """The broker's account figures, money in 1e-8."""

    currency: str
    cash_e8: int
    equity_e8: int
    buying_power_e8: int
    account_id: str = ""
    """The broker's own name of the account; empty where there is only one (paper)."""
    last_equity_e8: int | None = None
    """Equity at the close before this session, None where the broker does not say."""
    is_blocked: bool = False
    """The broker lets this account trade no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCapabilities:
    """What a broker can do; the execution service asks, never guesses."""

    name: str
    has_attached_exits: bool
    has_fractions: bool
    has_shorts: bool
    has_stop_orders: bool = True
    order_types: tuple[OrderType, ...] = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP)
    max_client_order_id: int = 48
    has_opposite_orders: bool = True
    """Whether an exit is taken while the rest of its entry still works; where not, that rest is cancelled first."""


ENTRY_LEG = "entry"
MAX_CLIENT_ORDER_ID = 48
_ID_PATTERN = re.compile(r"fa-[0-9]{8}-[A-Za-z0-9]{1,6}-[A-Za-z0-9-]{1,8}-[0-9]{1,3}-[0-9a-f]{16}")

_BROKER_SAYS = (
    OrderState.PARTIALLY_FILLED,
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.REJECTED,
    OrderState.EXPIRED,
)
ORDER_MOVES: Mapping[OrderState, tuple[OrderState, ...]] = {
    OrderState.INTENT: (OrderState.ACCEPTED, OrderState.UNKNOWN, *_BROKER_SAYS),
    OrderState.UNKNOWN: (OrderState.ACCEPTED, OrderState.NEVER_ARRIVED, *_BROKER_SAYS),
    OrderState.ACCEPTED: _BROKER_SAYS,
    OrderState.PARTIALLY_FILLED: _BROKER_SAYS,
    **dict.fromkeys(TERMINAL_ORDER_STATES, ()),
}
"""Every step an order may take. ``never_arrived`` needs the evidence that only an unknown order waits for; a rejected
one may have a fill, which is told late and heard first.
"""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOrder:
    """An order as our journal knows it: the intent, its state and what its fills add up to."""

    intent: OrderIntent
    state: OrderState = OrderState.INTENT
    filled_e4: int = 0

    @property
    def remaining_e4(self) -> int:
        """What may still fill: 0 once terminal or filled over."""
        return 0 if self.is_terminal else max(0, self.intent.quantity_e4 - self.filled_e4)

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self.state.is_terminal

    @property
    def is_exit(self) -> bool:
        """Whether it closes a position."""
        return self.intent.leg != ENTRY_LEG


@dataclass(frozen=True, slots=True)
class StillLive:
    """No next generation: this order of the leg is not known to be terminal."""

    client_order_id: str
    state: OrderState


def plan_id(scope: Scope, *, session: str, scan_tick: str, symbol: str, version: int) -> str:
    """``pl_`` and 20 hex digits: the same inputs give the same plan in replay, backtest and after a crash."""
    return "pl_" + digest_after(_begun_tick("plan", *_scope(scope), session, scan_tick), symbol, version)[:20]


def trade_id(scope: Scope, *, session: str, scan_tick: str, symbol: str) -> str:
    """``tr_`` and 20 hex digits: the round trip of a scan tick's symbol."""
    return "tr_" + digest_after(_begun_tick("trade", *_scope(scope), session, scan_tick), symbol)[:20]


def client_order_id(
    scope: Scope, *, session: str, scan_tick: str, symbol: str, leg: str, generation: int
) -> str:
    """``fa-20180220-WMT-entry-1-<16 hex>``: at most 48 characters of ``[A-Za-z0-9-]``.

    The readable part is shortened where needed, the hash of all inputs never. The plan's version is no input:
    two versions of one plan share their entry's id, so that the broker itself refuses the second.
    """
    begun, readable = _begun_order(*_scope(scope), session, scan_tick, symbol)
    mark = digest_after(begun, leg, generation)[:16]
    return f"{readable}-{_readable_leg(leg)}-{abs(generation) % 1000}-{mark}"


_begun_tick = lru_cache(maxsize=64)(beginning)
"""What the ids of one kind of a scan tick begin with."""


@lru_cache(maxsize=1024)
def _begun_order(
    generation: str, account: str, deployment: str, session: str, scan_tick: str, symbol: str
) -> tuple[str, str]:
    """What the ids of all orders of a scan tick's symbol begin with: the text that is hashed, and what is read."""
    day = _without("[^0-9]", session)[:8].rjust(8, "0")
    ticker = _without("[^A-Za-z0-9]", symbol)[:6] or "X"
    hashed = beginning("order", generation, account, deployment, session, scan_tick, symbol)
    return hashed, f"fa-{day}-{ticker}"


@lru_cache(maxsize=64)
def _readable_leg(leg: str) -> str:
    return _without("[^A-Za-z0-9-]", leg)[:8] or "x"


def _without(pattern: str, text: str) -> str:
    return re.sub(pattern, "", text)


def is_ours(client_order_id: str) -> bool:
    """Whether an order id at the broker was minted by finagent."""
    return len(client_order_id) <= MAX_CLIENT_ORDER_ID and _ID_PATTERN.fullmatch(client_order_id) is not None


def body_hash(intent: OrderIntent, attached: Sequence[OrderIntent] = ()) -> str:
    """SHA-256 over what is sent to the broker, with the exit legs attached to it in their order.

    When and why the intent was made is not part of the body.
    """
    return digest("body", *(_body(each) for each in (intent, *attached)))


def can_move(state_from: OrderState, state_to: OrderState) -> bool:
    """Whether an order may go from one state to another."""
    return state_to in ORDER_MOVES[state_from]


def next_order_state(state_from: OrderState, state_to: OrderState) -> OrderState:
    """The new state; InvalidTransitionError when there is no such step."""
    if state_to not in ORDER_MOVES[state_from]:
        allowed = ", ".join(ORDER_MOVES[state_from]) or "nothing, it is terminal"
        raise InvalidTransitionError(
            f"an order cannot go from {state_from} to {state_to}; allowed: {allowed}"
        )
    return state_to


def filled_state(state: OrderState, *, quantity_e4: int, filled_e4: int) -> OrderState:
    """The state after fills of ``filled_e4`` in all, whatever was told before them.

    Filled whole is filled, even where a cancel was recorded first; any other terminal state stays, and fills that come
    late only add up.
    """
    if filled_e4 >= quantity_e4:
        return OrderState.FILLED
    return state if state in TERMINAL_ORDER_STATES else OrderState.PARTIALLY_FILLED


def next_generation(
    orders: Iterable[OwnOrder], *, plan_id: str, leg: str, is_replacement: bool = False
) -> int | StillLive:
    """The generation to mint next for a plan's leg: 1 + the highest so far, only when all of them are
    terminal (G2).

    ``is_replacement``: the new order replaces the live one at the broker in one step, so an accepted or
    partially filled one does not stand in the way; an intent or an unknown one still does.
    """
    highest = 0
    for order in orders:
        if (order.intent.plan_id, order.intent.leg) != (plan_id, leg):
            continue
        is_replaced = is_replacement and order.state in (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
        if not order.is_terminal and not is_replaced:
            return StillLive(order.intent.client_order_id, order.state)
        highest = max(highest, order.intent.generation)
    return highest + 1


def _scope(scope: Scope) -> tuple[str, str, str]:
    return scope.generation, scope.account, scope.deployment


def _body(intent: OrderIntent) -> dict[str, str | int | bool | None]:
    body = cast("dict[str, str | int | bool | None]", plain(intent))
    del body["created_at_ms"], body["reason"]
    return body
