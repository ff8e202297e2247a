"""Backup, restore and check of a home's database, for a person at the command line."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from finagent.adapters.sqlite import durable
from finagent.adapters.sqlite.backup import (
    BackupDamagedError,
    BackupError,
    BackupExistsError,
    back_up,
    default_name,
)
from finagent.adapters.sqlite.check import examine
from finagent.adapters.sqlite.database import DatabaseMissingError, connect_reader
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError, check_version
from finagent.adapters.sqlite.restore import check_sum, rehearse, restore
from finagent.context import Document, Json, SurfaceError
from finagent.runtime.clock import SystemClock
from finagent.runtime.lock import HomeInUseError

DATABASE = "finagent.db"
GENERATION = "generation"
BACKUPS = "backups"
LAST = "last.json"
REARM = "start the agent, compare positions and orders with the broker, then finagent rearm"
RESTORE_HINT = "finagent db restore FILE brings back a backup"
ANOTHER = (
    "do not use this file; finagent db check FILE looks at another backup, finagent db backup makes a new one"
)
Progress = Callable[[int, int], None]


def database_backup(
    home: Path,
    target: Path | None = None,
    *,
    is_overwriting: bool = False,
    keep: int | None = None,
    progress: Progress | None = None,
) -> Document:
    """Copy the home's database to a file (default: ``HOME/backups`` with the UTC time), beside a running agent or not.

    SurfaceError with the codes no_database, exists, damaged, database_too_new, foreign_database, backup.
    """
    now_ms = SystemClock().now_ms()
    path = home / BACKUPS / default_name(now_ms) if target is None else target
    with _shown():
        if target is not None and not path.absolute().parent.is_dir():
            raise BackupError(f"there is no folder {path.parent}: make it, or give another FILE")
        made = back_up(home / DATABASE, path, is_overwriting=is_overwriting, keep=keep, progress=progress)
    _remember(home, now_ms, path)
    return {
        "file": str(made.path),
        "bytes": made.size_bytes,
        "sha256": made.sha256,
        "schema_version": made.schema_version,
        "journal": {"entries": made.journal_entries, "head": made.journal_head or None},
        "jobs": made.jobs,
        "elapsed_ms": made.elapsed_ms,
        "pruned": [str(old) for old in made.pruned],
    }


def database_restore(
    home: Path, backup: Path, *, identity: str, progress: Progress | None = None
) -> Document:
    """Put a backup in the place of the home's database; entries stay shut until ``rearm``.

    SurfaceError with the codes home_in_use (naming the pid), damaged, database_too_new, foreign_database, backup;
    then nothing has changed.
    """
    wall_ms = SystemClock().now_ms()
    stamp = default_name(wall_ms).removeprefix("finagent-").removesuffix(".db")
    with _shown():
        done = restore(
            backup,
            home / DATABASE,
            stamp=stamp,
            wall_ms=wall_ms,
            identity=identity,
            renew_identity=lambda: renew_generation(home),
            progress=progress,
        )
    return {
        "file": str(done.path),
        "backup": str(done.backup),
        "kept_aside": None if done.kept_aside is None else str(done.kept_aside),
        "is_sum_checked": done.has_sum,
        "journal": {"entries": done.journal_entries, "head": done.journal_head or None},
        "jobs": done.jobs,
        "next": REARM,
    }


def restore_rehearsal(home: Path, backup: Path) -> Document:
    """What a restore would find in a backup, by a whole copy that is verified and thrown away; nothing changes.

    SurfaceError with the codes of ``database_restore``.
    """
    with _shown():
        found = rehearse(backup, home / DATABASE)
    return {
        "file": str(home / DATABASE),
        "backup": str(backup),
        "is_sum_checked": found.has_sum,
        "journal": {"entries": found.journal_entries, "head": found.journal_head or None},
        "jobs": found.jobs,
    }


def database_check(home: Path, file: Path | None = None) -> Document:
    """``{file, is_sound, checks: [{name, status, detail, mend}]}`` of the home's database, or of any other file.

    Works beside a running agent. SurfaceError with the codes no_database, database_too_new, foreign_database,
    damaged (nothing can be read at all).
    """
    path = home / DATABASE if file is None else file
    _refuse_odd(path, is_own=file is None)
    mend = None if file is None else ANOTHER
    with _shown(damage_hint=mend), contextlib.closing(connect_reader(path)) as connection:
        check_version(connection, path)
        check_sum(path)  # of a backup; the home's own file has none
        found = examine(connection)
    checks: list[Json] = [
        {
            "name": c.name,
            "status": "ok" if c.is_ok else "fail",
            "detail": c.detail,
            "mend": (mend or c.mend) if c.mend else "",
        }
        for c in found
    ]
    return {"file": str(path), "is_sound": all(c.is_ok for c in found), "checks": checks}


def _refuse_odd(path: Path, *, is_own: bool) -> None:
    """What is no file with something in it, as what it is and where a database may be."""
    mend, code = f"name a file; finagent db backup puts them into {BACKUPS} of the home", "no_database"
    if path.is_dir():
        inside = path / DATABASE
        what, mend = f"{path} is a folder", f"name the file in it: {inside}" if inside.exists() else mend
    elif not path.exists():
        what = f"there is no file at {path}" if not is_own else f"there is no database at {path}"
        mend = "start the agent once, or give another --home" if is_own else mend
    elif not path.is_file():
        what = f"{path} is no regular file"
    elif not os.access(path, os.R_OK):
        what, mend, code = f"{path} may not be read by this user", "run this as its owner", "system"
    elif path.stat().st_size == 0:
        what, code = f"{path} is empty", "damaged"
        mend = RESTORE_HINT if is_own else ANOTHER
    else:
        return
    raise SurfaceError(what, hint=mend, code=code)


def renew_generation(home: Path) -> None:
    """A new random name of the home's database: ids of the one before can never be minted again."""
    durable.write_whole(home / GENERATION, os.urandom(8).hex() + "\n")


def last_backup_ms(home: Path) -> int | None:
    """When the last backup of this home that succeeded was begun, None when there was none."""
    try:
        document = json.loads((home / BACKUPS / LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    at_ms = document.get("at_ms") if isinstance(document, dict) else None
    return at_ms if isinstance(at_ms, int) else None


def _remember(home: Path, at_ms: int, path: Path) -> None:
    """For the metric of the running agent; a backup is a backup even where this note cannot be written."""
    with contextlib.suppress(OSError):
        (home / BACKUPS).mkdir(parents=True, exist_ok=True)
        document = {"at_ms": at_ms, "file": str(path.resolve())}
        durable.write_whole(home / BACKUPS / LAST, json.dumps(document))


CODES: tuple[tuple[type[Exception], str], ...] = (
    (HomeInUseError, "home_in_use"),
    (DatabaseMissingError, "no_database"),
    (DatabaseTooNewError, "database_too_new"),
    (ForeignDatabaseError, "foreign_database"),
    (BackupExistsError, "exists"),
    (BackupDamagedError, "damaged"),
    (BackupError, "backup"),
)


@contextlib.contextmanager
def _shown(*, damage_hint: str | None = None) -> Iterator[None]:
    """Errors of these verbs as one line with the mend."""
    try:
        yield
    except tuple(kind for kind, _ in CODES) as error:
        message, _, hint = str(error).rpartition(": ")
        code = next(code for kind, code in CODES if isinstance(error, kind))
        raise SurfaceError(message or hint, hint=hint if message else "", code=code) from None
    except sqlite3.DatabaseError as error:
        raise SurfaceError(
            f"the database cannot be read: {error}", hint=damage_hint or RESTORE_HINT, code="damaged"
        ) from None
