"""The first phase of the scan is exact and says why each symbol was left out."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import SettingsValueError
from finagent.domain.gap import DataIssue, Dropped, GapRules, IndicationSource, Measured
from finagent.domain.gap_measure import measure, measure_all, validate_rules
from finagent.domain.market import MINUTE_MS, DailyBar, Instrument, Session, Snapshot
from tests.unit.domain.market_builders import (
    FIRST_MINUTE_MS,
    OPEN_MS,
    RULES,
    SESSION,
    action,
    bar,
    daily,
    e4,
    quote,
    snapshot,
    view,
)

Outcome = Measured | Dropped | DataIssue


def opened(
    given_snapshot: Snapshot,
    *,
    as_of_ms: int = FIRST_MINUTE_MS,
    has_minutes: bool = True,
    rules: GapRules = RULES,
) -> Outcome:
    return measure(given_snapshot, session=SESSION, as_of_ms=as_of_ms, has_minutes=has_minutes, rules=rules)


def premarket(given_snapshot: Snapshot, *, rules: GapRules = RULES) -> Outcome:
    return opened(given_snapshot, as_of_ms=OPEN_MS, rules=rules)


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Dropped), outcome
    assert outcome.detail
    return outcome.reason


def issue(outcome: Outcome) -> str:
    assert isinstance(outcome, DataIssue), outcome
    assert outcome.detail
    return outcome.kind


def kept(outcome: Outcome) -> Measured:
    assert isinstance(outcome, Measured), outcome
    assert outcome.symbol == outcome.snapshot.symbol
    return outcome


# ---------------------------------------------------------------- the threshold is exact


@pytest.mark.parametrize(
    ("price", "min_gap_e6", "is_in"),
    [
        ("104", 40_000, True),
        ("103.9999", 40_000, False),
        ("96", 40_000, True),
        ("96.0001", 40_000, False),
        ("102", 20_000, True),
        ("101.9999", 20_000, False),
        ("98", 20_000, True),
        ("98.0001", 20_000, False),
    ],
)
def test_a_tie_with_the_threshold_is_a_gap(price: str, min_gap_e6: int, is_in: bool) -> None:
    outcome = opened(snapshot(bar(0, price)), rules=GapRules(min_gap_e6=min_gap_e6))
    assert isinstance(outcome, Measured) is is_in
    if not is_in:
        assert reason(outcome) == "gap_below_min"


def test_a_split_of_a_tie_is_still_a_tie() -> None:
    split = action(ratio_e6=7_000_007)
    tie = Fraction(e4("700.0007") * 10**6, 7_000_007) * Fraction(104, 100)
    assert tie == e4("104")
    assert kept(opened(snapshot(bar(0, "104"), previous=daily("700.0007"), ex=split))).gap_e6 == 40_000
    below = opened(snapshot(bar(0, "103.9999"), previous=daily("700.0007"), ex=split))
    assert reason(below) == "gap_below_min"


def test_a_dividend_is_taken_off_the_previous_close() -> None:
    """Close 101 less 1 leaves 100: 104 is a gap of exactly 4 %, though it is 2.97 % on the raw close."""
    outcome = kept(opened(snapshot(bar(0, "104"), previous=daily("101"), ex=action("1"))))
    assert (outcome.adjusted_numerator, outcome.adjusted_denominator, outcome.gap_e6) == (
        1_000_000,
        1,
        40_000,
    )


def test_apple_of_2014_06_09_is_no_gap() -> None:
    """645.57 before the 7.00000700001:1 split, opened at 92.70."""
    session = Session(date="2014-06-09", open_ms=OPEN_MS, close_ms=SESSION.close_ms, previous="2014-06-06")
    apple = Snapshot(
        instrument=Instrument(symbol="AAPL"),
        previous=daily("645.57", session="2014-06-06"),
        action=action(ratio_e6=7_000_007, ex="2014-06-09"),
        official_open_e4=e4("92.70"),
    )
    outcome = measure(apple, session=session, as_of_ms=FIRST_MINUTE_MS, has_minutes=False, rules=RULES)
    assert reason(outcome) == "gap_below_min"
    assert isinstance(outcome, Dropped)
    assert outcome.detail.startswith("gap 0.5")


prices = st.integers(1, 5_000_000)


@given(
    close_e4=prices,
    open_e4=prices,
    dividend_e4=st.one_of(st.just(0), st.integers(0, 100_000)),
    split_e6=st.sampled_from([1_000_000, 2_000_000, 7_000_007, 100_000, 1_500_000, 333_333]),
    min_gap_e6=st.sampled_from([1, 20_000, 40_000, 123_457]),
    has_action=st.booleans(),
)
def test_the_decision_equals_rational_arithmetic(
    close_e4: int, open_e4: int, dividend_e4: int, split_e6: int, min_gap_e6: int, has_action: bool
) -> None:
    rules = GapRules(min_gap_e6=min_gap_e6, min_price_e4=0, max_price_e4=10**12)
    given_snapshot = Snapshot(
        instrument=Instrument(symbol="AAA"),
        previous=DailyBar("2018-02-15", close_e4, close_e4, close_e4, close_e4, 1),
        action=replace(action(ratio_e6=split_e6), dividend_e4=dividend_e4) if has_action else None,
        official_open_e4=open_e4,
    )
    outcome = opened(given_snapshot, has_minutes=False, rules=rules)
    adjusted = Fraction(close_e4)
    if has_action:
        adjusted = (adjusted - dividend_e4) * 10**6 / split_e6
    if adjusted <= 0:
        assert issue(outcome) == "bad_action"
        return
    gap = Fraction(open_e4) / adjusted - 1
    if has_action and abs(gap) >= Fraction(1, 4):
        assert issue(outcome) == "bad_action"
    elif abs(gap) < Fraction(min_gap_e6, 10**6):
        assert reason(outcome) == "gap_below_min"
    else:
        measured = kept(outcome)
        assert measured.gap_e6 == (gap * 10**6).__floor__()
        assert Fraction(measured.adjusted_numerator, measured.adjusted_denominator) == adjusted


# ---------------------------------------------------------------- which price speaks


def test_the_opening_print_is_known_when_the_first_minute_has_ended() -> None:
    both = snapshot(bar(-1, "105"), bar(0, "110", "111"))
    before = kept(opened(both, as_of_ms=FIRST_MINUTE_MS - 1))
    after = kept(opened(both, as_of_ms=FIRST_MINUTE_MS))
    assert (before.indication_e4, before.indication_source) == (e4("105"), IndicationSource.PREMARKET)
    assert (after.indication_e4, after.indication_source) == (e4("110"), IndicationSource.OPEN)
    assert (len(after.premarket), len(after.regular)) == (1, 1)


def test_bars_that_end_after_the_decision_change_nothing() -> None:
    past = (bar(-2, "105"), bar(-1, "106"))
    future = (bar(0, "1"), bar(1, "500"))
    for as_of_ms in (OPEN_MS - MINUTE_MS, OPEN_MS):
        known = tuple(item for item in past if item.end_ms <= as_of_ms)
        with_future, without = (
            kept(opened(snapshot(*bars), as_of_ms=as_of_ms)) for bars in ((*past, *future), known)
        )
        assert replace(with_future, snapshot=without.snapshot) == without


def test_an_official_open_is_not_looked_at_before_the_first_minute_has_ended() -> None:
    assert kept(premarket(snapshot(bar(-1, "105"), official="5"))).indication_e4 == e4("105")


def test_daily_bars_alone_give_the_official_open() -> None:
    outcome = kept(opened(snapshot(official="106"), has_minutes=False))
    assert (outcome.indication_source, outcome.regular, outcome.premarket) == (IndicationSource.OPEN, (), ())


def test_after_hours_bars_are_not_regular() -> None:
    late = opened(
        snapshot(bar(0, "105"), bar(389, "106"), bar(390, "200")), as_of_ms=OPEN_MS + 600 * MINUTE_MS
    )
    assert [item.open_e4 for item in kept(late).regular] == [e4("105"), e4("106")]


# ---------------------------------------------------------------- reasons


def test_an_excluded_symbol_is_dropped_first() -> None:
    bare = Snapshot(instrument=Instrument(symbol="AAA"))
    assert reason(opened(bare, rules=GapRules(exclude=("AAA",)))) == "excluded"


def test_the_previous_close_must_be_of_the_previous_session() -> None:
    bare = Snapshot(instrument=Instrument(symbol="AAA"), minutes=(bar(0, "105"),))
    assert reason(opened(bare)) == "no_prev_close"
    assert reason(opened(snapshot(bar(0, "105"), previous=daily(session="2018-02-14")))) == "no_prev_close"


def test_missing_minutes_have_three_names() -> None:
    assert reason(opened(snapshot())) == "no_minutes"
    assert reason(opened(snapshot(bar(3, "105")))) == "no_minutes"
    assert reason(opened(snapshot(bar(3, "105")), as_of_ms=OPEN_MS + 9 * MINUTE_MS)) == "no_print"
    assert reason(opened(snapshot(bar(-3, "105")))) == "no_print"
    assert reason(premarket(snapshot())) == "no_premarket"
    assert reason(premarket(snapshot(bar(0, "105")))) == "no_premarket"


def test_a_halted_symbol_is_dropped() -> None:
    assert reason(opened(snapshot(bar(0, "105"), is_halted=True))) == "halted"
    assert reason(opened(snapshot(official="105", is_halted=True), has_minutes=False)) == "halted"


def test_daily_bars_say_nothing_before_the_open_nor_without_a_print() -> None:
    daily_only = snapshot(official="105")
    assert reason(opened(daily_only, as_of_ms=OPEN_MS, has_minutes=False)) == "no_indication"
    assert reason(opened(snapshot(), has_minutes=False)) == "no_print"


@pytest.mark.parametrize(
    ("trades", "age_minutes", "at_quote", "is_thin"),
    [
        (5, 0, None, False),
        (4, 0, None, True),
        (None, 5, None, False),
        (None, 6, None, True),
        (9, 0, quote("104.99", "105.00"), False),
        (9, 0, quote("105.00", "105.00"), False),
        (9, 0, quote("105.01", "105.03"), True),
        (9, 0, quote("104.90", "104.99"), True),
        (9, 0, quote("105.03", "105.01"), False),
        (9, 0, quote("0", "105.01"), False),
        (9, 0, quote("90", "91", at_ms=OPEN_MS + 1), False),
    ],
)
def test_a_thin_premarket_is_no_indication(
    trades: int | None, age_minutes: int, at_quote: object, is_thin: bool
) -> None:
    """Fewer than 5 trades, older than 5 minutes or outside the quote; what is unknown is not judged."""
    outcome = premarket(replace(snapshot(bar(-1 - age_minutes, "105"), trades=trades), quote=at_quote))
    if is_thin:
        assert reason(outcome) == "thin_premarket"
    else:
        kept(outcome)


def test_price_limits_are_inclusive() -> None:
    def at(price: str, close: str) -> Outcome:
        return opened(snapshot(bar(0, price), previous=daily(close)))

    kept(at("2", "1.9"))
    kept(at("300", "280"))
    assert reason(at("1.9999", "1.9")) == "price_below_min"
    assert reason(at("300.0001", "280")) == "price_above_max"


# ---------------------------------------------------------------- data that contradict themselves


@pytest.mark.parametrize(
    ("price", "ex"),
    [
        ("125", action("0.01")),
        ("75", action(ratio_e6=1_000_000)),
        ("656", action(ratio_e6=1_000_000)),
        ("50", action("100")),
        ("50", action("120")),
        ("100", action(ratio_e6=0)),
        ("100", action(ratio_e6=-1)),
    ],
)
def test_an_action_that_does_not_fit_the_prices_is_an_issue(price: str, ex: object) -> None:
    outcome = opened(replace(snapshot(official=price), action=ex), has_minutes=False)
    assert issue(outcome) == "bad_action"


def test_a_quarter_without_an_action_is_a_gap() -> None:
    kept(opened(snapshot(bar(0, "125"))))
    kept(opened(snapshot(bar(0, "124.99"), ex=action("0"))))


@pytest.mark.parametrize(
    ("official", "is_issue"), [("110", False), ("110.0001", True), ("90", False), ("33", True)]
)
def test_opens_more_than_a_tenth_apart_are_two_companies(official: str, is_issue: bool) -> None:
    outcome = opened(snapshot(bar(0, "100"), official=official))
    if is_issue:
        assert issue(outcome) == "identity_mismatch"
    else:
        assert reason(outcome) == "gap_below_min"


def test_prices_that_are_not_positive_are_an_issue() -> None:
    assert issue(opened(snapshot(bar(0, "0")))) == "bad_price"
    assert issue(opened(snapshot(bar(0, "105"), previous=daily("-1")))) == "bad_price"
    assert issue(opened(snapshot(bar(0, "105"), official="0"))) == "bad_price"


# ---------------------------------------------------------------- the universe


def test_every_symbol_of_the_universe_is_in_exactly_one_list_by_symbol() -> None:
    universe = measure_all(
        view(
            snapshot(bar(0, "106"), symbol="ZZZ"),
            snapshot(bar(0, "100"), symbol="MMM"),
            snapshot(bar(0, "0"), symbol="BAD"),
            snapshot(bar(0, "94"), symbol="DDD"),
            snapshot(symbol="NON"),
            snapshot(bar(0, "106"), symbol="OUT"),
            snapshot(bar(0, "101"), symbol="SPY"),
        ),
        GapRules(exclude=("OUT", "SPY")),
    )
    assert [item.symbol for item in universe.measured] == ["DDD", "ZZZ"]
    assert [(item.symbol, item.reason) for item in universe.dropped] == [
        ("MMM", "gap_below_min"),
        ("NON", "no_minutes"),
        ("OUT", "excluded"),
        ("SPY", "excluded"),
    ]
    assert [item.symbol for item in universe.data_issues] == ["BAD"]
    assert universe.universe == 7
    assert universe.spy_gap_e6 == 10_000, "the market's gap is known though SPY is not traded"
    assert universe.breadth_e6 == 333_333, "one of three readable symbols gaps up"


def test_an_unknown_market_is_none() -> None:
    universe = measure_all(view(), RULES)
    assert (universe.spy_gap_e6, universe.breadth_e6, universe.universe) == (None, None, 0)


def test_measuring_one_symbol_equals_measuring_it_within_the_universe() -> None:
    for item in (snapshot(bar(0, "106")), snapshot(bar(0, "101")), snapshot(bar(0, "0")), snapshot()):
        universe = measure_all(view(item), RULES)
        assert [*universe.measured, *universe.dropped, *universe.data_issues] == [opened(item)]


# ---------------------------------------------------------------- rules


def test_the_default_rules_are_valid() -> None:
    validate_rules(GapRules())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (GapRules(min_gap_e6=0), r"scan.min_gap_e6 is 0: set it to 1 or more"),
        (GapRules(min_gap_e6=1_000_001), r"scan.min_gap_e6 is 1000001: set it to 1000000"),
        (GapRules(top=0), r"scan.top is 0"),
        (GapRules(max_spread_e6=-1), r"scan.max_spread_e6 is -1"),
        (
            GapRules(min_price_e4=20, max_price_e4=10),
            r"scan.max_price_e4 is 10: set it to scan.min_price_e4 \(20\)",
        ),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(rules: GapRules, message: str) -> None:
    with pytest.raises(SettingsValueError, match=message):
        validate_rules(rules)
