"""Averages and ranges are exact, and on today's basis of splits and dividends."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.indicators import (
    adjusted_close,
    average_shares,
    average_true_range,
    relative_volume,
    volume_weighted_price,
)
from finagent.domain.market import CorporateAction, DailyBar
from tests.unit.domain.market_builders import action, bar, daily, e4, history


def test_without_an_action_the_close_is_itself() -> None:
    assert adjusted_close(1_000_000, None) == (1_000_000, 1)


def test_dividend_and_split_are_exact() -> None:
    assert adjusted_close(1_000_000, action("0.25")) == (997_500, 1)
    assert Fraction(*adjusted_close(1_000_000, action("2", 7_000_007))) == Fraction(
        980_000 * 10**6, 7_000_007
    )


def test_a_split_ratio_must_be_positive() -> None:
    with pytest.raises(ValueError, match="split ratio 0e-6 of 2018-02-16 must be positive"):
        adjusted_close(1_000_000, action(ratio_e6=0))


def test_average_shares_are_on_todays_split_basis() -> None:
    bars = history(10, volume=1_001).bars
    split = action(ratio_e6=2_500_000, ex="2018-01-06")
    assert average_shares(bars, (split, action("1", ex="2018-01-03")), 20) == int(1_001 * 7 / 4)
    assert average_shares(bars, (action(ratio_e6=0),), 20) is None
    assert average_shares(bars[:4], (), 20) is None


def exact_range(
    bars: Sequence[DailyBar], actions: Sequence[CorporateAction], sessions: int
) -> Fraction | None:
    """The average as one number."""
    found = average_true_range(bars, actions, sessions)
    return None if found is None else Fraction(*found)


def test_true_range_is_the_largest_of_three() -> None:
    inside = DailyBar("2018-01-02", 0, 105, 95, 100, 1)
    gap_up = DailyBar("2018-01-03", 0, 130, 120, 125, 1)
    gap_down = DailyBar("2018-01-04", 0, 90, 85, 88, 1)
    first = DailyBar("2018-01-01", 0, 100, 100, 100, 1)
    bars = (first, inside, gap_up, gap_down)
    assert exact_range(bars, (), 3) == Fraction(10 + 30 + 40, 3)
    assert exact_range(bars, (), 4) is None
    assert exact_range(bars, (action(ratio_e6=0),), 3) is None


def test_a_split_is_no_range() -> None:
    """100 a day wide 4, then 4:1 and 1 wide: every range is 1 on today's basis."""
    before = [daily("100", session=f"2018-01-0{day}", high="102", low="98") for day in range(1, 5)]
    after = [daily("25", session=f"2018-01-0{day}", high="25.5", low="24.5") for day in range(5, 9)]
    split = action(ratio_e6=4_000_000, ex="2018-01-05")
    assert exact_range([*before, *after], (split,), 7) == e4("1")


def test_todays_split_scales_the_whole_past() -> None:
    bars = history(15, high="102", low="98").bars
    assert exact_range(bars, (action(ratio_e6=4_000_000),), 14) == e4("1")


def test_a_dividend_is_no_range() -> None:
    bars = [daily("100", session="2018-01-01"), daily("95", session="2018-01-02", high="96", low="94")]
    assert exact_range(bars, (), 1) == e4("6")
    assert exact_range(bars, (action("5", ex="2018-01-02"),), 1) == e4("2")


def test_an_action_that_leaves_nothing_does_not_stretch_the_range() -> None:
    bars = [daily("100", session="2018-01-01"), daily("95", session="2018-01-02", high="96", low="94")]
    assert exact_range(bars, (action("100", ex="2018-01-02"),), 1) == e4("2")


def test_a_close_of_nothing_does_not_stretch_the_range() -> None:
    bars = [DailyBar("2018-01-01", 0, 0, 0, 0, 1), daily("95", session="2018-01-02", high="96", low="94")]
    assert exact_range(bars, (), 1) == e4("2")


@given(
    rows=st.lists(st.tuples(*[st.integers(0, 300)] * 5), min_size=6, max_size=9),
    paid=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), max_size=3),
)
def test_the_short_way_past_dividends_is_the_long_one(
    rows: list[tuple[int, int, int, int, int]], paid: list[tuple[int, int]]
) -> None:
    """Dividends alone leave the short way; a split that another undoes takes the long one."""
    bars = [DailyBar(f"2018-01-{day:02}", *row) for day, row in enumerate(rows, 10)]
    cash = [action(f"0.00{money:02}", ex=f"2018-01-{day:02}") for day, money in sorted(paid)]
    undone = (action(ratio_e6=2_000_000, ex="2018-02-01"), action(ratio_e6=500_000, ex="2018-02-02"))
    for sessions in (4, 5):
        assert exact_range(bars, cash, sessions) == exact_range(bars, (*cash, *undone), sessions)
        assert average_shares(bars, cash, sessions) == average_shares(bars, (*cash, *undone), sessions)


def test_relative_volume_needs_earlier_sessions_that_traded() -> None:
    assert relative_volume(300, (100, 200, 150, 100, 200), 5) == (1_500, 750)
    assert relative_volume(300, (100, 200, 150, 100), 5) is None
    assert relative_volume(300, (0, 0, 0, 0, 0), 5) is None


def test_vwap_weighs_the_typical_price() -> None:
    bars = (
        bar(0, "10", "10", high="11", low="9", volume=100),
        bar(1, "12", "12", high="13", low="11", volume=300),
    )
    assert volume_weighted_price(bars) == e4("11.5")
    assert volume_weighted_price([replace(bars[0], volume=0)]) is None
    assert volume_weighted_price(()) is None
