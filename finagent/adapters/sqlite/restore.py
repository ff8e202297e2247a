"""Restore: a verified copy of a backup takes the database's place, with its entry gate shut and the old file kept."""

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finagent.adapters.sqlite import durable, leases
from finagent.adapters.sqlite.backup import (
    DAMAGED_BACKUP,
    BackupDamagedError,
    BackupError,
    Progress,
    copy_snapshot,
    sum_of,
    verified,
)
from finagent.adapters.sqlite.database import connect_reader
from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.faults import error_code
from finagent.adapters.sqlite.migrate import check_version, migrate
from finagent.adapters.sqlite.session import WriteSession
from finagent.adapters.sqlite.swap import finish_restore, free_stamp, prepared_name
from finagent.domain.facts import ControlChanged, RecoveryMoved
from finagent.domain.recovery import RecoveryState
from finagent.domain.told import told
from finagent.queue.job import JobTypes
from finagent.runtime.failpoints import hit
from finagent.runtime.lock import FileLock

RESTORED = "restored from a backup"
RESTORER = "restore"
CLOCK = "SELECT now_ms FROM clock WHERE id = 1"
SHUT = ControlChanged(is_paused=True, needs_rearm=True, pause_reason=RESTORED, paused_by=RESTORER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restore did; `kept_aside` is the file that was there before, None where there was none."""

    backup: Path
    path: Path
    kept_aside: Path | None
    journal_entries: int
    journal_head: str
    jobs: int
    has_sum: bool


def restore(
    backup: Path,
    path: Path,
    *,
    stamp: str,
    wall_ms: int,
    identity: str,
    renew_identity: Callable[[], None],
    progress: Progress | None = None,
) -> RestoreReport:
    """Put a backup in the place of database `path`, which keeps its old content under another name.

    `renew_identity` is called once the copy is verified and before it takes its place: no id of the old database
    may be minted from then on. Entries stay shut until a person rearms. Raises HomeInUseError with the holder's
    pid, BackupDamagedError, DatabaseTooNewError, ForeignDatabaseError, BackupError; then nothing has changed.
    """
    if not backup.is_file():
        raise BackupError(f"there is no backup at {backup}: finagent db backup makes one")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    lock.acquire()
    try:
        finish_restore(path)
        return _restore(backup, path, free_stamp(path, stamp), wall_ms, identity, renew_identity, progress)
    finally:
        lock.release()


def rehearse(backup: Path, path: Path) -> RestoreReport:
    """All of a restore but the exchange: the lock is free, the backup whole. Errors as of ``restore``.

    The copy that is verified lies in the system's folder for such things and goes again.
    """
    if not backup.is_file():
        raise BackupError(f"there is no backup at {backup}: finagent db backup makes one")
    if path.exists():
        lock = FileLock(path)
        lock.acquire()
        lock.release()
    with tempfile.TemporaryDirectory(prefix="finagent-") as folder:
        made = Path(folder) / path.name
        try:
            has_sum = check_sum(backup)
            with contextlib.closing(connect_reader(backup)) as connection:
                check_version(connection, backup)
                copy_snapshot(connection, made)
            _, entries, head, jobs = verified(made, named=backup, mend=DAMAGED_BACKUP)
        except (OSError, sqlite3.Error) as error:
            if error_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise BackupDamagedError(f"{backup} is damaged ({error}): {DAMAGED_BACKUP}") from error
            raise BackupError(f"{backup} could not be read ({error}): free space and try again") from error
    return RestoreReport(
        backup=backup,
        path=path,
        kept_aside=None,
        journal_entries=entries,
        journal_head=head,
        jobs=jobs,
        has_sum=has_sum,
    )


def _restore(
    backup: Path,
    path: Path,
    stamp: str,
    wall_ms: int,
    identity: str,
    renew_identity: Callable[[], None],
    progress: Progress | None,
) -> RestoreReport:
    made = path.with_name(f".{path.name}.restore.partial")
    try:
        has_sum = check_sum(backup)
        with contextlib.closing(connect_reader(backup)) as connection:
            check_version(connection, backup)
            copy_snapshot(connection, made, progress=progress)
        version, entries, head, jobs = verified(made, named=backup, mend=DAMAGED_BACKUP)
        _mark(made, backup, wall_ms=wall_ms, identity=identity, version=version)
        durable.sync_file(made)
        renew_identity()
        hit("restore.prepared")
        durable.put_in_place(made, prepared_name(path, stamp), is_overwriting=True)
        hit("restore.decided")
        kept = finish_restore(path)
    except (OSError, sqlite3.Error) as error:
        if error_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise BackupDamagedError(f"{backup} is damaged ({error}): {DAMAGED_BACKUP}") from error
        raise BackupError(f"{backup} could not be restored ({error}): free space and try again") from error
    finally:
        durable.remove_database(made)
    return RestoreReport(
        backup=backup,
        path=path,
        kept_aside=kept[-1] if kept else None,
        journal_entries=entries,
        journal_head=head,
        jobs=jobs,
        has_sum=has_sum,
    )


def check_sum(backup: Path) -> bool:
    """Whether the backup has its sum beside it; BackupDamagedError when it is another one.

    Only the sum sees every flipped bit: SQLite checks its own structure, and the chain the journal.
    """
    path = sum_of(backup)
    if not path.exists():
        return False
    wanted, found = (
        path.read_text(encoding="ascii", errors="replace").split(" ")[0],
        durable.sha256_of(backup),
    )
    if found != wanted:
        raise BackupDamagedError(
            f"{backup} is damaged (SHA-256 {found[:16]}, {path.name} says {wanted[:16]}): {DAMAGED_BACKUP}"
        )
    return True


def _mark(made: Path, backup: Path, *, wall_ms: int, identity: str, version: int) -> None:
    """In the copy itself, so that both come with one rename: the gate is shut, and the log says who did what."""
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as connection:
        migrate(connection, made, now_ms=wall_ms)
        connection.execute("BEGIN IMMEDIATE")
        now_ms = int(connection.execute(CLOCK).fetchone()[0])
        session = WriteSession(
            connection, now_ms=now_ms, types=JobTypes({}), apply_fact=apply_fact, ready_types=set()
        )
        for fact in told(
            "restored", "database", {"by": identity}, [SHUT, RecoveryMoved(to_state=RecoveryState.BEGUN)]
        ):
            session.apply(fact)
        data = json.dumps({"backup": str(backup), "by": identity, "schema_version": version}, sort_keys=True)
        leases.note(connection, wall_ms=wall_ms, kind="restore", data=data)
        connection.execute("COMMIT")
