"""Daily bars that reached stop and target, drilled into their minutes: who came first, each reckoned by hand.

Bought at the open of 105, 190 shares; stop 103, target 111. The day is 105, 112, 102, 106 unless a case says otherwise.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.drilling import Drilled, drilled
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, Engine, run_backtest, trades_hash
from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Bar
from tests.conformance.made_up import MadeUp, MadeUpCalendar, Price
from tests.conformance.trading import (
    DAY,
    EARLIER,
    FREE,
    NEXT_DAY,
    SHORT,
    Played,
    lines,
    market,
    play,
    until_close,
)  # fmt: skip

Minute = tuple[str, Price, Price, Price, Price]
RULES = replace(FREE, open_slippage_e6=0, ambiguity=Ambiguity.MINUTES)
OPEN: Minute = ("09:30", 105, 105, 105, 105)
UP: Minute = ("11:00", 110, 112, 110, 110)
DOWN: Minute = ("14:00", 104, 104, 102, 104)
BOUGHT = ("entry", 190, "105.00", "09:30")


def day(*minutes: Minute, row: tuple[Price, ...] = (105, 112, 102, 106), half: bool = False) -> MadeUp:
    """Quiet days at 100, then the day of the case with its minutes."""
    stored = MadeUp(MadeUpCalendar(EARLIER, 28, half_days=(DAY,) if half else ()))
    stored.quiet_days("AAA", 100, before=DAY)
    stored.daily_bar(DAY, "AAA", *row, 10_000_000)
    for at, *prices in minutes:
        stored.minute_bar(DAY, "AAA", at, *prices, 100)
    return stored


def both(stored: MadeUp, root: Path, rules: Parameters = RULES) -> Played:
    """The day by the reference, which the kernel has to equal."""
    found = play(stored, root, rules, bars=Bars.DAILY)
    dataset, sessions = found.dataset, found.dataset.between(DAY, DAY)
    result = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.KERNEL, check=1)
    assert (result.engine, result.checked) == (Engine.KERNEL, 1)
    assert trades_hash(result.ledger) == trades_hash(found.ledger)
    counts = [drilled(dataset, rules, each) for each in (found.ledger, result.ledger)]
    assert counts[0] == counts[1]
    return found


def counted(found: Played) -> Drilled:
    """What the minutes came to."""
    told = drilled(found.dataset, RULES, found.ledger)
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("minutes", "leg", "price"),
    [
        ((OPEN, UP, DOWN), "target-1", "111.00"),
        ((OPEN, ("10:00", 104, 104, 102, 104), UP), "stop", "103.00"),
        ((("09:30", 105, 112, 105, 110), DOWN), "target-1", "111.00"),
        ((OPEN, ("10:00", "102.5", 104, 102, 104), UP), "stop", "102.50"),
        ((OPEN, ("10:00", "111.4", 112, 110, 110), DOWN), "target-1", "111.40"),
        ((OPEN, ("10:00", "102.5", 112, 102, 110)), "stop", "102.50"),
        ((OPEN, ("10:00", "111.4", 112, 102, 110)), "target-1", "111.40"),
        ((("09:35", 105, 105, 105, 105), UP, DOWN), "target-1", "111.00"),
        ((("09:30", "104.9", 106, "104.9", 105), UP, DOWN), "target-1", "111.00"),
        ((OPEN, ("11:00", 110, "112.01", 110, 110), ("14:00", 104, 104, "101.99", 104)), "target-1", "111.00"),
    ],
    ids=[
        "target", "stop", "target in the first minute", "a gap within the day through the stop",
        "a gap within the day through the target", "through the stop, then up to the target in one minute",
        "through the target, then down to the stop in one minute", "no print before 09:35",
        "the first minute opens a little lower than the day", "minutes that are a tick wider",
    ],
)  # fmt: skip
def test_the_minutes_tell_which_came_first(
    tmp_path: Path, minutes: tuple[Minute, ...], leg: str, price: str
) -> None:
    """The fill has the day's instant, as every fill inside a day; the level, or the open of a minute beyond it."""
    found = both(day(*minutes), tmp_path)
    assert found.fills == [BOUGHT, (leg, 190, price, "16:00")]
    assert not found.trade.is_ambiguous
    assert counted(found) == Drilled(bars=1, decided=1)


@pytest.mark.parametrize(
    ("minutes", "why"),
    [
        ((), "no_minutes"),
        ((("09:00", 105, 112, 105, 110), ("16:05", 104, 104, 102, 104)), "no_minutes"),
        ((("09:30", 50, 50, 50, 50), ("11:00", 50, 56, 50, 56), ("14:00", 51, 51, 51, 51)), "identity_mismatch"),
        ((("09:30", "116.7", 117, 102, 110), UP), "identity_mismatch"),
        ((OPEN, UP), "incomplete"),
        ((OPEN, UP, ("14:00", 104, 104, "102.02", 104)), "incomplete"),
        ((OPEN, ("11:00", 110, "111.98", 110, 110), DOWN), "incomplete"),
        ((OPEN, ("11:00", 110, "112.02", 110, 110), DOWN), "incomplete"),
        ((OPEN, UP, DOWN, ("15:00", 104, 104, 100, 104)), "incomplete"),
        ((OPEN, ("11:00", 105, 112, 102, 110)), "one_minute"),
        ((("09:30", 105, 112, 102, 110),), "one_minute"),
    ],
    ids=[
        "none are stored", "before and after regular hours alone", "another stock's minutes", "more than 10 % away",
        "no minute at the stop", "the day's low is in no minute", "the day's high is in no minute",
        "a high that the day has not", "a low that the day has not", "both in one minute", "both in the first minute",
    ],
)  # fmt: skip
def test_what_they_do_not_tell_stays_stop_first_and_counted(
    tmp_path: Path, minutes: tuple[Minute, ...], why: str
) -> None:
    """Filled at 103 as without them, marked with both bounds."""
    found = both(day(*minutes), tmp_path)
    assert found.fills == [BOUGHT, ("stop", 190, "103.00", "16:00")]
    model = found.ledger.fills[1].model
    assert (model.is_ambiguous, model.best_e4, model.worst_e4) == (True, 1_110_000, 1_030_000)
    assert counted(found) == replace(Drilled(bars=1), **{why: 1})


def test_the_mismatch_is_measured_as_everywhere_else(tmp_path: Path) -> None:
    """By the minutes' open: 108 and 120 are 12 apart, a tenth of 120 and no more; target 3 R of 2 above 108."""
    stored = day(
        ("09:30", 120, 120, 108, 110), ("14:00", 106, 106, 105, 106), row=(108, 120, 105, 106)
    )  # fmt: skip
    assert both(stored, tmp_path).fills[1][:3] == ("target-1", 185, "114.00")


def test_a_closing_auction_has_its_place_behind_the_minutes(tmp_path: Path) -> None:
    """The day's low of 102 is its close, in no minute: whatever came before it came first."""
    found = both(day(OPEN, UP, ("15:59", 104, 104, "103.5", 104), row=(105, 112, 102, 102)), tmp_path)
    assert found.fills[1][:3] == ("target-1", 190, "111.00")


def test_a_low_that_may_be_the_opening_auction_is_in_no_minute(tmp_path: Path) -> None:
    """The day opens at 105 and has 102 somewhere; the close of 106 does not explain it."""
    found = both(day(OPEN, UP, ("15:59", 104, 104, "103.5", 104)), tmp_path)
    assert found.trade.is_ambiguous


def test_a_level_on_the_tick_that_no_minute_has_is_not_reached_by_them(tmp_path: Path) -> None:
    """The day's low is the stop itself, 103; its minutes end at 103.01."""
    stored = day(OPEN, UP, ("14:00", 104, 104, "103.01", 104), row=(105, 112, 103, 106))
    found = both(stored, tmp_path)
    assert found.trade.is_ambiguous
    assert counted(found) == Drilled(bars=1, incomplete=1)


def test_minutes_of_a_half_day_end_with_it(tmp_path: Path) -> None:
    """Bars after 13:00 are no regular ones."""
    found = both(day(OPEN, UP, ("12:59", 104, 104, 102, 104), half=True), tmp_path / "inside")
    assert counted(found).decided == 1
    found = both(day(OPEN, UP, ("13:00", 104, 104, 102, 104), half=True), tmp_path / "behind")
    assert counted(found).incomplete == 1


def test_a_short_mirrors_it(tmp_path: Path) -> None:
    """Sold at 105: stop 107, target 99; at 14:00 a minute opens at 98.50, at 11:00 the price was 108."""
    rules = replace(SHORT, open_slippage_e6=0, ambiguity=Ambiguity.MINUTES)
    row = (105, 108, 98, 104)
    low, high = ("11:00", "98.5", 100, 98, 100), ("14:00", 106, 108, 106, 106)
    found = both(day(OPEN, low, high, row=row), tmp_path / "target", rules)
    assert found.fills[1][:3] == ("target-1", 190, "98.50")
    high, low = ("11:00", "107.5", 108, 106, 106), ("14:00", 100, 100, 98, 100)
    found = both(day(OPEN, high, low, row=row), tmp_path / "stop", rules)
    assert found.fills[1][:3] == ("stop", 190, "107.50")


def test_slippage_is_the_day_s(tmp_path: Path) -> None:
    """Stopped at 09:31, within the first minutes: 103 - 5 bps = 102.9485, down to 102.94, not three times that."""
    rules = replace(RULES, costs=CostRules(has_regulatory_fees=False))
    found = both(day(OPEN, ("09:31", 104, 104, 102, 104), UP), tmp_path, rules)
    assert found.fills[1][2] == "102.94"


def test_volume_is_the_day_s(tmp_path: Path) -> None:
    """5 % of the day's 2,000 shares, 100 at the open and 90 behind it, and so 10 leave at the target; the close has the
    rest. The minutes' own 100 shares would have let 5 go.
    """
    costs = CostRules(slippage_e6=0, participation_e6=50_000, has_regulatory_fees=False)
    stored = day(OPEN, UP, DOWN)
    stored.daily_bar(DAY, "AAA", 105, 112, 102, 106, 2_000)
    found = both(stored, tmp_path, replace(RULES, costs=costs))
    assert [fill[:3] for fill in found.fills] == [
        ("entry", 100, "105.00"), ("entry", 90, "105.00"), ("target-1", 10, "111.00"), ("exit", 180, "106.00"),
    ]  # fmt: skip


def test_excursions_end_with_the_minute_of_the_exit(tmp_path: Path) -> None:
    """Stopped at 10:00 after a high of 107: 1 R for, 1 R against; without minutes the day's 112 would be the bound."""
    stored = day(("09:30", 105, 107, 105, 105), ("10:00", 104, 104, 102, 104), UP)
    found = both(stored, tmp_path)
    assert (found.trade.mae_r_e6, found.trade.mfe_r_e6) == (-1_000_000, 1_000_000)
    found = play(
        stored, tmp_path / "without", replace(RULES, ambiguity=Ambiguity.STOP_FIRST), bars=Bars.DAILY
    )
    assert (found.trade.mae_r_e6, found.trade.mfe_r_e6) == (-1_000_000, 3_500_000)


def test_the_minute_that_told_it_is_kept(tmp_path: Path) -> None:
    """11:00 decided; the fill itself is of the day."""
    found = both(day(OPEN, UP, DOWN), tmp_path)
    session = found.dataset.session(DAY)
    assert session is not None
    assert found.ledger.fills[1].model.drilled_ms == session.open_ms + 90 * 60_000


def test_other_rules_and_other_bars_are_not_drilled(tmp_path: Path) -> None:
    """Without the rule no minute is asked and nothing told; a day that reached one level alone fills at it, though the
    minute opened beyond; where sessions run on minutes one that holds both is stop first, counted.
    """
    found = play(
        day(OPEN, UP, DOWN),
        tmp_path / "rule",
        replace(RULES, ambiguity=Ambiguity.STOP_FIRST),
        bars=Bars.DAILY,
    )
    assert found.trade.is_ambiguous
    assert drilled(found.dataset, found.result.rules, found.ledger) is None
    single = day(OPEN, ("10:00", "102.5", 104, 102, 104), row=(105, 106, 102, 104))
    found = both(single, tmp_path / "single")
    assert found.fills[1][:3] == ("stop", 190, "103.00")
    assert counted(found) == Drilled()
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:31", 105, 112, 102, 110, 100_000)
    found = play(until_close(stored, 110, first="09:32"), tmp_path / "minutes", RULES)
    assert found.fills[1] == ("stop", 190, "103.00", "09:32")
    assert found.trade.is_ambiguous
    assert counted(found) == Drilled()


def test_another_symbol_s_minutes_decide_nothing(tmp_path: Path) -> None:
    """The session has minutes, of BBB."""
    stored = day()
    stored.minute_bar(DAY, "BBB", "09:30", 105, 112, 102, 106, 100)
    assert counted(both(stored, tmp_path)).no_minutes == 1


def test_no_decision_sees_the_minutes(tmp_path: Path) -> None:
    """Played again with other minutes and another rest of the day: the same decisions, by the look-ahead check."""
    stored = day(OPEN, UP, DOWN)
    stored.daily_bar(NEXT_DAY, "AAA", 112, 113, 111, 112, 10_000_000)
    dataset = stored.dataset(tmp_path)
    sessions = dataset.between(DAY, NEXT_DAY)
    result = run_backtest(dataset, RULES, lines, sessions, bars=Bars.DAILY, lookahead=2)
    assert result.looked_ahead == 2


def test_words_tell_what_was_decided_and_why_the_rest_was_not() -> None:
    """As a result shows it."""
    told = Drilled(bars=1_234, decided=1_220, no_minutes=9, identity_mismatch=1, incomplete=3, one_minute=1)
    assert told.words == (
        "drilled 1,220 of 1,234 ambiguous bars into minutes; stop first in 9 without minutes, 1 with minutes at another"
        " price, 3 with a price that no minute holds, 1 with both in one minute"
    )
    assert Drilled(bars=1, decided=1).words == "drilled 1 of 1 ambiguous bar into minutes"


def test_a_day_narrowed_to_its_minutes_never_grows() -> None:
    """A minute that is a tick wider than the day widens nothing."""
    from finagent.backtest.drilling import until

    found = until(
        Bar(0, 100, 110, 90, 100, 1), [Bar(0, 100, 111, 95, 100, 1), Bar(60_000, 100, 100, 80, 100, 1)], 0
    )
    assert (found.high_e4, found.low_e4) == (110, 95)
