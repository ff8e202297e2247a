"""The nouns of the market say what they promise."""

import pytest

from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    DailyBar,
    DailyBars,
    Direction,
    Instrument,
    Session,
    Side,
    Snapshot,
)


def test_directions_and_sides_have_signs() -> None:
    assert (Direction.LONG.sign, Direction.SHORT.sign) == (1, -1)
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)


@pytest.mark.parametrize(("price_e4", "tick_e4"), [(9_999, 1), (10_000, 100), (1_000_000, 100)])
def test_the_tick_is_a_cent_from_one_dollar(price_e4: int, tick_e4: int) -> None:
    assert Instrument(symbol="AAA").tick_e4(price_e4) == tick_e4


def test_a_session_counts_its_minutes() -> None:
    half = Session(
        date="2018-07-03", open_ms=0, close_ms=210 * MINUTE_MS, previous="2018-07-02", is_half_day=True
    )
    assert half.minutes == 210


def test_a_bar_is_known_a_minute_after_its_start() -> None:
    assert Bar(0, 1, 1, 1, 1, 1).end_ms == MINUTE_MS


def test_a_snapshot_is_named_after_its_instrument() -> None:
    assert Snapshot(instrument=Instrument(symbol="SPY")).symbol == "SPY"


def test_bars_by_column_are_the_bars() -> None:
    bars = [DailyBar(f"2018-01-0{day}", 10 * day, 12 * day, 9 * day, 11 * day, day) for day in range(1, 5)]
    columns = DailyBars.of(bars)
    assert DailyBars.of(columns) is columns
    assert [columns[place] for place in range(len(columns))] == bars
    assert columns[-1] == bars[-1]
    assert columns.before("2018-01-09") is columns
    earlier = columns.before("2018-01-03")
    assert (len(earlier), earlier[-1]) == (2, bars[1])
    assert len(columns.before("2018-01-01").before("2018-01-01")) == 0
