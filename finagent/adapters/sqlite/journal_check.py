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
HEADS_AFTER = "SELECT DISTINCT inputs FROM journal WHERE seq > ? AND inputs <> '' ORDER BY seq"
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
    codes: frozenset[str] = frozenset()
    """The programs that decided; another one may write the same facts into rows of its own."""
    anchor: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.chain or self.inputs or self.state or self.anchor)

    def first(self) -> str:
        """What is wrong first, empty when nothing is."""
        return self.chain or self.anchor or next(iter([*self.inputs, *self.state]), "")


def check_chain(
    reader: JournalReader, findings: Findings, *, after: tuple[int, str] = (0, GENESIS), told: Told = untold
) -> None:
    """Every entry against the one before it, from the first (or the one after an entry that is known) to the last."""
    seen = _Seen(reader.rows(after=after[0]), told, reader.head()[0], next_seq=after[0] + 1)
    try:
        findings.entries = after[0] + verify_chain(seen, previous_hash=after[1])
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
        for number, (_, name, body) in enumerate(rows, 1):
            told(findings.texts + number, total)
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
    for (head,) in connection.execute(HEADS):
        if _bytes_of(str(head)) not in present:
            _note(findings.inputs, f"input {str(head)[:12]} of {_entry_of(connection, str(head))} is missing")
    for name, by in named.items():
        if name not in present:
            _note(findings.inputs, f"input {name.hex()[:12]}, which {by} names, is missing")


def check_inputs_of(
    connection: sqlite3.Connection, reader: JournalReader, findings: Findings, *, after: int
) -> None:
    """The same for the entries after one: each head and each text that it names."""
    known: set[str] = set()
    for (head,) in connection.execute(HEADS_AFTER, (after,)):
        waiting = [str(head)]
        while waiting:
            name = waiting.pop()
            if name in known:
                continue
            known.add(name)
            try:
                text = reader.text(name)
            except InputFaultError as error:
                _note(findings.inputs, f"{error} ({_entry_of(connection, str(head))})")
                continue
            waiting += names_in(text)
    findings.texts += len(known)


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
        is_ours = not connection.in_transaction
        if is_ours:
            connection.execute("BEGIN")
        try:
            for fault in rebuilder.follow():
                _note(findings.state, fault)
            findings.without_inputs = rebuilder.without_inputs
            findings.codes = frozenset(rebuilder.codes)
            if not findings.without_inputs:
                for fault in rebuilder.differences(connection):
                    _note(findings.state, fault)
        finally:
            if is_ours:
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

    def __init__(self, rows: Iterator[JournalRow], told: Told, total: int, *, next_seq: int) -> None:
        self._rows, self._told, self._total = rows, told, total
        self.next_seq = next_seq

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
