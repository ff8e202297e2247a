"""Whether a journal is whole: its chain, the texts its entries rest on, the state it leads to, and its head."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from finagent.adapters.sqlite.journal_reader import (
    InputFaultError,
    JournalReader,
    Told,
    checked_text,
    names_in,
    untold,
)
from finagent.adapters.sqlite.journal_state import StateRebuilder
from finagent.domain.errors import ChainBrokenError
from finagent.domain.journal import GENESIS, JournalRow, verify_chain

TEXTS = "SELECT rowid, hash, body FROM journal_input WHERE rowid > ? ORDER BY rowid LIMIT 200"
HEADS = "SELECT DISTINCT inputs FROM journal WHERE inputs <> ''"
COUNT_TEXTS = "SELECT count(*), coalesce(sum(length(body)), 0) FROM journal_input"
MOST_FAULTS = 100


@dataclass(slots=True)
class Findings:
    """What was looked at and what is wrong; ``head`` is the last entry's sequence and hash."""

    entries: int = 0
    head: tuple[int, str] = (0, "")
    first_bad_seq: int | None = None
    chain: str = ""
    texts: int = 0
    text_bytes: int = 0
    inputs: list[str] = field(default_factory=list)
    without_inputs: int = 0
    state: list[str] = field(default_factory=list)
    anchor: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.chain or self.inputs or self.state or self.anchor)

    def first(self) -> str:
        """What is wrong first, empty when nothing is."""
        return self.chain or self.anchor or next(iter([*self.inputs, *self.state]), "")


def check_chain(reader: JournalReader, findings: Findings, *, told: Told = untold) -> None:
    """Every entry against the one before it, from the first to the last."""
    seen = _Seen(reader.rows(), told, reader.head()[0])
    try:
        findings.entries = verify_chain(seen, previous_hash=GENESIS)
        findings.head = reader.head()
    except (ChainBrokenError, TypeError, ValueError) as error:
        findings.first_bad_seq, findings.chain = seen.next_seq, str(error)


def check_inputs(connection: sqlite3.Connection, findings: Findings, *, told: Told = untold) -> None:
    """Every text hashes to its name, and every text that is named is there."""
    total = int(connection.execute(COUNT_TEXTS).fetchone()[0])
    present: set[bytes] = set()
    named: dict[bytes, str] = {}
    after = 0
    while rows := connection.execute(TEXTS, (after,)).fetchall():
        for _, name, body in rows:
            try:
                text = checked_text(bytes(name).hex(), body)
            except InputFaultError as error:
                _note(findings.inputs, str(error))
                continue
            present.add(bytes(name))
            findings.text_bytes += len(body)
            for other in names_in(text):
                named.setdefault(bytes.fromhex(other), bytes(name).hex()[:12])
        after = int(rows[-1][0])
        findings.texts += len(rows)
        told(findings.texts, total)
    for (head,) in connection.execute(HEADS):
        if _bytes_of(str(head)) not in present:
            _note(findings.inputs, f"input {str(head)[:12]} of {_entry_of(connection, str(head))} is missing")
    for name, by in named.items():
        if name not in present:
            _note(findings.inputs, f"input {name.hex()[:12]}, which {by} names, is missing")


def check_state(
    connection: sqlite3.Connection, reader: JournalReader, findings: Findings, *, told: Told = untold
) -> None:
    """Every row that only facts write is the one that the journal's facts lead to.

    The last entries and the rows are read in one snapshot, so that it holds beside a running agent.
    """
    rebuilder = StateRebuilder(reader)
    try:
        head = reader.head()[0]
        for fault in rebuilder.follow(until=head, told=told):
            _note(findings.state, fault)
        connection.execute("BEGIN")
        try:
            for fault in rebuilder.follow():
                _note(findings.state, fault)
            findings.without_inputs = rebuilder.without_inputs
            if not findings.without_inputs:
                for fault in rebuilder.differences(connection):
                    _note(findings.state, fault)
        finally:
            connection.execute("ROLLBACK")
    finally:
        rebuilder.close()


def check_anchor(reader: JournalReader, findings: Findings, seq: int, digest: str) -> None:
    """The journal still holds the entry that an anchor from outside names."""
    stored = reader.hash_at(seq)
    last = reader.head()[0]
    if stored is None:
        findings.anchor = (
            f"the journal ends at entry {last}, the anchor names entry {seq}: its tail was cut off"
        )
    elif not stored.startswith(digest):
        findings.anchor = (
            f"entry {seq} has the hash {stored[:16]}, the anchor says {digest[:16]}:"
            " the journal was written anew"
        )


class _Seen:
    """Rows on their way through the check: where it stops is the first bad one, present or missing."""

    def __init__(self, rows: Iterator[JournalRow], told: Told, total: int) -> None:
        self._rows, self._told, self._total = rows, told, total
        self.next_seq = 1

    def __iter__(self) -> Iterator[JournalRow]:
        for row in self._rows:
            yield row
            self.next_seq = row[0] + 1
            self._told(row[0], self._total)


def _note(faults: list[str], fault: str) -> None:
    if len(faults) < MOST_FAULTS:
        faults.append(fault)


def _entry_of(connection: sqlite3.Connection, head: str) -> str:
    row = connection.execute("SELECT min(seq) FROM journal WHERE inputs = ?", (head,)).fetchone()
    return f"entry {row[0]}"


def _bytes_of(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""
