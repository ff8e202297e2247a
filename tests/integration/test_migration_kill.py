"""A process that dies in a migration: the next start finds the version before it or the one after, and goes on."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from finagent.adapters.sqlite.migrate import migrate, migrations, schema_version

CHILD = """
import sqlite3, sys
from finagent.adapters.sqlite.migrate import migrate
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
migrate(connection, sys.argv[1], now_ms=5)
"""


def schema(path: Path) -> list[tuple[str, str]]:
    """Names and words of everything in a database."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return rows


@pytest.mark.parametrize("point", ["migrate.before_commit", "migrate.after_commit"])
@pytest.mark.parametrize("at", [1, 7, len(migrations())])
def test_process_killed_in_a_migration_goes_on_from_the_last_whole_version(
    tmp_path: Path, point: str, at: int
) -> None:
    path, whole = tmp_path / "killed.db", tmp_path / "whole.db"
    subprocess.run([sys.executable, "-c", CHILD, str(whole)], check=True)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        env={**os.environ, "FINAGENT_FAILPOINTS": f"{point}@{at}=kill"}, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    connection = sqlite3.connect(path, isolation_level=None)
    version = at if point == "migrate.after_commit" else at - 1
    assert schema_version(connection, path) == version
    assert migrate(connection, path, now_ms=6) == len(migrations()) - version
    connection.close()
    assert schema(path) == schema(whole)
