"""The journal as it is stored: rows in slices, steps with their evidence, and texts that hash to their names."""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from finagent.adapters.sqlite.codec import unpack
from finagent.domain.evidence import text_hash
from finagent.domain.journal import JournalRow, JsonData

ROWS = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
HEAD = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1"
ENTRY = "SELECT hash FROM journal WHERE seq = ?"
INPUT = "SELECT body FROM journal_input WHERE hash = ?"
OF_REF = "SELECT seq FROM journal WHERE ref = ? ORDER BY seq"
OF_KIND = "SELECT seq FROM journal WHERE kind = ? ORDER BY seq"
SAME_INPUTS = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal WHERE seq = ? AND inputs = ?"
ONE_ROW = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal WHERE seq = ?"
SLICE = 500
MOST_TEXTS = 512
FOREVER = 1 << 62


class InputFaultError(Exception):
    """An input is missing, or is not what its name says."""


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of one step, in order; they share their evidence, empty where there is none."""

    rows: tuple[JournalRow, ...]

    @property
    def inputs(self) -> str:
        """The head of the evidence."""
        return self.rows[0][5]


class JournalReader:
    """Reads a journal in short statements, so that a writer beside it is never held up."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._texts: OrderedDict[str, JsonData] = OrderedDict()

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry; (0, "") for an empty journal."""
        row = self._connection.execute(HEAD).fetchone()
        return (0, "") if row is None else (int(row[0]), str(row[1]))

    def hash_at(self, seq: int) -> str | None:
        """The hash of one entry, None where there is none."""
        row = self._connection.execute(ENTRY, (seq,)).fetchone()
        return None if row is None else str(row[0])

    def rows(self, *, after: int = 0, until: int = FOREVER) -> Iterator[JournalRow]:
        """Rows after one sequence number up to another, read slice by slice."""
        while found := self._connection.execute(ROWS, (after, until, SLICE)).fetchall():
            yield from found
            after = int(found[-1][0])

    def steps(self, *, after: int = 0, until: int = FOREVER) -> Iterator[Step]:
        """The steps of these rows, each with all of its rows, also those before and behind the limits."""
        waiting: list[JournalRow] = []
        for row in self.rows(after=after, until=until):
            if waiting and (not row[5] or row[5] != waiting[0][5]):
                yield Step(tuple(waiting))
                waiting = []
            if not waiting:
                waiting = self._before(row)
            waiting.append(row)
        if waiting:
            yield Step((*waiting, *self._behind(waiting[-1])))

    def steps_of(self, *, ref: str | None = None, kind: str | None = None) -> Iterator[Step]:
        """The steps that have a row about a plan, order or trade, or of a kind."""
        sql, value = (OF_REF, ref) if ref is not None else (OF_KIND, kind)
        done = 0
        for (seq,) in self._connection.execute(sql, (value,)).fetchall():
            if seq <= done:
                continue
            row: JournalRow = self._connection.execute(ONE_ROW, (seq,)).fetchone()
            step = Step((*self._before(row), row, *self._behind(row)))
            done = step.rows[-1][0]
            yield step

    def fetch(self, name: str) -> JsonData:
        """The data of a stored text; InputFaultError where it is missing or was changed."""
        found = self._texts.get(name)
        if found is None and name not in self._texts:
            found = cast("JsonData", json.loads(self.text(name)))
            self._texts[name] = found
            if len(self._texts) > MOST_TEXTS:
                self._texts.popitem(last=False)
        return found

    def text(self, name: str) -> str:
        """A stored text; InputFaultError where it is missing or was changed."""
        try:
            row = self._connection.execute(INPUT, (bytes.fromhex(name),)).fetchone()
        except ValueError:
            raise InputFaultError(f"{name[:16]!r} names no input") from None
        if row is None:
            raise InputFaultError(f"input {name[:12]} is missing")
        return checked_text(name, row[0])

    def _before(self, row: JournalRow) -> list[JournalRow]:
        return list(reversed(self._alike(row, -1)))

    def _behind(self, row: JournalRow) -> list[JournalRow]:
        return self._alike(row, 1)

    def _alike(self, row: JournalRow, step: int) -> list[JournalRow]:
        found: list[JournalRow] = []
        seq, inputs = row[0], row[5]
        while inputs:
            seq += step
            other: JournalRow | None = self._connection.execute(SAME_INPUTS, (seq, inputs)).fetchone()
            if other is None:
                break
            found.append(other)
        return found


def checked_text(name: str, body: bytes) -> str:
    """The text behind a stored body; InputFaultError where it does not hash to its name."""
    try:
        text = unpack(body)
        if text_hash(text) == name:
            return text
    except (ValueError, UnicodeError):
        pass
    raise InputFaultError(f"input {name[:12]} was changed: it is not what its name says")


Told = Callable[[int, int], None]
"""Told how many of how many are done."""


def untold(_done: int, _total: int) -> None:
    """Nobody watches."""


def names_in(text: str) -> Sequence[str]:
    """The texts that a head lists as its own; none for a text that is no head."""
    start = text.rfind('"texts":[')
    if not text.startswith("{") or start < 0:
        return ()
    listed = text[start + 9 : text.index("]", start)]
    return [name.strip('"') for name in listed.split(",")] if listed else ()
