"""A process that works until it is killed: publishes, handles, retries; each acknowledgement goes to the witness.

What it does is a list of ways of working (`WAYS`); a new feature of the queue joins the SIGKILL loop by an entry.
"""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.handler import BatchHandler, JobHandler
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import JobQueue, OnEnd, Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import RetryError
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.proof.queue.witness import Witness

CHILDREN = 2
BULK = 6


def policy(priority: int, batch: int = 1) -> JobPolicy:
    return JobPolicy(priority=priority, credits=8, max_attempts=1000, backoff_base_s=0.01, batch=batch)


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


class Plain:
    """A fact, nothing else: such completions may share one statement."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def handle(self, job: Job, tx: Tx) -> None:
        self._witness.say(f"effect {job.type}:{job.idem_key}")
        tx.put(f"{job.type}:{job.idem_key}")


class Group:
    """Several jobs at once: one fact each, one commit for all of them; now and then one spoils it for the others."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> None:
        for job in jobs:
            if job.id % 11 == 0 and job.failures == 0:
                raise RetryError("not yet")
            self._witness.say(f"effect {job.type}:{job.idem_key}")
            tx.put(f"{job.type}:{job.idem_key}")


class Silent:
    """Nothing at all is stored beside the completion."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def handle(self, job: Job, tx: Tx) -> None:
        self._witness.say(f"effect {job.type}:{job.idem_key}")


async def publish_parent(queue: JobQueue, name: str) -> list[str]:
    await queue.publish(NewJob("parent", {"text": "x" * 200}, name))
    return [f"parent:{name}"]


async def publish_bulk(queue: JobQueue, name: str) -> list[str]:
    """All of a call or nothing; every second one has a key that it shares."""
    names = [f"{name}.{number}" for number in range(BULK)]
    await queue.publish_many(
        [NewJob("bulk", {}, each, key="bulk" if number % 2 else None) for number, each in enumerate(names)]
    )
    return [f"bulk:{each}" for each in names]


async def publish_group(queue: JobQueue, name: str) -> list[str]:
    names = [f"{name}.{number}" for number in range(BULK)]
    await queue.publish_many([NewJob("group", {}, each) for each in names])
    return [f"group:{each}" for each in names]


async def publish_silent(queue: JobQueue, name: str) -> list[str]:
    await queue.publish(NewJob("silent", {}, name))
    return [f"silent:{name}"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of working: job types, who handles them, and how they are published.

    `publish` gives the `type:key` of each job that was acknowledged. The proof asks of every type but `silent`
    that its jobs are done exactly where their fact is stored, once.
    """

    policies: Mapping[str, JobPolicy]
    handler: Callable[[Witness], JobHandler | BatchHandler]
    publish: Callable[[JobQueue, str], Awaitable[list[str]]]
    publishers: int


WAYS = (
    Way({"parent": policy(1), "child": policy(2)}, Handler, publish_parent, publishers=5),
    Way({"bulk": policy(3)}, Plain, publish_bulk, publishers=2),
    Way({"group": policy(3, batch=4)}, Group, publish_group, publishers=2),
    Way({"silent": policy(4)}, Silent, publish_silent, publishers=2),
)
TYPES = JobTypes({name: rules for way in WAYS for name, rules in way.policies.items()})


class WitnessedQueue(SqliteJobQueue):
    """Says which completions were acknowledged, whichever way they were asked for."""

    witness: Witness

    def finish(self, jobs: Sequence[Job], tx: Tx, on_end: OnEnd) -> None:
        def witnessed(ended: Sequence[Job], error: Exception | None) -> None:
            if error is None:
                for job in ended:
                    self.witness.say(f"done {job.type}:{job.idem_key}")
            on_end(ended, error)

        super().finish(jobs, tx, witnessed)


async def main(arguments: dict[str, str]) -> None:
    """Publish under `name` until killed; with `drain` finish everything that is there and end."""
    clock, ticker = SystemClock(), SystemTicker()
    witness = Witness(Path(arguments["witness"]))
    database = await Database.open(Path(arguments["path"]), clock=clock)
    queue = WitnessedQueue(database, TYPES, clock, ticker, apply_fact=count_fact)
    queue.witness = witness
    await queue.start()
    processor = EventLoopProcessor(queue, TYPES, clock=clock, ticker=ticker, on_halt=print, poll_s=0.02)
    stop = asyncio.Event()
    workers = [
        processor.worker(
            ServiceContract(name=f"way-{number}", consumes=tuple(way.policies)), way.handler(witness)
        )
        for number, way in enumerate(WAYS)
    ]
    tasks = [spawn(each.run(stop), each.name) for each in (processor, *workers)]
    os.write(1, b"ready\n")

    async def publish_forever(way: Way, publisher: str) -> None:
        number = 0
        while True:
            for job in await way.publish(queue, f"{publisher}-{number}"):
                witness.say(f"published {job}")
            number += 1

    if "drain" not in arguments:
        await asyncio.gather(
            *(
                publish_forever(way, f"{arguments['name']}-{publisher}")
                for way in WAYS
                for publisher in range(way.publishers)
            )
        )
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
