"""A job, its life, its policy per type, and when it is tried again."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from finagent.queue.errors import PayloadError, UnknownJobTypeError

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
MAX_PAYLOAD_BYTES = 1 << 20
ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)


class JobStatus(StrEnum):
    """scheduled -> ready -> leased -> done | dead | cancelled; a failure goes back to scheduled or ready."""

    SCHEDULED = "scheduled"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


LIVE = (JobStatus.SCHEDULED, JobStatus.READY, JobStatus.LEASED)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to publish. `idem_key` names the work: publishing it again returns the job that exists.

    `key`: jobs of one key never run at the same time. `priority` (lower first) and `max_attempts` default
    to the type's policy. Instants are business milliseconds; a job past `deadline_at_ms` is cancelled.
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


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of ownership: the boot that claimed the job and how often it had been claimed."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as stored. `attempts` counts claims, `failures` counts recorded failures (for the back-off)."""

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
    """

    priority: int
    max_attempts: int = 5
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0
    timeout_s: float = 30.0
    credits: int = 16
    reserve: int = 0


class JobTypes:
    """The registry of job types: type -> policy and the newest payload version this program reads."""

    def __init__(
        self, policies: Mapping[str, JobPolicy], *, payload_versions: Mapping[str, int] | None = None
    ) -> None:
        self._policies = dict(policies)
        self._versions = dict(payload_versions or {})
        for job_type in self._versions:
            self.policy(job_type)

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __contains__(self, job_type: str) -> bool:
        return job_type in self._policies

    def policy(self, job_type: str) -> JobPolicy:
        """The policy of a type; raises UnknownJobTypeError for one that is not registered."""
        try:
            return self._policies[job_type]
        except KeyError:
            raise UnknownJobTypeError(job_type, tuple(sorted(self._policies))) from None

    def payload_version(self, job_type: str) -> int:
        """The newest payload version that this program understands for the type."""
        self.policy(job_type)
        return self._versions.get(job_type, 1)

    def encode(self, job: NewJob) -> str:
        """The payload as JSON text; raises UnknownJobTypeError or PayloadError before anything is stored."""
        known = self.payload_version(job.type)
        if not 1 <= job.payload_version <= known:
            raise PayloadError(
                f"job {job.type} {job.idem_key!r} has payload version {job.payload_version}, this program"
                f" knows 1 to {known}: update it"
            )
        try:
            text = ENCODER.encode(job.payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise PayloadError(
                f"the payload of job {job.type} {job.idem_key!r} is no JSON: {error}"
            ) from None
        # The text is ASCII (json escapes the rest), so characters are bytes.
        if len(text) > MAX_PAYLOAD_BYTES:
            raise PayloadError(
                f"the payload of job {job.type} {job.idem_key!r} has {len(text)} bytes, the limit is"
                f" {MAX_PAYLOAD_BYTES}: store the data and pass its key"
            )
        return text


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
