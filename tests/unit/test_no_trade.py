"""The CSV of days and windows without entries: what it may hold, and how a bad row is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.settings import SettingsError
from finagent.settings.no_trade import NoTrade, read_no_trade


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "no_trade.csv"


def test_days_and_windows_are_read_sorted_once_without_comments(file: Path) -> None:
    file.write_text(
        "\ufeffdate,start,end,reason\r\n# the Fed\r\n2026-12-16, 13:45 ,15:00,FOMC\r\n\r\n"
        '2026-12-24\r\n2026-11-27,,,"half day, thin"\r\n2026-12-18,triple witching\r\n'
        "2026-12-24,,\r\n2026-12-16,09:30,09:45\r\n,,\r\n",
        encoding="utf-8",
    )
    assert read_no_trade(file) == NoTrade(
        days=("2026-11-27", "2026-12-18", "2026-12-24"),
        windows=(("2026-12-16", "09:30", "09:45"), ("2026-12-16", "13:45", "15:00")),
    )


def test_no_file_is_no_day() -> None:
    assert read_no_trade(None) == NoTrade()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("21.12.2026", "'21.12.2026' is no date"),
        ("2026-13-01", "'2026-13-01' is no date"),
        ("2026-02-30", "'2026-02-30' is no date"),
        ("2026-2-3", "'2026-2-3' is no date"),
        ("20261224", "'20261224' is no date"),
        ("٢٠٢٦-12-24", "is no date"),
        ("NaN", "'NaN' is no date"),
        ("2026-12-16,13.45,15:00", "'13.45' is no time HH:MM"),
        ("2026-12-16,13:45,25:00", "'25:00' is no time HH:MM"),
        ("2026-12-16,9:30,10:00", "'9:30' is no time HH:MM"),
        ("2026-12-16,noon,13:00", "'noon' is no time HH:MM"),
        ("2026-12-16,13:45", "the window needs a beginning and an end"),
        ("2026-12-16,13:45,,Fed", "the window needs a beginning and an end"),
        ("2026-12-16,,15:00", "the window needs a beginning and an end"),
        ("2026-12-16,15:00,13:45", "the window 15:00 to 13:45 ends before it begins"),
        ("2026-12-16,15:00,15:00", "ends before it begins"),
    ],
)
def test_bad_row_is_told_with_file_line_value_and_mend(file: Path, row: str, told: str) -> None:
    file.write_text(f"2026-12-24\n\n{row}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_no_trade(file)
    assert caught.value.message.startswith(f"schedule.no_trade_days: {file}, line 3: ")
    assert told in caught.value.message
    assert caught.value.hint.startswith("write 2026-12-24 for a day, or 2026-12-16,13:45,15:00")


def test_every_bad_row_is_counted_and_the_first_are_told(file: Path) -> None:
    file.write_text("a\nb\n2026-12-24\nc\nd\ne\n")
    with pytest.raises(SettingsError, match=r"line 1: 'a'.*line 2: 'b'.*line 4: 'c' is no date; and 2 more"):
        read_no_trade(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"\xff\xfe2\x000", "is no CSV in UTF-8"),
        (b'"2026-12-24\n' + b"x" * 200_000, "is no CSV in UTF-8: field larger"),
        (b"2026-12-24\n" * 100_001, "more than 100000 lines"),
    ],
)
def test_file_that_cannot_be_read_is_told_with_its_mend(file: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        read_no_trade(file)


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        read_no_trade(tmp_path)


CELLS = st.text(st.sampled_from('2026-10:9 ,"\n#x'), max_size=12)


@given(st.lists(st.lists(CELLS, max_size=4), max_size=6))
def test_any_text_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    file = tmp_path_factory.mktemp("any") / "days.csv"
    file.write_text("\n".join(",".join(row) for row in rows))
    try:
        found = read_no_trade(file)
    except SettingsError as error:
        found, told = NoTrade(), error.message
    else:
        told = str(file)
    assert str(file) in told
    assert all(len(day) == 10 for day in found.days)
    assert all(start < end for _, start, end in found.windows)
