"""The journal as documents: pages of entries, those of some things, the head."""

import difflib
import json
import sqlite3
from collections.abc import Sequence

from finagent.adapters.sqlite.views_values import Document, bounded, instant, listed, loads
from finagent.domain.journal import JournalRow
from finagent.domain.kinds import KINDS
from finagent.queue.query import QueryError

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
ANY_OF_KIND = "SELECT 1 FROM journal WHERE kind = ? LIMIT 1"
EVERY_KIND = "SELECT DISTINCT kind FROM journal"


def check_kind(conn: sqlite3.Connection, kind: str | None) -> None:
    """QueryError with the nearest for a kind that no entry has, here or anywhere."""
    if kind is None or kind in KINDS or conn.execute(ANY_OF_KIND, (kind,)).fetchone() is not None:
        return
    known = sorted({*KINDS, *(str(name) for (name,) in conn.execute(EVERY_KIND))})
    near = difflib.get_close_matches(kind, known, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(kind, known, n=1, cutoff=0.0)
    raise QueryError(f"no entry of the journal is of a kind {kind!r}", f"the nearest: {', '.join(near)}")


def read_journal(
    conn: sqlite3.Connection, *, after_seq: int, limit: int, kind: str | None, ref: str | None
) -> Document:
    """Entries after one, in order; ``next_after`` is where the next page begins, null on the last one.

    QueryError for a kind that is none.
    """
    limit = bounded(limit)
    check_kind(conn, kind)
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
