"""A process made to be killed: it works through jobs and keeps a witness outside the database."""

import asyncio
import os
import sys
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn

TYPES = JobTypes(
    {
        "parent": JobPolicy(priority=1, credits=4, max_attempts=100),
        "child": JobPolicy(priority=2, credits=4, max_attempts=100),
    }
)


def count_fact(session: WriteSession, fact: object) -> None:
    """Facts are counted, so an effect that was applied twice shows."""
    session.conn.execute(
        "INSERT INTO meta (key, value) VALUES (?, 'x') ON CONFLICT (key) DO UPDATE SET value = value || 'x'",
        (str(fact),),
    )


class Handler:
    """A parent leaves a fact and two children, a child leaves a fact."""

    async def handle(self, job: Job, tx: Tx) -> None:
        await asyncio.sleep(0)
        tx.put(f"{job.type}:{job.idem_key}")
        if job.type == "parent":
            for number in range(2):
                tx.enqueue(NewJob("child", {}, f"{job.idem_key}.{number}"))


def witness(line: str) -> None:
    """Append a line that survives the death of this process."""
    descriptor = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


async def main(jobs: int) -> None:
    clock, ticker = SystemClock(), SystemTicker()
    database = await Database.open(Path(sys.argv[1]), clock=clock)
    queue = SqliteJobQueue(database, TYPES, clock, ticker, apply_fact=count_fact)
    await queue.start()
    processor = EventLoopProcessor(queue, TYPES, clock=clock, ticker=ticker, on_halt=print, poll=False)
    worker = processor.worker(ServiceContract(name="family", consumes=("parent", "child")), Handler())
    stop = asyncio.Event()
    tasks = [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]

    async def publish(number: int) -> None:
        await queue.publish(NewJob("parent", {}, str(number)))
        witness(f"published {number}")

    await asyncio.gather(*(publish(number) for number in range(jobs)))
    await queue.wait_quiescent()
    stop.set()
    await asyncio.gather(*tasks)
    await queue.close()
    await database.close()
    witness("finished")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[3])))
