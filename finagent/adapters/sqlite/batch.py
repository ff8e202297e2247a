"""One commit as one function: finish, extend, business, promote, cancel late, expire, claim, COMMIT."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from finagent.adapters.sqlite import jobs, leases
from finagent.adapters.sqlite.jobs import EncodedJob
from finagent.adapters.sqlite.session import ApplyFact, WriteSession
from finagent.queue.job import Job, JobTypes
from finagent.runtime.failpoints import hit

Work = Callable[[WriteSession], object]
FATAL_CODES = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
MIN_TOGETHER = 4
TICK_CLOCK = "UPDATE clock SET now_ms = ?1 WHERE id = 1 AND now_ms < ?1"
STATE = """
SELECT (SELECT min(run_at) FROM job_queue WHERE status = 'scheduled'),
       (SELECT min(deadline_at) FROM job_queue
        WHERE deadline_at IS NOT NULL AND status IN ('scheduled', 'ready')),
       (SELECT min(lease_until) FROM job_queue WHERE status = 'leased'),
       EXISTS (SELECT 1 FROM job_queue WHERE status = 'ready')"""


class Stage(IntEnum):
    """The order of requests inside a batch."""

    FINISH = 0
    EXTEND = 1
    BUSINESS = 2


@dataclass(slots=True)
class Request:
    """A closed request: what to run in the transaction, and the future that waits for its commit.

    `frees`: the job type whose handler credit this request gives back. `is_atomic`: the work is a single
    statement, so it needs no savepoint to fail alone. `plain`: all it does is publish this job or complete
    it, so it can be done together with its like; `work` does the same alone.
    """

    stage: Stage
    work: Work
    future: "asyncio.Future[object]"
    frees: str | None = None
    is_atomic: bool = False
    plain: EncodedJob | Job | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the writer knows after a commit, so that nobody has to guess or ask."""

    next_run_at_ms: int | None = None
    next_deadline_ms: int | None = None
    next_lease_until_ms: int | None = None
    has_ready: bool = True

    @property
    def is_idle(self) -> bool:
        return not self.has_ready and self.next_lease_until_ms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOrder:
    """Everything a batch needs from the loop, taken once."""

    requests: list[Request]
    now_ms: int
    monotonic_ms: int
    credits: Mapping[str, int]
    alive_until_ms: Mapping[int, int] | None
    is_serial: bool


@dataclass(slots=True)
class BatchResult:
    """Outcomes in the order of the requests (a value or an exception), claims, and the state after it."""

    outcomes: list[object]
    claims: list[Job]
    state: QueueState
    committed: bool
    seconds: float


@dataclass(slots=True)
class Failed:
    """Marks an outcome that is an exception."""

    error: Exception


@dataclass(slots=True)
class BatchRunner:
    """Runs batches, one at a time, on the writing connection.

    `ready_types` holds at least every type with a ready job, so that a claim need not ask for all types.
    """

    types: JobTypes
    apply_fact: ApplyFact
    epoch: int
    ready_types: set[str] = field(default_factory=set)

    def run(self, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        """One transaction; raises only what stops the writer, with everything rolled back."""
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        try:
            changes = connection.total_changes
            hit("writer.after_begin")
            outcomes = self._run_requests(connection, order)
            self._sweep(connection, order)
            claims, drained = self._claim(connection, order, outcomes)
            state = QueueState(*_state_row(connection))
            committed = bool(order.requests) or connection.total_changes != changes
            if committed:
                connection.execute(TICK_CLOCK, (order.now_ms,))
                hit("writer.before_commit")
                connection.execute("COMMIT")
            else:
                connection.execute("ROLLBACK")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.ready_types -= drained
        hit("writer.after_commit")
        return BatchResult(outcomes, claims, state, committed, time.perf_counter() - started)

    def _run_requests(self, connection: sqlite3.Connection, order: BatchOrder) -> list[object]:
        session = WriteSession(
            connection,
            now_ms=order.now_ms,
            types=self.types,
            apply_fact=self.apply_fact,
            ready_types=self.ready_types,
        )
        outcomes: list[object] = [None] * len(order.requests)
        by_stage = sorted(range(len(order.requests)), key=lambda index: order.requests[index].stage)
        start = 0
        while start < len(by_stage):
            run = _alike(order.requests, by_stage, start)
            together = _run_together(connection, session, run) if len(run) >= MIN_TOGETHER else None
            if together is None:
                together = [_run_one(connection, session, request) for request in run]
            for index, outcome in zip(by_stage[start:], together, strict=False):
                outcomes[index] = outcome
            start += len(run)
        return outcomes

    def _sweep(self, connection: sqlite3.Connection, order: BatchOrder) -> None:
        """Expire first: what comes back from a lost lease may be past its deadline by now."""
        if order.alive_until_ms is not None:
            self.ready_types |= leases.expire(
                connection, order.alive_until_ms, now_ms=order.now_ms, monotonic_ms=order.monotonic_ms
            )
        self.ready_types |= jobs.promote_due(connection, now_ms=order.now_ms)
        jobs.cancel_late(connection, now_ms=order.now_ms)

    def _claim(
        self, connection: sqlite3.Connection, order: BatchOrder, outcomes: list[object]
    ) -> tuple[list[Job], set[str]]:
        """Claims, and the types that have no ready job left (to be forgotten once this is committed)."""
        claimer = leases.Claimer(connection, self.types, self.epoch, order.now_ms, order.monotonic_ms)
        credits = dict(order.credits)
        for request, outcome in zip(order.requests, outcomes, strict=True):
            # A refused completion frees nothing: its handler decides again in the same place.
            if request.frees in credits and not isinstance(outcome, Failed):
                credits[request.frees] += 1
        if order.is_serial:
            return claimer.claim_serial(credits), set()
        wanted = [job_type for job_type in sorted(self.ready_types) if credits.get(job_type, 0) > 0]
        if not wanted:
            return [], set()
        claims: list[Job] = []
        drained: set[str] = set()
        taken_keys = claimer.leased_keys()
        for job_type in wanted:
            found, is_drained = claimer.claim_type(job_type, credits[job_type], taken_keys)
            claims += found
            if is_drained:
                drained.add(job_type)
        claims.sort(key=lambda job: (job.priority, job.run_at_ms, job.id))
        return claims, drained


def _alike(requests: list[Request], by_stage: list[int], start: int) -> list[Request]:
    """The longest run of plain requests of one kind from `start` on; one request when it is not plain."""
    first = requests[by_stage[start]]
    run = [first]
    if first.plain is not None:
        kind = type(first.plain)
        for index in by_stage[start + 1 :]:
            if type(requests[index].plain) is not kind:
                break
            run.append(requests[index])
    return run


def _run_together(
    connection: sqlite3.Connection, session: WriteSession, run: list[Request]
) -> list[object] | None:
    """All of a run in few statements; None, and nothing done, when one of them has to fail or to exist."""
    connection.execute("SAVEPOINT run")
    session.job = None
    done: list[object] | None = None
    try:
        new = [request.plain for request in run if isinstance(request.plain, EncodedJob)]
        if new:
            published = session.insert_many(new)
            done = None if published is None else list(published)
        else:
            held = [request.plain for request in run if isinstance(request.plain, Job)]
            done = [None] * len(run) if jobs.finish_many(connection, held, now_ms=session.now_ms) else None
    except Exception as error:
        if is_fatal(error):
            raise
    if done is None:
        connection.execute("ROLLBACK TO run")
    connection.execute("RELEASE run")
    return done


def _run_one(connection: sqlite3.Connection, session: WriteSession, request: Request) -> object:
    if not request.is_atomic:
        connection.execute("SAVEPOINT request")
    session.job = None
    try:
        outcome = request.work(session)
    except Exception as error:
        if is_fatal(error):
            raise
        if not request.is_atomic:
            connection.execute("ROLLBACK TO request")
            connection.execute("RELEASE request")
        session.scratch.clear()
        return Failed(error)
    if not request.is_atomic:
        connection.execute("RELEASE request")
    return outcome


def is_fatal(error: BaseException) -> bool:
    """Whether the file or the disk failed, not the request: then the whole batch must go back."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in FATAL_CODES


def _state_row(connection: sqlite3.Connection) -> tuple[int | None, int | None, int | None, bool]:
    run_at, deadline, lease_until, ready = connection.execute(STATE).fetchone()
    return run_at, deadline, lease_until, bool(ready)
