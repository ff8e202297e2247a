"""The durable queue on SQLite; the one place where jobs, guards and business facts are committed."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from finagent.adapters.sqlite import ballast, jobs, leases
from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.faults import is_full
from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.adapters.sqlite.leases import BootReport
from finagent.adapters.sqlite.requests import Stage, Work
from finagent.adapters.sqlite.session import ApplyFact, WriteSession, refuse_facts
from finagent.adapters.sqlite.stats import read_stats
from finagent.adapters.sqlite.writer import GroupCommitWriter, WriterCounters
from finagent.queue.errors import JobValueError, QueueClosedError
from finagent.queue.job import EncodedJob, Job, JobStatus, JobTypes, NewJob
from finagent.queue.port import Consumer, CronTick, FailOutcome, OnEnd, Published, QueueStats, Tx
from finagent.runtime.clock import Clock, SystemClock, Ticker
from finagent.runtime.errors import HaltError
from finagent.runtime.metrics import Metrics

T = TypeVar("T")


def ignore_halt(reason: str) -> None:
    """The default for `on_halt`: every caller gets the HaltError anyway."""


def ignore_busy(seconds: float) -> None:
    """The default for `on_busy`: the batch is kept and tried again anyway."""


def ignore_full() -> None:
    """The default for `on_full`: what was asked for is stored, and the next full disk halts."""


Complete = Callable[[Sequence[object]], Sequence[object]]
"""Gives the facts of one commit with those that have to go with them."""


def as_they_are(facts: Sequence[object]) -> Sequence[object]:
    """Facts of which nothing is known."""
    return facts


class SqliteJobQueue:
    """JobQueue on one SQLite file.

    On a full disk the file `ballast`, if there is one, is given up, `on_full` is told, once and on the loop,
    and the batch runs again; without one, or when even that was not enough, everything halts.

    >>> database = await Database.open("jobs.db", clock=clock)
    >>> queue = SqliteJobQueue(database, JobTypes({"greet": JobPolicy(priority=1)}), clock, ticker)
    >>> await queue.start()
    >>> await queue.publish(NewJob("greet", {"name": "Ada"}, "greet:ada"))
    """

    def __init__(
        self,
        database: Database,
        types: JobTypes,
        clock: Clock,
        ticker: Ticker,
        *,
        apply_fact: ApplyFact = refuse_facts,
        complete: Complete = as_they_are,
        on_halt: Callable[[str], None] = ignore_halt,
        on_busy: Callable[[float], None] = ignore_busy,
        on_full: Callable[[], None] = ignore_full,
        metrics: Metrics | None = None,
        ballast: Path | None = None,
    ) -> None:
        self._database = database
        self._types = types
        self._clock = clock
        self._ticker = ticker
        self._apply_fact = apply_fact
        self._complete = complete
        self._tell_halt = on_halt
        self._on_busy = on_busy
        self._on_full = on_full
        self._metrics = metrics
        self._ballast = ballast
        self._writer: GroupCommitWriter | None = None
        self._epoch = 0
        self._is_halted = False
        self._is_room_made = False

    # ------------------------------------------------------------ life
    async def start(self) -> BootReport:
        """Open an epoch, return the leases of dead ones, start the writer. Call once, first of all."""
        now_ms, pid = self._clock.now_ms(), os.getpid()
        wall_ms = SystemClock().now_ms()
        try:
            report = await self._database.write_fn(
                lambda connection: leases.boot_in_commit(connection, pid=pid, now_ms=now_ms, wall_ms=wall_ms)
            )
        except sqlite3.OperationalError as error:
            if is_full(error):
                self._database.give_up()  # the ballast is for those who have begun
            raise
        self._epoch = report.epoch
        runner = BatchRunner(self._types, self._apply_fact, report.epoch, set(self._types))
        self._writer = GroupCommitWriter(
            self._database,
            runner,
            clock=self._clock,
            ticker=self._ticker,
            now_ms=max(
                now_ms, report.clock_ms
            ),  # a clock that was set back a little dates nothing before what is there
            on_halt=self._on_halt,
            on_busy=self._on_busy,
            make_room=self._make_room,
            metrics=self._metrics,
        )
        await self._call(lambda session: None)  # learns the state, so that wait_quiescent answers at once
        return report

    async def close(self) -> None:
        """Commit what is queued, mark the boot as cleanly stopped; the database stays open."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.consumer = None  # what it claimed now could not end any more
        await writer.close()
        if not self._is_halted:
            now_ms, epoch = self._clock.now_ms(), self._epoch
            await self._database.write_last(
                lambda connection: leases.end_boot(connection, epoch=epoch, now_ms=now_ms)
            )

    @property
    def epoch(self) -> int:
        """This boot's number; leases of any other are void."""
        return self._epoch

    @property
    def counters(self) -> WriterCounters:
        """Commits and requests since the start."""
        return self._live().counters

    @property
    def database(self) -> Database:
        return self._database

    # ------------------------------------------------------------ publish and commit
    async def publish(self, job: NewJob) -> Published:
        writer = self._live()
        new = self._types.encode(job)
        if not writer.has_room:
            await writer.wait_for_room()
        return (await writer.publish((new,)))[0]

    async def publish_many(self, jobs: Sequence[NewJob]) -> Sequence[Published]:
        writer, encode = self._live(), self._types.encode
        new = [encode(job) for job in jobs]
        if not writer.has_room:
            await writer.wait_for_room()
        return await writer.publish(new)

    async def commit(self, tx: Tx) -> None:
        await self._live().submit(Stage.BUSINESS, self._effects(tx))

    async def call(self, work: Callable[[WriteSession], T]) -> T:
        """Run `work` inside the next commit and return its result; what it raises rolls back it alone.

        For code that lives beside the database (a venue's tables, the market tick); handlers use a Tx.
        """
        return await self._call(work)

    async def complete(self, job: Job, tx: Tx) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(jobs: Sequence[Job], error: Exception | None) -> None:
            if ended.done():
                return  # the caller was cancelled; the commit stands
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        self.finish((job,), tx, tell)
        await ended

    def finish(self, jobs: Sequence[Job], tx: Tx, on_end: OnEnd) -> None:
        if not jobs:
            raise JobValueError("finish was given no job: use commit for effects alone")
        if len(jobs) > 1 and len({job.type for job in jobs}) > 1:
            raise JobValueError("finish was given jobs of several types: finish each type by itself")
        self._live().finish(jobs, None if tx.is_empty else self._effects(tx), on_end)

    async def fail(
        self, job: Job, error: str, *, outcome: FailOutcome, retry_after_s: float | None = None
    ) -> JobStatus:
        wait_ms = jobs.retry_wait_ms(self._types, job, retry_after_s) if outcome == "retry" else 0

        def release(session: WriteSession) -> JobStatus:
            session.ready_types.add(job.type)
            return jobs.release(
                session.conn, job, error, outcome=outcome, wait_ms=wait_ms, now_ms=session.now_ms
            )

        status = await self._live().submit(Stage.FINISH, release, frees=job.type)
        return cast("JobStatus", status)

    async def extend(self, job: Job) -> None:
        until_ms = self._ticker.monotonic_ms() + round(self._types.policy(job.type).timeout_s * 1000)
        await self._live().submit(
            Stage.EXTEND, lambda session: jobs.extend(session.conn, job, lease_until_ms=until_ms)
        )

    # ------------------------------------------------------------ control
    async def cancel(self, job_id: int) -> bool:
        return await self._call(lambda session: jobs.cancel(session.conn, job_id, now_ms=session.now_ms))

    async def retry(self, job_id: int) -> bool:
        def revive(session: WriteSession) -> bool:
            job_type = jobs.revive(session.conn, job_id, now_ms=session.now_ms)
            session.ready_types.update([] if job_type is None else [job_type])
            return job_type is not None

        return await self._call(revive)

    async def redrive(self, type: str | None = None) -> int:
        def revive(session: WriteSession) -> int:
            types = jobs.revive_dead(session.conn, type, now_ms=session.now_ms)
            session.ready_types.update(types)
            return len(types)

        return await self._call(revive)

    async def fire(self, tick: CronTick, jobs: Sequence[NewJob], *, skipped: str | None = None) -> bool:
        return await self._call(lambda session: session.fire(tick, jobs, skipped=skipped))

    async def prune(self, *, older_than_ms: int, limit: int = 200) -> int:
        if not await self._database.read(jobs.PRUNABLE, (older_than_ms, 1)):
            return 0  # and no commit for nothing
        return await self._call(
            lambda session: jobs.prune(session.conn, older_than_ms=older_than_ms, limit=limit)
        )

    # ------------------------------------------------------------ delivery
    def attach(self, consumer: Consumer, *, serial: bool = False) -> None:
        writer = self._live()
        writer.consumer, writer.is_serial = consumer, serial
        writer.poke()

    def detach(self) -> None:
        if self._writer is not None:
            self._writer.consumer = None

    def poke(self) -> None:
        if self._writer is not None:
            self._writer.poke()

    def next_run_at_ms(self) -> int | None:
        return self._live().state.next_run_at_ms

    async def wait_next_run_change(self) -> None:
        moved = self._live().next_run_moved
        await moved.wait()
        moved.clear()

    def is_idle(self) -> bool:
        return self._live().is_idle

    async def wait_quiescent(self) -> None:
        await self._live().wait_quiescent()

    # ------------------------------------------------------------ reads
    async def get(self, job_id: int) -> Job | None:
        rows = await self._database.read(f"SELECT {COLUMNS} FROM job_queue WHERE id = ?", (job_id,))
        return job_from_row(rows[0]) if rows else None

    async def list(
        self, *, status: JobStatus | None = None, type: str | None = None, limit: int = 50
    ) -> Sequence[Job]:
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM job_queue WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR type = ?2)"
            " ORDER BY id DESC LIMIT ?3",
            (status, type, limit),
        )
        return [job_from_row(row) for row in rows]

    async def stats(self) -> QueueStats:
        now_ms = self._clock.now_ms()
        return await self._database.read_fn(lambda connection: read_stats(connection, now_ms=now_ms))

    async def row_version(self, row: str) -> int:
        rows = await self._database.read("SELECT version FROM row_version WHERE row = ?", (row,))
        return cast("int", rows[0][0]) if rows else 0

    async def last_fire_ms(self, name: str) -> int | None:
        rows = await self._database.read("SELECT max(fire_at) FROM cron_fire WHERE name = ?", (name,))
        return cast("int | None", rows[0][0])

    async def note(self, kind: str, data: Mapping[str, object]) -> None:
        """Add a line to the operations journal, stamped with the wall clock."""
        wall_ms, text = SystemClock().now_ms(), json.dumps(data, sort_keys=True)
        await self._call(lambda session: leases.note(session.conn, wall_ms=wall_ms, kind=kind, data=text))

    # ------------------------------------------------------------ inside
    def _live(self) -> GroupCommitWriter:
        if self._writer is None:
            raise QueueClosedError
        return self._writer

    async def _call(self, work: Callable[[WriteSession], T]) -> T:
        return cast("T", await self._live().submit(Stage.BUSINESS, work))

    def _effects(self, tx: Tx) -> Work:
        """What a Tx wants, encoded and checked on the loop: guards, then facts, then jobs."""
        new: list[EncodedJob] = [self._types.encode(job) for job in tx.jobs]
        expected, touched, facts = tuple(tx.expected), tuple(tx.touched), tuple(self._complete(tx.facts))

        def effects(session: WriteSession) -> None:
            session.guard(expected, touched)
            for fact in facts:
                session.apply(fact)
            session.insert_all(new)

        return effects

    def _on_halt(self, halted: HaltError) -> None:
        self._is_halted = True
        self._database.give_up()
        self._tell_halt(str(halted))

    def _make_room(self) -> bool:
        """Give the ballast up; once, whoever puts another there."""
        if self._is_room_made or self._ballast is None or not ballast.free(self._ballast):
            return False
        self._is_room_made = True
        self._on_full()
        return True
