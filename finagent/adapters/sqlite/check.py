"""Whether a database is whole: SQLite's own check, its schema, the queue's books, and the journal's chain."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from finagent.adapters.sqlite.journal_check import Findings, check_chain, check_inputs, check_state
from finagent.adapters.sqlite.journal_reader import JournalReader
from finagent.adapters.sqlite.migrate import check_version, migrate, migrations
from finagent.domain.errors import ChainBrokenError

MOST_SHOWN = 5
RESTORE = "finagent db restore FILE brings back a backup"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what was found, `mend` what to do."""

    name: str
    is_ok: bool
    detail: str
    mend: str = ""


def examine(connection: sqlite3.Connection) -> list[Check]:
    """Every check on one snapshot of a database of this program; what SQLite refuses to read is a failed check."""
    connection.execute("BEGIN")
    try:
        return [_looked(name, look, connection) for name, look in LOOKS]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def first_fault(connection: sqlite3.Connection) -> str | None:
    """What is wrong first, None when nothing is."""
    return next((f"{c.name}: {c.detail}" for c in examine(connection) if not c.is_ok), None)


Look = Callable[[sqlite3.Connection], str]


class _WrongError(Exception):
    """What a look found wrong."""


def _looked(name: str, look: Look, connection: sqlite3.Connection) -> Check:
    try:
        return Check(name, True, look(connection))
    except (_WrongError, ChainBrokenError, sqlite3.Error, UnicodeDecodeError) as error:
        return Check(name, False, str(error), RESTORE)


def _refuse(found: list[str], more: str = "") -> None:
    if found:
        left = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        raise _WrongError("; ".join(found[:MOST_SHOWN]) + left + more)


def _file(connection: sqlite3.Connection) -> str:
    """Pages, indexes, NOT NULL and CHECK constraints, by SQLite itself."""
    _refuse([str(line) for (line,) in connection.execute("PRAGMA integrity_check(100)") if line != "ok"])
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return f"{pages} pages"


def _foreign_keys(connection: sqlite3.Connection) -> str:
    rows = connection.execute("PRAGMA foreign_key_check").fetchall()
    _refuse([f"{table} row {rowid} names no {parent}" for table, rowid, parent, _ in rows])
    return "every reference has its row"


SCHEMA = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"


def _schema(connection: sqlite3.Connection) -> str:
    """Every migration is recorded, and tables, indexes and triggers are those it makes."""
    version, known = check_version(connection, "the database"), len(migrations())
    recorded = [row[0] for row in connection.execute("SELECT version FROM schema_migration ORDER BY 1")]
    if recorded != list(range(1, version + 1)):
        raise _WrongError(f"migrations {recorded} are recorded, not 1 to {version}")
    if version < known:
        return f"version {version}; the next start migrates it to {known}"
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(fresh, ":memory:", now_ms=0)
        wanted = {(kind, name): sql for kind, name, sql in fresh.execute(SCHEMA)}
    finally:
        fresh.close()
    found = {(kind, name): sql for kind, name, sql in connection.execute(SCHEMA)}
    _refuse([f"{kind} {name} is missing" for kind, name in wanted if (kind, name) not in found])
    _refuse(
        [f"{kind} {name} was changed" for (kind, name), sql in wanted.items() if found[kind, name] != sql]
    )
    return f"version {version}"


STATES = "SELECT status, count(*) FROM job_queue GROUP BY status ORDER BY status"
PRUNED = "SELECT status, count(*) FROM job_key GROUP BY status ORDER BY status"
HIGHEST = """
SELECT max((SELECT coalesce(max(id), 0) FROM job_queue), (SELECT coalesce(max(job_id), 0) FROM job_key))"""


def _jobs(connection: sqlite3.Connection) -> str:
    """published = done + dead + cancelled + live: ids are given without a gap, so each must be somewhere."""
    counts = dict(connection.execute(STATES).fetchall())
    for status, count in connection.execute(PRUNED):
        counts[status] = counts.get(status, 0) + count
    total, published = sum(counts.values()), connection.execute(HIGHEST).fetchone()[0]
    if total != published:
        raise _WrongError(f"{published} jobs were published, {total} are accounted for: {_told(counts)}")
    return f"{published} published = {_told(counts) or 'none'}"


def _told(counts: dict[str, int]) -> str:
    return " + ".join(f"{count} {status}" for status, count in sorted(counts.items()))


BROKEN_ROWS = (
    (
        "is leased without a lease, an epoch or an attempt, or holds a lease and is not leased",
        (
            "SELECT id FROM job_queue WHERE (status = 'leased') <> (lease_until IS NOT NULL)"
            " OR (status = 'leased' AND (epoch IS NULL OR started_at IS NULL OR attempts < 1))"
        ),
    ),
    (
        "has ended without an end, or has an end and goes on",
        (
            "SELECT id FROM job_queue"
            " WHERE (status IN ('done', 'dead', 'cancelled')) <> (finished_at IS NOT NULL)"
        ),
    ),
    (
        "is dead or cancelled without a reason, or done without a start",
        (
            "SELECT id FROM job_queue WHERE (status IN ('dead', 'cancelled') AND error IS NULL)"
            " OR (status = 'done' AND started_at IS NULL)"
        ),
    ),
    (
        "is leased by a boot that is not the last one",
        "SELECT id FROM job_queue WHERE status = 'leased' AND epoch <> (SELECT max(epoch) FROM boot)",
    ),
    (
        "runs beside another of the same serial key",
        (
            "SELECT min(id) FROM job_queue WHERE status = 'leased' AND key IS NOT NULL"
            " GROUP BY key HAVING count(*) > 1"
        ),
    ),
    (
        "has the type and key of a job that was pruned",
        "SELECT id FROM job_queue JOIN job_key USING (type, idem_key) WHERE job_queue.id <> job_key.job_id",
    ),
    ("is stored and pruned", "SELECT id FROM job_queue WHERE id IN (SELECT job_id FROM job_key)"),
    (
        "has attempts on record that it never made",
        "SELECT id FROM job_queue WHERE lease_seq < (SELECT count(*) FROM job_attempt WHERE job_id = id)",
    ),
)


def _job_rows(connection: sqlite3.Connection) -> str:
    """What the constraints promise, computed anew: a constraint is no help against a flipped bit."""
    _refuse(list(_broken_rows(connection)))
    return "states, leases and keys agree"


def _broken_rows(connection: sqlite3.Connection) -> Iterator[str]:
    for what, query in BROKEN_ROWS:
        for (job_id,) in connection.execute(f"{query} LIMIT {MOST_SHOWN + 1}"):
            yield f"job {job_id} {what}"


FILLED = """
SELECT client_order_id, filled,
       (SELECT coalesce(sum(body ->> 'quantity_e4'), 0) FROM fill WHERE client_order_id = o.client_order_id)
FROM broker_order AS o WHERE filled IS NOT
       (SELECT coalesce(sum(body ->> 'quantity_e4'), 0) FROM fill WHERE client_order_id = o.client_order_id)"""
HELD = """
WITH bought AS (SELECT plan_id, sum(CASE body ->> 'side' WHEN 'buy' THEN 1 ELSE -1 END * (body ->> 'quantity_e4'))
                       AS quantity FROM fill GROUP BY plan_id)
SELECT plan_id, position.quantity, coalesce(bought.quantity, 0) FROM position LEFT JOIN bought USING (plan_id)
WHERE position.quantity <> coalesce(bought.quantity, 0)"""


def _fills(connection: sqlite3.Connection) -> str:
    """A position is the sum of its fills, and so is what an order says it got."""
    found = [
        f"order {ref} says {said}, its fills give {got}" for ref, said, got in connection.execute(FILLED)
    ]
    found += [
        f"position {ref} says {said}, its fills give {got}" for ref, said, got in connection.execute(HELD)
    ]
    _refuse(found, " (1e-4 shares)")
    return f"{connection.execute('SELECT count(*) FROM fill').fetchone()[0]} fills agree"


def _journal(connection: sqlite3.Connection) -> str:
    found = Findings()
    check_chain(JournalReader(connection), found)
    _refuse([found.chain] if found.chain else [])
    return (
        f"{found.entries} entries, head {found.head[0]}:{found.head[1][:16]}"
        if found.entries
        else "no entries yet"
    )


def _inputs(connection: sqlite3.Connection) -> str:
    """Every text that an entry rests on is there and is what its name says."""
    found = Findings()
    check_inputs(connection, found)
    _refuse(found.inputs)
    return f"{found.texts} texts, {found.text_bytes >> 10} KiB"


def _state(connection: sqlite3.Connection) -> str:
    """Every row that only facts write is the one that the journal leads to."""
    found = Findings()
    check_state(connection, JournalReader(connection), found)
    _refuse(found.state)
    if found.without_inputs:
        return f"not looked at: {found.without_inputs} entries were written without inputs"
    return "the rows are what the journal leads to"


LOOKS: tuple[tuple[str, Look], ...] = (
    ("file", _file),
    ("foreign_keys", _foreign_keys),
    ("schema", _schema),
    ("jobs", _jobs),
    ("job_rows", _job_rows),
    ("fills", _fills),
    ("journal", _journal),
    ("inputs", _inputs),
    ("state", _state),
)
