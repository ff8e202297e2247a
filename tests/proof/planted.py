"""A pytest plugin that plants the bug named by `FINAGENT_MUTANT`; a bug that never acts ends the session with GONE."""

import os
import sqlite3
from typing import Any

import pytest

from finagent.adapters.sqlite.leases import BootReport
from finagent.adapters.sqlite.queue import SqliteJobQueue
from tests.proof.mutants import GONE, MUTANTS, NONE, Mutant, MutantGoneError, replace
from tests.proof.tapped import TappedConnection

VARIABLE = "FINAGENT_MUTANT"
EXIT_GONE = 9
KNOWN: dict[str, Mutant] = {**MUTANTS, "none": NONE, "gone": GONE}


def chosen() -> Mutant:
    return KNOWN[os.environ[VARIABLE]]


def pytest_configure(config: pytest.Config) -> None:
    """Before any test: every connection can be tapped, the queue's own is when it starts."""
    mutant, connect = chosen(), sqlite3.connect

    def tapped(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": TappedConnection, **options})

    def plant(connection: sqlite3.Connection) -> None:
        if not isinstance(connection, TappedConnection):
            raise MutantGoneError(f"the queue writes through a {type(connection).__name__}")
        mutant.start(connection)
        connection.tap = mutant

    def starting(original: Any) -> Any:
        async def start(queue: SqliteJobQueue) -> BootReport:
            await queue.database.write_fn(plant)
            report: BootReport = await original(queue)
            return report

        return start

    sqlite3.connect = tapped  # type: ignore[assignment]
    replace(SqliteJobQueue, "start", starting)
    mutant.patch()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say how often the bug acted."""
    mutant = chosen()
    print(f"\nthe planted bug acted {mutant.acts} times")
    if not mutant.acts and mutant is not NONE:
        session.exitstatus = EXIT_GONE
