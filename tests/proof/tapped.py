"""SQLite connections through which a planted bug sees, and may change, every statement of the program."""

import re
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Protocol

Execute = Callable[..., sqlite3.Cursor]
WORD = re.compile(r"\s*(\w+)(?:\s+TO\b)?", re.IGNORECASE)


class Tap(Protocol):
    """What is told of each statement, and runs it in the end."""

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor: ...


class TappedConnection(sqlite3.Connection):
    """A connection like any other until `tap` is set."""

    tap: Tap | None = None

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self.cursor().execute(sql, *values)

    def executemany(self, sql: str, values: Iterable[Any], /) -> sqlite3.Cursor:
        return self.cursor().executemany(sql, values)

    def commit(self) -> None:
        self.execute("COMMIT") if self.in_transaction else super().commit()

    def cursor(self, factory: Any = None) -> sqlite3.Cursor:
        return super().cursor(factory or TappedCursor)


class TappedCursor(sqlite3.Cursor):
    """Runs its statements through the tap of its connection."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        tap = self.connection.tap if isinstance(self.connection, TappedConnection) else None
        return super().execute(sql, *values) if tap is None else tap.run(super().execute, sql, *values)

    def executemany(self, sql: str, values: Iterable[Any], /) -> sqlite3.Cursor:
        tap = self.connection.tap if isinstance(self.connection, TappedConnection) else None
        return super().executemany(sql, values) if tap is None else tap.run(super().executemany, sql, values)


def verb(sql: str) -> str:
    """BEGIN, COMMIT, UPDATE: what a statement does; `ROLLBACK TO` is told apart from `ROLLBACK`."""
    found = WORD.match(sql)
    return "" if found is None else " ".join(found.group().upper().split())
