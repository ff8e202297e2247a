"""Daily bars alone: what is assumed, and what the day as one bar comes to, each reckoned by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.errors import BacktestError
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars
from finagent.backtest.source import Halt
from finagent.domain.costs import CostRules
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.setups import Setup
from tests.conformance.made_up import MadeUp, MadeUpCalendar, Price, ms
from tests.conformance.trading import DAY, FREE, NEXT_DAY, market, play, until_close, with_bars

COSTLESS = replace(FREE, open_slippage_e6=0)


def one_day(*row: Price) -> MadeUp:
    """Quiet days at 100, then one daily bar of ten million shares."""
    stored = MadeUp(MadeUpCalendar("2018-01-01", 28))
    stored.quiet_days("AAA", 100, before=DAY)
    stored.daily_bar(DAY, "AAA", *row, 10_000_000)
    return stored


@pytest.mark.parametrize(
    ("row", "leg", "price"),
    [
        ((105, 108, 104, 107), "exit", "107.00"),
        ((105, 108, 102, 107), "stop", "103.00"),
        ((105, 112, 104, 110), "target-1", "111.00"),
        ((105, 112, 102, 110), "stop", "103.00"),
    ],
    ids=["close", "stop", "target", "both"],
)
def test_the_day_is_one_bar(tmp_path: Path, row: tuple[Price, ...], leg: str, price: str) -> None:
    """Bought at the open of 105; stop 103, target 111, else the close."""
    found = play(one_day(*row), tmp_path, COSTLESS)
    assert found.fills == [("entry", 190, "105.00", "09:30"), (leg, 190, price, "16:00")]
    assert found.trade.is_ambiguous is (row == (105, 112, 102, 110))
    assert not found.ledger.days[0].has_minutes


def test_entry_pays_for_the_open_that_nobody_knew(tmp_path: Path) -> None:
    """105 + 20 bps = 105.21, and not three times the usual; the close of 107 - 5 bps = 106.9465, down to 106.94."""
    rules = Parameters(costs=CostRules(has_regulatory_fees=False))
    found = play(one_day(105, 108, 104, 107), tmp_path, rules)
    assert [fill[2] for fill in found.fills] == ["105.21", "106.94"]
    assert found.fills[0][1] == 190


def test_slippage_by_range_and_impact_is_of_the_day(tmp_path: Path) -> None:
    """The stop pays a tenth of the range of 6: 103 - 5 bps - 0.60 = 102.3485; open and close are one print, 105.21 and
    106.94. With 200 bps for the whole day's volume and 100 for the open an entry is sized at 105 + 100 bps + 44.73 bps,
    187 shares, and pays 0.004325 of the 200 bps: 106.05 + 0.0091.
    """
    rules = Parameters(costs=CostRules(slippage_range_e6=100_000, has_regulatory_fees=False))
    stopped = play(one_day(105, 108, 102, 107), tmp_path / "stop", rules)
    assert [fill[2] for fill in stopped.fills] == ["105.21", "102.34"]
    closed = play(one_day(105, 108, 104, 107), tmp_path / "close", rules)
    assert [fill[2] for fill in closed.fills] == ["105.21", "106.94"]
    costs = CostRules(slippage_impact_e6=20_000, has_regulatory_fees=False)
    rules = Parameters(costs=costs, open_slippage_e6=10_000)
    found = play(one_day(105, 108, 104, 107), tmp_path / "impact", rules)
    assert found.fills[0] == ("entry", 187, "106.06", "09:30")


def test_excursions_are_cut_at_the_exit(tmp_path: Path) -> None:
    """Stopped at 103: what the day did below is not the trade's; the high of 108 is its bound."""
    found = play(one_day(105, 108, 99, 107), tmp_path, COSTLESS)
    assert (found.trade.mae_r_e6, found.trade.mfe_r_e6) == (-1_000_000, 1_500_000)


def test_halt_at_the_open_is_nothing_that_a_daily_bar_knows(tmp_path: Path) -> None:
    """The day is one bar: its open is traded, whatever the minutes beside it say."""
    stored = one_day(105, 108, 104, 107)
    stored.halted.append(Halt("AAA", ms(DAY, "09:30"), ms(DAY, "09:31")))
    assert play(stored, tmp_path, COSTLESS).fills[0] == ("entry", 190, "105.00", "09:30")


def test_a_day_without_volume_fills_nothing(tmp_path: Path) -> None:
    """The entry finds no shares and ends with the day."""
    stored = one_day(105, 108, 104, 107)
    stored.daily_bar(DAY, "AAA", 105, 108, 104, 107, 0)
    found = play(stored, tmp_path)
    assert found.fills == []
    assert found.state()[0] == "not_filled"


def test_setups_that_need_minutes_get_no_plan(tmp_path: Path) -> None:
    """Said so, by name."""
    rules = replace(FREE, planning=PlanningRules(classic_entry=Setup.OPENING_RANGE_BREAK))
    found = play(one_day(105, 108, 104, 107), tmp_path, rules)
    told = next(entry for entry in found.ledger.journal if entry.kind == "no_plan")
    assert told.data == {
        "reason": "no_minutes",
        "detail": "daily bars alone do not show the setup opening_range_break",
    }


def test_minutes_are_taken_where_there_are_some(tmp_path: Path) -> None:
    """auto: the day of minutes on its minutes, the day after on its daily bar."""
    stored = until_close(with_bars(market()), 105, first="09:32")
    stored.daily_bar(DAY, "AAA", 105, 105, 105, 105, 10_000_000)
    stored.daily_bar(NEXT_DAY, "AAA", 111, 112, 110, 112, 10_000_000)
    found = play(stored, tmp_path / "auto", COSTLESS, last=NEXT_DAY)
    assert [(day.session, day.has_minutes) for day in found.ledger.days] == [(DAY, True), (NEXT_DAY, False)]
    assert [trade.session for trade in found.ledger.trades] == [DAY, NEXT_DAY]
    found = play(stored, tmp_path / "daily", COSTLESS, last=NEXT_DAY, bars=Bars.DAILY)
    assert [day.has_minutes for day in found.ledger.days] == [False, False]
    found = play(stored, tmp_path / "minute", COSTLESS, last=NEXT_DAY, bars=Bars.MINUTE)
    assert [day.skipped for day in found.ledger.days] == [(), ("no minute bars",)]


def test_sessions_without_any_bar_are_refused_or_skipped(tmp_path: Path) -> None:
    """No minutes at all: refused with the mend; one day without bars among others: skipped and said."""
    stored = one_day(105, 108, 104, 107)
    with pytest.raises(BacktestError, match="there are no minute bars"):
        play(stored, tmp_path, bars=Bars.MINUTE)


def test_three_positions_at_most_in_rank(tmp_path: Path) -> None:
    """Five gaps of one size: by score and symbol the first three, the others refused for open_positions."""
    stored = MadeUp(MadeUpCalendar("2018-01-01", 28))
    for symbol in ("EEE", "DDD", "CCC", "BBB", "AAA"):
        stored.quiet_days(symbol, 100, before=DAY)
        stored.daily_bar(DAY, symbol, 105, 108, 104, 107, 10_000_000)
    found = play(stored, tmp_path, COSTLESS)
    assert sorted(trade.symbol for trade in found.ledger.trades) == ["AAA", "BBB", "CCC"]
    assert [found.state(symbol) for symbol in ("DDD", "EEE")] == [("refused", "open_positions")] * 2


def test_equity_of_the_day_before_sizes_the_next(tmp_path: Path) -> None:
    """380 lost on the first day: 99,620 x 20 % at 111 on the second are 179 shares."""
    stored = one_day(105, 105, 102, 105)
    stored.daily_bar(NEXT_DAY, "AAA", 111, 111, 111, 111, 10_000_000)
    found = play(stored, tmp_path, COSTLESS, last=NEXT_DAY)
    assert [fill[1] for fill in found.fills if fill[0] == "entry"] == [190, 179]
