"""One worker on a queue of its own, all on the loop's thread: a test sees each turn, and time moves by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from finagent.queue.job import Job, JobPolicy, JobTypes
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.queue.worker import ServiceWorker
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import PATIENCE_S, QueueWorld

Act = Callable[[Job, Tx], Awaitable[None]]
MANY_TURNS = 3_000
NEVER_POLLS_S = 1_000_000.0
"""A poll so rare that none comes: hanging is judged only when the queue asks whose lease may end."""


async def nothing(job: Job, tx: Tx) -> None:
    """A handler that has nothing to say."""


async def turns(count: int = 200) -> None:
    """Let all others run so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def one_type(policy: JobPolicy) -> JobTypes:
    """`work` is the only type there is."""
    return JobTypes({"work": policy})


@dataclass
class Handler:
    """Does what the test says and remembers the jobs it saw."""

    act: Act
    seen: list[str] = field(default_factory=list)

    async def handle(self, job: Job, tx: Tx) -> None:
        self.seen.append(job.idem_key)
        await self.act(job, tx)


@dataclass
class Stage:
    """A running worker of all types, with its processor; each has its own signal to stop."""

    world: QueueWorld
    handler: Handler
    processor: EventLoopProcessor
    worker: ServiceWorker
    worker_stop: asyncio.Event = field(default_factory=asyncio.Event)
    processor_stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def start(self) -> None:
        """Return when both are at work and have nothing to do yet."""
        self.tasks["processor"] = spawn(self.processor.run(self.processor_stop), "processor")
        self.tasks["worker"] = spawn(self.worker.run(self.worker_stop), "worker")
        await turns(50)

    async def stop(self, name: str) -> None:
        """Stop the worker or the processor in order and wait for its end."""
        {"worker": self.worker_stop, "processor": self.processor_stop}[name].set()
        await asyncio.wait_for(asyncio.shield(self.tasks[name]), PATIENCE_S)

    async def quiet(self) -> None:
        """Return when nothing is ready or under way."""
        await asyncio.wait_for(self.world.queue.wait_quiescent(), PATIENCE_S)

    async def stored(self, job_id: int) -> Job:
        """The job as the database has it."""
        found = await self.world.queue.get(job_id)
        assert found is not None
        return found

    async def by_status(self) -> dict[str, int]:
        """Status -> how many jobs have it; those that none has are left out."""
        counted = (await self.world.queue.stats()).by_status
        return {str(status): count for status, count in counted.items() if count}

    async def end(self) -> None:
        """Leave whatever still runs; an error of the worker or the processor itself is told."""
        for task in self.tasks.values():
            task.cancel()
        ended = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        await self.world.close()
        assert [error for error in ended if isinstance(error, Exception)] == []


@asynccontextmanager
async def opened(folder: Path, types: JobTypes) -> AsyncIterator[QueueWorld]:
    """A queue without a worker."""
    world = QueueWorld(folder / "jobs.db", threaded=False, types=types)
    await world.open()
    try:
        yield world
    finally:
        await world.close()


@asynccontextmanager
async def staged(
    folder: Path,
    types: JobTypes,
    act: Act = nothing,
    *,
    total_credits: int = 512,
    poll_s: float | None = None,
) -> AsyncIterator[Stage]:
    """A queue with its worker, which polls only if `poll_s` is given."""
    world = QueueWorld(folder / "jobs.db", threaded=False, types=types)
    await world.open()
    processor = EventLoopProcessor(
        world.queue,
        types,
        clock=world.clock,
        ticker=world.ticker,
        on_halt=world.halts.append,
        poll=poll_s is not None,
        poll_s=0.25 if poll_s is None else poll_s,
        total_credits=total_credits,
    )
    handler = Handler(act)
    worker = processor.worker(ServiceContract(name="all", consumes=tuple(types)), handler)
    stage = Stage(world, handler, processor, worker)
    await stage.start()
    try:
        yield stage
    finally:
        await stage.end()
