"""The venue against a ledger of its own, under any sequence of orders, cancels, replacements and bars."""

import asyncio
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.adapters.brokers.paper import account_of
from finagent.adapters.brokers.paper.tables import order_by_id, orders_of_session, positions
from finagent.domain.costs import CostRules, commission_e8, sec_fee_e8, taf_e8
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from finagent.ports import OrderRejectedError
from tests.integration.paper.venue import SESSION, SHARE, Venue, buy, intent

LIMIT, STOP, MARKET = OrderType.LIMIT, OrderType.STOP, OrderType.MARKET
FLAT = (100, 100, 100, 100)

MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("bar"), st.integers(94, 108), st.integers(0, 3), st.integers(0, 3), st.integers(0, 6_000)
        ),
        st.tuples(st.just("submit"), st.sampled_from(["XYZ", "ABC"]), st.integers(1, 300)),
        st.tuples(st.just("cancel"), st.integers(0, 8)),
        st.tuples(st.just("exit"), st.integers(0, 8), st.integers(1, 300)),
        st.tuples(st.just("replace"), st.integers(0, 8), st.integers(90, 110)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_cash_positions_and_fees_balance_and_exits_never_exceed_the_position(moves):
    """Whatever is sent, refused, cut, cancelled or replaced: an own ledger of the fills agrees."""
    asyncio.run(play(moves))


async def play(moves) -> None:
    venue = Venue(
        costs=CostRules(
            commission_per_share_e8=500_000,
            commission_min_e8=10**8,
            commission_max_e6=2_000,
            participation_e6=30_000,
        )
    )
    ids: list[str] = []
    for number, move in enumerate(moves):
        with suppress(OrderRejectedError):  # refusals are part of the game
            await step(venue, ids, number, move)
        check(venue)
    venue.tick({"XYZ": FLAT, "ABC": FLAT}, is_last_bar=True)
    check(venue)
    conn = venue.database.conn
    assert not any(each.order.is_open for each in orders_of_session(conn, SESSION.date))


async def step(venue: Venue, ids: list[str], number: int, move) -> None:
    kind, *values = move
    if kind == "bar":
        middle, up, down, volume = values
        prices = (middle, middle + up, middle - down, middle)
        venue.tick({"XYZ": prices, "ABC": prices}, volume=volume)
    elif kind == "submit":
        symbol, shares = values
        base = venue.market.prices_e4[symbol] // 10_000
        parent = f"entry:{number}"
        ids.extend([parent, f"stop:{number}", f"target-1:{number}"])
        await venue.broker.submit(
            [
                buy(parent, shares, symbol=symbol),
                intent(f"stop:{number}", Side.SELL, STOP, shares, base - 2, parent_id=parent, symbol=symbol),
                intent(
                    f"target-1:{number}", Side.SELL, LIMIT, shares, base + 3, parent_id=parent, symbol=symbol
                ),
            ]
        )
    elif kind == "cancel" and values[0] < len(ids):
        await venue.broker.cancel(ids[values[0]])
    elif kind == "exit" and values[0] < len(ids):
        found = order_by_id(venue.database.conn, ids[values[0]])
        if found is not None:
            own = intent(f"exit:{number}", Side.SELL, MARKET, values[1], symbol=found.order.symbol)
            await venue.broker.submit([own])
    elif kind == "replace" and values[0] < len(ids):
        found = order_by_id(venue.database.conn, ids[values[0]])
        if found is not None and found.order.type is STOP:
            new = intent(
                f"stop:{number}",
                Side.SELL,
                STOP,
                found.order.quantity_e4 / SHARE,
                values[1],
                parent_id=found.order.parent_id,
                symbol=found.order.symbol,
            )
            await venue.broker.replace(ids[values[0]], new=new)


def check(venue: Venue) -> None:
    conn = venue.database.conn
    cash, held = venue.rules.start_equity_e8, {}
    filled: dict[str, int] = {}
    worth: dict[str, int] = {}
    charged: dict[str, int] = {}
    rows = "SELECT client_order_id, symbol, side, quantity, price, fees FROM venue_fill"
    for order_id, symbol, side, quantity, price, fees in conn.execute(rows):
        signed = quantity if side == "buy" else -quantity
        held[symbol] = held.get(symbol, 0) + signed
        filled[order_id] = filled.get(order_id, 0) + quantity
        worth[order_id] = worth.get(order_id, 0) + quantity * price
        regulatory = (
            0
            if side == "buy"
            else sec_fee_e8(quantity * price, SESSION.date) + taf_e8(quantity, SESSION.date)
        )
        charged[order_id] = charged.get(order_id, 0) + fees - regulatory
        cash -= signed * price + fees
        assert held[symbol] >= 0
    for order_id, paid in charged.items():
        own = commission_e8(venue.rules.costs, quantity_e4=filled[order_id], notional_e8=worth[order_id])
        assert paid == own
    assert account_of(conn, venue.rules).cash_e8 == cash
    assert {p.symbol: p.quantity_e4 for p in positions(conn)} == {s: q for s, q in held.items() if q}
    open_exits: dict[tuple[str, str | None, str], int] = {}
    for each in orders_of_session(conn, SESSION.date):
        order = each.order
        assert order.filled_e4 == filled.get(order.client_order_id, 0) <= order.quantity_e4 <= each.asked_e4
        assert (order.state is OrderState.FILLED) <= (order.filled_e4 == order.quantity_e4)
        if order.is_exit and order.is_open:
            key = (order.symbol, order.parent_id, order.type if order.parent_id else "own")
            own = order.remaining_e4 if order.parent_id is None else min(order.remaining_e4, order.armed_e4)
            open_exits[key] = open_exits.get(key, 0) + own
    for symbol in ("XYZ", "ABC"):
        groups: dict[str | None, int] = {}
        for (of, parent, _), quantity in open_exits.items():
            if of == symbol:
                groups[parent] = max(groups.get(parent, 0), quantity)
        assert sum(groups.values()) <= held.get(symbol, 0)
