"""The last look at an order: what is not the plan's, malformed, out of hours, off the grid or too large."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.market import Direction, Instrument, Session, Side
from finagent.domain.order_check import waits_for_halt
from finagent.domain.orders import OrderType
from finagent.domain.plan import AUCTION_NOTE
from finagent.domain.risk import Circumstances, RiskProfile, micro_profile, order_check, standard_profile
from tests.unit.domain.risk_builders import FREE, SHARE, USD, order, plan

OPEN_MS, CLOSE_MS = 1_000, 9_000
SESSION = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=CLOSE_MS, previous="2018-02-16")


def seen(**changes: object) -> Circumstances:
    base = Circumstances(
        now_ms=2_000,
        session=SESSION,
        instrument=Instrument(symbol="WMT"),
        last_price_e4=100_0000,
        equity_e8=100_000 * USD,
        orders_last_minute=0,
        is_halted=False,
        is_price_stale=False,
    )
    return replace(base, **changes)


EXIT = {"leg": "stop", "type": OrderType.STOP, "side": Side.SELL, "limit_e4": None}
MARKET = {"type": OrderType.MARKET, "limit_e4": None}


@pytest.mark.parametrize(
    ("reasons", "changes", "context"),
    [
        ((), {}, {}),
        ((), MARKET, {}),
        (("bad_quantity",), {"quantity_e4": 0}, {}),
        (("bad_quantity",), {"quantity_e4": -100 * SHARE}, {}),
        (("bad_quantity",), {"quantity_e4": 10**9 * SHARE + 1}, {}),
        (("bad_price",), {"limit_e4": None}, {}),
        (("bad_price",), {"limit_e4": 0}, {}),
        (("bad_price",), {"limit_e4": -1}, {}),
        (("bad_price",), {"limit_e4": 10**11 + 1}, {}),
        (("not_of_plan",), {"symbol": "MMM"}, {}),
        (("not_of_plan",), {"plan_id": "pl_2"}, {}),
        (("not_of_plan",), {"side": Side.SELL}, {}),
        (("not_of_plan", "bad_quantity"), {"side": Side.SELL, "quantity_e4": 0}, {}),
        (("market_closed",), {}, {"now_ms": CLOSE_MS}),
        (("market_closed",), {}, {"now_ms": OPEN_MS - 1}),
        (("market_closed",), {}, {"session": replace(SESSION, date="2018-02-21")}),
        ((), {}, {"now_ms": OPEN_MS}),
        ((), {}, {"now_ms": CLOSE_MS - 1}),
        (("halted",), {}, {"is_halted": True}),
        (("stale_quote",), {}, {"is_price_stale": True}),
        (("halted", "stale_quote"), MARKET, {"is_halted": True, "is_price_stale": True}),
        (("unknown_symbol",), {}, {"instrument": None}),
        (("odd_lot",), {"quantity_e4": 15_000}, {}),
        (("no_price",), {}, {"last_price_e4": None}),
        (("no_price",), {}, {"last_price_e4": 0}),
        (("off_tick",), {"limit_e4": 100_0050}, {}),
        ((), {"limit_e4": 110_0000}, {}),
        (("price_band",), {"limit_e4": 110_0100}, {}),
        (("price_band",), {"limit_e4": 89_9900}, {}),
        ((), {"quantity_e4": 220 * SHARE}, {}),
        (("fat_finger",), {"quantity_e4": 221 * SHARE}, {}),
        (("orders_per_minute",), {}, {"orders_last_minute": 10}),
        ((), {}, {"orders_last_minute": 9}),
        ((), {**EXIT, "stop_e4": 50_0000, "quantity_e4": 9_999_999}, {"orders_last_minute": 99}),
        ((), {**EXIT, "type": OrderType.MARKET}, {"last_price_e4": None, "instrument": None}),
        ((), {**EXIT, "type": OrderType.MARKET}, {"now_ms": CLOSE_MS}),
        ((), {**EXIT, "type": OrderType.MARKET}, {"is_halted": True, "is_price_stale": True}),
        (("bad_price",), EXIT, {}),
        (("not_of_plan",), {**EXIT, "type": OrderType.MARKET, "side": Side.BUY}, {}),
    ],
)
def test_last_look_at_an_order(reasons, changes, context):
    assert order_check(order(**changes), plan(), standard_profile(), seen(**context)) == reasons


def test_order_is_never_larger_than_its_plan():
    sized = plan(quantity_e4=100 * SHARE)
    assert order_check(order(), sized, standard_profile(), seen()) == ()
    larger = order(quantity_e4=101 * SHARE)
    assert order_check(larger, sized, standard_profile(), seen()) == ("exceeds_plan",)


def test_auction_entry_leaves_before_the_hours_begin_and_not_behind_them():
    auction = plan(notes=(AUCTION_NOTE,))
    early, late = seen(now_ms=OPEN_MS - 1), seen(now_ms=CLOSE_MS)
    assert order_check(order(**MARKET), auction, standard_profile(), early) == ()
    assert order_check(order(**MARKET), auction, standard_profile(), late) == ("market_closed",)


def test_short_is_sold_and_bought_back():
    short = plan(stop=103_0000, target=91_0000)
    profile = replace(standard_profile(), allow_shorts=True)
    assert short.direction is Direction.SHORT
    assert order_check(order(side=Side.SELL), short, profile, seen(short=FREE)) == ()
    assert order_check(order(), short, profile, seen(short=FREE)) == ("not_of_plan",)
    cover = order(**{**EXIT, "side": Side.BUY, "stop_e4": 103_0000})
    assert order_check(cover, short, profile, seen()) == ()


@pytest.mark.parametrize(
    ("reasons", "changes", "now"),
    [
        ((), {"limit_e4": 100_0000}, {"is_restricted": True, "bid_e4": 99_9900}),
        ((), {"limit_e4": 100_0000}, {"is_restricted": None, "bid_e4": 99_9900}),
        (("short_at_bid",), {"limit_e4": 99_9900}, {"is_restricted": True, "bid_e4": 99_9900}),
        (("short_at_bid",), {"limit_e4": 100_0000}, {"is_restricted": True, "bid_e4": None}),
        (("short_at_bid",), MARKET, {"is_restricted": True, "bid_e4": 99_9900}),
        (("short_at_bid",), MARKET, {"is_restricted": None}),
        ((), MARKET, {"is_restricted": False}),
        (("odd_short",), {"quantity_e4": 15_000}, {"is_restricted": False}),
    ],
)
def test_restricted_short_leaves_as_a_limit_above_the_bid_or_not_at_all(reasons, changes, now):
    short = plan(stop=103_0000, target=91_0000, lot_e4=1)
    profile = replace(standard_profile(), allow_shorts=True, lot_e4=1)
    context = seen(short=replace(FREE, **now))
    assert order_check(order(side=Side.SELL, **changes), short, profile, context) == reasons


LOOK = {"halted_ms": None, "price_e4": 100_0000, "price_at_ms": 1_500}


@pytest.mark.parametrize(
    ("is_waiting", "reasons", "look"),
    [
        (False, (), {}),
        (True, ("halted",), {}),
        (True, ("halted", "stale_quote", "no_price"), {"halted_ms": 2_000}),
        (False, ("halted", "fat_finger"), {}),
        (False, ("stale_quote",), {}),
        (True, ("stale_quote",), {"halted_ms": 1_500}),
        (True, (), {"halted_ms": 1_500}),
        (True, ("no_price",), {"halted_ms": 1_500, "price_e4": None, "price_at_ms": None}),
        (True, (), {"halted_ms": 1_500, "price_at_ms": None}),
        (False, (), {"halted_ms": 1_499}),
        (False, ("fat_finger",), {"halted_ms": 1_500}),
    ],
)
def test_entry_waits_for_the_first_price_since_a_halt(is_waiting, reasons, look):
    assert waits_for_halt(reasons, plan(), **{**LOOK, **look}) is is_waiting


@pytest.mark.parametrize(
    ("changes", "price_e4", "is_waiting"),
    [
        ({}, 99_9999, True),
        ({}, 100_0000, False),
        ({"stop": 103_0000, "target": 91_0000}, 100_0001, True),
        ({"stop": 103_0000, "target": 91_0000}, 100_0000, False),
    ],
)
def test_trigger_has_to_be_reached_again_after_a_halt(changes, price_e4, is_waiting):
    armed = plan(trigger_e4=100_0000, **changes)
    look = {"halted_ms": 1_000, "price_e4": price_e4, "price_at_ms": 1_500}
    assert waits_for_halt((), armed, **look) is is_waiting


def test_fractions_need_an_account_that_has_them():
    part = order(quantity_e4=15_000)
    fractional = replace(standard_profile(), lot_e4=1)
    assert order_check(part, plan(lot_e4=1), fractional, seen()) == ()
    assert order_check(part, plan(lot_e4=1), standard_profile(), seen()) == ("odd_lot",)


def test_one_order_has_its_own_cap():
    capped = replace(standard_profile(), max_order_notional_e8=10_000 * USD)
    assert order_check(order(), plan(), capped, seen()) == ()
    more = order(quantity_e4=101 * SHARE)
    assert order_check(more, plan(), capped, seen()) == ("order_notional",)
    assert order_check(order(limit_e4=99_0000), plan(), capped, seen(last_price_e4=100_0100)) == (
        "order_notional",
    )


def test_bankroll_bounds_an_order_as_equity_does():
    small = replace(standard_profile(), max_position_e6=None, bankroll_e8=500 * USD)
    assert order_check(order(quantity_e4=5 * SHARE), plan(), small, seen()) == ()
    assert order_check(order(quantity_e4=6 * SHARE), plan(), small, seen()) == ("fat_finger",)


def test_band_that_is_off_leaves_the_plain_position_cap():
    profile = replace(standard_profile(), price_band_e6=None)
    assert order_check(order(limit_e4=150_0000, quantity_e4=133 * SHARE), plan(), profile, seen()) == ()
    assert order_check(order(quantity_e4=201 * SHARE), plan(), profile, seen()) == ("fat_finger",)


def test_every_reason_that_applies_is_told_in_order():
    worst = order(quantity_e4=9_999_999, limit_e4=200_0050)
    context = seen(now_ms=CLOSE_MS, instrument=None, orders_last_minute=99)
    assert order_check(worst, plan(), standard_profile(), context) == (
        "market_closed",
        "unknown_symbol",
        "odd_lot",
        "orders_per_minute",
        "off_tick",
        "price_band",
        "fat_finger",
    )


ANY = st.integers(-(2**70), 2**70)
PROFILES = st.sampled_from([standard_profile(), replace(micro_profile(), max_order_notional_e8=100 * USD)])


@given(ANY, st.none() | ANY, st.none() | ANY, st.none() | ANY, st.sampled_from(OrderType), PROFILES)
def test_whatever_passes_the_last_look_is_whole_on_the_grid_near_the_price_and_small(
    quantity: int,
    limit: int | None,
    stop: int | None,
    last: int | None,
    kind: OrderType,
    profile: RiskProfile,
) -> None:
    asked = order(quantity_e4=quantity, limit_e4=limit, stop_e4=stop, type=kind)
    if order_check(asked, plan(lot_e4=profile.lot_e4), profile, seen(last_price_e4=last)):
        return
    price = {OrderType.LIMIT: limit, OrderType.STOP: stop, OrderType.MARKET: last}[kind]
    assert quantity > 0 < price
    assert quantity % profile.lot_e4 == 0
    assert 10 * abs(price - last) <= last
    assert kind is OrderType.MARKET or price % (100 if price >= SHARE else 1) == 0
    assert quantity * price <= 22_000 * USD
    assert profile.max_order_notional_e8 is None or quantity * price <= profile.max_order_notional_e8


@given(st.integers(1, 300 * SHARE), st.integers(80_0000, 120_0000), PROFILES)
def test_order_that_fits_its_own_bounds_passes(quantity: int, limit: int, profile: RiskProfile) -> None:
    """Recomputed beside the code: passes if and only if it is whole, on the grid, near and small enough."""
    found = order_check(
        order(quantity_e4=quantity, limit_e4=limit), plan(lot_e4=profile.lot_e4), profile, seen()
    )
    largest = max(limit, 100_0000) * quantity
    position = 20_000 * USD if profile.name == "standard" else 250 * USD
    fits = (
        quantity % profile.lot_e4 == 0
        and limit % 100 == 0
        and 90_0000 <= limit <= 110_0000
        and 10 * largest <= 11 * position
        and largest <= (profile.max_order_notional_e8 or largest)
    )
    assert (found == ()) is fits
