"""The second phase filters by volume, activity and spread, and completes the candidate."""

from dataclasses import replace

import pytest

from finagent.domain.gap import Candidate, Dropped, GapRules, GapStyle, Levels, Measured
from finagent.domain.gap_filters import averages_of, is_gap_filled, screen
from finagent.domain.gap_measure import measure
from finagent.domain.market import MINUTE_MS, DailyBars, Direction, History, Snapshot
from tests.unit.domain.market_builders import (
    FIRST_MINUTE_MS,
    OPEN_MS,
    RULES,
    SESSION,
    action,
    bar,
    daily,
    e4,
    history,
    quote,
    snapshot,
)

ACTIVE = replace(history(), volumes_to_now=(1_000,) * 5, premarket_volumes=(50_000,) * 5)


def measured(
    given_snapshot: Snapshot, *, as_of_ms: int = FIRST_MINUTE_MS, has_minutes: bool = True
) -> Measured:
    outcome = measure(
        given_snapshot, session=SESSION, as_of_ms=as_of_ms, has_minutes=has_minutes, rules=RULES
    )
    assert isinstance(outcome, Measured), outcome
    return outcome


def kept(outcome: Candidate | Dropped) -> Candidate:
    assert isinstance(outcome, Candidate), outcome
    return outcome


def reason(outcome: Candidate | Dropped) -> str:
    assert isinstance(outcome, Dropped), outcome
    assert outcome.detail
    return outcome.reason


OPENED = measured(snapshot(bar(0, "105", volume=2_000), at_quote=quote("104.99", "105.01")))
PREMARKET = measured(snapshot(bar(-1, "105", volume=100_000)), as_of_ms=OPEN_MS)


# ---------------------------------------------------------------- filters


def test_average_daily_dollars_are_compared_exactly() -> None:
    exact = replace(ACTIVE, bars=history(20, close="5", volume=1_000_000).bars)
    kept(screen(OPENED, exact, rules=RULES))
    one_share_less = replace(exact, bars=(replace(exact.bars[0], volume=999_999), *exact.bars[1:]))
    assert reason(screen(OPENED, one_share_less, rules=RULES)) == "adv_below_min"


def test_premarket_volume_is_judged_while_it_is_all_there_is() -> None:
    kept(screen(PREMARKET, ACTIVE, rules=RULES))
    quiet = measured(snapshot(bar(-1, "105", volume=99_999)), as_of_ms=OPEN_MS)
    assert reason(screen(quiet, ACTIVE, rules=RULES)) == "premarket_volume_below_min"
    later = measured(snapshot(bar(-1, "105", volume=1), bar(0, "105", volume=2_000)))
    assert kept(screen(later, ACTIVE, rules=RULES)).premarket_volume == 1


def test_relative_volume_is_compared_exactly_like_with_like() -> None:
    assert kept(screen(OPENED, ACTIVE, rules=RULES)).rvol_e6 == 2_000_000
    busier = replace(ACTIVE, volumes_to_now=(1_000, 1_000, 1_000, 1_000, 1_001))
    assert reason(screen(OPENED, busier, rules=RULES)) == "rvol_below_min"
    assert kept(screen(PREMARKET, ACTIVE, rules=RULES)).rvol_e6 == 2_000_000
    louder = replace(ACTIVE, premarket_volumes=(50_001,) * 5)
    assert reason(screen(PREMARKET, louder, rules=RULES)) == "rvol_below_min"


def test_the_spread_is_compared_exactly_and_shown_rounded_up() -> None:
    tie = measured(snapshot(bar(0, "105"), at_quote=quote("99.85", "100.15")))
    assert kept(screen(tie, history(), rules=RULES)).spread_e6 == 3_000
    wide = measured(snapshot(bar(0, "105"), at_quote=quote("99.85", "100.1501")))
    outcome = screen(wide, history(), rules=RULES)
    assert reason(outcome) == "spread_above_max"
    assert isinstance(outcome, Dropped)
    assert outcome.detail == "spread 0.3001 % is above 0.30 %"


@pytest.mark.parametrize(
    ("known", "flag"),
    [
        (replace(ACTIVE, bars=history(4).bars), "unknown_adv"),
        (replace(ACTIVE, volumes_to_now=(1_000,) * 4), "unknown_rvol"),
    ],
)
def test_an_unknown_value_is_flagged_or_dropped(known: History, flag: str) -> None:
    assert flag in kept(screen(OPENED, known, rules=RULES)).flags
    assert reason(screen(OPENED, known, rules=GapRules(keep_unknown=False))) == flag


@pytest.mark.parametrize(
    "at_quote",
    [None, quote("105.02", "105.01"), quote("0", "105"), quote("90", "120", at_ms=FIRST_MINUTE_MS + 1)],
)
def test_without_a_valid_quote_the_spread_is_unknown(at_quote: object) -> None:
    outcome = measured(replace(snapshot(bar(0, "105", volume=2_000)), quote=at_quote))
    assert kept(screen(outcome, ACTIVE, rules=RULES)).flags == ("unknown_spread",)
    assert reason(screen(outcome, ACTIVE, rules=GapRules(keep_unknown=False))) == "unknown_spread"


def test_nothing_unknown_is_shown_as_zero() -> None:
    bare = kept(screen(measured(snapshot(official="105"), has_minutes=False), History(), rules=RULES))
    unknown = (
        "volume premarket_volume adv_usd adv_shares rvol_e6 atr_e4 atr_pct_e6 spread_e6 move_from_open_e6"
    )
    for name in unknown.split(" "):
        assert getattr(bare, name) is None, name
    assert bare.levels == Levels(
        prev_high_e4=e4("100"), prev_low_e4=e4("100"), half_gap_e4=e4("102.5"), gap_fill_e4=e4("100")
    )
    assert bare.last_price_e4 == e4("105")
    assert bare.flags == ("open_assumed_known", "unknown_adv", "unknown_rvol", "unknown_spread")


def test_history_from_the_session_on_is_ignored() -> None:
    later = daily("1", session=SESSION.date, high="900", low="1", volume=1)
    polluted = replace(
        ACTIVE, bars=(*ACTIVE.bars, later), actions=(action("50", 9_000_000, ex="2018-02-17"),)
    )
    assert screen(OPENED, polluted, rules=RULES) == screen(OPENED, ACTIVE, rules=RULES)


def test_averages_that_are_known_stand_for_the_bars() -> None:
    """Whoever has them by column gives no bars."""
    known = averages_of(OPENED, DailyBars.of(ACTIVE.bars), ACTIVE.actions, RULES)
    given = screen(OPENED, replace(ACTIVE, bars=(), actions=()), rules=RULES, averages=known)
    assert given == screen(OPENED, ACTIVE, rules=RULES)


# ---------------------------------------------------------------- what is told of a candidate


@pytest.mark.parametrize(
    ("style", "price", "direction"),
    [
        (GapStyle.GO, "105", Direction.LONG),
        (GapStyle.GO, "95", Direction.SHORT),
        (GapStyle.FADE, "105", Direction.SHORT),
        (GapStyle.FADE, "95", Direction.LONG),
    ],
)
def test_the_style_gives_the_direction(style: GapStyle, price: str, direction: Direction) -> None:
    outcome = screen(measured(snapshot(bar(0, price))), history(), rules=GapRules(style=style))
    assert kept(outcome).direction is direction


def test_levels_and_moves_of_a_session_under_way() -> None:
    given_snapshot = snapshot(
        bar(-2, "104", "104.5", high="106", low="103", volume=60_000),
        bar(-1, "104.5", "105", volume=40_000),
        bar(0, "105", "106", high="107", low="104", volume=1_000),
        bar(1, "106", "107.1", high="108", low="105.9", volume=3_000),
        previous=daily("100", high="101", low="98"),
        ssr=True,
    )
    told = kept(
        screen(measured(given_snapshot, as_of_ms=OPEN_MS + 2 * MINUTE_MS), ACTIVE, rules=RULES, feed="x")
    )
    assert told.levels == Levels(
        premarket_high_e4=e4("106"),
        premarket_low_e4=e4("103"),
        prev_high_e4=e4("101"),
        prev_low_e4=e4("98"),
        half_gap_e4=e4("102.5"),
        gap_fill_e4=e4("100"),
        vwap_e4=e4("106.6667"),
        day_high_e4=e4("108"),
        day_low_e4=e4("104"),
    )
    assert (told.volume, told.premarket_volume, told.feed) == (4_000, 100_000, "x")
    assert (told.last_price_e4, told.move_from_open_e6) == (e4("107.1"), 20_000)
    assert (told.atr_e4, told.atr_pct_e6, told.adv_usd, told.adv_shares) == (20_000, 20_000, 10**8, 10**6)
    assert (told.is_short_restricted, told.flags) == (True, ("ssr", "unknown_spread"))


def test_yesterdays_levels_are_on_todays_basis() -> None:
    split = action("1", 2_000_000)
    given_snapshot = snapshot(bar(0, "52"), previous=daily("101", high="103", low="0.99"), ex=split)
    told = kept(screen(measured(given_snapshot), History(), rules=RULES))
    assert told.prev_close_e4 == e4("101")
    assert told.prev_close_adjusted_e8 == e4("50") * 10_000
    assert (told.levels.prev_high_e4, told.levels.prev_low_e4) == (e4("51"), None)
    assert (told.levels.half_gap_e4, told.levels.gap_fill_e4) == (e4("51"), e4("50"))
    assert "ex_date" in told.flags


def test_a_symbol_that_fell_silent_is_thin() -> None:
    quiet = snapshot(bar(0, "105", volume=9_000))
    at_limit = screen(measured(quiet, as_of_ms=OPEN_MS + 6 * MINUTE_MS), ACTIVE, rules=RULES)
    beyond = screen(measured(quiet, as_of_ms=OPEN_MS + 7 * MINUTE_MS), ACTIVE, rules=RULES)
    assert "thin" not in kept(at_limit).flags
    assert "thin" in kept(beyond).flags


def test_unknown_premarket_trades_are_flagged() -> None:
    assert "unknown_premarket_trades" in kept(screen(PREMARKET, ACTIVE, rules=RULES)).flags


def test_a_gap_is_filled_when_its_close_was_traded() -> None:
    dipped = snapshot(bar(0, "105", "101", low="100"))
    assert "gap_filled" in kept(screen(measured(dipped), history(), rules=RULES)).flags
    levels = Levels(gap_fill_e4=100, day_high_e4=110, day_low_e4=101)
    assert is_gap_filled(50_000, levels) is False
    assert is_gap_filled(-50_000, levels) is True
    assert is_gap_filled(-50_000, replace(levels, day_high_e4=99)) is False
    assert is_gap_filled(50_000, replace(levels, day_low_e4=None)) is None


def test_a_measured_symbol_without_its_previous_bar_or_open_still_screens() -> None:
    """The second phase does not lean on what only the first one checks."""
    bare = replace(OPENED, snapshot=replace(OPENED.snapshot, previous=None))
    told = kept(screen(replace(bare, regular=(bar(0, "0", "105"),)), ACTIVE, rules=GapRules(min_rvol_e6=0)))
    assert (told.prev_close_e4, told.levels.prev_high_e4, told.move_from_open_e6) == (0, None, None)
