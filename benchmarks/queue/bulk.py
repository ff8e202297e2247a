"""The queue's other figures: publishing alone (grouped or not), in bulk, a boot after a crash, old rows."""

import asyncio
from pathlib import Path

import aiosqlite

from benchmarks.queue.ours import BULK, BULK_TYPES, TYPES, Counting, new_job, running
from benchmarks.queue.workload import TEXT, Sample, stopwatch
from finagent.adapters.sqlite import leases
from finagent.adapters.sqlite.database import WRITER_PRAGMAS, Database, connect_writer
from finagent.adapters.sqlite.migrate import migrate
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.runtime.clock import SystemClock, SystemTicker

BULK_PUBLISHERS = 2
ROW = """
INSERT INTO job_queue (type, payload, status, priority, run_at, attempts, max_attempts, epoch, lease_seq,
                       lease_until, idem_key, created_at, started_at, finished_at)
VALUES ('scan', ?1, ?2, 5, 1, 1, 5, 1, 1, ?3, ?4, 1, 1, ?5)"""


async def bulk(path: Path, *, jobs: int) -> Sample:
    """Full cycles when jobs are published, handled and completed 256 at once."""
    handler = Counting(jobs)
    async with running(path, handler, BULK_TYPES) as queue:
        starts = iter(range(0, jobs, BULK))

        async def publisher() -> None:
            for start in starts:
                await queue.publish_many([new_job(at) for at in range(start, min(start + BULK, jobs))])

        began = stopwatch()
        await asyncio.gather(*(publisher() for _ in range(BULK_PUBLISHERS)))
        await handler.all_seen.wait()
        await queue.wait_quiescent()
        return Sample(jobs / (stopwatch() - began), {})


async def grouped(path: Path, *, jobs: int, in_flight: int) -> Sample:
    """Publishing alone through the group commit."""
    database = await Database.open(path, clock=SystemClock(), is_roomy=True)
    queue = SqliteJobQueue(database, TYPES, SystemClock(), SystemTicker())
    await queue.start()
    numbers = iter(range(jobs))

    async def publisher() -> None:
        for number in numbers:
            await queue.publish(new_job(number))

    began = stopwatch()
    await asyncio.gather(*(publisher() for _ in range(in_flight)))
    seconds = stopwatch() - began
    await queue.close()
    await database.close()
    return Sample(jobs / seconds, {})


async def ungrouped(path: Path, *, jobs: int, in_flight: int) -> Sample:
    """The same rows through plain aiosqlite: one statement, one commit, one await each."""
    prepared = connect_writer(path)
    migrate(prepared, path, now_ms=0)
    prepared.close()
    numbers = iter(range(jobs))
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        for pragma in WRITER_PRAGMAS:
            await connection.execute(pragma)

        async def publisher() -> None:
            for number in numbers:
                await connection.execute(ROW, (TEXT, "ready", None, f"k{number}", None))

        began = stopwatch()
        await asyncio.gather(*(publisher() for _ in range(in_flight)))
        return Sample(jobs / (stopwatch() - began), {})


def reclaim(path: Path, *, jobs: int) -> Sample:
    """A boot that finds so many leases of a dead one."""
    fill(path, jobs, status="leased")
    connection = connect_writer(path)
    began = stopwatch()
    report = leases.boot_in_commit(connection, pid=1, now_ms=2, wall_ms=2)
    seconds = stopwatch() - began
    connection.close()
    if report.returned != jobs:
        raise RuntimeError(f"{report.returned} of {jobs} leases were returned")
    return Sample(jobs / seconds, {"boot": 1000 * seconds})


def fill(path: Path, rows: int, *, status: str) -> None:
    """A database with so many finished or leased jobs."""
    connection = connect_writer(path)
    migrate(connection, path, now_ms=0)
    until, finished = (9, None) if status == "leased" else (None, 2)
    connection.execute("BEGIN")
    connection.executemany(ROW, ((TEXT, status, until, f"old{index}", finished) for index in range(rows)))
    connection.execute("INSERT INTO boot (pid, started_at) VALUES (1, 1)")
    connection.execute("COMMIT")
    connection.close()
