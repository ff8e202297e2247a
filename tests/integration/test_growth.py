"""What a day asks again and again takes no longer after years of days: no statement goes through all there ever was."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.adapters.sqlite import store
from finagent.adapters.sqlite.database import Database
from finagent.runtime.clock import VirtualClock
from tests.integration.services.world import DAY, Stage

GROWING = (
    "approval", "broker_order", "candidate", "fill", "job_queue", "journal", "journal_input", "plan", "position",
    "reservation", "risk_decision", "trade", "venue_fill", "venue_order",
)  # fmt: skip
"""Tables with rows for each day that was traded."""
NEWEST = "FROM journal ORDER BY seq DESC LIMIT 1"
"""From the end, and no further than its first row."""
WHOLE = re.compile(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?$")


def scans(conn: sqlite3.Connection, statement: str) -> Iterator[str]:
    """Where a statement reads a growing table from end to end; a partial index holds what is under way alone."""
    if statement.endswith(NEWEST):
        return
    partial = {
        name
        for table in GROWING
        for _, name, _, _, is_partial in conn.execute(f"PRAGMA index_list({table})")
        if is_partial
    }
    for *_, detail in conn.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
        found = WHOLE.match(detail)
        if found is not None and found[2] not in partial and _table(statement, found[1]) in GROWING:
            yield f"{detail}: {statement}"


def _table(statement: str, name: str) -> str:
    """The table behind a name of the query plan, which may be an alias."""
    aliased = re.search(rf"(?:FROM|JOIN) (\w+) (?:AS )?{name}\b", statement)
    return aliased[1] if aliased is not None else name


async def test_no_statement_of_a_days_work_reads_all_that_was_ever_traded(home: Path) -> None:
    """Every statement of the writing and the reading connection in a day with a trade, asked for its query plan."""
    seen: set[str] = set()
    async with Stage(home, mode="policy") as stage:
        stage.market.day("AAA", DAY)
        database = stage.engine.database
        await database.read_fn(lambda conn: conn.set_trace_callback(seen.add))
        await database.write_fn(lambda conn: conn.set_trace_callback(seen.add))
        await stage.until("16:20")
        await database.read_fn(lambda conn: conn.set_trace_callback(None))
        await database.write_fn(lambda conn: conn.set_trace_callback(None))
        asked = [each for each in seen if each.lstrip().startswith(("SELECT", "WITH", "UPDATE", "DELETE"))]
        found = await database.read_fn(lambda conn: [each for sql in asked for each in scans(conn, sql)])
    assert len(asked) > 100
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("statement", [store.UNKNOWN, store.CLOSED_NOT_BOOKED])
async def test_statement_without_its_index_is_found(statement: str) -> None:
    """The check above sees what it is for: the same statements, the condition of their index taken away."""
    database = await Database.open(":memory:", clock=VirtualClock(0))
    try:
        without = statement.replace(store.LIVE_ORDER, "1").replace(store.LIVE_PLAN, "1")
        assert not await database.read_fn(lambda conn: list(scans(conn, statement)))
        assert await database.read_fn(lambda conn: list(scans(conn, without)))
    finally:
        await database.close()
