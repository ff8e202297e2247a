"""finagent's queue with all its features: processor, leases, hang judge, metrics, synchronous=FULL."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks.queue.workload import PAYLOAD, Sample, spread_ms, stopwatch
from finagent.adapters.sqlite import queue as adapter
from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.requests import BatchOrder, BatchResult
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.queue.worker import ServiceWorker
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.garbage import settle
from finagent.runtime.metrics import Metrics
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn

COUNT = """
SELECT status, attempts, count(*) FROM job_queue WHERE idem_key NOT LIKE 'old%' GROUP BY 1, 2"""
TYPES = JobTypes({"scan": JobPolicy(priority=5, credits=256)})
BULK = 256
BULK_TYPES = JobTypes({"scan": JobPolicy(priority=5, credits=4 * BULK, batch=BULK)})


@dataclass(slots=True)
class Counting:
    """A handler that reads its payload and counts."""

    wanted: int
    seen: int = 0
    all_seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, job: Job, tx: Tx) -> None:
        self.seen += job.payload["qty"] == 100
        if self.seen >= self.wanted:
            self.all_seen.set()

    async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> None:
        """The same for several jobs at once."""
        self.seen += sum(job.payload["qty"] == 100 for job in jobs)
        if self.seen >= self.wanted:
            self.all_seen.set()


@asynccontextmanager
async def running(path: Path, handler: Counting, types: JobTypes = TYPES) -> AsyncIterator[SqliteJobQueue]:
    """The queue with a processor and one worker, as the agent wires them."""
    settle()
    clock, ticker, metrics = SystemClock(), SystemTicker(), Metrics()
    database = await Database.open(path, clock=clock, is_roomy=True)
    queue = SqliteJobQueue(database, types, clock, ticker, metrics=metrics)
    await queue.start()
    processor = EventLoopProcessor(
        queue, types, clock=clock, ticker=ticker, on_halt=raise_halt, metrics=metrics, total_credits=4 * BULK
    )
    worker: ServiceWorker = processor.worker(ServiceContract(name="bench", consumes=("scan",)), handler)
    stop = asyncio.Event()
    services = [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]
    try:
        await asyncio.sleep(0.01)
        yield queue
        stop.set()
        await asyncio.gather(*services)
        await queue.close()
    finally:
        await database.close()


def new_job(number: int) -> NewJob:
    """The job all contestants run."""
    return NewJob("scan", PAYLOAD, f"k{number}")


def raise_halt(reason: str) -> None:
    raise RuntimeError(reason)


async def cycle(path: Path, *, jobs: int, in_flight: int) -> Sample:
    """Publish, handle and complete `jobs` jobs with so many publishers."""
    handler = Counting(jobs)
    async with running(path, handler) as queue:
        numbers = iter(range(jobs))

        async def publisher() -> None:
            for number in numbers:
                await queue.publish(new_job(number))

        began = stopwatch()
        await asyncio.gather(*(publisher() for _ in range(in_flight)))
        await handler.all_seen.wait()
        await queue.wait_quiescent()
        seconds = stopwatch() - began
        rows = await queue.database.read(COUNT)
        if rows != [("done", 1, jobs)]:
            raise RuntimeError(f"{jobs} jobs were published, the table says {json.dumps(rows)}")
        commits = queue.counters.commits
    return Sample(jobs / seconds, {"jobs_per_commit": jobs / commits})


class TimedRunner(BatchRunner):
    """The real runner; it notes when its last commit was on disk."""

    committed_at: ClassVar[float] = 0.0

    def run(self, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        result = super().run(connection, order)
        TimedRunner.committed_at = stopwatch()
        return result


@dataclass(slots=True)
class Timing(Counting):
    """Notes how long after the commit of its claim each handler begins."""

    waits: list[float] = field(default_factory=list)

    async def handle(self, job: Job, tx: Tx) -> None:
        self.waits.append(stopwatch() - TimedRunner.committed_at)
        await Counting.handle(self, job, tx)  # a slotted dataclass has no super()


async def latency(path: Path, *, jobs: int, in_flight: int) -> Sample:
    """How long a publish takes, and how long after its commit the handler begins."""
    adapter.BatchRunner = TimedRunner  # type: ignore[attr-defined]  # this process measures nothing else
    handler = Timing(jobs)
    taken: list[float] = []
    async with running(path, handler) as queue:
        numbers = iter(range(jobs))

        async def publisher() -> None:
            for number in numbers:
                began = stopwatch()
                await queue.publish(new_job(number))
                taken.append(stopwatch() - began)

        began = stopwatch()
        await asyncio.gather(*(publisher() for _ in range(in_flight)))
        await handler.all_seen.wait()
        seconds = stopwatch() - began
    found = {**spread_ms("publish", taken), **spread_ms("start_after_commit", handler.waits)}
    return Sample(jobs / seconds, found)
