"""Damage found at start: SQLite's own quick check, and the journal's hash chain, which catches what that misses."""

import sqlite3

from finagent.domain.errors import ChainBrokenError
from finagent.domain.journal import verify_chain

CHAIN = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal ORDER BY seq"


def damage(conn: sqlite3.Connection) -> str | None:
    """What is damaged, None when nothing is."""
    try:
        (answer,) = conn.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            return f"quick_check: {answer}"
        verify_chain(conn.execute(CHAIN))
    except (sqlite3.DatabaseError, ChainBrokenError) as error:
        return str(error)
    return None
