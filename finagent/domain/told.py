"""What was told from outside and decided by nobody here: journalled with the facts that follow, in one commit."""

from collections.abc import Sequence

from finagent.domain.evidence import EvidenceWriter
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData


def told(kind: str, ref: str, data: dict[str, JsonData], facts: Sequence[object] = ()) -> list[object]:
    """The facts and the row that says them, whose evidence holds the facts: a restore, a shut gate, a folded line."""
    writer = EvidenceWriter()
    head: dict[str, JsonData] = {
        "told": kind,
        "facts": [[type(fact).__name__, writer.plain(fact)] for fact in facts],
        "jobs": [],
    }
    return [*facts, Journalled(kind=kind, ref=ref, data=data, evidence=writer.finish(head))]
