"""Online backup: one snapshot copied in bounded steps beside the writer, verified, and named only when it is whole.

The copying connection only reads: it never writes or checkpoints the database, so it cannot meet the writer in
SQLite's WAL-reset bug. It holds one snapshot from the first step to the last; without it every commit of the
agent would start the copy over. While it lasts, the log grows and is not reset.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from finagent.adapters.sqlite import durable
from finagent.adapters.sqlite.check import first_fault
from finagent.adapters.sqlite.database import DatabaseMissingError, connect_reader
from finagent.adapters.sqlite.faults import error_code
from finagent.adapters.sqlite.migrate import check_version
from finagent.runtime.failpoints import hit
from finagent.runtime.lock import is_alive

STEP_PAGES = 64
SYNC_EVERY_BYTES = 16 << 20
SPARE_BYTES = 8 << 20
NAME = re.compile(r"finagent-\d{8}T\d{6}Z\.db")
PARTIAL = re.compile(r"\..+\.(\d+)\.partial")
SUM_SUFFIX = ".sha256"
DAMAGED_SOURCE = "no backup was made; finagent db restore FILE brings back an older one"
DAMAGED_BACKUP = "use another backup"
Progress = Callable[[int, int], None]


class BackupError(Exception):
    """The backup could not be made; what was there before is untouched."""


class BackupExistsError(BackupError):
    """There is a file of this name already."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists: give another name, or --force to overwrite it")


class BackupDamagedError(BackupError):
    """A backup, or the database it was to be made of, is not whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A backup that was made: where, how large, and the journal's head as it stood."""

    path: Path
    size_bytes: int
    sha256: str
    schema_version: int
    journal_entries: int
    journal_head: str
    jobs: int
    elapsed_ms: int
    pruned: tuple[Path, ...]


def default_name(now_ms: int) -> str:
    """``finagent-20261121T063015Z.db``: UTC, so that names sort by time."""
    return f"finagent-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}.db"


def back_up(
    source: Path,
    target: Path,
    *,
    is_overwriting: bool = False,
    keep: int | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Copy the database as of now to `target`; everything committed before the call is in the copy.

    Works while an agent runs and while none does. `progress` is told pages copied and pages in all. `keep` leaves
    only so many backups of the default name beside the target. Raises BackupExistsError, BackupDamagedError,
    DatabaseMissingError, DatabaseTooNewError, ForeignDatabaseError, BackupError (no room, a failed disk).
    """
    if not source.exists():
        raise DatabaseMissingError(source)
    if target.exists() and not is_overwriting:
        raise BackupExistsError(target)
    began_ns = time.monotonic_ns()
    made = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        with contextlib.closing(connect_reader(source)) as connection:
            check_version(connection, source)
            copy_snapshot(connection, made, progress=progress)
        version, entries, head, jobs = verified(made, named=source, mend=DAMAGED_SOURCE)
        digest = durable.sha256_of(made)
        sum_path = sum_of(target)
        hit("backup.before_name")
        sum_path.unlink(missing_ok=True)  # a sum of the file before must never judge the new one
        durable.put_in_place(made, target, is_overwriting=is_overwriting)
        hit("backup.named")
        durable.write_whole(sum_path, f"{digest}  {target.name}\n")
    except FileExistsError:
        raise BackupExistsError(target) from None
    except (OSError, sqlite3.Error) as error:
        raise refusal(error, source=source, target=target) from error
    finally:
        durable.remove_database(made)
    pruned = prune(target.parent, keep=keep) if keep is not None else ()
    return BackupReport(
        path=target,
        size_bytes=target.stat().st_size,
        sha256=digest,
        schema_version=version,
        journal_entries=entries,
        journal_head=head,
        jobs=jobs,
        elapsed_ms=(time.monotonic_ns() - began_ns) // 1_000_000,
        pruned=pruned,
    )


def refusal(error: Exception, *, source: Path, target: Path) -> BackupError:
    """What a failed copy means: the database that was read is damaged, or the disk failed."""
    if error_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BackupDamagedError(f"{source} is damaged ({error}): {DAMAGED_SOURCE}")
    return BackupError(f"the copy to {target} failed ({error}): free space, or give another FILE")


def copy_snapshot(connection: sqlite3.Connection, made: Path, *, progress: Progress | None = None) -> None:
    """Copy one snapshot of an open database into a new, synced file in rollback mode, readable by itself.

    Raises BackupError where there is no room for it, OSError and sqlite3.Error when reading or writing fails.
    """
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot begins with a read
        _need_room(connection, made.parent)
        durable.remove_database(made)
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _copy(connection, made, descriptor, progress)
        finally:
            os.close(descriptor)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()
    durable.sync_file(made)


def _copy(source: sqlite3.Connection, made: Path, descriptor: int, progress: Progress | None) -> None:
    """Bounded steps of the snapshot; synced on the way, so that no flood of writes meets the agent's commits."""
    page_bytes = source.execute("PRAGMA page_size").fetchone()[0]
    unsynced = 0

    def stepped(status: int, remaining: int, total: int) -> None:
        nonlocal unsynced
        hit("backup.step")
        unsynced += STEP_PAGES * page_bytes
        if unsynced >= SYNC_EVERY_BYTES:
            os.fdatasync(descriptor)
            unsynced = 0
        if progress is not None:
            progress(total - remaining, total)

    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = OFF").fetchone()
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy, pages=STEP_PAGES, progress=stepped)


def _need_room(connection: sqlite3.Connection, folder: Path) -> None:
    """A copy that fills the disk would stop the agent beside it."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    needed = pages * connection.execute("PRAGMA page_size").fetchone()[0] + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(
            f"{folder} has {free >> 20} MiB free, the copy needs {(needed >> 20) + 1} MiB: free space,"
            " or give a FILE on another disk"
        )


def verified(path: Path, *, named: Path, mend: str) -> tuple[int, int, str, int]:
    """Schema version, journal entries, its head and the number of jobs of a whole copy that nobody else has open.

    Raises BackupDamagedError naming the first fault of `named` and the mend, DatabaseTooNewError,
    ForeignDatabaseError.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            version = check_version(connection, named)
            fault = first_fault(connection) if version else "file: it is empty"
            if fault is not None:
                raise BackupDamagedError(f"{named} is damaged ({fault}): {mend}")
            entries = connection.execute("SELECT count(*) FROM journal").fetchone()[0]
            head = connection.execute("SELECT hash FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
            jobs = connection.execute("SELECT count(*) FROM job_queue").fetchone()[0]
            return version, entries, "" if head is None else head[0], jobs
    except sqlite3.DatabaseError as error:
        raise BackupDamagedError(f"{named} is damaged ({error}): {mend}") from error


def sum_of(path: Path) -> Path:
    """Where the SHA-256 of a backup lies, in the form of ``sha256sum -c``."""
    return path.with_name(path.name + SUM_SUFFIX)


def prune(folder: Path, *, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest `keep` backups of the default name; gives those removed, oldest first."""
    found = listed(folder)
    old = found[: max(0, len(found) - max(1, keep))]
    for path in old:
        path.unlink(missing_ok=True)
        sum_of(path).unlink(missing_ok=True)
    return tuple(old)


def listed(folder: Path) -> Sequence[Path]:
    """Backups of the default name in a folder, oldest first."""
    return sorted(path for path in folder.glob("finagent-*.db") if NAME.fullmatch(path.name))


def _sweep(folder: Path) -> None:
    """Remove what a killed backup left."""
    for path in folder.glob(".*.partial"):
        found = PARTIAL.fullmatch(path.name)
        if found is not None and not is_alive(int(found.group(1))):
            durable.remove_database(path)
