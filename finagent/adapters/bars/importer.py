"""Imports a folder of data files into the bar store: recognised, checked, merged, counted."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finagent.adapters.bars import kinds
from finagent.adapters.bars.checks import NAMES, REASONS, Checked, check
from finagent.adapters.bars.errors import ImportFolderError
from finagent.adapters.bars.files import StoreWriter, bars_dir, import_lock, unwritable_as_error
from finagent.adapters.bars.hours import TradingHours, trading_hours
from finagent.adapters.bars.merge import merge
from finagent.adapters.bars.report import FileReport, ImportProgress, ImportReport, IssueTally
from finagent.adapters.bars.source import Flags, Source, UnreadableError, batches, open_source, sha256_of
from finagent.ports import CalendarPort

LAYOUT_HINT = (
    "daily bars need symbol, date, open, high, low, close, volume; minute bars need ts in place of date"
)
Progress = Callable[[ImportProgress], None]


@dataclass(slots=True)
class _Run:
    """What one import gathers."""

    writer: StoreWriter
    hours: TradingHours
    progress: Progress
    tally: IssueTally = field(default_factory=IssueTally)
    symbols: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    refused: list[pa.Table] = field(default_factory=list)
    refusal: str = ""


def import_folder(
    folder: Path,
    home: Path,
    *,
    calendar: CalendarPort,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import every data file of a folder (not of its subfolders) in name order.

    The first of equal bars wins, what the store holds before all; refused rows are kept in
    ``bars/quarantine``. Importing again changes nothing. ImportFolderError where the folder cannot be read or
    nothing in it can be imported; StoreLockedError, StoreUnwritableError, StoreCorruptError by the store.
    """
    paths = _files_of(folder)
    root = bars_dir(home)
    hours = trading_hours(calendar.sessions("0000-01-01", "9999-12-31"))
    with nullcontext() if dry_run else import_lock(root), unwritable_as_error(root):
        run = _Run(StoreWriter(root, is_dry_run=dry_run), hours, progress or (lambda _: None))
        run.writer.repair()
        files = tuple(_one_file(run, path, number, len(paths)) for number, path in enumerate(paths, start=1))
        run.writer.commit()
    if not any(file.accepted + file.duplicates for file in files):
        raise _nothing_imported(folder, files, run.problems)
    return ImportReport(
        files=files,
        symbols=len(run.symbols),
        issues=run.tally.issues(),
        is_changed=run.writer.is_changed,
        is_dry_run=dry_run,
        problems=tuple(run.problems),
    )


def _files_of(folder: Path) -> list[Path]:
    hint = "name the folder that holds the Parquet or CSV files"
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except FileNotFoundError:
        raise ImportFolderError(f"folder {folder} does not exist", hint) from None
    except NotADirectoryError:
        raise ImportFolderError(f"{folder} is a file, not a folder", hint) from None
    except OSError as error:
        raise ImportFolderError(f"folder {folder} cannot be read ({error.strerror})", hint) from error
    if not paths:
        raise ImportFolderError(f"folder {folder} holds no file", hint)
    return paths


def _one_file(run: _Run, path: Path, number: int, files: int) -> FileReport:
    def tell(rows_done: int, rows: int) -> None:
        run.progress(
            ImportProgress(file=path.name, number=number, files=files, rows_done=rows_done, rows=rows)
        )

    tell(0, 0)
    try:
        source = open_source(path)
        found = source.recognised
        if not found.is_imported:
            status = "unknown" if found.kind == "unknown" else "left"
            if status == "unknown" and path.suffix.lower() in (".parquet", ".csv"):
                run.problems.append(f"{path.name} was left: {found.detail}; {LAYOUT_HINT}")
            kind = found.kind if status == "unknown" else f"{found.kind} (left)"
            return FileReport(
                file=path.name, kind=kind, status=status, rows=max(source.rows, 0), detail=found.detail
            )
        return _import(run, source, tell)
    except UnreadableError as error:
        run.problems.append(f"{path.name} cannot be read: {error}; replace the file and import again")
        return FileReport(file=path.name, kind="unreadable", status="unreadable", detail=str(error))


def _import(run: _Run, source: Source, tell: Callable[[int, int], None]) -> FileReport:
    kind, name = source.recognised.kind, source.path.name
    sha256 = sha256_of(source.path)
    counts = _Counts()
    for table in batches(source):
        _take_batch(run, kind, name, table, counts)
        counts.rows += table.num_rows
        tell(counts.rows, max(source.rows, counts.rows))
    quarantine = None
    if counts.refused:
        quarantine = f"{name}.{sha256[:8]}.parquet"
        run.writer.quarantine(quarantine, pa.concat_tables(counts.refused, promote_options="permissive"))
        run.problems.append(
            f"{name}: {counts.rejected} of {counts.rows} rows refused, first {counts.refusal}; "
            f"they are kept in bars/quarantine/{quarantine}: mend them and import again"
        )
    run.writer.add_source(sha256, name)
    return FileReport(
        file=name,
        kind=kind,
        status="imported",
        rows=counts.rows,
        accepted=counts.accepted,
        rejected=counts.rejected,
        duplicates=counts.rows - counts.accepted - counts.rejected,
        quarantine=quarantine,
    )


def _take_batch(run: _Run, kind: str, name: str, table: pa.Table, counts: _Counts) -> None:
    checked = check(kind, table, run.hours)
    refused = np.flatnonzero(checked.reasons)
    if len(refused):
        rows = refused + counts.rows
        _tally_refused(run.tally, table, checked, refused, rows, name, counts)
    for note, where in checked.notes.items():
        _tally(run.tally, note, checked.good, where, f"in {name}")
    symbols = pc.unique(checked.good["symbol"]).to_pylist()
    if kind in (kinds.DAILY, kinds.MINUTE, kinds.QUOTES):
        run.symbols.update(symbols)
    store_kind = "headlines" if kind == kinds.TWEETS else kind
    for part, rows_of_part in _by_part(checked):
        merged = merge(kind, run.writer.read(part), rows_of_part)
        counts.accepted += merged.taken
        if merged.taken:
            run.writer.write(part, merged.table)
        for conflict, where in merged.conflicts.items():
            _tally(run.tally, conflict, rows_of_part, where, f"in {name} differs from the bar taken before")
    run.writer.add_symbols(store_kind, symbols)


def _by_part(checked: Checked) -> Iterator[tuple[str, pa.Table]]:
    """The valid rows of each file of the store, in their order."""
    order = np.argsort(checked.part_of, kind="stable")
    table = checked.good.take(pa.array(order)) if len(checked.parts) > 1 else checked.good
    ends = np.cumsum(np.bincount(checked.part_of, minlength=len(checked.parts)))
    start = 0
    for part, end in zip(checked.parts, ends.tolist(), strict=True):
        if end > start:
            yield part, table.slice(start, end - start)
        start = end


def _tally(tally: IssueTally, kind: str, table: pa.Table, where: Flags, what: str) -> None:
    """Count rows of a table by symbol."""
    rows = np.flatnonzero(where)
    if not len(rows):
        return
    hit = table.take(pa.array(rows))
    symbols = pc.dictionary_encode(hit["symbol"]).combine_chunks()
    codes = np.asarray(symbols.indices.to_numpy(), np.int64)
    firsts = np.unique(codes, return_index=True)[1].tolist()
    counts = np.bincount(codes).tolist()
    for symbol, count, first in zip(symbols.dictionary.to_pylist(), counts, firsts, strict=True):
        tally.add(kind, symbol, count, f"{_when(hit, first)} {what}")


def _when(table: pa.Table, row: int) -> str:
    for name in ("date", "ex_date"):
        if name in table.column_names:
            return str(table[name][row].as_py())
    name = "start_ms" if "start_ms" in table.column_names else "published_ms"
    return f"{np.datetime64(table[name][row].as_py(), 'ms').astype('datetime64[m]')}Z"


def _tally_refused(
    tally: IssueTally,
    table: pa.Table,
    checked: Checked,
    refused: np.ndarray[tuple[int], np.dtype[np.int64]],
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    name: str,
    counts: _Counts,
) -> None:
    """Count refused rows by reason and symbol, and keep them as they came with row number and reason."""
    reasons = [NAMES[code] for code in checked.reasons[refused].tolist()]
    bad = table.take(pa.array(refused))
    symbols = [str(symbol or "") for symbol in bad["symbol"].to_pylist()]
    for symbol, reason, row in zip(symbols, reasons, rows.tolist(), strict=True):
        tally.add(reason, symbol, 1, f"row {row} of {name}: {REASONS[reason]}")
    if not counts.refusal:
        counts.refusal = f"row {rows[0]} ({symbols[0] or 'no symbol'}): {REASONS[reasons[0]]}"
    counts.rejected += len(refused)
    extra = {"row": pa.array(rows), "reason": pa.array(reasons)}
    for column, values in extra.items():
        bad = bad.append_column(f"_{column}", values)
    counts.refused.append(bad)


def _nothing_imported(folder: Path, files: tuple[FileReport, ...], problems: list[str]) -> ImportFolderError:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problems:
        return ImportFolderError(
            f"nothing in {folder} was imported: {problems[0].partition(';')[0]}{more}", LAYOUT_HINT
        )
    kinds_seen = ", ".join(sorted({file.kind for file in files}))
    return ImportFolderError(f"nothing in {folder} can be imported, it holds only: {kinds_seen}", LAYOUT_HINT)
