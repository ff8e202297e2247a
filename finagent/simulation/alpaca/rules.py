"""Alpaca's order rules as its documentation states them: what is refused, with which status, code and words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from finagent.simulation.alpaca.book import ZERO, Asset, Book, Order
from finagent.simulation.alpaca.hours import local_time

FORBIDDEN, UNPROCESSABLE, NOT_FOUND = 40310000, 42210000, 40410000
MALFORMED = 40010001
TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
OPENING_CUT_OFF, QUEUE_FROM = "09:28", "19:00"
MOST_CLIENT_ID = 128
MOST_DECIMALS = 9


@dataclass(slots=True)
class RefusedError(Exception):
    """A request that is not carried out: HTTP status, Alpaca's code and message, and further fields of its body."""

    status: int
    code: int
    message: str
    more: Mapping[str, object] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """The body of the answer."""
        return {"code": self.code, "message": self.message, **self.more}


def number(body: Mapping[str, object], name: str) -> Decimal | None:
    """A positive amount of a request; None where it is not given."""
    given = body.get(name)
    if given is None or given == "":
        return None
    try:
        value = Decimal(str(given))
    except InvalidOperation:
        raise RefusedError(422, MALFORMED, f"invalid {name}") from None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or value <= 0 or value > 10**12:
        raise RefusedError(422, MALFORMED, f"{name} must be > 0")
    if -exponent > MOST_DECIMALS:
        raise RefusedError(422, MALFORMED, f"{name} must be limited to {MOST_DECIMALS} decimal places")
    return value


def check_account(book: Book) -> None:
    """A blocked account sends nothing."""
    account = book.account
    if account.account_blocked or account.trading_blocked or account.status != "ACTIVE":
        raise RefusedError(403, FORBIDDEN, "account is not allowed to trade: trading is blocked")
    if account.trade_suspended_by_user:
        raise RefusedError(403, FORBIDDEN, "new orders are rejected by user request")


def asset_of(book: Book, symbol: object) -> Asset:
    """The stock of an order."""
    asset = book.assets.get(str(symbol))
    if asset is None:
        raise RefusedError(422, UNPROCESSABLE, f'asset "{symbol}" not found')
    if not asset.tradable:
        raise RefusedError(422, UNPROCESSABLE, f'asset "{symbol}" is not tradable')
    return asset


def check_prices(order: Order, asset: Asset) -> None:
    """Prices fit the type, the increments and the market."""
    needs_limit = order.type in ("limit", "stop_limit")
    needs_stop = order.type in ("stop", "stop_limit")
    for name, price, is_needed in (
        ("limit_price", order.limit_price, needs_limit),
        ("stop_price", order.stop_price, needs_stop),
    ):
        if is_needed and price is None:
            raise RefusedError(422, MALFORMED, f"{order.type} orders require {name}")
        if price is not None and not is_needed:
            raise RefusedError(422, MALFORMED, f"{order.type} orders require no {name}")
        if price is not None and -int(price.normalize().as_tuple().exponent) > (2 if price >= 1 else 4):
            raise RefusedError(
                422,
                UNPROCESSABLE,
                f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria",
            )
    if order.stop_price is not None:
        is_below = order.stop_price < asset.price
        if (order.side == "sell") is not is_below:
            word = "less" if order.side == "sell" else "greater"
            raise RefusedError(
                422,
                UNPROCESSABLE,
                f"stop price must be {word} than current price",
                {"market_price": str(asset.price), "stop_price": str(order.stop_price)},
            )


def check_terms(order: Order, asset: Asset, now_ms: int) -> None:
    """Type, time in force, fractions and extended hours go together."""
    if order.extended_hours and (order.type != "limit" or order.time_in_force != "day"):
        raise RefusedError(422, UNPROCESSABLE, "extended hours order must be DAY limit orders")
    if order.time_in_force == "opg":
        if order.type not in ("market", "limit"):
            raise RefusedError(422, UNPROCESSABLE, "opg orders must be market or limit orders")
        if OPENING_CUT_OFF <= local_time(now_ms) < QUEUE_FROM:
            raise RefusedError(
                422, UNPROCESSABLE, "opg orders submitted after 9:28am but before 7:00pm ET are rejected"
            )
    if order.qty != order.qty.to_integral_value():
        if order.time_in_force != "day":
            raise RefusedError(422, UNPROCESSABLE, "fractional orders must be DAY orders")
        if not asset.fractionable:
            raise RefusedError(403, FORBIDDEN, f'asset "{asset.symbol}" is not fractionable')


def check_quantity(book: Book, order: Order, asset: Asset, *, but: str | None = None) -> None:
    """Shares are there to be sold, or may be sold short, and money is there to open with."""
    held = book.held(order.symbol)
    is_closing = held < 0 if order.side == "buy" else held > 0
    if is_closing:
        taken = book.held_for_orders(order.symbol, order.side, but=but)
        available = max(ZERO, abs(held) - taken)
        if order.qty > available:
            related = [
                o.id for o in book.live(order.symbol) if o.side == order.side and o.id not in (but, order.id)
            ]
            raise RefusedError(
                403,
                FORBIDDEN,
                f"insufficient qty available for order (requested: {order.qty}, available: {available})",
                {
                    "symbol": order.symbol,
                    "available": str(available),
                    "existing_qty": str(abs(held)),
                    "held_for_orders": str(taken),
                    "related_orders": related,
                },
            )
        return
    if order.side == "sell":
        _check_short(book, order, asset)
    elif any(o.side == "sell" and book.opening_value(o) > 0 for o in book.live(order.symbol) if o.id != but):
        raise RefusedError(403, FORBIDDEN, "cannot open a long buy while a short sell order is open")
    cost, power = book.opening_value(order), book.buying_power(but=but)
    if cost > power:
        raise RefusedError(
            403,
            FORBIDDEN,
            "insufficient buying power",
            {"buying_power": f"{power:.2f}", "cost_basis": f"{cost:.2f}"},
        )


def check_wash_trade(book: Book, order: Order, *, but: str | None = None) -> None:
    """Two orders that could meet: of market and stop orders always, of limits when they cross."""
    for other in book.live(order.symbol):
        if other.side == order.side or other.id in (but, order.id) or other.is_hidden:
            continue
        if "market" in (order.type, other.type) or "stop" in (order.type, other.type):
            kind = "market/stop" if other.type in ("market", "stop") else "limit"
        elif _crosses(order, other):
            kind = "limit"
        else:
            continue
        raise RefusedError(
            403,
            FORBIDDEN,
            "potential wash trade detected. use complex orders",
            {"existing_order_id": other.id, "reject_reason": f"opposite side {kind} order exists"},
        )


def _check_short(book: Book, order: Order, asset: Asset) -> None:
    if order.qty != order.qty.to_integral_value():
        raise RefusedError(422, UNPROCESSABLE, "fractional orders cannot be sold short")
    if not book.account.shorting_enabled:
        raise RefusedError(403, FORBIDDEN, "account is not allowed to short")
    if not (asset.shortable and asset.easy_to_borrow):
        raise RefusedError(422, UNPROCESSABLE, f'asset "{asset.symbol}" cannot be sold short')


def _crosses(first: Order, second: Order) -> bool:
    buy, sell = (first, second) if first.side == "buy" else (second, first)
    return (
        buy.limit_price is not None and sell.limit_price is not None and buy.limit_price >= sell.limit_price
    )
