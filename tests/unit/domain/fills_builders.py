"""Orders and bars for the tests of the fill model: long at 100, stop 98, target 104."""

from finagent.domain.costs import NO_COSTS
from finagent.domain.fills import MatchResult, ModelFill, match_symbol
from finagent.domain.market import Bar, Instrument, Session, Side
from finagent.domain.orders import OrderType
from finagent.domain.working_orders import WorkingOrder

SHARE = 10_000
OPEN_MS = 1_519_137_000_000
SESSION = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * 60_000, previous="2018-02-16")
T0 = OPEN_MS + 30 * 60_000
XYZ = Instrument(symbol="XYZ")


def bar(open_, high, low, close, volume=1_000_000, start_ms=T0) -> Bar:
    prices = [round(price * 10_000) for price in (open_, high, low, close)]
    return Bar(start_ms, *prices, volume)


def order(order_id, side, kind, shares=100, *, at_ms=T0, price=None, **more) -> WorkingOrder:
    price_e4 = None if price is None else round(price * 10_000)
    return WorkingOrder(
        client_order_id=order_id,
        symbol="XYZ",
        side=side,
        type=kind,
        quantity_e4=shares * SHARE,
        accepted_at_ms=at_ms,
        limit_e4=price_e4 if kind is OrderType.LIMIT else None,
        stop_e4=price_e4 if kind is OrderType.STOP else None,
        sequence=more.pop("sequence", {"entry": 1, "stop": 2, "target-1": 3, "target-2": 4}.get(order_id, 9)),
        **more,
    )


def entry(kind=OrderType.MARKET, price=None, shares=100, side=Side.BUY, **more) -> WorkingOrder:
    return order("entry", side, kind, shares, price=price, **more)


def leg(order_id, kind, price, shares=100, *, side=Side.SELL, armed=0, **more) -> WorkingOrder:
    return order(
        order_id,
        side,
        kind,
        shares,
        price=price,
        parent_id="entry",
        is_exit=True,
        armed_e4=armed * SHARE,
        **more,
    )


def bracket(armed=0, shares=100, stop=98, target=104) -> list[WorkingOrder]:
    return [
        leg("stop", OrderType.STOP, stop, shares, armed=armed),
        leg("target-1", OrderType.LIMIT, target, shares, armed=armed),
    ]


def play(orders, a_bar, *, rules=NO_COSTS, **more) -> MatchResult:
    return match_symbol(orders, a_bar, session=SESSION, instrument=XYZ, rules=rules, **more)


def told(result: MatchResult) -> list[tuple[str, float, float, bool]]:
    """Each fill as (order, shares, price, at the open)."""
    return [
        (fill.client_order_id, fill.quantity_e4 / SHARE, fill.price_e4 / 10_000, fill.at_ms == T0)
        for fill in result.fills
    ]


def states(result: MatchResult) -> dict[str, str]:
    return {each.client_order_id: each.state.value for each in result.orders}


def only(result: MatchResult) -> ModelFill:
    assert len(result.fills) == 1
    return result.fills[0]
