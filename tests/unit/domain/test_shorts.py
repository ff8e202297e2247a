"""Shorts by their rules: the borrow, the restriction, the margin account, the limit above the bid, the fee."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.money import MONEY_SCALE
from finagent.domain.shorts import (
    UNKNOWN,
    ShortNow,
    ShortTerms,
    entry_limit_e4,
    is_restricted_now,
    overnight_fee_e8,
    restriction_begins_e4,
    short_refusals,
)

TERMS = ShortTerms(
    is_restricted=False, restricted_at_e4=90_0000, is_borrow_assumed=False, borrow_fee_e6=3_000
)
EASY = ShortNow(is_easy_to_borrow=True, is_restricted=False, bid_e4=99_9900)
RICH = 100_000 * MONEY_SCALE


def reasons(
    terms: ShortTerms | None = TERMS, now: ShortNow = EASY, rule: str = "intraday_margin", equity: int = RICH
) -> list[str]:
    return [name for name, is_true in short_refusals(terms, now, rule=rule, equity_e8=equity) if is_true]


def test_short_that_is_known_to_be_free_passes() -> None:
    assert reasons() == []


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        (["margin_account"], {"rule": "cash_settled"}),
        (["margin_minimum"], {"equity": 2_000 * MONEY_SCALE - 1}),
        ([], {"equity": 2_000 * MONEY_SCALE}),
        ([], {"equity": 1_000 * MONEY_SCALE, "rule": "none"}),
        (["not_borrowable"], {"now": replace(EASY, is_easy_to_borrow=False)}),
        (["borrow_unknown"], {"now": replace(EASY, is_easy_to_borrow=None)}),
        (
            [],
            {"now": replace(EASY, is_easy_to_borrow=None), "terms": replace(TERMS, is_borrow_assumed=True)},
        ),
        (
            ["not_borrowable"],
            {"now": replace(EASY, is_easy_to_borrow=False), "terms": replace(TERMS, is_borrow_assumed=True)},
        ),
        (["short_restriction_unknown"], {"now": replace(EASY, is_restricted=None)}),
        (["short_restriction_unknown"], {"terms": None}),
        (["no_bid"], {"now": replace(EASY, is_restricted=True, bid_e4=None)}),
        ([], {"now": replace(EASY, is_restricted=True)}),
        (["borrow_unknown", "short_restriction_unknown"], {"now": UNKNOWN}),
    ],
)
def test_what_is_against_a_short_has_its_reason(found: list[str], asked: dict[str, object]) -> None:
    assert reasons(**asked) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "restricted"), [(None, False), (90_0001, False), (90_0000, True), (80_0000, True)]
)
def test_restriction_begins_when_the_session_reaches_its_price(low: int | None, restricted: bool) -> None:
    assert is_restricted_now(TERMS, low) is restricted
    assert is_restricted_now(replace(TERMS, is_restricted=True), low) is True
    assert is_restricted_now(None, low) is None


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(0, 10**9))
def test_price_at_which_it_begins_is_nine_tenths_of_the_previous_close(
    numerator: int, denominator: int, low: int
) -> None:
    begins = restriction_begins_e4(numerator, denominator)
    assert (low <= begins) is (10 * low * denominator <= 9 * numerator)


RESTRICTED = replace(EASY, is_restricted=True)


@pytest.mark.parametrize(
    ("bid", "planned", "limit"),
    [
        (99_9900, None, 100_0000),
        (99_9950, None, 100_0000),
        (99_9900, 99_5000, 100_0000),
        (99_9900, 101_0000, 101_0000),
        (9_999, None, 10_000),
        (5_000, None, 5_001),
    ],
)
def test_restricted_short_is_a_tick_above_the_bid_or_its_own_higher_limit(
    bid: int, planned: int | None, limit: int
) -> None:
    assert entry_limit_e4("WMT", replace(RESTRICTED, bid_e4=bid), planned) == limit


def test_short_that_is_not_restricted_is_bound_by_its_plan_alone() -> None:
    assert entry_limit_e4("WMT", EASY, 99_0000) is None
    assert entry_limit_e4("WMT", replace(EASY, is_restricted=None), None) is None
    assert entry_limit_e4("WMT", replace(RESTRICTED, bid_e4=None), None) is None


@given(st.integers(1, 10**7), st.none() | st.integers(1, 10**5).map(lambda cents: cents * 100))
def test_limit_is_always_above_the_bid_and_on_the_grid(bid: int, planned: int | None) -> None:
    limit = entry_limit_e4("WMT", replace(RESTRICTED, bid_e4=bid), planned)
    assert limit is not None
    assert limit > bid
    assert limit % (100 if limit >= 10_000 else 1) == 0
    assert planned is None or limit >= planned


def test_borrow_costs_by_the_night() -> None:
    """0.3 % a year of 10,000 is 30, a night of 360 of it 0.0833..., rounded up."""
    assert overnight_fee_e8(10_000 * MONEY_SCALE, 3_000) == 8_333_334
    assert overnight_fee_e8(10_000 * MONEY_SCALE, 0) == 0
