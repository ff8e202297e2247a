"""Numbered migrations, each in one transaction with its record; a newer or foreign file is refused."""

import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from finagent.runtime.failpoints import hit

APPLICATION_ID = 0x66696E61  # "fina", at byte 68 of every database file of this program

CREATE_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT"""


class DatabaseTooNewError(Exception):
    """The database was written by a newer program."""

    def __init__(self, path: str, *, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this program knows up to {known}: update finagent,"
            " or open another home"
        )
        self.found = found
        self.known = known


class ForeignDatabaseError(Exception):
    """The file is no database of this program."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path} is not a finagent database ({detail}): give another path")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered script."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """All scripts of the package, by number; raises ValueError when a number is missing or given twice."""
    found = []
    for entry in resources.files("finagent.adapters.sqlite.migrations").iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1 to {len(found)}: {[m.version for m in found]}")
    return tuple(found)


def schema_version(connection: sqlite3.Connection, path: Path | str) -> int:
    """The version of a database (0 when empty); raises ForeignDatabaseError for a file of another program."""
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        found_id = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_NOTADB:
            raise ForeignDatabaseError(str(path), "it is no SQLite file") from None
        raise
    if tables == 0:
        return 0
    if found_id != APPLICATION_ID:
        raise ForeignDatabaseError(str(path), f"its application id is {found_id:#x}")
    version: int | None = connection.execute("SELECT max(version) FROM schema_migration").fetchone()[0]
    return version or 0


def check_version(connection: sqlite3.Connection, path: Path | str) -> int:
    """The version of a readable database; raises DatabaseTooNewError or ForeignDatabaseError."""
    found = schema_version(connection, path)
    known = len(migrations())
    if found > known:
        raise DatabaseTooNewError(str(path), found=found, known=known)
    return found


def migrate(connection: sqlite3.Connection, path: Path | str, *, now_ms: int) -> int:
    """Bring the database to this program's version; gives the number of scripts that ran.

    `connection` must be in autocommit mode. A script that fails leaves the version before it.
    """
    current = check_version(connection, path)
    waiting = [migration for migration in migrations() if migration.version > current]
    for migration in waiting:
        _apply(connection, migration, now_ms)
    return len(waiting)


def _apply(connection: sqlite3.Connection, migration: Migration, now_ms: int) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{CREATE_RECORD};\n{migration.sql}")
        connection.execute(
            "INSERT INTO schema_migration (version, name, applied_at) VALUES (?, ?, ?)",
            (migration.version, migration.name, now_ms),
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        hit("migrate.before_commit")
        connection.execute("COMMIT")
        hit("migrate.after_commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
