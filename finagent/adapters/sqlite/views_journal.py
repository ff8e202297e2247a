"""The journal as documents: pages of entries, and whether the chain holds."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.views_values import Document, bounded, instant, listed, loads
from finagent.domain.errors import ChainBrokenError
from finagent.domain.journal import GENESIS, JournalRow, verify_chain

ENTRIES = """
SELECT seq, at, kind, ref, data, inputs, hash FROM journal
WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR ref = ?3) ORDER BY seq LIMIT ?4"""
OF_KIND = """
SELECT seq, at, kind, ref, data, inputs, hash FROM journal
WHERE kind = ?2 AND seq > ?1 ORDER BY seq LIMIT ?4"""
OF_REF = """
SELECT seq, at, kind, ref, data, inputs, hash FROM journal
WHERE ref = ?3 AND seq > ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY seq LIMIT ?4"""
OF_REFS = """
SELECT seq, at, kind, ref, data, inputs, hash FROM journal
WHERE ref IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT 500"""
CHAIN = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
CHUNK = 5_000


def read_journal(
    conn: sqlite3.Connection, *, after_seq: int, limit: int, kind: str | None, ref: str | None
) -> Document:
    """Entries after one, in order; ``next_after`` is where the next page begins, null on the last one."""
    limit = bounded(limit)
    query = OF_REF if ref is not None else OF_KIND if kind is not None else ENTRIES
    rows = conn.execute(query, (after_seq, kind, ref, limit + 1)).fetchall()
    shown = rows[:limit]
    return {
        "entries": listed(entry_document(row) for row in shown),
        "next_after": shown[-1][0] if len(rows) > limit else None,
    }


HEAD = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1"


def journal_head(conn: sqlite3.Connection) -> str | None:
    """The last entry as ``SEQ:HASH``: the anchor to keep outside; None for an empty journal."""
    row = conn.execute(HEAD).fetchone()
    return None if row is None else f"{row[0]}:{row[1]}"


def read_entries_of(conn: sqlite3.Connection, refs: Sequence[str]) -> list[Document]:
    """All entries about some plans, orders or trades, in order."""
    return [entry_document(row) for row in conn.execute(OF_REFS, (json.dumps(list(refs)),)).fetchall()]


def entry_document(row: JournalRow) -> Document:
    """One entry."""
    seq, at, kind, ref, data, inputs, digest = row
    return {
        "seq": seq,
        "at": instant(at),
        "kind": kind,
        "ref": ref,
        "data": loads(data),
        "inputs": inputs or None,
        "hash": digest,
    }


async def verify(database: Database) -> Document:
    """Check the whole chain, chunk by chunk, so that other readers get their turn; entries never change."""
    count, last, previous = 0, 0, GENESIS
    while True:
        rows: list[JournalRow] = await database.read_fn(
            lambda conn, last=last: conn.execute(CHAIN, (last, CHUNK)).fetchall()  # type: ignore[misc]
        )
        if not rows:
            head = f"{last}:{previous}" if last else None
            return {"entries": count, "valid": True, "first_bad_seq": None, "detail": None, "head": head}
        watched = _Watched(rows, expected=last + 1)
        try:
            count += verify_chain(watched, previous_hash=previous)
        except ChainBrokenError as error:
            total = (await database.read("SELECT count(*) FROM journal"))[0][0]
            return {
                "entries": int(str(total)),
                "valid": False,
                "first_bad_seq": watched.first_bad_seq,
                "detail": str(error),
                "head": None,
            }
        last, previous = rows[-1][0], rows[-1][6]


class _Watched:
    """Rows on their way through the check: where it stops is the first bad one, present or missing."""

    def __init__(self, rows: Iterable[JournalRow], *, expected: int) -> None:
        self._rows = rows
        self.first_bad_seq = expected

    def __iter__(self) -> Iterator[JournalRow]:
        for row in self._rows:
            yield row
            self.first_bad_seq = row[0] + 1
