"""The state that a journal leads to: its facts written once more into an empty database, row by row compared."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import islice
from typing import cast

from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.journal_reader import FOREVER, InputFaultError, JournalReader, Told, untold
from finagent.adapters.sqlite.migrate import migrate
from finagent.adapters.sqlite.session import WriteSession
from finagent.domain import facts as known
from finagent.domain.errors import DomainError
from finagent.domain.evidence import resolved
from finagent.domain.journal import JsonData
from finagent.domain.plain import decoder
from finagent.queue.errors import GuardFailedError
from finagent.queue.job import JobTypes

FACTS: Mapping[str, type] = {
    name: kind
    for name, kind in vars(known).items()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == known.__name__
}
TABLES: Sequence[tuple[str, int]] = (
    ("scan", 2), ("candidate", 3), ("plan", 1), ("risk_decision", 1), ("reservation", 1), ("approval", 1),
    ("broker_order", 1), ("fill", 1), ("position", 1), ("trade", 1), ("day", 1), ("control", 1),
    ("symbol_lock", 1), ("account_binding", 1), ("external_holding", 1), ("reconcile_difference", 2),
    ("external_order", 1), ("live_consent", 1), ("accepted_limit", 1), ("account_snapshot", 1), ("cash_flow", 1),
    ("day_start", 1), ("recovery", 1), ("recovered_order", 1), ("recovered_fill", 1),
)  # fmt: skip
"""Tables that only facts write, with how many columns name a row."""
NOT_JOURNALLED = {"scan": ("body",)}
"""Why each symbol of a market was left out is told in words there, and counted in the journal."""
MOST_TOLD = 20


class StateRebuilder:
    """An empty database that takes the facts of a journal, in order."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._memory = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self._memory, ":memory:", now_ms=0)
        self._memory.execute("PRAGMA synchronous = OFF")
        self.without_inputs = 0
        self.codes: set[str] = set()
        """The programs that decided, as their entries name them."""
        self.seq = 0

    def close(self) -> None:
        """Forget all of it."""
        self._memory.close()

    def follow(self, *, until: int = FOREVER, told: Told = untold) -> Iterator[str]:
        """Take the facts of all entries that were not taken yet; gives what does not fit."""
        self._memory.execute("BEGIN")
        for step in self._reader.steps(after=self.seq, until=until):
            self.seq = step.rows[-1][0]
            told(self.seq, until)
            if not step.inputs:
                self.without_inputs += len(step.rows)
                continue
            at_ms, seq = step.rows[0][1], step.rows[0][0]
            try:
                self._take(step.inputs, at_ms)
            except InputFaultError as error:
                yield f"entry {seq}: {error}"
            except (DomainError, GuardFailedError, KeyError, TypeError, sqlite3.Error) as error:
                yield f"entry {seq}: its facts do not follow from those before it: {error}"
        self._memory.execute("COMMIT")

    def _take(self, inputs: str, at_ms: int) -> None:
        head = cast("Mapping[str, JsonData]", self._reader.fetch(inputs))
        if "code" in head:
            self.codes.add(str(head["code"]))
        session = WriteSession(
            self._memory, now_ms=at_ms, types=JobTypes({}), apply_fact=apply_fact, ready_types=set()
        )
        for each in cast("Sequence[Sequence[JsonData]]", head["facts"]):
            kind = FACTS[str(each[0])]
            session.apply(decoder(kind)(resolved(each[1], self._reader.fetch)))

    def differences(self, connection: sqlite3.Connection) -> Iterator[str]:
        """Where a database's rows are not those that the journal leads to; at most ``MOST_TOLD`` of each table."""
        for table, places in TABLES:
            yield from islice(_compared(table, places, connection, self._memory), MOST_TOLD)


def _compared(
    table: str, places: int, stored: sqlite3.Connection, rebuilt: sqlite3.Connection
) -> Iterator[str]:
    columns = [str(row[1]) for row in stored.execute(f"PRAGMA table_info({table})")]
    wanted = [name for name in columns if name not in NOT_JOURNALLED.get(table, ())]
    sql = f"SELECT {', '.join(wanted)} FROM {table} ORDER BY {', '.join(columns[:places])}"
    left, right = stored.execute(sql), rebuilt.execute(sql)
    one, other = left.fetchone(), right.fetchone()
    while one is not None or other is not None:
        if other is None or (one is not None and one[:places] < other[:places]):
            yield f"{table} {_name(one, places)} has no journal entry"
            one = left.fetchone()
        elif one is None or one[:places] > other[:places]:
            yield f"{table} {_name(other, places)} is missing: the journal has it"
            other = right.fetchone()
        else:
            if one != other:
                yield from _fields(table, places, wanted, one, other)
            one, other = left.fetchone(), right.fetchone()


def _fields(
    table: str, places: int, columns: Sequence[str], one: Sequence[object], other: Sequence[object]
) -> Iterator[str]:
    for name, stored, journalled in zip(columns, one, other, strict=True):
        if stored != journalled and not _says_the_same(stored, journalled):
            yield f"{table} {_name(one, places)}: {name} is {_short(stored)}, the journal leads to {_short(journalled)}"


def _says_the_same(stored: object, journalled: object) -> bool:
    """Two texts of one value: fields that this program has and the one that wrote the row had not say nothing."""
    if not (isinstance(stored, str) and isinstance(journalled, str) and stored.startswith("{")):
        return False
    try:
        return _agrees(json.loads(stored), json.loads(journalled))
    except ValueError:
        return False


def _agrees(stored: object, journalled: object) -> bool:
    if isinstance(stored, dict) and isinstance(journalled, dict):
        return all(key in journalled and _agrees(each, journalled[key]) for key, each in stored.items())
    if isinstance(stored, list) and isinstance(journalled, list):
        return len(stored) == len(journalled) and all(map(_agrees, stored, journalled))
    return stored == journalled


def _name(row: Sequence[object], places: int) -> str:
    return "/".join(str(each) for each in row[:places])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
