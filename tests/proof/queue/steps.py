"""A process with all job types of the real agent: publishes some of each, works them off, may die at a failpoint."""

import asyncio
import os
import sqlite3
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.bootstrap.rules import job_types
from finagent.queue.job import Job, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import RetryError
from finagent.runtime.failpoints import VARIABLE
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.proof.points import watch_deliveries
from tests.proof.queue.family import count_fact
from tests.proof.queue.witness import Witness

FIRST = 3
KINDS = tuple(str(kind) for kind in job_types())
Row = tuple[object, ...]
OUTCOME = """
SELECT job.type, job.idem_key, job.key, job.payload, job.status, job.failures, parent.type, parent.idem_key, fact.value
FROM job_queue job LEFT JOIN job_queue parent ON parent.id = job.parent_id
LEFT JOIN meta fact ON fact.key = job.type || ':' || job.idem_key ORDER BY 1, 2"""


class Steps:
    """A fact for each job; a first job asks for one of the next type; the second of each type fails once."""

    async def handle(self, job: Job, tx: Tx) -> None:
        if job.idem_key == "first-1" and job.failures == 0:
            raise RetryError("not yet", retry_after_s=0.001)
        await asyncio.sleep(0)
        tx.put(f"{job.type}:{job.idem_key}")
        if job.idem_key.startswith("first"):
            after = KINDS[(KINDS.index(job.type) + 1) % len(KINDS)]
            tx.enqueue(NewJob(after, {"from": job.type}, f"next-{job.idem_key}", key=f"key-{after}"))


async def main(arguments: dict[str, str]) -> None:
    """Publish what is not there yet, finish everything, end."""
    os.environ[VARIABLE] = arguments["failpoint"]
    watch_deliveries()
    clock, ticker, types = SystemClock(), SystemTicker(), job_types()
    witness = Witness(Path(arguments["witness"]))
    database = await Database.open(Path(arguments["path"]), clock=clock)
    queue = SqliteJobQueue(database, types, clock, ticker, apply_fact=count_fact)
    await queue.start()
    processor = EventLoopProcessor(queue, types, clock=clock, ticker=ticker, on_halt=print, poll_s=0.02)
    worker, stop = processor.worker(ServiceContract(name="steps", consumes=KINDS), Steps()), asyncio.Event()
    tasks = [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]
    await asyncio.gather(
        *(publish(queue, witness, number, kind) for number in range(FIRST) for kind in KINDS)
    )
    await finished(queue)
    stop.set()
    await asyncio.gather(*tasks)
    await queue.close()
    await database.close()


async def publish(queue: SqliteJobQueue, witness: Witness, number: int, kind: str) -> None:
    """One of the first jobs; published again after a restart, which must change nothing."""
    await queue.publish(NewJob(kind, {"n": number}, f"first-{number}", key=f"key-{kind}" if number else None))
    witness.say(f"published {kind}:first-{number}")


async def finished(queue: SqliteJobQueue) -> None:
    """Return when nothing is waiting, running or due later."""
    while True:
        await queue.wait_quiescent()
        by_status = (await queue.stats()).by_status
        if not any(by_status[status] for status in ("scheduled", "ready", "leased")):
            return
        await queue.call(lambda session: None)  # a commit later


def outcome(path: Path) -> list[Row]:
    """Every job with its parent and how often its fact was applied; AssertionError for a damaged file."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(OUTCOME).fetchall()
    finally:
        connection.close()
