"""Another program holds the database's write lock: the batch is kept, and committed when the lock is free."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.runtime.clock import SystemTicker
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, TYPES, QueueWorld, job


async def locked_for(world: QueueWorld, seconds: float) -> SqliteJobQueue:
    """Publish 200 jobs while another connection holds BEGIN IMMEDIATE; they wait, then all are stored."""
    queue = world.queue
    stranger = sqlite3.connect(world.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        publishes = [spawn(queue.publish(job(f"job-{number}")), "publish") for number in range(200)]
        done, waiting = await asyncio.wait(publishes, timeout=seconds)
        assert (len(done), len(waiting)) == (0, 200), "answered while nothing could be committed"
        assert (await queue.stats()).published == 0
    finally:
        stranger.execute("ROLLBACK")
        stranger.close()
    answers = await asyncio.wait_for(asyncio.gather(*publishes), 30)
    assert all(answer.created for answer in answers)
    assert (await queue.stats()).published == 200
    assert world.halts == []
    return queue


async def opened(path: Path, busy_timeout_ms: int) -> QueueWorld:
    world = QueueWorld(path, threaded=True, types=TYPES)
    world.ticker = SystemTicker()  # type: ignore[assignment]
    await world.open()
    pragma = f"PRAGMA busy_timeout = {busy_timeout_ms}"
    await world.database.write_fn(lambda connection: connection.execute(pragma).fetchone())
    return world


async def test_batch_is_kept_while_another_program_holds_the_lock(tmp_path: Path) -> None:
    """SQLite gives up after its own wait (here 50 ms); the writer does not."""
    world = await opened(tmp_path / "jobs.db", busy_timeout_ms=50)
    try:
        queue = await locked_for(world, 1.0)
        assert queue.counters.busy_retries >= 3
        assert world.clock.now_ms() == START_MS
    finally:
        await world.close()


@pytest.mark.full
async def test_batch_is_kept_for_thirty_seconds(tmp_path: Path) -> None:
    """With the pragmas of the program, whose own wait is 5 s."""
    world = await opened(tmp_path / "jobs.db", busy_timeout_ms=5_000)
    try:
        queue = await locked_for(world, 30.0)
        assert queue.counters.busy_retries >= 4
    finally:
        await world.close()
