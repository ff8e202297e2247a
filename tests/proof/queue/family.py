"""A process that works until it is killed: publishes, handles, retries; each acknowledgement goes to the witness."""

import asyncio
import os
import sqlite3
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import RetryError
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.proof.queue.witness import Witness

TYPES = JobTypes(
    {
        "parent": JobPolicy(priority=1, credits=8, max_attempts=1000, backoff_base_s=0.01),
        "child": JobPolicy(priority=2, credits=8, max_attempts=1000, backoff_base_s=0.01),
    }
)
PUBLISHERS = 8
CHILDREN = 2


def count_fact(session: WriteSession, fact: object) -> None:
    """Facts are counted, so an effect that was applied twice shows."""
    session.conn.execute(
        "INSERT INTO meta (key, value) VALUES (?, 'x') ON CONFLICT (key) DO UPDATE SET value = value || 'x'",
        (str(fact),),
    )


class Handler:
    """A parent leaves a fact and two children, a child a fact; every seventh fails once."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def handle(self, job: Job, tx: Tx) -> None:
        if job.id % 7 == 0 and job.failures == 0:
            raise RetryError("not yet")
        await asyncio.sleep(0)
        name = f"{job.type}:{job.idem_key}"
        self._witness.say(f"effect {name}")
        tx.put(name)
        if job.type == "parent":
            for number in range(CHILDREN):
                tx.enqueue(NewJob("child", {}, f"{job.idem_key}.{number}", key=f"key-{job.id % 5}"))


class WitnessedQueue(SqliteJobQueue):
    """Says which completions were acknowledged."""

    witness: Witness

    async def complete(self, job: Job, tx: Tx) -> None:
        await super().complete(job, tx)
        self.witness.say(f"done {job.type}:{job.idem_key}")


async def main(arguments: dict[str, str]) -> None:
    """Publish under `name` until killed; with `drain` finish everything that is there and end."""
    clock, ticker = SystemClock(), SystemTicker()
    witness = Witness(Path(arguments["witness"]))
    database = await Database.open(Path(arguments["path"]), clock=clock)
    queue = WitnessedQueue(database, TYPES, clock, ticker, apply_fact=count_fact)
    queue.witness = witness
    await queue.start()
    processor = EventLoopProcessor(queue, TYPES, clock=clock, ticker=ticker, on_halt=print, poll_s=0.02)
    contract = ServiceContract(name="family", consumes=("parent", "child"))
    worker, stop = processor.worker(contract, Handler(witness)), asyncio.Event()
    tasks = [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]
    os.write(1, b"ready\n")

    async def publish_forever(publisher: int) -> None:
        number = 0
        while True:
            name = f"{arguments['name']}-{publisher}-{number}"
            await queue.publish(NewJob("parent", {"text": "x" * 200}, name))
            witness.say(f"published {name}")
            number += 1

    if "drain" not in arguments:
        await asyncio.gather(*(publish_forever(number) for number in range(PUBLISHERS)))
    while queue.next_run_at_ms() is not None or (await queue.stats()).by_status["scheduled"]:
        queue.poke()
        await ticker.sleep(0.02)
    await queue.wait_quiescent()
    stop.set()
    await asyncio.gather(*tasks)
    await queue.close()
    await database.close()


def rows(path: Path, sql: str) -> list[tuple[str, ...]]:
    """What stands in a file that nobody has open."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
