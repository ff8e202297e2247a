"""Databases to back up and restore: a queue with jobs in every state and a journal, and how to look at a file."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from finagent.adapters.sqlite.check import examine
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.restore import RestoreReport, restore
from finagent.domain.facts import Journalled
from finagent.queue.port import Tx
from finagent.runtime.clock import VirtualClock
from tests.contract.queue_world import START_MS, TYPES, Hands, ManualTicker, job

ROOT = Path(__file__).resolve().parents[2]
WALL_MS = 1_700_000_000_000


@dataclass
class Journalling:
    """A queue on a real file whose facts are the trading store's."""

    path: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START_MS))
    database: Database = field(init=False)
    queue: SqliteJobQueue = field(init=False)

    async def __aenter__(self) -> "Journalling":
        self.database = await Database.open(self.path, clock=self.clock)
        self.queue = SqliteJobQueue(self.database, TYPES, self.clock, ManualTicker(), apply_fact=apply_fact)
        await self.queue.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.queue.close()
        await self.database.close()

    def hands(self) -> Hands:
        hands = Hands()
        self.queue.attach(hands)
        return hands

    async def write(self, *kinds: str) -> None:
        """A journal row each."""
        for kind in kinds:
            tx = Tx()
            tx.put(Journalled(kind=kind, ref="test", data={"said": kind * 20}))
            await self.queue.commit(tx)


async def small_database(path: Path, *, jobs: int = 40) -> None:
    """Done and waiting jobs, and a journal of ten rows."""
    async with Journalling(path) as world:
        hands = world.hands()
        for number in range(20):
            await world.queue.publish(job(f"done-{number}"))
            await world.queue.complete(await hands.take(), Tx())
            hands.credits["work"] += 1
        world.queue.detach()
        await world.queue.publish_many([job(f"waits-{number}") for number in range(jobs - 20)])
        await world.write(*"abcdefghij")


def states(path: Path) -> dict[str, str]:
    """Idempotency key -> status of every job in a file nobody writes."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        found = dict(connection.execute("SELECT idem_key, status FROM job_queue").fetchall())
    connection.close()
    return found


def faults(path: Path) -> list[str]:
    """What ``db check`` finds wrong."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        return [f"{c.name}: {c.detail}" for c in examine(connection) if not c.is_ok]
    finally:
        connection.close()


def restored(backup: Path, path: Path, *, renew: Callable[[], None] = lambda: None) -> RestoreReport:
    """Restore with fixed times."""
    return restore(
        backup, path, stamp="20231114T221320Z", wall_ms=WALL_MS, identity="test", renew_identity=renew
    )


def finagent(
    home: Path, *words: str, failpoint: str = "", **options: object
) -> "subprocess.CompletedProcess[str]":
    """The program on a home, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FINAGENT_FAILPOINTS": failpoint}
    return subprocess.run(
        [sys.executable, "-m", "finagent", "--home", str(home), *words],
        capture_output=True, text=True, check=False, timeout=60, env=environment, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def was_killed(ended: "subprocess.CompletedProcess[str]") -> bool:
    """Whether the process died at its failpoint."""
    return ended.returncode == -signal.SIGKILL
