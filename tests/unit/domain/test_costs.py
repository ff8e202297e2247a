"""Costs: slippage against the trader, commission with its bounds, fees by date, all in exact integers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.costs import (
    NO_COSTS,
    SEC_CENTS_PER_MILLION,
    TAF_E8,
    CostRules,
    commission_e8,
    conceded_e16,
    fees_e8,
    penalised_price_e4,
    sec_fee_e8,
    slipped_price_e4,
    taf_e8,
    volume_root_e6,
)
from finagent.domain.errors import SettingsValueError
from finagent.domain.market import Side

CENT = 1_000_000
SHARE = 10_000


def slip(
    side: Side, price: int, minute: int = 10, spread: int | None = None, rules: CostRules | None = None
) -> int:
    return slipped_price_e4(
        rules or CostRules(),
        side=side,
        reference_e4=price,
        minutes_since_open=minute,
        spread_e4=spread,
        tick_e4=100 if price >= 10_000 else 1,
    )


def test_slippage_is_five_basis_points_rounded_against_the_trader():
    assert slip(Side.BUY, 1_000_000) == 1_000_500
    assert slip(Side.SELL, 1_000_000) == 999_500
    assert slip(Side.BUY, 1_001_000) == 1_001_600
    assert slip(Side.SELL, 1_001_000) == 1_000_400


def test_slippage_is_three_times_as_much_in_the_first_five_minutes():
    assert slip(Side.BUY, 1_000_000, minute=4) == 1_001_500
    assert slip(Side.BUY, 1_000_000, minute=5) == 1_000_500


def test_half_the_quoted_spread_replaces_the_basis_points():
    assert slip(Side.BUY, 1_000_000, spread=400) == 1_000_200
    assert slip(Side.SELL, 1_000_000, spread=400, minute=0) == 999_400
    assert slip(Side.BUY, 1_000_000, spread=100) == 1_000_100


def test_below_one_dollar_the_grid_is_a_hundredth_of_a_cent():
    assert slip(Side.BUY, 5_000) == 5_003
    assert slip(Side.SELL, 5_000) == 4_997


def test_a_sale_never_fills_below_one_tick():
    assert slip(Side.SELL, 200, spread=1_000) == 1


@given(
    side=st.sampled_from(list(Side)),
    cents=st.integers(100, 10_000_000),
    minute=st.integers(-60, 400),
    spread=st.none() | st.integers(0, 2_000),
)
def test_slipped_price_is_the_nearest_grid_price_not_better_than_exact(side, cents, minute, spread):
    price = cents * 100
    got = slip(side, price, minute=minute, spread=spread)
    times = 3 if minute < 5 else 1
    exact_slip = Fraction(spread * times, 2) if spread is not None else Fraction(price * 500 * times, 10**6)
    exact = price + side.sign * exact_slip
    assert got % 100 == 0
    assert 0 <= side.sign * (got - exact) < 100 or got == 100


def conceded(quantity: int, **rules: int) -> int:
    """By so many shares at 100 dollars, in a bar of 10,000 shares from 99 to 101."""
    return conceded_e16(
        CostRules(**rules),
        reference_e4=1_000_000,
        range_e4=20_000,
        quantity_e4=quantity * SHARE,
        volume=10_000,
    )


def test_range_and_impact_are_off_unless_asked_for():
    assert conceded(100) == 0


def test_a_tenth_of_the_bars_range_is_conceded():
    assert conceded(100, slippage_range_e6=100_000) == 2_000 * 10**12


def test_impact_grows_with_the_square_root_of_the_share():
    # 100 bps of 100 dollars for the whole volume: a tenth of it for 1 %, a half for 25 %, no more than all of it
    taken = [conceded(shares, slippage_impact_e6=10_000) for shares in (100, 2_500, 10_000, 40_000)]
    assert taken == [1_000 * 10**12, 5_000 * 10**12, 10_000 * 10**12, 10_000 * 10**12]


def test_both_come_on_top_and_are_rounded_once_against_the_trader():
    # 100 + 0.05 + 0.00001 by the terms: 100.06 and 99.94; the first minutes multiply only the basis points
    def price(side: Side, minute: int, spread: int | None = None) -> int:
        return slipped_price_e4(
            CostRules(),
            side=side,
            reference_e4=1_000_000,
            minutes_since_open=minute,
            spread_e4=spread,
            tick_e4=100,
            conceded_e16=10**11,
        )

    assert (price(Side.BUY, 10), price(Side.SELL, 10)) == (1_000_600, 999_400)
    assert price(Side.BUY, 0) == 1_001_600
    assert price(Side.BUY, 10, spread=400) == 1_000_300


@given(quantity=st.integers(1, 10**12), volume=st.integers(0, 10**14))
def test_root_of_a_share_is_the_least_millionth_not_below_it(quantity, volume):
    root = volume_root_e6(quantity, volume)
    share = min(Fraction(quantity, max(volume, 1)), 1)
    assert (root - 1) ** 2 < share * 10**12 <= root**2
    assert volume_root_e6(0, volume + 1) == 0


@given(
    share=st.integers(0, 100_000),
    impact=st.integers(0, 50_000),
    minute=st.integers(0, 9),
    volume=st.integers(1, 10**6),
)
def test_no_entry_without_quote_and_range_slips_beyond_its_bound(share, impact, minute, volume):
    rules = CostRules(participation_e6=share, slippage_impact_e6=impact)
    quantity = volume * SHARE * share // 10**6
    more = conceded_e16(rules, reference_e4=10**6, range_e4=0, quantity_e4=quantity, volume=volume)
    price = slipped_price_e4(
        rules,
        side=Side.BUY,
        reference_e4=10**6,
        minutes_since_open=minute,
        spread_e4=None,
        tick_e4=1,
        conceded_e16=more,
    )
    assert price <= 10**6 + rules.slippage_bound_e6
    assert CostRules().slippage_bound_e6 == 1_500


def test_forced_close_pays_the_stated_penalty():
    assert penalised_price_e4(CostRules(), side=Side.SELL, close_e4=1_000_000, tick_e4=100) == 995_000
    assert penalised_price_e4(CostRules(), side=Side.BUY, close_e4=1_000_100, tick_e4=100) == 1_005_200


def test_commission_has_a_minimum_and_a_maximum():
    rules = CostRules(commission_per_share_e8=500_000, commission_min_e8=100 * CENT, commission_max_e6=10_000)
    assert commission_e8(rules, quantity_e4=1_000 * SHARE, notional_e8=10_000 * 100 * CENT) == 500 * CENT
    assert commission_e8(rules, quantity_e4=100 * SHARE, notional_e8=10_000 * 100 * CENT) == 100 * CENT
    assert commission_e8(rules, quantity_e4=10 * SHARE, notional_e8=10 * 100 * CENT) == 10 * CENT


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**8)), min_size=1, max_size=8),
    st.integers(0, 10**8),
    st.integers(0, 10**10),
    st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_what_the_fills_of_an_order_pay_sums_up_to_its_commission(parts, a_share, least, most):
    """However it is cut; none of them is paid back."""
    rules = CostRules(commission_per_share_e8=a_share, commission_min_e8=least, commission_max_e6=most)
    filled_e4 = filled_e8 = paid = 0
    for quantity_e4, price_e4 in parts:
        fee = fees_e8(
            rules,
            side=Side.BUY,
            quantity_e4=quantity_e4,
            price_e4=price_e4,
            session="2018-02-20",
            filled_e4=filled_e4,
            filled_e8=filled_e8,
        )
        assert fee >= 0
        filled_e4, filled_e8, paid = filled_e4 + quantity_e4, filled_e8 + quantity_e4 * price_e4, paid + fee
        assert paid == commission_e8(rules, quantity_e4=filled_e4, notional_e8=filled_e8)


def test_a_part_of_a_sale_pays_the_fees_of_its_own_and_no_second_least_commission():
    """20,000 of 40,000 at 1.00: the SEC takes 23.10 a million, 0.462 up to 0.47, FINRA 0.000119 a share, 2.38."""
    rules = CostRules(commission_min_e8=100 * CENT)
    quantity_e4 = 20_000 * SHARE
    sale = {"side": Side.SELL, "quantity_e4": quantity_e4, "price_e4": SHARE, "session": "2018-02-20"}
    assert fees_e8(rules, **sale) == (100 + 47 + 238) * CENT
    assert fees_e8(rules, **sale, filled_e4=quantity_e4, filled_e8=quantity_e4 * SHARE) == (47 + 238) * CENT


def test_commission_of_half_a_cent_a_share_is_not_rounded_to_a_cent():
    rules = CostRules(commission_per_share_e8=500_000, has_regulatory_fees=False)
    assert (
        fees_e8(rules, side=Side.BUY, quantity_e4=SHARE, price_e4=1_000_000, session="2018-02-20") == 500_000
    )


def test_sales_pay_the_regulators_and_purchases_do_not():
    sale = fees_e8(
        CostRules(), side=Side.SELL, quantity_e4=200 * SHARE, price_e4=1_000_000, session="2018-02-20"
    )
    # 20,000 dollars x 23.10 per million = 0.462 -> 0.47; 200 x 0.000119 = 0.0238 -> 0.03
    assert sale == 50 * CENT
    assert fees_e8(CostRules(), side=Side.BUY, quantity_e4=SHARE, price_e4=SHARE, session="2018-02-20") == 0
    assert fees_e8(NO_COSTS, side=Side.SELL, quantity_e4=SHARE, price_e4=SHARE, session="2018-02-20") == 0


def test_sec_rate_changes_on_its_date():
    million = 1_000_000 * 10**8
    assert sec_fee_e8(million, "2018-05-21") == 2_310 * CENT
    assert sec_fee_e8(million, "2018-05-22") == 1_300 * CENT
    assert sec_fee_e8(million, "2025-06-02") == 0
    assert sec_fee_e8(million, "1999-01-04") == 0


def test_taf_is_capped_per_trade_and_changes_on_its_date():
    assert taf_e8(1_000 * SHARE, "2018-02-20") == 12 * CENT
    assert taf_e8(1_000_000 * SHARE, "2018-02-20") == 595 * CENT
    assert taf_e8(1_000 * SHARE, "2024-01-02") == 17 * CENT
    assert taf_e8(SHARE, "1999-01-04") == 0


def test_fee_tables_are_in_order_of_date():
    assert [row[0] for row in SEC_CENTS_PER_MILLION] == sorted({row[0] for row in SEC_CENTS_PER_MILLION})
    assert [row[0] for row in TAF_E8] == sorted({row[0] for row in TAF_E8})


@given(
    quantity=st.integers(1, 10**9),
    price=st.integers(1, 10**8),
    date=st.sampled_from(["2018-02-20", "2026-11-20"]),
)
def test_fees_of_a_sale_are_whole_cents_and_at_most_a_cent_a_part_above_exact(quantity, price, date):
    fee = fees_e8(CostRules(), side=Side.SELL, quantity_e4=quantity, price_e4=price, session=date)
    sec_cents, (taf, cap) = (2_310, (11_900, 595 * CENT)) if date < "2020" else (2_060, (19_500, 979 * CENT))
    exact = Fraction(quantity * price * sec_cents, 10**8) + min(Fraction(quantity * taf, SHARE), cap)
    assert fee % CENT == 0
    assert 0 <= fee - exact < 2 * CENT


@pytest.mark.parametrize(
    "wrong",
    [
        {"slippage_e6": -1},
        {"open_minutes": -1},
        {"participation_e6": -1},
        {"commission_min_e8": -5},
        {"open_multiplier": 0},
        {"close_penalty_e6": 1_000_000},
        {"slippage_e6": 400_000},
        {"slippage_range_e6": -1},
        {"slippage_impact_e6": -1},
        {"slippage_impact_e6": 998_500},
        {"commission_max_e6": -1},
    ],
)
def test_nonsense_rules_are_refused_by_name(wrong):
    with pytest.raises(SettingsValueError, match="costs"):
        CostRules(**wrong)
