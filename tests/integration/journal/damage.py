"""Hands that change a database behind the program's back."""

import sqlite3
from contextlib import closing
from pathlib import Path

OPEN_GATES = """
DROP TRIGGER IF EXISTS journal_no_update; DROP TRIGGER IF EXISTS journal_no_delete;
DROP TRIGGER IF EXISTS journal_input_no_update; DROP TRIGGER IF EXISTS journal_input_no_delete;"""


def damage(path: Path, *statements: str) -> None:
    """Run statements without the triggers that keep the journal append-only; each must change something."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(OPEN_GATES)
        connection.execute("PRAGMA foreign_keys = OFF")
        for sql in statements:
            assert connection.execute(sql).rowcount > 0, sql


def value(path: Path, sql: str, *parameters: object) -> object:
    """One value."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchone()[0]
