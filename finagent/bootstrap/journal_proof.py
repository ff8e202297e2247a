"""The journal put to the proof: verified against itself and an anchor from outside, and decided again."""

import contextlib
import itertools
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from finagent.adapters.record.again import Verdict, judge
from finagent.adapters.sqlite.database import connect_reader
from finagent.adapters.sqlite.journal_check import (
    Findings,
    check_anchor,
    check_chain,
    check_inputs,
    check_state,
)
from finagent.adapters.sqlite.journal_reader import FOREVER, InputFaultError, JournalReader, Step
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError, check_version
from finagent.adapters.sqlite.views_journal import check_kind
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.homes import HOME_HINT, database_path
from finagent.bootstrap.identity import code_identity
from finagent.context import Document, ExitCode, Json, SurfaceError
from finagent.domain.journal import JsonData
from finagent.queue.query import QueryError

Progress = Callable[[str, int, int], None]
NO_INPUTS = "it was written without its inputs"
MOST_SHOWN = 200
REST_EVERY = 100
REST_S = 0.02
"""A thread that reads beside the day leaves it most of a core: a short rest after each so many entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries are decided again: a range, those about one thing, or those of a kind."""

    first: int = 1
    last: int | None = None
    ref: str | None = None
    kind: str | None = None

    def has(self, seq: int, kind: str, ref: str) -> bool:
        """Whether an entry is meant."""
        return (
            self.first <= seq <= (self.last if self.last is not None else FOREVER)
            and self.ref in (None, ref)
            and self.kind in (None, kind)
        )


def parse_anchor(text: str) -> tuple[int, str]:
    """``SEQ:HASH`` with at least 8 hex digits of the hash; SurfaceError for anything else."""
    number, _, digest = text.partition(":")
    is_hash = 8 <= len(digest) <= 64 and all(each in "0123456789abcdef" for each in digest.lower())
    if not number.isdigit() or not is_hash:
        raise SurfaceError(
            f"--head {text!r} is no anchor",
            hint="write SEQ:HASH as the day report prints it, with 8 or more digits of the hash",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    return int(number), digest.lower()


def stored_journal(home: Path, run: str | None) -> Path:
    """The database of a home's journal, or of a run's; SurfaceError where there is none."""
    path = database_path(home, run)
    if not path.exists():
        hint = "finagent replay or finagent demo" if run else HOME_HINT
        raise SurfaceError(f"no database at {path}", hint=hint, code="no_database")
    return path


def verify_journal(path: Path, *, head: str | None = None, progress: Progress | None = None) -> Document:
    """``{entries, valid, first_bad_seq, detail, head, inputs, state, anchor}`` of the journal in a database.

    Works beside a running agent.
    """
    anchor = parse_anchor(head) if head is not None else None
    with _open(path) as (connection, reader):
        found = Findings()
        check_chain(reader, found, told=_told(progress, "entries"))
        check_inputs(connection, found, told=_told(progress, "inputs"))
        if not (found.chain or found.inputs):
            check_state(connection, reader, found, told=_told(progress, "state"))
        if anchor is not None:
            check_anchor(reader, found, *anchor)
        if not found.entries:
            found.entries = int(connection.execute("SELECT count(*) FROM journal").fetchone()[0])
    return findings_document(found)


def findings_document(found: Findings) -> Document:
    """What a check found, as every surface tells it."""
    seq, digest = found.head
    return {
        "entries": found.entries,
        "valid": found.is_sound,
        "first_bad_seq": found.first_bad_seq,
        "detail": found.first() or None,
        "head": f"{seq}:{digest}" if seq else None,
        "inputs": {
            "texts": found.texts,
            "bytes": found.text_bytes,
            "faults": list(found.inputs),
            "entries_without": found.without_inputs,
        },
        "state": {"faults": list(found.state)},
        "anchor": found.anchor or None,
    }


@dataclass(slots=True)
class _Tally:
    """Counts of a replay of the journal."""

    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    shown: list[Json] = field(default_factory=list)
    different: int = 0
    steps: int = 0

    def count(self, kind: str, outcome: str) -> None:
        """One entry more."""
        self.kinds.setdefault(kind, Counter())[outcome] += 1


def replay_journal(path: Path, selection: Selection, *, progress: Progress | None = None) -> Document:
    """Decide entries again from their stored inputs and compare with what was decided.

    ``{entries, steps, same, different, told, not_replayable, kinds, reasons, differences, code, head}``; ``told``
    entries say what happened outside, where nothing was decided. Works beside a running agent. SurfaceError names the
    nearest for a kind that is none.
    """
    tally = _Tally()
    with _open(path) as (connection, reader):
        try:
            check_kind(connection, selection.kind)
        except QueryError as error:
            raise SurfaceError(
                error.message, hint=error.hint, code="usage", exit_code=ExitCode.USAGE
            ) from None
        last, digest = reader.head()
        for step in _chosen(reader, selection):
            tally.steps += 1
            _judged(step, selection, reader, tally)
            if progress is not None:
                progress("entries", step.rows[-1][0], last)
    outcomes = Counter[str]()
    for counts in tally.kinds.values():
        outcomes.update(counts)
    return {
        "entries": sum(outcomes.values()),
        "steps": tally.steps,
        **{name: outcomes[name] for name in ("same", "different", "told", "not_replayable")},
        "kinds": {kind: dict(tally.kinds[kind]) for kind in sorted(tally.kinds)},
        "reasons": dict(tally.reasons),
        "differences": tally.shown,
        "code": code_identity(),
        "head": f"{last}:{digest}" if last else None,
    }


def _chosen(reader: JournalReader, selection: Selection) -> Iterator[Step]:
    if selection.ref is not None or selection.kind is not None:
        return reader.steps_of(ref=selection.ref, kind=selection.kind)
    return reader.steps(after=selection.first - 1, until=selection.last or FOREVER)


def _judged(step: Step, selection: Selection, reader: JournalReader, tally: _Tally) -> None:
    meant = [row for row in step.rows if selection.has(row[0], row[2], row[3])]
    if not meant:
        return
    outcome, verdict = _verdict(step, reader)
    for row in meant:
        tally.count(row[2], outcome)
    if outcome == "not_replayable":
        tally.reasons[verdict.reason] += len(meant)
    elif outcome == "different":
        _show(step, verdict, tally)


def _verdict(step: Step, reader: JournalReader) -> tuple[str, Verdict]:
    if not step.inputs:
        return "not_replayable", Verdict(reason=NO_INPUTS)
    try:
        head = cast("Mapping[str, JsonData]", reader.fetch(step.inputs))
        if "told" in head:
            return "told", Verdict()
        rows = [(kind, ref, json.loads(data)) for _, _, kind, ref, data, _, _ in step.rows]
        verdict = judge(rows, head, reader.fetch)
    except InputFaultError as error:
        return "different", Verdict(reason=str(error))
    return ("same" if verdict.is_same else "different"), verdict


def _show(step: Step, verdict: Verdict, tally: _Tally) -> None:
    seq, _, kind, ref = step.rows[0][:4]
    about: dict[str, Json] = {"seq": seq, "kind": kind, "ref": ref, "code": verdict.code or None}
    tally.different += 1
    if len(tally.shown) >= MOST_SHOWN:
        return
    if verdict.reason:
        tally.shown.append({**about, "field": None, "journal": None, "again": None, "reason": verdict.reason})
    for each in verdict.differences:
        told = {"field": each.field, "journal": _json(each.journalled), "again": _json(each.again)}
        tally.shown.append({**about, **told, "reason": None})


def _json(data: JsonData) -> Json:
    return cast("Json", json.loads(json.dumps(data)))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[sqlite3.Connection, JournalReader]]:
    try:
        with reading(path), contextlib.closing(connect_reader(path)) as connection:
            check_version(connection, path)
            yield connection, JournalReader(connection)
    except DatabaseTooNewError as error:
        raise SurfaceError(str(error), code="database_too_new") from None
    except ForeignDatabaseError as error:
        raise SurfaceError(str(error), code="foreign_database") from None


def resting() -> Progress:
    """What a thread beside a running day gives as its progress: it sleeps a moment now and then."""
    turns = itertools.count(1)

    def rest(_name: str, _done: int, _total: int) -> None:
        if next(turns) % REST_EVERY == 0:
            time.sleep(REST_S)

    return rest


def _told(progress: Progress | None, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total) if progress is not None else None
