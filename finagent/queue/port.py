"""The durable queue as its users see it: publish, commit, complete; and the buffer a handler fills."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from finagent.queue.credits import Credits
from finagent.queue.job import Job, JobStatus, NewJob

FailOutcome = Literal["retry", "dead", "cancelled", "return"]
OnEnd = Callable[[Sequence[Job], Exception | None], None]
"""Told on the event loop how a completion ended: None once it is on disk, else why nothing was stored."""


class Published(NamedTuple):
    """The job's id, and whether this call created it (False: the same work was published before)."""

    job_id: int
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTick:
    """One firing of a named line of the schedule, in business milliseconds."""

    name: str
    fire_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """Counts by status and by type; pruned jobs stay counted, so nothing disappears."""

    by_status: Mapping[str, int]
    by_type: Mapping[str, Mapping[str, int]]
    pruned: Mapping[str, int]
    published: int
    oldest_ready_s: float | None
    dead: Sequence[Job]
    next_run_at_ms: int | None


def _no_progress() -> None:
    """Nobody watches a buffer that was not made by a worker."""


class Tx:
    """What one step wants committed: facts, follow-up jobs, guards. A buffer, never an open transaction.

    A handler that works long calls `progress` now and then, so that nobody takes it for hung.
    """

    __slots__ = ("expected", "facts", "jobs", "progress", "touched")

    def __init__(self, progress: Callable[[], None] = _no_progress) -> None:
        self.progress = progress
        self.facts: list[object] = []
        self.jobs: list[NewJob] = []
        self.expected: list[tuple[str, int]] = []
        self.touched: list[str] = []

    def put(self, fact: object) -> None:
        """Store a business fact with this commit; the store knows its class."""
        self.facts.append(fact)

    def enqueue(self, job: NewJob) -> None:
        """Publish a follow-up job with this commit."""
        self.jobs.append(job)

    def expect(self, row: str, version: int) -> None:
        """Commit only if `row` still has `version` (0 when never written), and give it the next version."""
        self.expected.append((row, version))

    def touch(self, row: str) -> None:
        """Give `row` its next version whatever it is now."""
        self.touched.append(row)

    @property
    def is_empty(self) -> bool:
        return not (self.facts or self.jobs or self.expected or self.touched)


class Consumer(Protocol):
    """Who takes claimed jobs. All calls come on the event loop."""

    def free_credits(self) -> Credits:
        """How many more jobs of each type it can take now; a new object each time."""

    def deliver(self, jobs: Sequence[Job]) -> None:
        """Take jobs whose claim is on disk; must neither block nor raise."""

    def alive_until_ms(self) -> Mapping[int, int]:
        """Job id -> machinery time until which its handler counts as alive; missing: nobody holds the job."""


class JobQueue(Protocol):
    """The durable queue. Everything that returns is on disk; an exception means nothing was stored."""

    async def publish(self, job: NewJob) -> Published: ...

    async def publish_many(self, jobs: Sequence[NewJob]) -> Sequence[Published]: ...

    async def commit(self, tx: Tx) -> None:
        """Store facts and jobs without completing a job; raises GuardFailedError."""

    async def complete(self, job: Job, tx: Tx) -> None:
        """Finish the job and store its effects in one commit; raises LeaseLostError or GuardFailedError."""

    def finish(self, jobs: Sequence[Job], tx: Tx, on_end: OnEnd) -> None:
        """Finish jobs of one type and store their effects in one commit, all or nothing, without waiting.

        Raises a QueueError or HaltError at once when the request cannot be taken; later errors go to
        `on_end`, which must not raise.
        """

    async def fail(
        self, job: Job, error: str, *, outcome: FailOutcome, retry_after_s: float | None = None
    ) -> JobStatus:
        """Record a failure and give the job's new status; raises LeaseLostError.

        `retry` waits (back-off, or `retry_after_s`) and ends dead after the last attempt; `return` gives the
        job back unharmed: ready, and the attempt not counted.
        """

    async def extend(self, job: Job) -> None:
        """Prolong the lease by the type's time-out; raises LeaseLostError."""

    async def cancel(self, job_id: int) -> bool:
        """Cancel a job that is not running; False when it is running or over. Raises JobNotFoundError."""

    async def retry(self, job_id: int) -> bool:
        """Make a scheduled, dead or cancelled job ready now with fresh attempts; False for any other."""

    async def redrive(self, type: str | None = None) -> int:
        """Make all dead jobs (of one type) ready again; gives their number."""

    async def fire(self, tick: CronTick, jobs: Sequence[NewJob], *, skipped: str | None = None) -> bool:
        """Record a cron tick and publish its jobs in one commit; False when it has fired before."""

    async def last_fire_ms(self, name: str) -> int | None:
        """The last recorded instant of a cron line."""

    def attach(self, consumer: Consumer, *, serial: bool = False) -> None:
        """Deliver claimed jobs to `consumer`; `serial`: one at a time, by (priority, run_at, id)."""

    def detach(self) -> None:
        """Stop delivering; leases held go on."""

    def poke(self) -> None:
        """Ask for a pass: promote due jobs, expire leases and deadlines, claim for free credits."""

    async def get(self, job_id: int) -> Job | None: ...

    async def list(
        self, *, status: JobStatus | None = None, type: str | None = None, limit: int = 50
    ) -> Sequence[Job]:
        """Newest first."""

    async def stats(self) -> QueueStats: ...

    async def row_version(self, row: str) -> int:
        """The version of a guarded row, 0 when it was never written: read it before what it guards."""

    def next_run_at_ms(self) -> int | None:
        """The earliest scheduled job, as of the last commit."""

    async def wait_next_run_change(self) -> None:
        """Return when a commit has brought the earliest scheduled job forward."""

    def is_idle(self) -> bool:
        """Whether no row was ready or leased after the last commit and no request is queued or under way."""

    async def wait_quiescent(self) -> None:
        """Return when no row is ready or leased, no request is queued and no batch is under way.

        Raises QueueClosedError when the queue closes before that.
        """

    async def prune(self, *, older_than_ms: int, limit: int = 200) -> int:
        """Drop up to `limit` done or cancelled jobs finished before that instant; their keys stay taken."""
