"""One commit as one function: finish, extend, business, promote, cancel late, expire, claim, COMMIT."""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from finagent.adapters.sqlite import jobs, leases
from finagent.adapters.sqlite.leases import lease_until_ms
from finagent.adapters.sqlite.publish import NewLease, insert_many, leased_jobs
from finagent.adapters.sqlite.requests import (
    FINISH_ALONE,
    AnyRequest,
    BatchOrder,
    BatchResult,
    Failed,
    Finish,
    Publish,
    QueueState,
    Request,
    Stage,
)
from finagent.adapters.sqlite.session import ApplyFact, WriteSession
from finagent.queue.job import Job, JobTypes
from finagent.queue.port import Published
from finagent.runtime.failpoints import hit, is_armed

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
TICK_CLOCK = "UPDATE clock SET now_ms = ?1 WHERE id = 1 AND now_ms < ?1"
STATE = """
SELECT (SELECT min(run_at) FROM job_queue WHERE status = 'scheduled'),
       (SELECT min(deadline_at) FROM job_queue
        WHERE deadline_at IS NOT NULL AND status IN ('scheduled', 'ready')),
       (SELECT min(lease_until) FROM job_queue WHERE status = 'leased'),
       EXISTS (SELECT 1 FROM job_queue WHERE status = 'ready')"""


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
        kinds: Sequence[str] = _kinds(order.requests) if is_armed() else ()
        apart: set[str] = set()
        while True:
            try:
                batch, state = self._transact(connection, order, kinds, apart)
                break
            except _NotTogetherError as error:
                apart.add(error.kind)
        kinds = batch.kinds(kinds)
        hit("writer.after_commit", kinds)
        seconds = time.perf_counter() - started
        return BatchResult(batch.outcomes, batch.claims, state, batch.is_committed, seconds, kinds)

    def _transact(
        self, connection: sqlite3.Connection, order: BatchOrder, kinds: Sequence[str], apart: set[str]
    ) -> tuple["_Batch", QueueState]:
        """All of it, or nothing and an exception."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            changes = connection.total_changes
            hit("writer.after_begin", kinds)
            batch = _Batch(connection, self, order, apart)
            batch.run_requests()
            batch.sweep()
            drained = batch.claim()
            state = QueueState(*_state_row(connection))
            batch.is_committed = bool(order.requests) or connection.total_changes != changes
            if batch.is_committed:
                connection.execute(TICK_CLOCK, (order.now_ms,))
                hit("writer.before_commit", batch.kinds(kinds))
                connection.execute("COMMIT")
            else:
                connection.execute("ROLLBACK")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.ready_types -= drained
        return batch, state


class _NotTogetherError(Exception):
    """A shared statement would have to fail for one of its requests: all goes back, and those run one by one."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Batch:
    """One transaction under way.

    A batch is calm when nothing but its publishes can make a job ready or end one: then it needs no sweep. A
    job that the claim of this very batch would hand out anyway is stored as leased at once; that is certain in
    a calm batch, if none of the type is left from before and there is a credit for each.
    """

    def __init__(
        self, connection: sqlite3.Connection, runner: BatchRunner, order: BatchOrder, apart: set[str]
    ) -> None:
        self._apart = apart
        self._connection = connection
        self._runner = runner
        self._order = order
        self._session = WriteSession(
            connection,
            now_ms=order.now_ms,
            types=runner.types,
            apply_fact=runner.apply_fact,
            ready_types=runner.ready_types,
        )
        self._credits = order.credits.copy()
        self._is_calm = not (order.is_serial or order.is_sweep_due)
        self._published: dict[str, int] = {}
        self.outcomes: list[object] = [None] * len(order.requests)
        self.claims: list[Job] = []
        self.is_committed = False

    def kinds(self, asked: Sequence[str]) -> Sequence[str]:
        """The job types this batch is about, for failpoints: those it was asked about and those it claimed."""
        return (*asked, *(job.type for job in self.claims)) if is_armed() else ()

    def run_requests(self) -> None:
        """All requests stage by stage, and within a stage as they came; neighbours of a kind together."""
        requests = self._order.requests
        places = self._places()
        start = 0
        while start < len(places):
            kind, end = requests[places[start]].together, start + 1
            while kind is not None and end < len(places) and requests[places[end]].together == kind:
                end += 1
            run = places[start:end]
            if kind is None or kind in self._apart:
                for index in run:
                    self.outcomes[index] = self._run_one(requests[index])
            else:
                self._run_together(kind, run)
            start = end

    def _places(self) -> list[int]:
        """The requests in order of their stage; learns on the way what the batch publishes, and if it is calm."""
        finish: list[int] = []
        extend: list[int] = []
        business: list[int] = []
        published, now_ms = self._published, self._order.now_ms
        for index, request in enumerate(self._order.requests):
            if isinstance(request, Publish):
                business.append(index)
                for new in request.new:
                    job = new.job
                    published[job.type] = published.get(job.type, 0) + 1
                    if job.deadline_at_ms is not None and job.deadline_at_ms < now_ms:
                        self._is_calm = False  # the sweep cancels it
            elif isinstance(request, Finish):
                finish.append(index)
                self._is_calm = self._is_calm and request.effects is None
            elif request.stage is Stage.EXTEND:
                extend.append(index)
            else:
                (finish if request.stage is Stage.FINISH else business).append(index)
                self._is_calm = False
        return finish + extend + business

    def _is_certain(self, job_type: str) -> bool:
        """Whether the claim of this batch would hand all jobs of this type out anyway."""
        return (
            self._is_calm
            and self._credits.shared is None  # else a type that comes later may have the first claim to it
            and job_type not in self._runner.ready_types
            and self._credits.room(job_type) >= self._published[job_type]
        )

    def _run_together(self, kind: str, run: Sequence[int]) -> None:
        """A run of requests in few statements; raises _NotTogetherError when one of them has to fail."""
        try:
            if kind == FINISH_ALONE:
                self._finish(run)
            else:
                self._publish(kind, run)
        except _NotTogetherError:
            raise
        except Exception as error:
            if is_fatal(error):
                raise
            raise _NotTogetherError(kind) from error

    def _finish(self, run: Sequence[int]) -> None:
        requests = cast("Sequence[Finish]", [self._order.requests[index] for index in run])
        done = [job for request in requests for job in request.jobs]
        jobs.finish(self._connection, done, now_ms=self._order.now_ms)
        for job_type, count in Counter([job.type for job in done]).items():
            self._credits.take(job_type, -count)

    def _publish(self, job_type: str, run: Sequence[int]) -> None:
        requests = cast("Sequence[Publish]", [self._order.requests[index] for index in run])
        new = [job for request in requests for job in request.new]
        now_ms, epoch = self._order.now_ms, self._runner.epoch
        lease = None
        if self._is_certain(job_type):
            until_ms = lease_until_ms(self._runner.types, job_type, monotonic_ms=self._order.monotonic_ms)
            lease = NewLease(epoch=epoch, until_ms=until_ms)
        next_id = insert_many(self._connection, new, now_ms=now_ms, parent=None, lease=lease)
        if next_id is None:
            raise _NotTogetherError(job_type)
        if lease is None:
            self._runner.ready_types.add(job_type)
        else:
            self._credits.take(job_type, len(new))
            self._published[job_type] -= len(new)
            self.claims += leased_jobs(new, next_id, now_ms=now_ms, epoch=epoch)
        published = [Published(job_id, True) for job_id in range(next_id, next_id + len(new))]
        start = 0
        for index, request in zip(run, requests, strict=True):
            end = start + len(request.new)
            self.outcomes[index] = published[start:end]
            start = end

    def _run_one(self, request: AnyRequest) -> object:
        connection, session = self._connection, self._session
        connection.execute("SAVEPOINT request")
        session.job = None
        try:
            outcome = self._work(request)
        except Exception as error:
            if is_fatal(error):
                raise
            connection.execute("ROLLBACK TO request")
            connection.execute("RELEASE request")
            session.scratch.clear()
            # A refused completion frees nothing: its handler decides again in the same place.
            return Failed(error)
        connection.execute("RELEASE request")
        if request.frees is not None:
            self._credits.take(request.frees, -(len(request.jobs) if isinstance(request, Finish) else 1))
        return outcome

    def _work(self, request: AnyRequest) -> object:
        if isinstance(request, Publish):
            return self._session.insert_all(request.new)
        if isinstance(request, Request):
            return request.work(self._session)
        jobs.finish(self._connection, request.jobs, now_ms=self._order.now_ms)
        if request.effects is not None:
            # Follow-up jobs name their parent, if there is but one.
            self._session.job = request.jobs[0] if len(request.jobs) == 1 else None
            request.effects(self._session)
        return None

    def sweep(self) -> None:
        """Expire first: what comes back from a lost lease may be past its deadline by now.

        Nothing is due in a calm batch: nothing was before it, and what it published has just been looked at.
        """
        if self._is_calm:
            return
        order, ready_types = self._order, self._runner.ready_types
        if order.alive_until_ms is not None:
            ready_types |= leases.expire(
                self._connection,
                order.alive_until_ms,
                now_ms=order.now_ms,
                monotonic_ms=order.monotonic_ms,
            )
        ready_types |= jobs.promote_due(self._connection, now_ms=order.now_ms)
        jobs.cancel_late(self._connection, now_ms=order.now_ms)

    def claim(self) -> set[str]:
        """Claims; gives the types that have no ready job left (to be forgotten once this is committed)."""
        runner, order = self._runner, self._order
        claimer = leases.Claimer(
            self._connection, runner.types, runner.epoch, order.now_ms, order.monotonic_ms
        )
        if order.is_serial:
            self.claims += claimer.claim_serial(self._credits)
            return set()
        room = self._credits.room
        wanted = claimer.by_head([each for each in sorted(runner.ready_types) if room(each) > 0])
        if self._credits.shared is not None:
            wanted.sort(key=lambda job_type: runner.types.policy(job_type).priority)
        drained: set[str] = set()
        taken_keys = claimer.leased_keys() if wanted else set()
        for job_type in wanted:
            if room(job_type) <= 0:
                continue  # those before it took the rest of the total
            found, is_drained = claimer.claim_type(job_type, room(job_type), taken_keys)
            self._credits.take(job_type, len(found))
            self.claims += found
            if is_drained:
                drained.add(job_type)
        self.claims.sort(key=lambda job: (job.priority, job.run_at_ms, job.id))
        return drained


def _kinds(requests: Sequence[AnyRequest]) -> tuple[str, ...]:
    """The job types that requests are about, for failpoints."""
    found: list[str] = []
    for request in requests:
        if isinstance(request, Publish):
            found += [new.job.type for new in request.new]
        elif request.frees is not None:
            found.append(request.frees)
    return tuple(found)


def is_fatal(error: BaseException) -> bool:
    """Whether the file or the disk failed, not the request: then the whole batch must go back."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in FATAL_CODES


def _state_row(connection: sqlite3.Connection) -> tuple[int | None, int | None, int | None, bool]:
    run_at, deadline, lease_until, ready = connection.execute(STATE).fetchone()
    return run_at, deadline, lease_until, bool(ready)
