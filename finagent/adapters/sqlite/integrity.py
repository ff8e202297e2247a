"""Damage found at start: SQLite's own quick check, the journal since it was verified last, and what it leads to."""

import sqlite3
from dataclasses import dataclass

from finagent.adapters.sqlite.journal_check import (
    Findings,
    check_chain,
    check_inputs,
    check_inputs_of,
    check_state,
)
from finagent.adapters.sqlite.journal_reader import JournalReader, Told, untold
from finagent.adapters.sqlite.session import WriteSession
from finagent.domain.journal import GENESIS

WHOLE_ENTRIES = 5_000
"""A journal of so many entries is verified from its first one at every start."""
STATE_ENTRIES = 1_000
"""The state of a longer one is left to ``db check`` and to the look that follows the start."""
VERIFIED = "journal_verified"
GET = "SELECT value FROM meta WHERE key = ?"
PUT = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class StartCheck:
    """What a start found: the first fault, the last entry that is verified now, and whether all of it was looked at."""

    fault: str | None
    verified: tuple[int, str]
    is_whole: bool


def damage(conn: sqlite3.Connection) -> str | None:
    """What is damaged, None when nothing is; of a long journal only what came since it was verified."""
    return look(conn, code=None).fault


def look(conn: sqlite3.Connection, *, code: str | None) -> StartCheck:
    """Quick check, chain and inputs since the last verified entry, and the state of a short journal.

    The state is judged only where ``code`` alone has decided: after an update a row may be another and no damage.
    """
    try:
        (answer,) = conn.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            return StartCheck(f"quick_check: {answer}", (0, GENESIS), True)
        return _look(conn, JournalReader(conn), code)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return StartCheck(str(error), (0, GENESIS), True)


def whole_fault(conn: sqlite3.Connection, *, code: str, told: Told = untold) -> str | None:
    """What is wrong in all of the journal, its inputs and (where ``code`` alone decided) its state; takes its time."""
    reader, found = JournalReader(conn), Findings()
    check_chain(reader, found, told=told)
    check_inputs(conn, found, told=told)
    if found.is_sound:
        check_state(conn, reader, found, told=told)
        if not found.codes <= {code}:
            found.state.clear()
    return found.first() or None


def _look(conn: sqlite3.Connection, reader: JournalReader, code: str | None) -> StartCheck:
    found, last = Findings(), reader.head()[0]
    after = anchor(conn, reader) if last > WHOLE_ENTRIES else (0, GENESIS)
    check_chain(reader, found, after=after)
    if not found.chain:
        check_inputs_of(conn, reader, found, after=after[0])
    has_state = last <= STATE_ENTRIES and code is not None
    if has_state and found.is_sound:
        check_state(conn, reader, found)
        if not found.codes <= {code}:
            found.state.clear()
    return StartCheck(found.first() or None, found.head, has_state and after[0] == 0)


def anchor(conn: sqlite3.Connection, reader: JournalReader) -> tuple[int, str]:
    """The last entry that was verified, if it is still there as it was; else the beginning."""
    row = conn.execute(GET, (VERIFIED,)).fetchone()
    number, _, digest = str(row[0]).partition(":") if row else ("", "", "")
    if number.isdigit() and reader.hash_at(int(number)) == digest:
        return int(number), digest
    return 0, GENESIS


def remember(session: WriteSession, verified: tuple[int, str]) -> None:
    """So far the journal is verified: the next start goes on from there."""
    session.conn.execute(PUT, (VERIFIED, f"{verified[0]}:{verified[1]}"))
