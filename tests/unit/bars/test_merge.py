"""Merging rows: the first of equal keys wins, whatever is merged again is a duplicate."""

from datetime import date

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.adapters.bars.kinds import DAILY, recognise
from finagent.adapters.bars.merge import merge

DAYS = [date(2018, 2, day) for day in (12, 13, 14)]
rows = st.lists(
    st.tuples(st.sampled_from(["A", "B", "C"]), st.sampled_from(DAYS), st.integers(1, 300)),
    min_size=1,
    max_size=12,
)


def table(values: list[tuple[str, date, int]]) -> pa.Table:
    """Daily bars whose prices and volume are one number, in hundreds."""
    symbols, days, numbers = zip(*values, strict=True)
    prices = pa.array([number * 100 for number in numbers], pa.int64())
    columns = dict.fromkeys(("open_e4", "high_e4", "low_e4", "close_e4", "volume"), prices)
    return pa.table({"symbol": pa.array(symbols), "date": pa.array(days, pa.date32()), **columns})


@settings(deadline=None)
@given(rows, rows)
def test_the_first_of_equal_bars_wins_and_the_rest_are_duplicates(
    stored: list[tuple[str, date, int]], incoming: list[tuple[str, date, int]]
) -> None:
    first = merge(DAILY, None, table(stored)).table
    merged = merge(DAILY, first, table(incoming))
    expected: dict[tuple[str, date], int] = {}
    for symbol, day, number in [*stored, *incoming]:
        expected.setdefault((symbol, day), number * 100)
    got = {(row["symbol"], row["date"]): row["open_e4"] for row in merged.table.to_pylist()}
    assert got == expected
    assert list(got) == sorted(got)
    assert merged.taken == len(got) - first.num_rows
    for row, differs in zip(incoming, merged.conflicts["conflict"].tolist(), strict=True):
        known = expected[(row[0], row[1])]
        assert differs == (abs(row[2] * 100 - known) > max(50, known * 1e-4))
    again = merge(DAILY, merged.table, table(incoming))
    assert again.taken == 0
    assert again.table.equals(merged.table)
    assert not np.any(again.is_taken)


def test_a_file_is_recognised_by_its_columns_whatever_else_it_holds() -> None:
    daily = ["symbol", "date", "open", "high", "low", "close", "volume"]
    assert recognise([*daily, "vendor"], is_volume_whole=True).kind == "daily"
    assert recognise(daily, is_volume_whole=False).kind == "crypto"
    assert recognise([*daily, "adj_close"], is_volume_whole=True).kind == "adjusted_daily"
    assert recognise(["symbol", "date"], is_volume_whole=True).kind == "earnings"
    assert recognise(["symbol", "date", "rating"], is_volume_whole=True).kind == "unknown"
    assert recognise(["a"], is_volume_whole=True).detail == "no known kind has its columns"
