"""The short-sale restriction is read from the bars where the feed does not tell."""

import pytest

from finagent.domain.indicators import fell, short_restricted
from finagent.domain.market import CorporateAction, DailyBar


def _day(session: str, *, low_e4: int, close_e4: int) -> DailyBar:
    return DailyBar(session, close_e4, close_e4, low_e4, close_e4, 1000)


BEFORE = _day("2018-02-20", low_e4=99_0000, close_e4=100_0000)


@pytest.mark.parametrize(("low_e4", "expected"), [(90_0000, True), (90_0001, False)])
def test_fall_of_ten_percent_yesterday_restricts_today(low_e4: int, expected: bool) -> None:
    """Exactly 0.9 times the close before counts."""
    bars = [BEFORE, _day("2018-02-21", low_e4=low_e4, close_e4=95_0000)]
    assert short_restricted(fell(bars, ()), None, (95_0000, 1)) is expected


@pytest.mark.parametrize(("low_e4", "expected"), [(85_5000, True), (85_5001, False)])
def test_fall_of_ten_percent_today_restricts_at_once(low_e4: int, expected: bool) -> None:
    """Today's low so far against the previous close on today's basis."""
    bars = [BEFORE, _day("2018-02-21", low_e4=94_0000, close_e4=95_0000)]
    assert short_restricted(fell(bars, ()), low_e4, (95_0000, 1)) is expected


def test_split_is_no_fall() -> None:
    """A 2:1 split halves the price; on the split's basis nothing fell."""
    split = CorporateAction(ex_session="2018-02-21", dividend_e4=0, split_ratio_e6=2_000_000)
    bars = [BEFORE, _day("2018-02-21", low_e4=49_0000, close_e4=50_0000)]
    assert short_restricted(fell(bars, (split,)), None, (50_0000, 1)) is False


def test_restriction_is_unknown_without_two_earlier_sessions_or_with_a_broken_split() -> None:
    """Unknown is not free: the planner refuses it."""
    broken = CorporateAction(ex_session="2018-02-21", dividend_e4=0, split_ratio_e6=0)
    bars = [BEFORE, _day("2018-02-21", low_e4=49_0000, close_e4=50_0000)]
    assert short_restricted(fell(bars[:1], ()), None, (50_0000, 1)) is None
    assert short_restricted(fell(bars, (broken,)), None, (50_0000, 1)) is None
