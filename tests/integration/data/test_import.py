"""Importing: what is refused says why, nothing is taken twice, a crash leaves a readable store."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finagent.adapters.bars.audit import check_store, list_store
from finagent.adapters.bars.errors import (
    ImportFolderError,
    StoreCorruptError,
    StoreLockedError,
    StoreUnwritableError,
)
from finagent.adapters.bars.files import import_lock, read_part
from finagent.adapters.bars.importer import import_folder
from finagent.adapters.bars.report import ImportProgress, ImportReport
from finagent.adapters.bars.store import BarStore
from finagent.adapters.vendors.calendar import ExchangeCalendar, load_calendar
from tests.integration.data.market_files import ACTIONS, DAILY, MINUTE, Row, made_up, table, write

DAY = "2018-02-16"
GOOD: Row = ("AAA", DAY, 10.0, 11.0, 9.0, 10.5, 100)


@pytest.fixture(scope="module")
def calendar() -> ExchangeCalendar:
    """The exchange's calendar."""
    return load_calendar()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without a store."""
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to import."""
    path = tmp_path / "data"
    path.mkdir()
    return path


def files_of(home: Path) -> dict[str, str]:
    """Hash of every file under a home."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def counts(report: ImportReport, file: str) -> tuple[int, int, int, int]:
    """Rows, accepted, rejected and duplicates of a file."""
    found = next(entry for entry in report.files if entry.file == file)
    return found.rows, found.accepted, found.rejected, found.duplicates


def kinds_of(report: ImportReport) -> dict[str, int]:
    """Issues by kind."""
    found: dict[str, int] = {}
    for issue in report.issues:
        found[issue.kind] = found.get(issue.kind, 0) + issue.count
    return found


def test_every_kind_of_file_is_imported_and_listed(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    steps: list[ImportProgress] = []
    report = import_folder(write(folder, made_up(calendar)), home, calendar=calendar, progress=steps.append)
    assert [file.kind for file in report.files] == [
        "actions",
        "daily",
        "earnings",
        "headlines",
        "minute",
        "quotes",
    ]
    assert all(file.accepted == file.rows > 0 for file in report.files)
    assert report.symbols == 3
    assert report.is_changed
    assert {step.file for step in steps} == {file.file for file in report.files}
    listed = list_store(home)
    assert listed["daily"] == {"symbols": 3, "first": "2018-02-07", "last": DAY, "rows": 24, "files": 1}
    assert listed["minute"]["files"] == 8
    assert json.loads(json.dumps(report.to_json()))["symbols"] == 3


def test_importing_again_changes_no_byte(folder: Path, home: Path, calendar: ExchangeCalendar) -> None:
    write(folder, made_up(calendar))
    table(folder / "bad.parquet", DAILY, [("ZZZ", DAY, -1.0, 2.0, 1.0, 1.5, 10)])
    import_folder(folder, home, calendar=calendar)
    before, data_id = files_of(home), BarStore(home).data_id
    report = import_folder(folder, home, calendar=calendar)
    assert files_of(home) == before
    assert BarStore(home).data_id == data_id
    assert not report.is_changed
    assert all(file.accepted == 0 for file in report.files)
    assert counts(report, "daily.parquet") == (24, 0, 0, 24)


def test_a_dry_run_reports_the_same_and_writes_nothing(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    write(folder, made_up(calendar))
    table(folder / "daily2.parquet", DAILY, [("AAA", DAY, 1.0, 1.0, 1.0, 1.0, 5), GOOD])
    dry = import_folder(folder, home, calendar=calendar, dry_run=True)
    assert not home.exists()
    real = import_folder(folder, home, calendar=calendar)
    assert dry.files == real.files
    assert dry.issues == real.issues


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", DAY, 10.0, 11.0, 9.0, 10.5, 100), "no_symbol"),
        (("AAA", "2018-02-19", 10.0, 11.0, 9.0, 10.5, 100), "not_a_session"),
        (("AAA", DAY, float("nan"), 11.0, 9.0, 10.5, 100), "not_a_number"),
        (("AAA", DAY, 10.0, float("inf"), 9.0, 10.5, 100), "not_a_number"),
        (("AAA", DAY, -10.0, 11.0, -11.0, 10.5, 100), "not_positive"),
        (("AAA", DAY, 0.0, 11.0, 0.0, 10.5, 100), "not_positive"),
        (("AAA", DAY, 10.0, 8.0, 9.0, 10.5, 100), "high_below_low"),
        (("AAA", DAY, 10.0, 11.0, 10.2, 10.5, 100), "low_above"),
        (("AAA", DAY, 10.00001, 11.0, 9.0, 10.5, 100), "off_tick"),
        (("AAA", DAY, 10.0, 11.0, 9.0, 10.5, -1), "bad_volume"),
        (("AAA", DAY, 1e7, 1e7, 1e7, 1e7, 2**51), "too_large"),
        (("AAA", DAY, 10.0, 1e9, 9.0, 10.5, 100), "too_large"),
    ],
)
def test_a_wrong_daily_bar_is_quarantined_with_its_reason(
    row: Row, reason: str, folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "d.parquet", DAILY, [("OKAY", DAY, 10.0, 11.0, 9.0, 10.5, 100), row])
    report = import_folder(folder, home, calendar=calendar)
    assert counts(report, "d.parquet") == (2, 1, 1, 0)
    assert kinds_of(report) == {reason: 1}
    kept = read_part(next((home / "bars" / "quarantine").iterdir())).to_pylist()
    assert [(bad["_row"], bad["_reason"], bad["volume"]) for bad in kept] == [(1, reason, row[-1])]
    assert "1 of 2 rows refused" in report.problems[0]


def test_text_in_a_price_costs_its_row_only(folder: Path, home: Path, calendar: ExchangeCalendar) -> None:
    rows: Sequence[Row] = [
        ("AAA", DAY, "10.5", 11.0, 9.0, 10.5, 100),
        ("BBB", DAY, "ten", 11.0, 9.0, 10.5, 100),
    ]
    table(folder / "d.parquet", DAILY, rows)
    (folder / "e.csv").write_text(
        "Symbol,Date,Open,High,Low,Close,Volume\nCCC,2018-02-16,10,11,9,abc,100\nDDD,2018-02-16,10,11,9,10,100\n"
    )
    report = import_folder(folder, home, calendar=calendar)
    assert counts(report, "d.parquet") == (2, 1, 1, 0)
    assert counts(report, "e.csv") == (2, 1, 1, 0)
    assert kinds_of(report) == {"not_a_number": 2}
    assert sorted(BarStore(home).daily_on(DAY)) == ["AAA", "DDD"]


def test_minute_bars_outside_the_extended_hours_are_refused(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    session = calendar.session(DAY)
    assert session is not None
    bar = (10.0, 11.0, 9.0, 10.5, 100)
    starts = [-331, -330, 0, 629, 630]
    rows = [("AAA", session.open_ms + minute * 60_000, *bar) for minute in starts]
    table(folder / "m.parquet", MINUTE, [*rows, ("AAA", session.open_ms + 30_000, *bar)])
    report = import_folder(folder, home, calendar=calendar)
    assert counts(report, "m.parquet") == (6, 3, 3, 0)
    assert kinds_of(report) == {"outside_hours": 2, "not_on_minute": 1}


def test_example_of_an_issue_names_the_minute(folder: Path, home: Path, calendar: ExchangeCalendar) -> None:
    session = calendar.session(DAY)
    assert session is not None
    table(folder / "m.parquet", MINUTE, [("AAA", session.open_ms, 10.0, 10.0, 10.0, 10.0, 5)])
    (issue,) = import_folder(folder, home, calendar=calendar).issues
    assert (issue.kind, issue.example) == ("flat_bar", "2018-02-16T14:30Z in m.parquet")


def test_of_equal_bars_the_first_by_name_wins_and_a_real_difference_is_an_issue(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "a.parquet", DAILY, [GOOD, ("BBB", *GOOD[1:]), GOOD])
    near = ("AAA", DAY, 10.004, 11.0, 9.0, 10.5, 100)
    far = ("BBB", DAY, 10.3, 11.0, 9.0, 10.5, 900)
    table(folder / "b.parquet", DAILY, [near, far])
    report = import_folder(folder, home, calendar=calendar)
    assert counts(report, "a.parquet") == (3, 2, 0, 1)
    assert counts(report, "b.parquet") == (2, 0, 0, 2)
    assert [(issue.kind, issue.symbol) for issue in report.issues] == [
        ("conflict", "BBB"),
        ("volume_conflict", "BBB"),
    ]
    assert BarStore(home).daily_on(DAY)["BBB"].open_e4 == 100_000


def test_a_second_folder_is_merged_and_the_stored_bar_stays(
    folder: Path, home: Path, tmp_path: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "z.parquet", DAILY, [GOOD])
    import_folder(folder, home, calendar=calendar)
    other = tmp_path / "other"
    other.mkdir()
    table(other / "a.parquet", DAILY, [("AAA", DAY, 20.0, 20.0, 20.0, 20.0, 100), ("BBB", *GOOD[1:])])
    report = import_folder(other, home, calendar=calendar)
    assert counts(report, "a.parquet") == (2, 1, 0, 1)
    assert BarStore(home).daily_on(DAY)["AAA"].open_e4 == 100_000


def test_actions_of_one_day_combine_and_wrong_ones_are_refused(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    rows: list[Row] = [
        ("AAA", DAY, 0.25, 1.0),
        ("AAA", DAY, 0.1, 7.00000700001),
        ("AAA", DAY, 0.25, 1.0),
        ("BBB", DAY, -0.1, 1.0),
        ("CCC", DAY, 0.0, 0.0),
        ("DDD", DAY, float("nan"), 1.0),
    ]
    table(folder / "a.parquet", ACTIONS, rows)
    table(folder / "b.parquet", ACTIONS, [("AAA", DAY, 9.0, 1.0)])
    report = import_folder(folder, home, calendar=calendar)
    assert counts(report, "a.parquet") == (6, 2, 3, 1)
    assert kinds_of(report) == {"bad_action": 2, "not_a_number": 1, "conflict": 1}
    action = BarStore(home).actions_on(DAY)["AAA"]
    assert (action.dividend_e4, action.split_ratio_e6) == (3_500, 7_000_007)
    assert counts(import_folder(folder, home, calendar=calendar), "a.parquet") == (6, 0, 3, 3)


def test_unknown_left_and_unreadable_files_are_listed(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "good.parquet", DAILY, [GOOD])
    table(folder / "adjusted.parquet", (*DAILY, "adj_close"), [(*GOOD, 5.0)])
    pq.write_table(pa.table({name: [1.5] for name in MINUTE}), folder / "coin.parquet")
    table(folder / "lacks.parquet", DAILY[:4], [GOOD[:4]])
    (folder / "broken.parquet").write_bytes(b"PAR1 this is no parquet")
    (folder / "empty.csv").write_text("")
    (folder / "notes.txt").write_text("hello")
    (folder / "list.json").write_text('["AAA"]')
    (folder / "odd.json").write_text("{")
    (folder / "sub").mkdir()
    report = import_folder(folder, home, calendar=calendar)
    assert {file.file: (file.kind, file.status) for file in report.files} == {
        "adjusted.parquet": ("adjusted_daily (left)", "left"),
        "broken.parquet": ("unreadable", "unreadable"),
        "coin.parquet": ("crypto (left)", "left"),
        "empty.csv": ("unreadable", "unreadable"),
        "good.parquet": ("daily", "imported"),
        "lacks.parquet": ("unknown", "unknown"),
        "list.json": ("symbol_list (left)", "left"),
        "notes.txt": ("unknown", "unknown"),
        "odd.json": ("unreadable", "unreadable"),
    }
    lacks = next(file for file in report.files if file.file == "lacks.parquet")
    assert lacks.detail == "nearest is daily, which needs low, close, volume as well"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file, not a folder"),
        (lambda path: path.mkdir(), "holds no file"),
        (
            lambda path: (path.mkdir(), table(path / "x.parquet", DAILY[:4], [GOOD[:4]])),
            "needs low, close, volume",
        ),
        (
            lambda path: (
                path.mkdir(),
                table(path / "x.parquet", DAILY, [("A", DAY, 9.0, 8.0, 9.0, 9.0, 1)]),
            ),
            "high",
        ),
        (lambda path: (path.mkdir(), (path / "x.json").write_text('["A"]')), "it holds only: symbol_list"),
        (lambda path: (path.mkdir(), (path / "x.parquet").write_text("PAR1")), "cannot be read"),
    ],
)
def test_a_folder_without_data_is_one_line_with_the_mend(
    make: object, text: str, tmp_path: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    path = tmp_path / "wrong"
    assert callable(make)
    make(path)
    with pytest.raises(ImportFolderError) as caught:
        import_folder(path, home, calendar=calendar)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_second_import_is_refused_with_the_pid_of_the_first(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "d.parquet", DAILY, [GOOD])
    with (
        import_lock(home / "bars"),
        pytest.raises(StoreLockedError, match=f"process {os.getpid()} is importing"),
    ):
        import_folder(folder, home, calendar=calendar)
    assert import_folder(folder, home, calendar=calendar).is_changed


def test_a_home_that_cannot_be_written_is_said(
    folder: Path, tmp_path: Path, calendar: ExchangeCalendar
) -> None:
    table(folder / "d.parquet", DAILY, [GOOD])
    home = tmp_path / "file"
    home.write_text("in the way")
    with pytest.raises(StoreUnwritableError, match="cannot write"):
        import_folder(folder, home, calendar=calendar)


def test_an_import_killed_between_files_is_taken_up_by_the_next(
    folder: Path, home: Path, calendar: ExchangeCalendar, tmp_path: Path
) -> None:
    write(folder, made_up(calendar))
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from finagent.adapters.bars import importer\n"
        "from finagent.adapters.vendors.calendar import load_calendar\n"
        "def stop(progress):\n"
        "    if progress.file == 'minute.parquet' and progress.rows_done: os._exit(9)\n"
        "data, home = map(Path, sys.argv[1:])\n"
        "importer.import_folder(data, home, calendar=load_calendar(), progress=stop)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(folder), str(home)], check=False, timeout=120)
    assert ended.returncode == 9
    assert not (home / "bars" / "manifest.json").exists()
    import_folder(folder, home, calendar=calendar)
    whole = tmp_path / "whole"
    import_folder(folder, whole, calendar=calendar)
    assert BarStore(home).data_id == BarStore(whole).data_id
    assert check_store(home, calendar) == check_store(whole, calendar)


def test_a_damaged_store_is_named(folder: Path, home: Path, calendar: ExchangeCalendar) -> None:
    import_folder(write(folder, made_up(calendar)), home, calendar=calendar)
    (home / "bars" / "daily" / "2018.parquet").write_bytes(b"PAR1")
    (home / "bars" / "minute" / f"{DAY}.parquet").unlink()
    (home / "bars" / "minute" / "2018-03-01.parquet").write_bytes(b"")
    kinds = {issue.kind for issue in check_store(home, calendar)}
    assert {"changed_file", "missing_file", "unlisted_file", "unreadable_file"} <= kinds
    with pytest.raises(StoreCorruptError, match=r"2018\.parquet"):
        BarStore(home).daily_on(DAY)
    (home / "bars" / "manifest.json").write_text("{")
    with pytest.raises(StoreCorruptError, match=r"manifest\.json"):
        BarStore(home)


def test_the_audit_finds_holes_bad_actions_jumps_and_mistaken_identity(
    folder: Path, home: Path, calendar: ExchangeCalendar
) -> None:
    days = [session.date for session in calendar.sessions("2018-02-07", DAY)]
    flat = (10.0, 10.0, 10.0, 10.0, 100)
    rows: list[Row] = [("HOLE", day, *flat) for day in days if day not in days[2:4]]
    rows += [("JUMP", day, *((15.0,) * 4 if day >= days[3] else (10.0,) * 4), 100) for day in days]
    rows += [("ACTN", day, *flat) for day in days]
    table(folder / "d.parquet", DAILY, rows)
    table(folder / "a.parquet", ACTIONS, [("ACTN", days[4], 0.0, 2.0), ("JUMP", days[1], 0.01, 1.0)])
    session = calendar.session(DAY)
    assert session is not None
    table(folder / "m.parquet", MINUTE, [("HOLE", session.open_ms, 20.0, 20.0, 20.0, 20.0, 5)])
    import_folder(folder, home, calendar=calendar)
    found = {(issue.kind, issue.symbol): issue.count for issue in check_store(home, calendar)}
    assert found == {
        ("hole", "HOLE"): 2,
        ("suspect_jump", "JUMP"): 1,
        ("bad_action", "ACTN"): 1,
        ("identity_mismatch", "HOLE"): 1,
    }


def test_the_real_data_is_imported_whole(real_data: Path, tmp_path: Path, calendar: ExchangeCalendar) -> None:
    report = import_folder(real_data, tmp_path, calendar=calendar)
    for file in report.files:
        if file.status == "imported":
            assert file.rows == file.accepted + file.rejected + file.duplicates
    assert counts(report, "equities_daily.parquet") == (1_510_415, 1_510_415, 0, 0)
    assert counts(report, "equities_minute_2018.parquet") == (534_843, 534_843, 0, 0)
    left = {file.file for file in report.files if file.status == "left"}
    assert {"crypto_daily.parquet", "crypto_minute.parquet", "equities_daily_stocknet.parquet"} <= left
    bad = {issue.symbol for issue in check_store(tmp_path, calendar) if issue.kind == "bad_action"}
    assert bad == {"JCI", "LDOS", "HLT", "GNRC", "MSI", "TMUS"}
