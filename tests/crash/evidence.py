"""What a run left behind: every table that has to be the same however often its process was killed."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from finagent.adapters.sqlite.results import outcome_of

# Who ran when, and how often something was tried, may differ; what came of it may not.
PRIVATE = {"boot", "job_attempt", "job_queue", "operations_journal", "meta", "journal_input"}
DECISIONS = "SELECT seq, at, kind, ref, data FROM journal ORDER BY seq"
JOBS = (
    "SELECT type, idem_key, key, payload, status, run_at, finished_at FROM job_queue ORDER BY type, idem_key"
)
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows by table (journal without its inputs, orders, fills, trades, the venue's side) and the hash.

    The inputs of a step at the broker tell how often it was tried, and so does the hash of the chain.

    ``boots`` are the instants of business time at which a process took the run up; no part of the outcome.
    """

    outcome_hash: str
    tables: dict[str, list[Row]]
    boots: list[int]

    def count(self, table: str) -> int:
        return len(self.tables[table])


def read_evidence(path: Path) -> Evidence:
    """The evidence of a finished run's file; AssertionError when SQLite finds the file itself damaged."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = [
            str(name)
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1"
            )
            if name not in PRIVATE and not str(name).startswith("sqlite_") and "migration" not in str(name)
        ]
        tables = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names
        }
        tables["journal"] = connection.execute(DECISIONS).fetchall()
        tables["jobs"] = connection.execute(JOBS).fetchall()
        boots = [int(at) for (at,) in connection.execute("SELECT started_at FROM boot ORDER BY epoch")]
        return Evidence(outcome_of(connection), tables, boots)
    finally:
        connection.close()


def differences(found: Evidence, expected: Evidence) -> list[str]:
    """By table the first row that differs; empty for the same outcome."""
    told = []
    if found.outcome_hash != expected.outcome_hash:
        told.append(f"outcome_hash: {found.outcome_hash} for {expected.outcome_hash}")
    for name in sorted(expected.tables.keys() | found.tables.keys()):
        left, right = found.tables.get(name, []), expected.tables.get(name, [])
        if left != right:
            number = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), -1)
            number = number if number >= 0 else min(len(left), len(right))
            told.append(
                f"{name}: {len(left)} rows for {len(right)}, first at {number}: "
                f"{left[number : number + 1]} for {right[number : number + 1]}"
            )
    return told


def unfinished(evidence: Evidence) -> list[Row]:
    """Jobs that are dead or live at the end."""
    return [row for row in evidence.tables["jobs"] if row[4] not in ("done", "cancelled")]
