"""What was told from outside and decided by nobody here: journalled with the facts that follow, in one commit."""

from collections.abc import Sequence
from dataclasses import replace

from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import Evidence, EvidenceWriter
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData


def with_rows(facts: Sequence[object]) -> Sequence[object]:
    """The facts of one commit with a row that has evidence: what no recorded step decided was told from outside.

    A value that has no plain form leaves them as they are: it is refused where it is stored.
    """
    rows = [fact for fact in facts if isinstance(fact, Journalled)]
    if not facts or (rows and all(row.evidence is not None for row in rows)):
        return facts
    others = [fact for fact in facts if not isinstance(fact, Journalled)]
    try:
        if not rows:
            names: list[JsonData] = [*sorted({type(fact).__name__ for fact in others})]
            return told("state", "", {"facts": names}, others)
        evidence = _evidence(rows[0].kind, [] if any(row.evidence for row in rows) else others)
    except PlainDataError:
        return facts
    return [
        replace(fact, evidence=evidence) if isinstance(fact, Journalled) and fact.evidence is None else fact
        for fact in facts
    ]


def told(kind: str, ref: str, data: dict[str, JsonData], facts: Sequence[object] = ()) -> list[object]:
    """The facts and the row that says them, whose evidence holds the facts: a restore, a shut gate, a folded line."""
    return [*facts, Journalled(kind=kind, ref=ref, data=data, evidence=_evidence(kind, facts))]


def _evidence(kind: str, facts: Sequence[object]) -> Evidence:
    writer = EvidenceWriter()
    head: dict[str, JsonData] = {
        "told": kind,
        "facts": [[type(fact).__name__, writer.plain(fact)] for fact in facts],
        "jobs": [],
    }
    return writer.finish(head)
