"""Credits of a processor come back whatever becomes of a job: many jobs pass through few credits."""

import asyncio
from pathlib import Path

import pytest

from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.errors import GiveUpError, RetryError
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import QueueWorld

CREDITS, JOBS = 3, 60
TYPES = JobTypes({"work": JobPolicy(priority=1, credits=CREDITS, max_attempts=2, timeout_s=10.0)})


class Mixed:
    """Most are done; some fail once, give up, break the type's promise, or refuse their own effects."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def handle(self, job: Job, tx: Tx) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)  # let those beside it begin
            await self._act(job, tx)
        finally:
            self.running -= 1

    async def _act(self, job: Job, tx: Tx) -> None:
        number = int(job.idem_key)
        if number % 6 == 1 and job.failures == 0:
            raise RetryError("once", retry_after_s=0.0)
        if number % 6 == 2:
            raise GiveUpError("never")
        if number % 6 == 3:
            tx.put("bad")
        if number % 6 == 4:
            tx.put(f"fact-{number}")


@pytest.mark.parametrize("door", ["one by one", "at once"])
async def test_many_jobs_pass_through_few_credits(tmp_path: Path, door: str) -> None:
    """Done, failed, dead or refused: the next job starts, and never more run than there are credits."""
    world, stop, mixed = (
        QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES),
        asyncio.Event(),
        Mixed(),
    )
    await world.open()
    processor = EventLoopProcessor(
        world.queue, TYPES, clock=world.clock, ticker=world.ticker, on_halt=world.halts.append, poll=False
    )
    worker = processor.worker(ServiceContract(name="mixed", consumes=("work",)), mixed)
    tasks = [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]
    jobs = [NewJob("work", {}, str(number)) for number in range(JOBS)]
    try:
        if door == "at once":
            await world.queue.publish_many(jobs)
        else:
            for job in jobs:
                await world.queue.publish(job)
        await finished(world)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    stats = await world.queue.stats()
    assert (stats.by_status["done"], stats.by_status["dead"]) == (JOBS * 4 // 6, JOBS * 2 // 6)
    assert mixed.most <= CREDITS
    assert door == "one by one" or mixed.most == CREDITS
    await world.close()


async def finished(world: QueueWorld) -> None:
    """Let business time pass until nothing is live; a credit that never comes back leaves jobs waiting for ever."""
    for _ in range(1_000):
        by_status = (await world.queue.stats()).by_status
        if not any(by_status[status] for status in ("scheduled", "ready", "leased")):
            return
        world.clock.advance(world.clock.now_ms() + 1_000)
        world.queue.poke()
        await world.settle()
    raise AssertionError(f"not finished: {by_status}")
