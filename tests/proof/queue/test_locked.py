"""Another program holds the database's write lock: the batch is kept, and committed when the lock is free."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from finagent.queue.port import Tx
from finagent.runtime.clock import SystemTicker
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, TYPES, Hands, QueueWorld, job
from tests.proof.queue.nursery import ROOT

JOBS = 200


@contextmanager
def stranger(path: Path) -> Iterator[Callable[[], None]]:
    """Another process holds the write lock; the callable lets it go."""
    command = [sys.executable, "-m", "tests.proof.queue.stranger", str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"

        def let_go() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("now\n")
            process.stdin.flush()
            assert process.stdout.readline() == "free\n"

        try:
            yield let_go
        finally:
            process.stdin.close()


async def locked_for(world: QueueWorld, seconds: float) -> float:
    """Publish, complete and commit while another program holds the lock: all wait, then all is stored.

    Gives how long the first answer took once the lock was free.
    """
    queue, hands = world.queue, Hands()
    queue.attach(hands)
    await queue.publish_many([job(f"held-{number}") for number in range(4)])
    held = [await hands.take() for _ in range(4)]
    with stranger(world.path) as let_go:
        effects = Tx()
        effects.put("fact")
        asked = [spawn(queue.publish(job(f"job-{number}", type="idle")), "publish") for number in range(JOBS)]
        ends = [spawn(queue.complete(each, Tx()), "complete") for each in held]
        fact = spawn(queue.commit(effects), "commit")
        done, waiting = await asyncio.wait([*asked, *ends, fact], timeout=seconds)
        assert (len(done), len(waiting)) == (0, JOBS + 5), "answered while nothing could be committed"
        assert (await queue.stats()).published == 4, "reading goes on"
        assert await world.stored_facts() == {}
        let_go()
        freed_s = time.monotonic()
    answers = await asyncio.wait_for(asyncio.gather(*asked), 30)
    waited_s = time.monotonic() - freed_s
    await asyncio.wait_for(asyncio.gather(*ends, fact), 30)
    assert all(answer.created for answer in answers)
    stats = await queue.stats()
    assert (stats.published, stats.by_status["done"]) == (JOBS + 4, 4)
    assert await world.stored_facts() == {"fact": 1}
    assert world.halts == []
    return waited_s


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
        waited_s = await locked_for(world, 1.0)
        print(f"first answers {waited_s * 1000:.0f} ms after the lock was free")
        assert world.queue.counters.busy_retries >= 3
        assert world.clock.now_ms() == START_MS
    finally:
        await world.close()


@pytest.mark.full
async def test_batch_is_kept_for_thirty_seconds(tmp_path: Path) -> None:
    """With the pragmas of the program, whose own wait is 5 s."""
    world = await opened(tmp_path / "jobs.db", busy_timeout_ms=5_000)
    try:
        waited_s = await locked_for(world, 30.0)
        print(f"locked for 30 s, {JOBS} answers {waited_s * 1000:.0f} ms after the lock was free")
        assert world.queue.counters.busy_retries >= 4
    finally:
        await world.close()
