"""A queue to test against: every adapter of the port, with clocks the test moves by hand."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.credits import Credits
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.runtime.clock import VirtualClock
from finagent.runtime.tasks import spawn

START_MS = 1_600_000_000_000
PATIENCE_S = float(os.environ.get("FINAGENT_PATIENCE_S", "") or 10)
"""How long a test waits for a signal before it fails; shorter where failing is what is expected."""
TYPES = JobTypes(
    {
        "exit": JobPolicy(priority=0, credits=4, reserve=2),
        "work": JobPolicy(priority=5, credits=8, max_attempts=3, timeout_s=10.0),
        "idle": JobPolicy(priority=9, credits=8),
    },
    payload_versions={"work": 2},
)


class ManualTicker:
    """Machinery time that only the test moves; sleepers wake when it has passed their end."""

    def __init__(self) -> None:
        self._now_ms = 1_000
        self._moved = asyncio.Event()

    def monotonic_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        end_ms = self._now_ms + round(seconds * 1000)
        while self._now_ms < end_ms:
            await self._moved.wait()

    def advance(self, milliseconds: int) -> None:
        self._now_ms += milliseconds
        self._moved.set()
        self._moved = asyncio.Event()


@dataclass
class Hands:
    """A consumer that keeps what it is given, for the test to finish."""

    credits: dict[str, int] = field(default_factory=lambda: {"exit": 4, "work": 8, "idle": 8})
    jobs: list[Job] = field(default_factory=list)
    alive: dict[int, int] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def free_credits(self) -> Credits:
        return Credits(dict(self.credits))

    def deliver(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.credits[job.type] -= 1
        self.jobs.extend(jobs)
        self.arrived.set()

    def alive_until_ms(self) -> Mapping[int, int]:
        return self.alive

    async def take(self) -> Job:
        """The next job handed over."""
        while not self.jobs:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), PATIENCE_S)
        return self.jobs.pop(0)


@dataclass
class QueueWorld:
    """One queue on one file; `reopen` is a crash (nothing is closed in order) and a new start."""

    path: Path
    threaded: bool
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START_MS))
    ticker: ManualTicker = field(default_factory=ManualTicker)
    types: JobTypes = TYPES
    facts: list[object] = field(default_factory=list)
    halts: list[str] = field(default_factory=list)
    database: Database = field(init=False)
    queue: SqliteJobQueue = field(init=False)

    async def open(self) -> None:
        self.database = await Database.open(self.path, clock=self.clock, threaded=self.threaded)
        self.queue = SqliteJobQueue(
            self.database,
            self.types,
            self.clock,
            self.ticker,
            apply_fact=self.apply_fact,
            on_halt=self.halts.append,
        )
        await self.queue.start()

    async def close(self) -> None:
        await self.queue.close()
        await self.database.close()

    async def reopen(self) -> None:
        """The process dies with its leases held, another one starts."""
        await self.queue._live().close()
        await self.database.close()
        await self.open()

    def apply_fact(self, session: WriteSession, fact: object) -> None:
        """A store of strings in the `meta` table; the fact `bad` is refused."""
        if fact == "bad":
            raise ValueError("bad fact")
        session.conn.execute(
            "INSERT INTO meta (key, value) VALUES (?, 'x')"
            " ON CONFLICT (key) DO UPDATE SET value = value || 'x'",
            (str(fact),),
        )

    async def stored_facts(self) -> dict[str, int]:
        """Fact -> how often it was applied."""
        rows = await self.database.read("SELECT key, length(value) FROM meta ORDER BY key")
        return {str(key): int(str(count)) for key, count in rows}

    def hands(self, *, serial: bool = False) -> Hands:
        hands = Hands()
        self.queue.attach(hands, serial=serial)
        return hands

    async def settle(self) -> None:
        """Return when everything asked for so far has been committed."""
        await self.queue.call(lambda session: None)


def job(idem_key: str, type: str = "work", **fields: object) -> NewJob:
    """A small job."""
    return NewJob(type=type, payload={"name": idem_key}, idem_key=idem_key, **fields)  # type: ignore[arg-type]


async def soon(event: asyncio.Event) -> None:
    """Wait for a signal, but not for ever."""
    await asyncio.wait_for(event.wait(), PATIENCE_S)


__all__ = ["START_MS", "TYPES", "Hands", "ManualTicker", "QueueWorld", "job", "soon", "spawn"]
