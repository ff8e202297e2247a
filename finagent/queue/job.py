"""A job, its life, its policy per type, and when it is tried again."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, cast

from finagent.queue.errors import DelayError, JobValueError, PayloadError, UnknownJobTypeError
from finagent.queue.payload import dumps

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
MAX_PAYLOAD_BYTES = 1 << 20
MAX_MS = 1 << 53
MAX_DELAY_S = 1e10


class JobStatus(StrEnum):
    """scheduled -> ready -> leased -> done | dead | cancelled; a failure goes back to scheduled or ready."""

    SCHEDULED = "scheduled"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


LIVE = (JobStatus.SCHEDULED, JobStatus.READY, JobStatus.LEASED)


class NewJob(NamedTuple):
    """A job to publish. `idem_key` names the work: publishing it again returns the job that exists.

    `key`: jobs of one key never run at the same time. `priority` (lower first) and `max_attempts` default
    to the type's policy. Instants are business milliseconds; a job past `deadline_at_ms` is cancelled.
    `delay_s` counts from the commit and stands in place of `run_at_ms`.
    """

    type: str
    payload: Mapping[str, JsonValue]
    idem_key: str
    key: str | None = None
    priority: int | None = None
    run_at_ms: int | None = None
    deadline_at_ms: int | None = None
    max_attempts: int | None = None
    payload_version: int = 1
    trace_id: str | None = None
    delay_s: float | None = None


_OPTIONAL = slice(3, None)
_UNSET = NewJob("", {}, "")[_OPTIONAL]
"""Most jobs leave every optional field alone; then there is nothing to check."""


class Lease(NamedTuple):
    """Proof of ownership: the boot that claimed the job and how often it had been claimed."""

    epoch: int
    seq: int


class Job(NamedTuple):
    """A job as stored. `attempts` counts claims, `failures` counts recorded failures (for the back-off).

    A tuple, since one is made for every claim: a frozen dataclass of this size takes eight times as long.
    """

    id: int
    type: str
    key: str | None
    payload: Mapping[str, JsonValue]
    payload_version: int
    status: JobStatus
    priority: int
    run_at_ms: int
    deadline_at_ms: int | None
    attempts: int
    failures: int
    max_attempts: int
    lease: Lease | None
    idem_key: str
    trace_id: str | None
    parent_id: int | None
    created_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """How jobs of one type are treated.

    `priority`: lower runs first. `credits`: at most so many in flight; `reserve` of them stay usable when the
    processor's total is used up. `timeout_s`: real seconds without progress until a handler counts as hung.
    `batch`: a handler that takes several jobs at once is given at most so many.
    """

    priority: int
    max_attempts: int = 5
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0
    timeout_s: float = 30.0
    credits: int = 16
    reserve: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.credits:
            raise ValueError(
                f"batch={self.batch} with credits={self.credits}: give 1 to as many as there are credits"
            )


class EncodedJob(NamedTuple):
    """A new job whose fields were checked and whose payload was written: nothing is left to be refused."""

    job: NewJob
    payload: str
    priority: int
    max_attempts: int
    delay_ms: int | None


_encoded = EncodedJob._make


class JobTypes:
    """The registry of job types: type -> policy and the newest payload version this program reads."""

    def __init__(
        self, policies: Mapping[str, JobPolicy], *, payload_versions: Mapping[str, int] | None = None
    ) -> None:
        if "" in policies:
            raise ValueError("a job type has no name: give it one")
        self._known = {job_type: (policy, 1) for job_type, policy in policies.items()}
        for job_type, version in (payload_versions or {}).items():
            self._known[job_type] = (self.policy(job_type), version)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __contains__(self, job_type: str) -> bool:
        return job_type in self._known

    def policy(self, job_type: str) -> JobPolicy:
        """The policy of a type; raises UnknownJobTypeError for one that is not registered."""
        return self._of(job_type)[0]

    def payload_version(self, job_type: str) -> int:
        """The newest payload version that this program understands for the type."""
        return self._of(job_type)[1]

    def encode(self, job: NewJob) -> EncodedJob:
        """Check the job and write its payload; raises a QueueError before anything is stored.

        UnknownJobTypeError, PayloadError (no JSON, too large, a version of the future), DelayError,
        JobValueError (an instant, a priority, a number of attempts or a key that cannot be stored).
        """
        known = self._known.get(job.type)
        policy, newest = known if known is not None else self._of(job.type)
        key = job.idem_key
        if job[_OPTIONAL] == _UNSET and isinstance(key, str) and key and key.isascii():
            return _encoded((job, _payload(job), policy.priority, policy.max_attempts, None))
        if not (isinstance(job.payload_version, int) and 1 <= job.payload_version <= newest):
            raise PayloadError(
                f"{_name(job)} has payload version {job.payload_version}, this program knows 1 to {newest}:"
                " update it"
            )
        check_fields(job)
        return EncodedJob(
            job,
            _payload(job),
            policy.priority if job.priority is None else job.priority,
            policy.max_attempts if job.max_attempts is None else job.max_attempts,
            None if job.delay_s is None else round(job.delay_s * 1000),
        )

    def _of(self, job_type: str) -> tuple[JobPolicy, int]:
        found = self._known.get(job_type)
        if found is None:
            raise UnknownJobTypeError(job_type, tuple(sorted(self._known)))
        return found


def _payload(job: NewJob) -> str:
    if not isinstance(job.payload, dict):
        raise PayloadError(f"the payload of {_name(job)} is a {type(job.payload).__name__}: give a dict")
    try:
        text = dumps(job.payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"the payload of {_name(job)} is no JSON: {error}") from None
    if len(text) > MAX_PAYLOAD_BYTES // 4 and len(text.encode()) > MAX_PAYLOAD_BYTES:
        raise PayloadError(
            f"the payload of {_name(job)} has {len(text.encode())} bytes, the limit is"
            f" {MAX_PAYLOAD_BYTES}: store the data and pass its key"
        )
    return text


def check_fields(job: NewJob) -> None:
    """Raises DelayError or JobValueError for a value that no row can hold."""
    if job.delay_s is not None:
        check_delay(job.delay_s, f"delay_s of {_name(job)}")
        if job.run_at_ms is not None:
            raise JobValueError(f"{_name(job)} has run_at_ms and delay_s: give one of them")
    for label, value, least in (
        ("run_at_ms", job.run_at_ms, -MAX_MS),
        ("deadline_at_ms", job.deadline_at_ms, -MAX_MS),
        ("priority", job.priority, -MAX_MS),
        ("max_attempts", job.max_attempts, 1),
    ):
        if value is not None and not (isinstance(value, int) and least <= value <= MAX_MS):
            raise JobValueError(
                f"{label} of {_name(job)} is {value!r}: give a whole number from {least} to {MAX_MS}"
            )
    if job.idem_key == "":
        raise JobValueError(f"idem_key of job {job.type} is empty: name the work, so that it is done once")
    for label, text in (("idem_key", job.idem_key), ("key", job.key), ("trace_id", job.trace_id)):
        if not (text is None and label != "idem_key") and not _is_unicode(text):
            raise JobValueError(f"{label} of job {job.type} is {text!r}: give a text of whole characters")


def check_delay(seconds: float, what: str) -> None:
    """Raises DelayError for a delay that is negative, not a number, or longer than three centuries."""
    if not (isinstance(seconds, int | float) and math.isfinite(seconds) and 0 <= seconds <= MAX_DELAY_S):
        raise DelayError(f"{what} is {seconds!r}: give seconds from 0 to {MAX_DELAY_S:g}")


def _name(job: NewJob) -> str:
    return f"job {job.type} {job.idem_key!r}"


def _is_unicode(text: str | None) -> bool:
    try:
        cast("str", text).encode()
    except (AttributeError, UnicodeEncodeError):
        return False
    return True


def backoff_s(policy: JobPolicy, *, idem_key: str, failure: int) -> float:
    """Seconds until try `failure` + 1: exponential, full jitter, a cap, the same each time it is asked.

    The jitter is drawn from (idem_key, failure) so that a replay waits exactly as the first run did. Source:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if failure < 1:
        raise ValueError(f"failure number {failure}: the first failure is 1")
    ceiling_s = min(policy.backoff_cap_s, policy.backoff_base_s * 2.0 ** min(failure - 1, 60))
    draw = hashlib.sha256(f"{idem_key}\x00{failure}".encode("utf-8", "surrogatepass")).digest()
    return ceiling_s * (int.from_bytes(draw[:8], "big") / 2**64)
