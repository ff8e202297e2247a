"""Columns of any type become arrays; what is no number, day or instant is marked, never guessed."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finagent.adapters.bars.source import (
    UnreadableError,
    batches,
    days,
    floats,
    instants_ms,
    open_source,
)

HEAD = "symbol,ts,open,high,low,close,volume\n"


def column(values: list[object], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def test_numbers_in_text_are_read_and_other_text_is_not() -> None:
    got = floats(column([" 1.5", "2e3", "-.5", "ten", "", None, "1,000", "0x10", "nan"]))
    assert got[:3].tolist() == [1.5, 2000.0, -0.5]
    assert np.all(np.isnan(got[3:]))
    assert np.all(np.isnan(floats(column([True, False]))))


def test_days_are_read_from_dates_times_and_iso_text() -> None:
    got, bad = days(column(["2018-02-16", "2018-02-30", "16.02.2018", None]))
    assert bad.tolist() == [False, True, True, True]
    assert str(got[0]) == "2018-02-16"
    assert str(days(column([datetime(2018, 2, 16, 23, 59)]))[0][0]) == "2018-02-16"
    assert days(column([20180216]))[1].tolist() == [True]


def test_instants_without_a_zone_are_utc_and_wrong_ones_are_marked() -> None:
    noon_ms = int(datetime(2018, 2, 16, 12, tzinfo=UTC).timestamp() * 1000)
    text = [
        "2018-02-16 12:00:00",
        "2018-02-16T12:00:00Z",
        "2018-02-16T07:00:00-05:00",
        "2018-13-40 99:00",
        None,
    ]
    got, bad = instants_ms(column(list(text)))
    assert got[:3].tolist() == [noon_ms] * 3
    assert bad.tolist() == [False, False, False, True, True]
    assert instants_ms(column([datetime(2018, 2, 16, 12)], pa.timestamp("us")))[0].tolist() == [noon_ms]
    assert instants_ms(column([1.5]))[1].tolist() == [True]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (HEAD + "A,2018-02-16 14:30:00,1,1,1,1,5\n", "minute"),
        (HEAD + "A,2018-02-16 14:30:00,1,1,1,1,5.0\n", "minute"),
        (HEAD + "A,2018-02-16 14:30:00,1,1,1,1,0.25\n", "crypto"),
        (HEAD, "minute"),
        ("\ufeff" + HEAD + "A,2018-02-16 14:30:00,1,1,1,1,5\n", "minute"),
        ("a,b\n1,2\n", "unknown"),
    ],
)
def test_a_csv_file_is_recognised_by_its_columns(text: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    source = open_source(path)
    assert source.recognised.kind == kind
    rows = text.count("\n") - 1
    assert sum(table.num_rows for table in batches(source)) == rows


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b""),
        ("x.csv", HEAD.encode() + b"A,2018\nA\n"),
        ("x.csv", b"\xff\xfe\x00symbol\n"),
        ("x.parquet", b""),
        ("x.json", b"\xff"),
    ],
)
def test_a_damaged_file_is_unreadable_with_a_reason_in_one_line(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        list(batches(open_source(tmp_path / name)))
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_cut_short_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"symbol": ["A"] * 1000, "date": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableError):
        open_source(path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"holidays": [], "earlyCloses": {}}', "market_hours"),
        ('["A", "B"]', "symbol_list"),
        ('[{"file": "x"}]', "manifest"),
        ('{"a": 1}', "unknown"),
    ],
)
def test_a_json_file_is_named_and_left(text: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    found = open_source(path).recognised
    assert (found.kind, found.is_imported) == (kind, False)
