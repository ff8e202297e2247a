"""A real queue with a compute handler, for tests and for the process that one of them kills."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finagent.adapters.pool.processes import ProcessComputePool
from finagent.adapters.pool.worker import Patience
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.compute_handler import ComputeHandler, ComputeStep
from finagent.queue.job import Job, JobPolicy, JobTypes, JsonValue, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.queue.worker import ServiceWorker
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.integration.compute.functions import path_to

POLICY = JobPolicy(priority=1, credits=4, max_attempts=3, backoff_base_s=0.01, timeout_s=20.0)
SOON_S = 30
LOOK_EVERY_S = 0.01


async def store_result(job: Job, result: JsonValue, tx: Tx) -> None:
    """The result becomes a fact, and a job that follows up."""
    tx.put(f"{job.idem_key}={result}")
    if job.payload.get("follow_up"):
        tx.enqueue(NewJob("add", {"a": 1, "b": 1}, f"{job.idem_key}.next"))


def count_fact(session: WriteSession, fact: object) -> None:
    """Facts are counted, so an effect that was applied twice shows."""
    session.conn.execute(
        "INSERT INTO meta (key, value) VALUES (?, 'x') ON CONFLICT (key) DO UPDATE SET value = value || 'x'",
        (str(fact),),
    )


@dataclass
class Engine:
    """Queue, processor, pool and handler; a job's type is the name of its function."""

    folder: Path
    names: tuple[str, ...]
    policy: JobPolicy = POLICY
    workers: int = 3
    patience: Patience = Patience(grace_s=0.2, term_s=0.3)  # noqa: RUF009  it is frozen
    steps: Mapping[str, ComputeStep] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    begun: dict[int, asyncio.Event] = field(default_factory=dict)
    on_progress: Callable[[Job], None] | None = None

    async def open(self) -> None:
        clock, ticker = SystemClock(), SystemTicker()
        types = JobTypes(dict.fromkeys(self.names, self.policy))
        self.database = await Database.open(self.folder / "jobs.db", clock=clock)
        self.queue = SqliteJobQueue(self.database, types, clock, ticker, apply_fact=count_fact)
        await self.queue.start()
        self.pool = ProcessComputePool(workers=self.workers, patience=self.patience)
        self.processor = EventLoopProcessor(
            self.queue, types, clock=clock, ticker=ticker, on_halt=print, poll_s=0.05
        )
        steps = {name: ComputeStep(function=path_to(name), finish=store_result) for name in self.names}

        def alive(job: Job) -> None:
            self.begun.setdefault(job.id, asyncio.Event()).set()

        self.handler = ComputeHandler(
            self.pool, {**steps, **self.steps}, scratch=self.folder / "scratch", progress=alive
        )
        contract = ServiceContract(name="compute", consumes=self.names)
        self.worker: ServiceWorker = self.processor.worker(contract, self.handler)
        self.tasks = [
            spawn(self.processor.run(self.stop), "processor"),
            spawn(self.worker.run(self.stop), "worker"),
        ]

    async def close(self) -> None:
        self.stop.set()
        await self.pool.close()
        await asyncio.wait_for(asyncio.gather(*self.tasks), SOON_S)
        await self.queue.close()
        await self.database.close()

    async def publish(self, type: str, idem_key: str, **payload: JsonValue) -> int:
        return (await self.queue.publish(NewJob(type, payload, idem_key))).job_id

    async def running(self, job_id: int) -> int:
        """The worker of a job, once its function has said its process."""
        while True:
            event = self.begun.setdefault(job_id, asyncio.Event())
            await asyncio.wait_for(event.wait(), SOON_S)
            event.clear()
            progress = self.handler.progress_of(job_id)
            if progress is not None and progress.text.startswith("pid "):
                return int(progress.text.removeprefix("pid "))

    async def over(self, job_id: int) -> Job:
        """The job when it has ended, whatever else goes on."""
        async with asyncio.timeout(SOON_S):
            while True:
                job = await self.queue.get(job_id)
                assert job is not None
                if job.finished_at_ms is not None:
                    return job
                await SystemTicker().sleep(LOOK_EVERY_S)

    async def facts(self) -> dict[str, int]:
        """Fact -> how often it was applied."""
        rows = await self.database.read("SELECT key, length(value) FROM meta ORDER BY key")
        return {str(key): int(str(count)) for key, count in rows}
