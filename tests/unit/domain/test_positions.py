"""Positions folded from fills and the trades made of them, in exact integers."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import DomainError
from finagent.domain.market import Bar, Direction, Side
from finagent.domain.orders import BrokerFill
from finagent.domain.plan import ExitLeg, Management, Plan
from finagent.domain.positions import (
    ExitReason,
    LegFill,
    entry_price_e4,
    fold,
    make_trade,
    open_pnl_e8,
    open_position,
    realised_pnl_e8,
)
from finagent.domain.setups import Setup

SHARE = 10_000
DOLLAR = 100_000_000
T0 = 1_519_137_000_000

PLAN = Plan(
    plan_id="pl_1",
    version=1,
    session="2018-02-20",
    scan_tick="scan",
    symbol="XYZ",
    rank=1,
    preset="classic",
    setup=Setup.NEXT_OPEN,
    direction=Direction.LONG,
    score_e6=500_000,
    reference_e4=1_000_000,
    stop_e4=980_000,
    targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=1_040_000),),
    management=Management(),
    decided_at_ms=T0,
    entry_from_ms=T0,
    entry_until_ms=T0 + 3_600_000,
    quantity_e4=100 * SHARE,
)
SHORT = replace(
    PLAN,
    direction=Direction.SHORT,
    stop_e4=1_020_000,
    targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=960_000),),
)


def fill(side, shares, price, *, minute=0, number=1, **more) -> BrokerFill:
    return BrokerFill(
        execution_id=f"{side}:{minute}:{number}",
        client_order_id="x",
        symbol="XYZ",
        side=side,
        quantity_e4=round(shares * SHARE),
        price_e4=round(price * 10_000),
        at_ms=T0 + minute * 60_000,
        **more,
    )


def folded(plan, *fills):
    position = open_position(plan)
    for each in fills:
        position = fold(position, each)
    return position


def test_a_position_opens_with_its_first_fill_and_closes_with_its_last():
    start = open_position(PLAN)
    assert (start.quantity_e4, start.opened_at_ms, start.closed_at_ms) == (0, None, None)
    held = folded(PLAN, fill(Side.BUY, 60, 100), fill(Side.BUY, 40, 101, minute=1))
    assert (held.quantity_e4, held.opened_at_ms, held.closed_at_ms) == (100 * SHARE, T0, None)
    flat = fold(held, fill(Side.SELL, 100, 102, minute=5))
    assert (flat.quantity_e4, flat.closed_at_ms) == (0, T0 + 300_000)


def test_a_fill_of_another_symbol_is_refused():
    with pytest.raises(DomainError, match="is of ABC, the position of XYZ"):
        fold(open_position(PLAN), replace(fill(Side.BUY, 1, 1), symbol="ABC"))


def test_entry_price_is_the_average_of_the_entries():
    held = folded(PLAN, fill(Side.BUY, 2, 100), fill(Side.BUY, 1, 100.01), fill(Side.SELL, 1, 120))
    assert entry_price_e4(held) == 1_000_033
    assert entry_price_e4(folded(SHORT, fill(Side.SELL, 2, 50))) == 500_000
    with pytest.raises(DomainError, match="no entry fill yet"):
        entry_price_e4(open_position(PLAN))


def test_realised_counts_closed_shares_at_average_cost_less_all_fees():
    held = folded(
        PLAN, fill(Side.BUY, 100, 100, fees_e8=DOLLAR), fill(Side.SELL, 40, 102, fees_e8=2 * DOLLAR)
    )
    assert realised_pnl_e8(held) == 80 * DOLLAR - 3 * DOLLAR
    assert open_pnl_e8(held, 1_010_000) == 60 * DOLLAR


def test_an_open_position_has_realised_only_its_fees():
    assert realised_pnl_e8(folded(PLAN, fill(Side.BUY, 1, 100, fees_e8=5))) == -5


def test_a_short_earns_when_the_price_falls():
    held = folded(SHORT, fill(Side.SELL, 100, 100), fill(Side.BUY, 50, 98))
    assert realised_pnl_e8(held) == 100 * DOLLAR
    assert open_pnl_e8(held, 990_000) == 50 * DOLLAR


fills = st.lists(
    st.tuples(
        st.sampled_from(list(Side)), st.integers(1, 10**7), st.integers(1, 10**8), st.integers(0, 10**9)
    ),
    max_size=8,
)


@given(fills, st.sampled_from([PLAN, SHORT]), st.integers(1, 10**8))
def test_realised_and_open_add_up_to_cash_and_value_to_the_last_unit(parts, plan, mark):
    position = open_position(plan)
    cash = 0
    for number, (side, quantity, price, fees) in enumerate(parts):
        one = fill(side, 1, 1, number=number, fees_e8=fees)
        position = fold(position, replace(one, quantity_e4=quantity, price_e4=price))
        cash -= side.sign * quantity * price + fees
    assert realised_pnl_e8(position) + open_pnl_e8(position, mark) == cash + position.quantity_e4 * mark
    if position.quantity_e4 == 0:
        assert open_pnl_e8(position, mark) == 0
        assert realised_pnl_e8(position) == cash


def long_trade(*more_fills, bars=(), plan=PLAN):
    return make_trade(
        plan,
        [
            LegFill(leg="entry", fill=fill(Side.BUY, 100, 100.05, reference_e4=1_000_000)),
            *more_fills,
        ],
        bars,
        trade_id="tr_1",
    )


STOP_FILL = LegFill(
    leg="stop",
    fill=fill(Side.SELL, 100, 97.95, minute=3, reference_e4=980_000, fees_e8=DOLLAR),
    reason=ExitReason.STOP,
)


def test_a_trade_tells_the_round_trip_exactly():
    trade = long_trade(STOP_FILL)
    assert (trade.entry_price_e4, trade.exit_price_e4, trade.quantity_e4) == (1_000_500, 979_500, 100 * SHARE)
    assert trade.pnl_e8 == -210 * DOLLAR - DOLLAR
    assert trade.fees_e8 == DOLLAR
    assert trade.r_multiple_e6 == -1_055_000
    assert (trade.stop_e4, trade.target_e4, trade.risk_per_share_e4) == (980_000, 1_040_000, 20_000)
    assert (trade.exit_reason, trade.exits[0].reason) == (ExitReason.STOP, ExitReason.STOP)
    assert trade.slippage_e6 == round(Fraction(10, 19_800) * 10**6)
    assert (trade.mae_r_e6, trade.mfe_r_e6, trade.is_ambiguous) == (0, 0, False)


def test_the_reason_of_a_trade_is_that_of_its_last_exit():
    half = LegFill(leg="target-1", fill=fill(Side.SELL, 50, 104, minute=2), reason=ExitReason.TARGET)
    forced = LegFill(
        leg="stop", fill=fill(Side.SELL, 50, 101, minute=9, is_forced_close=True, is_ambiguous=True)
    )
    trade = long_trade(half, forced)
    assert trade.exit_reason is ExitReason.CLOSE_FORCED
    assert [each.reason for each in trade.exits] == [ExitReason.TARGET, ExitReason.CLOSE_FORCED]
    assert trade.is_ambiguous


def minute(number, high, low):
    return Bar(
        T0 + number * 60_000,
        round(low * 10_000),
        round(high * 10_000),
        round(low * 10_000),
        round(high * 10_000),
        1,
    )


def test_excursions_are_taken_from_the_bars_between_entry_and_exit():
    bars = [minute(-1, 150, 50), minute(0, 102.05, 99.05), minute(2, 104.05, 100), minute(3, 150, 50)]
    trade = long_trade(STOP_FILL, bars=bars)
    assert (trade.mae_r_e6, trade.mfe_r_e6) == (-500_000, 2_000_000)


def test_excursions_of_a_short_are_mirrored():
    trade = make_trade(
        SHORT,
        [
            LegFill(leg="entry", fill=fill(Side.SELL, 100, 100)),
            LegFill(leg="target-1", fill=fill(Side.BUY, 100, 96, minute=1), reason=ExitReason.TARGET),
        ],
        [minute(0, 101, 97)],
        trade_id="tr_2",
    )
    assert (trade.mae_r_e6, trade.mfe_r_e6, trade.r_multiple_e6) == (-500_000, 1_500_000, 2_000_000)
    assert trade.pnl_e8 == 400 * DOLLAR


def test_a_plan_without_targets_or_risk_still_makes_a_trade():
    trade = long_trade(STOP_FILL, plan=replace(PLAN, targets=(), stop_e4=PLAN.reference_e4))
    assert (trade.target_e4, trade.r_multiple_e6) == (0, 0)


def test_a_trade_needs_a_closed_round_trip_with_reasons():
    with pytest.raises(DomainError, match="not a closed round trip"):
        long_trade()
    with pytest.raises(DomainError, match="not a closed round trip"):
        make_trade(PLAN, [], [], trade_id="tr")
    with pytest.raises(DomainError, match="has no reason"):
        long_trade(replace(STOP_FILL, reason=None))


def test_what_was_sold_beyond_the_position_is_bought_back_within_the_trade():
    beyond = LegFill(leg="stop", fill=fill(Side.SELL, 10, 97, minute=4, number=1), reason=ExitReason.STOP)
    back = LegFill(leg="exit", fill=fill(Side.BUY, 10, 96, minute=5), reason=ExitReason.FLATTEN)
    trade = long_trade(STOP_FILL, beyond, back)
    assert [each.quantity_e4 for each in trade.exits] == [100 * SHARE, 10 * SHARE, -10 * SHARE]
    assert trade.pnl_e8 == -210 * DOLLAR - DOLLAR + 10 * DOLLAR
    with pytest.raises(DomainError, match="not a closed round trip"):
        long_trade(STOP_FILL, beyond)


@given(st.permutations(range(4)))
def test_the_order_of_hearing_changes_neither_position_nor_trade(order):
    heard = [
        LegFill(leg="entry", fill=fill(Side.BUY, 60, 100, minute=1)),
        LegFill(leg="entry", fill=fill(Side.BUY, 40, 101, minute=2)),
        LegFill(leg="target-1", fill=fill(Side.SELL, 50, 104, minute=4), reason=ExitReason.TARGET),
        LegFill(leg="stop", fill=fill(Side.SELL, 50, 99, minute=9), reason=ExitReason.STOP),
    ]
    shuffled = [heard[place] for place in order]
    assert folded(PLAN, *(leg.fill for leg in shuffled)) == folded(PLAN, *(leg.fill for leg in heard))
    assert make_trade(PLAN, shuffled, [], trade_id="t") == make_trade(PLAN, heard, [], trade_id="t")
