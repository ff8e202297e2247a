"""A journalled step against the same step decided again: the same, or where they part, field by field."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from finagent.adapters.record.kinds import as_object
from finagent.adapters.record.playback import (
    Decision,
    Fetch,
    NotRecordedError,
    UnknownStepError,
    decide_again,
)
from finagent.domain.journal import JsonData

MOST_DIFFERENCES = 20
"""So many are told of one step."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field on which the journal and the decision made again differ; None stands for what is not there."""

    field: str
    journalled: JsonData
    again: JsonData


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a step that was decided again.

    ``reason`` says why it could not be, or what it asked for that it had not been told; ``code`` names the program
    that decided it first.
    """

    differences: tuple[Difference, ...] = ()
    reason: str = ""
    code: str = ""

    @property
    def is_same(self) -> bool:
        """Whether the same was decided."""
        return not self.differences and not self.reason


class Told(Protocol):
    """A row as the journal has it."""

    @property
    def kind(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def data(self) -> JsonData: ...


def judge(rows: Sequence[tuple[str, str, JsonData]], head: Mapping[str, JsonData], fetch: Fetch) -> Verdict:
    """Decide a step again from its evidence and compare it with its rows (kind, ref, data), facts and jobs."""
    code = str(head.get("code", ""))
    try:
        again = decide_again(head, fetch)
    except NotRecordedError as error:
        return Verdict(reason=f"it asks what it was not told: {error}", code=code)
    except UnknownStepError as error:
        return Verdict(reason=f"this program cannot decide it: {error}", code=code)
    except Exception as error:  # whatever the program of today makes of it
        return Verdict(reason=f"it ends with {type(error).__name__} now: {error}", code=code)
    found = list(_differences(rows, head, again))
    return Verdict(differences=tuple(found[:MOST_DIFFERENCES]), code=code)


def _differences(
    rows: Sequence[tuple[str, str, JsonData]], head: Mapping[str, JsonData], again: Decision
) -> Iterator[Difference]:
    repeated = _repeated(len(rows), again)
    for place, row in enumerate(rows):
        other = repeated[place] if place < len(repeated) else None
        name = f"rows[{place}]"
        if other is None:
            yield Difference(name, f"{row[0]} {row[1]}", None)
            continue
        yield from compared(f"{name}.kind", row[0], other[0])
        yield from compared(f"{name}.ref", row[1], other[1])
        yield from compared(f"{name}.data", row[2], other[2])
    for place in range(len(rows), len(repeated)):
        yield Difference(f"rows[{place}]", None, f"{repeated[place][0]} {repeated[place][1]}")
    yield from compared("facts", _named(head["facts"]), _named(again.facts))
    yield from compared("jobs", head["jobs"], again.jobs)


def _repeated(count: int, again: Decision) -> Sequence[tuple[str, str, JsonData]]:
    """Two steps with the very same inputs, one after the other, have the rows of both."""
    made = len(again.rows)
    return again.rows * (count // made) if made and count % made == 0 else again.rows


def _named(facts: JsonData) -> JsonData:
    """Facts as objects under their names, so that a field's path says whose it is."""
    if not isinstance(facts, list):
        return facts
    return [{str(fact[0]): fact[1]} if isinstance(fact, list) and len(fact) == 2 else fact for fact in facts]


def compared(field: str, journalled: JsonData, again: JsonData) -> Iterator[Difference]:
    """Where two values part, as deep as both are made alike."""
    if isinstance(journalled, Mapping) and isinstance(again, Mapping):
        one, other = as_object(dict(journalled)), as_object(dict(again))
        for key in sorted(one.keys() | other.keys()):
            yield from compared(f"{field}.{key}", one.get(key), other.get(key))
    elif isinstance(journalled, list) and isinstance(again, list):
        for place in range(max(len(journalled), len(again))):
            left = journalled[place] if place < len(journalled) else None
            right = again[place] if place < len(again) else None
            yield from compared(f"{field}[{place}]", left, right)
    elif journalled != again or isinstance(journalled, bool) is not isinstance(again, bool):
        yield Difference(field, journalled, again)
