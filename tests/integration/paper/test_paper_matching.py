"""The venue's step of a tick: what it writes, what it tells, and that it does so again after a restart."""

import sqlite3

import pytest

from finagent.adapters.brokers.paper import match
from finagent.domain.costs import CostRules
from finagent.domain.market import MINUTE_MS, Bar, Side
from finagent.domain.orders import OrderType
from tests.integration.paper.venue import DOLLAR, NEXT, SESSION, SHARE, T0, Venue, bracket, buy, intent, told

LIMIT, STOP, MARKET = OrderType.LIMIT, OrderType.STOP, OrderType.MARKET
FLAT = (100, 100, 100, 100)
CENT = DOLLAR // 100


async def test_a_bracket_runs_from_entry_to_target():
    venue = Venue()
    await venue.broker.submit(bracket())
    assert told(venue.tick({"XYZ": (100, 101, 99, 100)})) == [("entry", "filled", 100)]
    assert told(venue.tick({"XYZ": (103, 105, 102, 104)})) == [
        ("stop", "cancelled", None),
        ("target-1", "filled", 104),
    ]
    assert told(venue.tick({"XYZ": FLAT})) == []
    account = await venue.broker.account()
    assert account.cash_e8 == account.equity_e8 == 100_400 * DOLLAR


async def test_events_come_by_symbol_and_leg():
    venue = Venue()
    await venue.broker.submit([buy("b", 10, leg="entry")])
    await venue.broker.submit([buy("a", 10, leg="entry", symbol="ABC")])
    events = venue.tick({"XYZ": FLAT, "ABC": (50, 50, 50, 50)})
    assert [(e.symbol, e.leg, e.plan_id) for e in events] == [
        ("ABC", "entry", "pl_1"),
        ("XYZ", "entry", "pl_1"),
    ]
    assert [e.fill.execution_id for e in events] == ["a:1", "b:1"]


async def test_an_order_accepted_inside_a_bar_waits_for_the_next():
    venue = Venue()
    venue.clock.advance(T0 + 1)
    await venue.broker.submit([buy()])
    bars = {"XYZ": Bar(T0, *(4 * [1_000_000]), 100_000)}
    events = venue.database.write(
        lambda s: match(s.conn, rules=venue.rules, bars=bars, now_ms=T0 + MINUTE_MS, session=SESSION)
    )
    assert events == []


async def test_partial_fills_number_their_executions():
    venue = Venue(costs=CostRules(slippage_e6=0, has_regulatory_fees=False))
    await venue.broker.submit([buy(shares=100)])
    assert told(venue.tick({"XYZ": FLAT}, volume=1_200)) == [("entry", "partially_filled", 100)]
    events = venue.tick({"XYZ": FLAT}, volume=1_200)
    assert told(events) == [("entry", "filled", 100)]
    assert [f.execution_id for f in await venue.broker.fills(session=SESSION.date)] == ["entry:1", "entry:2"]


async def test_parts_of_an_order_pay_its_least_commission_once_whoever_fills_them(tmp_path):
    """60 shares each: 0.30, 0.60, 0.90 of half a cent a share are at least 0.75; a process of its own for each part."""
    costs = CostRules(
        slippage_e6=0, commission_per_share_e8=500_000, commission_min_e8=75 * CENT, has_regulatory_fees=False
    )
    venue = Venue(tmp_path / "venue.db", costs=costs)
    await venue.broker.submit([buy("a", 180, leg="entry")])
    await venue.broker.submit([buy(shares=60)])
    paid = []
    for _ in range(4):
        paid += [
            (e.fill.client_order_id, e.fill.fees_e8 // CENT) for e in venue.tick({"XYZ": FLAT}, volume=1_200)
        ]
        venue.database.conn.close()
        venue = Venue(tmp_path / "venue.db", now_ms=venue.clock.now_ms(), costs=costs)
    venue.database.conn.close()
    assert paid == [("a", 75), ("a", 0), ("a", 15), ("entry", 75)]


async def test_a_cancel_is_told_once_with_the_next_tick():
    venue = Venue()
    await venue.broker.submit(bracket())
    await venue.broker.cancel("entry")
    assert told(venue.tick({})) == [
        ("entry", "cancelled", None),
        ("stop", "cancelled", None),
        ("target-1", "cancelled", None),
    ]
    assert told(venue.tick({"XYZ": FLAT})) == []


async def test_a_stop_cut_by_a_target_tells_its_end_behind_its_fill():
    venue = Venue()
    await venue.broker.submit(
        [
            buy(),
            intent("stop", Side.SELL, STOP, 100, 98, parent_id="entry"),
            intent("target-1", Side.SELL, LIMIT, 50, 102, parent_id="entry"),
            intent("target-2", Side.SELL, LIMIT, 50, 104, parent_id="entry"),
        ]
    )
    venue.tick({"XYZ": FLAT})
    assert told(venue.tick({"XYZ": (101, 103, 101, 102)})) == [("target-1", "filled", 102)]
    events = venue.tick({"XYZ": (101, 101, 97, 98)})
    assert told(events) == [
        ("stop", "partially_filled", 98),
        ("stop", "filled", None),
        ("target-2", "cancelled", None),
    ]
    assert events[1].order.quantity_e4 == 50 * SHARE


async def test_the_last_bar_closes_exits_and_ends_the_rest():
    venue = Venue(costs=CostRules(has_regulatory_fees=False))
    await venue.broker.submit(bracket())
    await venue.broker.submit([intent("other", Side.BUY, LIMIT, 10, 90, leg="entry", symbol="ABC")])
    venue.tick({"XYZ": FLAT})
    events = venue.tick({"XYZ": FLAT}, is_last_bar=True)
    assert told(events) == [
        ("other", "expired", None),
        ("stop", "filled", 99.5),
        ("target-1", "cancelled", None),
    ]
    assert events[1].fill.is_forced_close
    assert not await venue.broker.positions()


async def test_an_entry_filled_in_part_tells_its_end_behind_the_fill():
    venue = Venue(costs=CostRules(slippage_e6=0, has_regulatory_fees=False))
    await venue.broker.submit([buy(shares=100)])
    assert told(venue.tick({"XYZ": FLAT}, volume=1_000, is_last_bar=True)) == [
        ("entry", "partially_filled", 100),
        ("entry", "expired", None),
    ]


async def test_a_symbol_that_does_not_trade_in_the_last_minute_closes_at_its_newest_price():
    venue = Venue(costs=CostRules(close_penalty_e6=10_000, slippage_e6=0, has_regulatory_fees=False))
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": (100, 103, 99, 102)})
    events = venue.tick({}, is_last_bar=True)
    assert told(events)[0] == ("stop", "filled", 100.98)
    assert events[0].fill.at_ms == SESSION.close_ms


async def test_a_symbol_halted_to_the_close_is_held_over():
    venue = Venue()
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": FLAT})
    assert told(venue.tick({}, is_last_bar=True, halted={"XYZ"})) == [
        ("stop", "expired", None),
        ("target-1", "expired", None),
    ]
    assert [p.quantity_e4 for p in await venue.broker.positions()] == [100 * SHARE]


async def test_orders_of_an_earlier_session_expire():
    venue = Venue()
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": FLAT})
    venue.clock.advance(NEXT.open_ms)
    events = venue.tick({"XYZ": (90, 110, 80, 90)}, session=NEXT)
    assert told(events) == [("stop", "expired", None), ("target-1", "expired", None)]


async def test_an_exit_sent_the_day_after_closes_what_was_stranded():
    venue = Venue()
    await venue.broker.submit([buy()])
    venue.tick({"XYZ": FLAT})
    venue.clock.advance(NEXT.open_ms - MINUTE_MS)
    await venue.broker.submit([intent("exit", Side.SELL, MARKET, 100)])
    assert told(venue.tick({}, session=NEXT)) == []
    assert told(venue.tick({}, session=NEXT, is_last_bar=True)) == [("exit", "expired", None)]


async def test_a_bar_that_has_not_ended_is_refused():
    venue = Venue()
    with pytest.raises(ValueError, match="the bar of XYZ ends at"):
        venue.database.write(
            lambda s: match(
                s.conn,
                rules=venue.rules,
                bars={"XYZ": Bar(T0, 1, 1, 1, 1, 1)},
                now_ms=T0 + MINUTE_MS - 1,
                session=SESSION,
            )
        )


async def test_the_bounds_of_an_ambiguous_fill_are_kept():
    venue = Venue()
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": (100, 105, 97, 100)})
    stop = (await venue.broker.fills(session=SESSION.date))[1]
    assert (stop.is_ambiguous, stop.best_e4, stop.worst_e4) == (True, 1_040_000, 980_000)


async def test_everything_survives_a_restart(tmp_path):
    path = tmp_path / "venue.db"
    venue = Venue(path)
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": FLAT})
    before = [await venue.broker.orders(session=SESSION.date), await venue.broker.account()]
    venue.database.conn.close()
    again = Venue(path, now_ms=T0 + MINUTE_MS, start_equity_e8=5)
    assert [await again.broker.orders(session=SESSION.date), await again.broker.account()] == before
    assert told(again.tick({"XYZ": (97, 98, 96, 97)}))[0] == ("stop", "filled", 97)


async def test_a_tick_rolled_back_and_run_again_tells_the_same(tmp_path):
    venue = Venue()
    await venue.broker.submit(bracket())
    bars = {"XYZ": Bar(T0, 1_000_000, 1_050_000, 970_000, 1_000_000, 100_000)}
    seen = []

    def tick(session, *, fails):
        seen.append(match(session.conn, rules=venue.rules, bars=bars, now_ms=T0 + MINUTE_MS, session=SESSION))
        if fails:
            raise RuntimeError("killed before the commit")

    with pytest.raises(RuntimeError):
        venue.database.write(lambda s: tick(s, fails=True))
    assert not await venue.broker.fills(session=SESSION.date)
    venue.database.write(lambda s: tick(s, fails=False))
    assert seen[0] == seen[1]
    venue.database.write(lambda s: tick(s, fails=False))
    assert seen[2] == []


async def test_a_damaged_row_is_named():
    venue = Venue()
    await venue.broker.submit([buy()])
    with pytest.raises(sqlite3.IntegrityError):
        venue.database.conn.execute("UPDATE venue_order SET filled = 1.5")
