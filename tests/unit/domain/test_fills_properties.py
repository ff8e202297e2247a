"""The fill model against independent ones: a price that walks through the bar, and a ledger of its own."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.domain.costs import NO_COSTS, CostRules
from finagent.domain.fills import Ambiguity, match_symbol
from finagent.domain.market import Bar, Instrument, Session, Side
from finagent.domain.orders import OrderType
from finagent.domain.working_orders import WorkingOrder, cancel, fillable_e4

SHARE = 10_000
CENT = 100
OPEN_MS = 1_519_137_000_000
SESSION = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * 60_000, previous="2018-02-16")
XYZ = Instrument(symbol="XYZ")
TICKS = st.integers(9_000, 11_000)


@st.composite
def bars(draw, number: int = 0) -> Bar:
    open_, close, one, other = (draw(TICKS) for _ in range(4))
    high, low = max(open_, close, one, other), min(open_, close, one, other)
    volume = draw(st.integers(0, 4_000))
    return Bar(OPEN_MS + number * 60_000, open_ * CENT, high * CENT, low * CENT, close * CENT, volume)


@st.composite
def brackets(draw, shares: int = 100) -> list[WorkingOrder]:
    """An entry with a stop and one or two targets around it, long or short."""
    side = draw(st.sampled_from(list(Side)))
    kind = draw(st.sampled_from(list(OrderType)))
    sign, price = side.sign, draw(st.integers(9_500, 10_500)) * CENT
    stop = price - sign * draw(st.integers(1, 400)) * CENT
    near = price + sign * draw(st.integers(1, 400)) * CENT
    far = near + sign * draw(st.integers(1, 200)) * CENT
    first = draw(st.sampled_from([shares, shares // 2]))
    out = Side.SELL if side is Side.BUY else Side.BUY

    def leg(number: int, order_id: str, kind: OrderType, level: int, quantity: int) -> WorkingOrder:
        return WorkingOrder(
            client_order_id=order_id,
            symbol="XYZ",
            side=out,
            type=kind,
            quantity_e4=quantity * SHARE,
            accepted_at_ms=OPEN_MS,
            sequence=number,
            limit_e4=level if kind is OrderType.LIMIT else None,
            stop_e4=level if kind is OrderType.STOP else None,
            parent_id="entry",
            is_exit=True,
        )

    entry = WorkingOrder(
        client_order_id="entry",
        symbol="XYZ",
        side=side,
        type=kind,
        quantity_e4=shares * SHARE,
        accepted_at_ms=OPEN_MS,
        sequence=1,
        limit_e4=price if kind is OrderType.LIMIT else None,
        stop_e4=price if kind is OrderType.STOP else None,
    )
    legs = [leg(2, "stop", OrderType.STOP, stop, shares), leg(3, "target-1", OrderType.LIMIT, near, first)]
    if first < shares:
        legs.append(leg(4, "target-2", OrderType.LIMIT, far, shares - first))
    return [entry, *legs]


def walk(orders: list[WorkingOrder], points: list[int]) -> dict[str, tuple[int, int]]:
    """Fills (shares, price) of a whole bracket while a price walks through the points tick by tick."""
    entry, legs = orders[0], orders[1:]
    left = {each.client_order_id: each.quantity_e4 // SHARE for each in orders}
    fills: dict[str, tuple[int, int]] = {}
    held = 0

    def fill(order: WorkingOrder, price: int) -> None:
        nonlocal held
        shares = left[order.client_order_id] if order is entry else min(left[order.client_order_id], held)
        if shares:
            held += shares if order is entry else -shares
            left[order.client_order_id] -= shares
            fills[order.client_order_id] = (shares, price)

    def touches(order: WorkingOrder, price: int) -> bool:
        if order.limit_e4 is not None:
            return price <= order.limit_e4 if order.side is Side.BUY else price >= order.limit_e4
        if order.stop_e4 is not None:
            return price >= order.stop_e4 if order.side is Side.BUY else price <= order.stop_e4
        return True

    price = points[0]
    for target in points:
        step = CENT if target >= price else -CENT
        for at in range(price, target + step, step):
            for order in (entry, *legs):
                if (order is entry or held) and left[order.client_order_id] and touches(order, at):
                    fill(order, at)
        price = target
    return fills


@settings(max_examples=150, deadline=None)
@given(bars(), brackets())
def test_an_undoubted_bar_has_the_fills_of_every_path_through_it(bar, orders):
    bar = replace(bar, volume=100_000)
    result = match_symbol(orders, bar, session=SESSION, instrument=XYZ, rules=NO_COSTS)
    got: dict[str, tuple[int, int]] = {
        f.client_order_id: (f.quantity_e4 // SHARE, f.price_e4) for f in result.fills
    }
    paths = [
        walk(orders, [bar.open_e4, bar.high_e4, bar.low_e4, bar.close_e4]),
        walk(orders, [bar.open_e4, bar.low_e4, bar.high_e4, bar.close_e4]),
    ]
    doubted = [fill for fill in result.fills if fill.is_ambiguous]
    if not doubted:
        assert got == paths[0] == paths[1]
    for fill in doubted:
        low, high = sorted((fill.best_e4, fill.worst_e4))
        for path in paths:
            for order_id, (_, price) in path.items():
                if order_id == "stop" or (order_id == "target-1" and fill.client_order_id != "target-2"):
                    assert low <= price <= high


@settings(max_examples=100, deadline=None)
@given(bars(), brackets())
def test_path_rule_has_the_fills_of_a_price_that_walks_open_high_low_close(bar, orders):
    bar = replace(bar, volume=100_000)
    result = match_symbol(
        orders, bar, session=SESSION, instrument=XYZ, rules=NO_COSTS, ambiguity=Ambiguity.PATH
    )
    got = {f.client_order_id: (f.quantity_e4 // SHARE, f.price_e4) for f in result.fills}
    assert got == walk(orders, [bar.open_e4, bar.high_e4, bar.low_e4, bar.close_e4])


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(*(bars(number) for number in range(6))),
    brackets(),
    st.sampled_from(list(Ambiguity)),
    st.none() | st.integers(0, 5),
)
def test_exits_never_exceed_the_position_and_the_session_ends_flat(day, orders, ambiguity, cancelled_at):
    """Partial fills, any order of events: a ledger of its own follows the fills."""
    quantity = {each.client_order_id: each.quantity_e4 for each in orders}
    filled = dict.fromkeys(quantity, 0)
    held, side, now = 0, orders[0].side, tuple(orders)
    for number, bar in enumerate(day):
        if number == cancelled_at:
            now = cancel(now, "entry", "cancelled")
        result = match_symbol(
            now,
            bar,
            session=SESSION,
            instrument=XYZ,
            rules=CostRules(),
            is_last_bar=number == len(day) - 1,
            ambiguity=ambiguity,
        )
        assert (
            match_symbol(
                now,
                bar,
                session=SESSION,
                instrument=XYZ,
                rules=CostRules(),
                is_last_bar=number == len(day) - 1,
                ambiguity=ambiguity,
            )
            == result
        )
        for fill in result.fills:
            filled[fill.client_order_id] += fill.quantity_e4
            held += fill.quantity_e4 if fill.side is side else -fill.quantity_e4
            assert fill.quantity_e4 > 0
            assert held >= 0
            assert fill.fees_e8 >= 0
            assert bar.start_ms <= fill.at_ms <= bar.end_ms
        if number < len(day) - 1:
            assert sum(f.quantity_e4 for f in result.fills) <= bar.volume * SHARE // 20
        now = result.orders
        for each in now:
            assert (
                filled[each.client_order_id]
                == each.filled_e4
                <= each.quantity_e4
                <= quantity[each.client_order_id]
            )
        for kind in OrderType:
            legs = [each for each in now if each.is_exit and each.type is kind and each.is_open]
            assert sum(fillable_e4(now, each) for each in legs) <= held
    assert held == 0
    assert not any(each.is_open for each in now)
