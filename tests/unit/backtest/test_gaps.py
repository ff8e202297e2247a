"""What became of gaps, in cases that a person can reckon; groups know nothing of what comes after the first minute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finagent.backtest.dataset import Dataset
from finagent.backtest.gap_groups import AT_CLOSE, WAYS, gap_catalyst, group
from finagent.backtest.gaps import MULTIPLES, NEVER, NO, UNDECIDED, YES, FoundGaps, GapQuestion, find_gaps
from finagent.backtest.running import Bars
from finagent.domain.market import Earnings, Headline
from tests.conformance.made_up import MadeUp, MadeUpCalendar, ms

DAY = "2020-03-02"
ASKED = GapQuestion(min_gap_e6=40_000, stop_e6=30_000)


@pytest.fixture
def made_up() -> MadeUp:
    """Thirty sessions; a Monday after ten of them is the one that is looked at."""
    return MadeUp(MadeUpCalendar("2020-02-17", 30))


def of_day(dataset: Dataset, question: GapQuestion = ASKED, day: str = DAY) -> FoundGaps:
    session = dataset.session(day)
    assert session is not None
    return find_gaps(dataset, [session], question)


def headline(symbol: str, at: str, text: str) -> Headline:
    known_ms = ms(DAY, at)
    return Headline(symbol=symbol, published_ms=known_ms, known_at_ms=known_ms, text=text, source="wire")


def by_symbol(dataset: Dataset, found: FoundGaps, column: str) -> dict[str, object]:
    """A column of the gaps by symbol."""
    names = [dataset.symbols[number] for number in found.gaps.symbol.tolist()]
    return dict(zip(names, getattr(found.gaps, column).tolist(), strict=True))


def test_daily_bars_tell_fills_and_what_came_before_the_stop(made_up: MadeUp, tmp_path: Path) -> None:
    """Up from 100 to 104: half the gap is 102, the stop 100.88, 1 R at 107.12, 2 R at 110.24, 3 R at 113.36."""
    days = {
        "FILLED": ("104", "105", "100", "101"),
        "HALF": ("104", "105", "102", "103"),
        "SHORT": ("104", "105", "102.01", "103"),
        "TWO": ("104", "110.24", "100.89", "110"),
        "BOTH": ("104", "107.12", "100.88", "107"),
        "DOWN": ("96", "100", "92", "93"),
        "TIE": ("104", "104", "104", "104"),
        "SMALL": ("103.9999", "104", "99", "100"),
    }
    for symbol, row in days.items():
        made_up.quiet_days(symbol, 100, before=DAY)
        made_up.daily_bar(DAY, symbol, *row, 1_000_000)
    dataset = made_up.dataset(tmp_path)
    found = of_day(dataset)
    assert by_symbol(dataset, found, "is_filled") == {
        "FILLED": True, "HALF": False, "SHORT": False, "TWO": False, "BOTH": False, "DOWN": True, "TIE": False,
    }  # fmt: skip
    halves = by_symbol(dataset, found, "is_half_filled")
    assert (halves["FILLED"], halves["HALF"], halves["SHORT"], halves["DOWN"]) == (True, True, False, True)
    assert by_symbol(dataset, found, "reached") == {
        "FILLED": [NO, NO, NO],
        "HALF": [NO, NO, NO],
        "SHORT": [NO, NO, NO],
        "TWO": [YES, YES, NO],
        "BOTH": [UNDECIDED, NO, NO],
        "DOWN": [UNDECIDED, NO, NO],  # short at 96: the stop 98.88, 1 R 93.12, 2 R 90.24
        "TIE": [NO, NO, NO],
    }
    assert by_symbol(dataset, found, "gap_e6")["DOWN"] == -40_000
    assert set(by_symbol(dataset, found, "minutes_to_fill").values()) == {NEVER}
    assert MULTIPLES == (1, 2, 3)


def test_a_fade_looks_the_other_way(made_up: MadeUp, tmp_path: Path) -> None:
    """Short at 104: the stop at 107.12 is not reached, 1 R at 100.88 is."""
    made_up.quiet_days("F", 100, before=DAY)
    made_up.daily_bar(DAY, "F", "104", "107.11", "100.88", "101", 1_000_000)
    dataset = made_up.dataset(tmp_path)
    assert of_day(dataset, replace(ASKED, is_fade=True)).gaps.reached.tolist() == [[YES, NO, NO]]
    assert of_day(dataset).gaps.reached.tolist() == [[NO, NO, NO]]


def test_minutes_tell_when_and_in_which_order(made_up: MadeUp, tmp_path: Path) -> None:
    """Entered at 104: 1 R at 09:32, the stop at 09:33, filled in the minute that ends 5 after the open."""
    made_up.quiet_days("M", 100, before=DAY)
    made_up.daily_bar(DAY, "M", "104", "120", "90", "103", 1_000_000)
    made_up.minute_bar(DAY, "M", "09:00", "90", "130", "80", "104", 1_000)  # before the open nothing counts
    made_up.minute_bar(DAY, "M", "09:30", "104", "105", "103", "104", 1_000)
    made_up.minute_bar(DAY, "M", "09:32", "104", "107.12", "103", "104", 1_000)
    made_up.minute_bar(DAY, "M", "09:33", "104", "112", "100.5", "101", 1_000)
    made_up.minute_bar(DAY, "M", "09:34", "101", "102", "100", "101.5", 1_000)
    made_up.minute_bar(DAY, "M", "16:00", "101", "140", "70", "99", 1_000)  # nor after the close
    dataset = made_up.dataset(tmp_path)
    gaps = of_day(dataset).gaps
    assert (gaps.minutes_to_fill.tolist(), gaps.is_filled.tolist()) == ([5], [True])
    assert gaps.reached.tolist() == [[YES, UNDECIDED, NO]]  # 2 R is 110.24: the minute of the stop
    assert gaps.close_e4.tolist() == [1_015_000]
    by_day = of_day(dataset, replace(ASKED, bars=Bars.DAILY)).gaps
    assert by_day.reached.tolist() == [[UNDECIDED] * 3]
    assert by_day.close_e4.tolist() == [1_030_000]


@pytest.mark.parametrize(
    ("opened", "outcome"), [("108", YES), ("100", NO), ("104", UNDECIDED)], ids=["target", "stop", "between"]
)
def test_the_open_of_a_minute_tells_what_its_range_does_not(
    made_up: MadeUp, tmp_path: Path, opened: str, outcome: int
) -> None:
    """A minute from 100 to 108 touches stop and 1 R; one that opens beyond either reached it first."""
    made_up.quiet_days("M", 100, before=DAY)
    made_up.minute_bar(DAY, "M", "09:30", "104", "104", "104", "104", 1_000)
    made_up.minute_bar(DAY, "M", "09:31", opened, "108", "100", "104", 1_000)
    assert of_day(made_up.dataset(tmp_path)).gaps.reached[:, 0].tolist() == [outcome]


def test_ex_dates_are_measured_on_their_own_basis(made_up: MadeUp, tmp_path: Path) -> None:
    """2:1 from 100 is 50: an open of 52 gaps by 4 %, and fills at 50; a dividend of 4 makes 96 no gap."""
    for symbol in ("SPLIT", "PAID", "WRONG"):
        made_up.quiet_days(symbol, 100, before=DAY)
    made_up.daily_bar(DAY, "SPLIT", "52", "53", "50", "51", 1_000_000)
    made_up.daily_bar(DAY, "PAID", "96", "97", "95", "96", 1_000_000)
    made_up.daily_bar(DAY, "WRONG", "100", "101", "99", "100", 1_000_000)
    made_up.action("SPLIT", DAY, split="2")
    made_up.action("PAID", DAY, dividend=4)
    made_up.action("WRONG", DAY, split="2")
    dataset = made_up.dataset(tmp_path)
    found = of_day(dataset)
    assert by_symbol(dataset, found, "is_filled") == {"SPLIT": True}
    assert by_symbol(dataset, found, "gap_e6") == {"SPLIT": 40_000}
    assert found.left_out["bad_action"] == 1
    assert by_symbol(dataset, of_day(dataset, replace(ASKED, min_gap_e6=1)), "gap_e6") == {"SPLIT": 40_000}


def test_what_cannot_be_read_is_left_out_by_reason(made_up: MadeUp, tmp_path: Path) -> None:
    """No close before, no opening print, minutes of another share; only of the symbols that were asked for."""
    for symbol in ("LATE", "OTHER", "FINE"):
        made_up.quiet_days(symbol, 100, before=DAY)
        made_up.daily_bar(DAY, symbol, "105", "106", "104", "105", 1_000_000)
    made_up.minute_bar(DAY, "LATE", "09:31", "105", "105", "105", "105", 1_000)
    made_up.minute_bar(DAY, "OTHER", "09:30", "20", "20", "20", "20", 1_000)
    made_up.minute_bar(DAY, "NEW", "09:30", "20", "20", "20", "20", 1_000)
    made_up.minute_bar(DAY, "FINE", "09:30", "105", "105", "105", "105", 1_000)
    dataset = made_up.dataset(tmp_path)
    found = of_day(dataset)
    assert {reason: count for reason, count in found.left_out.items() if count} == {
        "identity_mismatch": 1, "no_prev_close": 1, "no_print": 1,
    }  # fmt: skip
    assert by_symbol(dataset, found, "open_e4") == {"FINE": 1_050_000}
    only = of_day(dataset, replace(ASKED, symbols=("FINE",)))
    assert len(only.gaps) == 1
    assert not any(only.left_out.values())
    assert not len(of_day(dataset, replace(ASKED, symbols=("NEW",))).gaps)


def test_groups_are_what_their_names_say(made_up: MadeUp, tmp_path: Path) -> None:
    """Size with its edge, direction, weekday, market over every symbol, the strongest event, volume of the day."""
    for number in range(30):
        made_up.quiet_days(f"S{number:02}", 100, before=DAY)
        opened = "106" if number < 18 else "94"
        made_up.daily_bar(DAY, f"S{number:02}", opened, "110", "90", "100", 4_000_000)
    made_up.texts = [
        headline("S00", "08:00", "Acme to be acquired"),
        headline("S01", "09:32", "Acme to be acquired"),
    ]
    made_up.dates = [
        Earnings(symbol="S02", session=DAY, timing="bmo"),
        Earnings(symbol="S03", session=DAY, timing="amc"),
    ]
    dataset = made_up.dataset(tmp_path)
    found = of_day(dataset, replace(ASKED, symbols=("S00", "S01", "S29")))

    def names(by: str) -> list[str]:
        grouping = group(dataset, found, by)
        return [grouping.names[place] for place in grouping.of.tolist()]

    assert names("size") == ["6 to 8 %"] * 3
    assert names("direction") == ["up", "up", "down"]
    assert names("weekday") == ["Monday"] * 3
    assert names("market") == ["up (≥ 60 %)"] * 3
    assert names("catalyst") == ["merger", "none known", "none known"]
    assert names("rvol") == ["unknown"] * 3
    assert names("day-rvol") == ["2 to 4 x"] * 3
    row = dataset.rows[DAY]
    assert [gap_catalyst(dataset, row, symbol, sign=1) for symbol in ("S02", "S03")] == [
        "earnings date",
        "none known",
    ]
    assert [by for by in WAYS if group(dataset, found, by).known == AT_CLOSE] == ["day-rvol"]


def test_volume_of_the_first_minute_is_held_against_the_sessions_before(
    made_up: MadeUp, tmp_path: Path
) -> None:
    """Five sessions with 1,000 shares in the first minute, then 3,000; later minutes do not count."""
    made_up.quiet_days("M", 100, before=DAY)
    for session in made_up.calendar.all[4:9]:
        made_up.minute_bar(session.date, "M", "09:30", "100", "100", "100", "100", 1_000)
    made_up.minute_bar(DAY, "M", "09:30", "105", "105", "105", "105", 3_000)
    made_up.minute_bar(DAY, "M", "09:31", "105", "105", "105", "105", 90_000)
    dataset = made_up.dataset(tmp_path)
    grouping = group(dataset, of_day(dataset), "rvol")
    assert [grouping.names[place] for place in grouping.of.tolist()] == ["2 to 4 x"]


@pytest.mark.parametrize("with_minutes", [False, True], ids=["daily", "minute"])
def test_groups_that_are_known_at_the_open_do_not_look_ahead(tmp_path: Path, with_minutes: bool) -> None:
    """The rest of the day, the days after it and news to come are altered: the same gaps in the same groups."""

    def dataset(name: str, high: str, low: str, close: str, volume: int, text: str) -> Dataset:
        made_up = MadeUp(MadeUpCalendar("2020-02-17", 30))
        for number in range(24):
            symbol = f"S{number:02}"
            made_up.quiet_days(symbol, 100, before=DAY)
            opened = str(90 + number)
            made_up.daily_bar(DAY, symbol, opened, high, low, close, volume)
            made_up.daily_bar("2020-03-03", symbol, close, high, low, close, volume)
            if with_minutes:
                for session in made_up.calendar.all[4:9]:
                    made_up.minute_bar(session.date, symbol, "09:30", "100", "100", "100", "100", 1_000)
                made_up.minute_bar(DAY, symbol, "09:30", opened, "120", "80", opened, 1_000 + 200 * number)
                made_up.minute_bar(DAY, symbol, "09:31", close, high, low, close, volume)
        made_up.texts = [
            headline("S00", "08:00", "FDA approval"),
            headline("S01", "12:00", text),
        ]
        return made_up.dataset(tmp_path / name)

    one = dataset("one", "115", "85", "100", 1_000_000, "merger")
    other = dataset("other", "200", "50", "150", 9_000_000, "bankruptcy")
    for by in WAYS:
        first, second = (group(each, of_day(each), by) for each in (one, other))
        of_first, of_second = ([g.names[place] for place in g.of.tolist()] for g in (first, second))
        assert len(of_first) == 17
        assert (of_first == of_second) is (by != "day-rvol")
    assert not np.array_equal(of_day(one).gaps.close_e4, of_day(other).gaps.close_e4)
