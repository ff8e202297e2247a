"""Which jobs are asked for: filters as they were typed, and when they mean no sense."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from finagent.queue.errors import QueueError
from finagent.queue.job import JobStatus

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)")


class QueryError(QueueError):
    """A filter that can match nothing because it is no value of its kind; ``hint`` is the mend."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Filters that must all hold; several values of one filter are alternatives.

    ``since`` and ``until`` are spans before now (``2h``) or ISO 8601 instants (without a zone: UTC), compared with
    when a job ended or, if it has not, with when it was made. ``idem`` is a prefix, ``error`` a part in any case.
    """

    statuses: Sequence[str] = ()
    types: Sequence[str] = ()
    key: str | None = None
    idem: str | None = None
    since: str | None = None
    until: str | None = None
    error: str | None = None
    trace: str | None = None
    limit: int = 100


def checked_statuses(names: Sequence[str]) -> tuple[JobStatus, ...]:
    """The statuses by name; raises QueryError for a name that is none."""
    for name in names:
        if name not in set(JobStatus):
            raise QueryError(f"a job is never {name!r}", f"Use one of: {', '.join(JobStatus)}")
    return tuple(JobStatus(name) for name in names)


def instant_ms(text: str, *, now_ms: int) -> int:
    """Milliseconds of an instant or of a span before now; raises QueryError."""
    words = text.strip()
    span = _SPAN.fullmatch(words)
    if span is not None:
        return now_ms - int(span[1]) * UNITS_MS[span[2]]
    try:
        moment = datetime.fromisoformat(words.replace("Z", "+00:00"))
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise QueryError(
            f"{text!r} is neither a span nor an instant", "Write it like 30m, 2h, 3d or 2018-02-20T09:31"
        ) from None
