"""Whose turn it is: lanes are no more than the jobs, they give way, and a job that waits keeps its lease."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import pytest

from finagent.queue import worker
from finagent.queue.job import Job, JobPolicy
from finagent.queue.port import Tx
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import job, soon
from tests.integration.review.queue_stage import NEVER_POLLS_S, one_type, staged

LONG_MS = 20
"""More than a lane runs before it gives way."""


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that workers open."""
    names: list[str] = []

    def counting(lane: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        names.append(name)
        return spawn(lane, name)

    monkeypatch.setattr(worker, "spawn", counting)
    return names


# ------------------------------------------------------------ lanes
async def test_lanes_of_handlers_that_wait_are_no_more_than_the_jobs(
    tmp_path: Path, lanes: list[str]
) -> None:
    count, all_began, release = 400, asyncio.Event(), asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        if len(stage.handler.seen) == count:
            all_began.set()
        await release.wait()

    async with staged(tmp_path, one_type(JobPolicy(priority=0, credits=count)), act) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(count)])
        await soon(all_began)
        release.set()
        await stage.quiet()
        assert len(lanes) <= count + 1


async def test_lanes_of_handlers_that_work_long_are_no_more_than_the_jobs(
    tmp_path: Path, lanes: list[str]
) -> None:
    """Each of them gives way after its job; those that come meanwhile leave again and open no others."""
    count = 400

    async def act(claimed: Job, tx: Tx) -> None:
        stage.world.ticker.advance(LONG_MS)

    types = one_type(JobPolicy(priority=0, credits=count, timeout_s=1_000.0))
    async with staged(tmp_path, types, act) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(count)])
        await stage.quiet()
        assert len(stage.handler.seen) == count
        assert len(lanes) <= count + 1


async def test_handlers_that_never_wait_let_others_run_between_their_jobs(tmp_path: Path) -> None:
    """Between two turns of anybody else there are two long jobs at most, however many wait."""
    count, most, before = 200, 0, 0

    async def act(claimed: Job, tx: Tx) -> None:
        stage.world.ticker.advance(LONG_MS)

    types = one_type(JobPolicy(priority=0, credits=count, timeout_s=1_000.0))
    async with staged(tmp_path, types, act) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(count)])
        while before < count:
            await asyncio.sleep(0)
            most, before = max(most, len(stage.handler.seen) - before), len(stage.handler.seen)
        assert most <= 2


# ------------------------------------------------------------ leases
async def test_jobs_that_wait_for_their_turn_keep_their_lease(tmp_path: Path) -> None:
    """200 jobs of 20 ms each that never wait take 4 s, the time-out of a job is 1 s."""
    count = 200

    async def act(claimed: Job, tx: Tx) -> None:
        stage.world.ticker.advance(LONG_MS)
        tx.put(claimed.idem_key)

    types = one_type(JobPolicy(priority=0, credits=count, timeout_s=1.0, max_attempts=2))
    async with staged(tmp_path, types, act, poll_s=0.25) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(count)])
        await stage.quiet()
        assert await stage.by_status() == {"done": count}
        assert await stage.world.database.read("SELECT outcome FROM job_attempt") == []


async def test_lease_kept_while_a_commit_is_asked_for_ends_once_it_was_refused(tmp_path: Path) -> None:
    """The lease is overdue in the very batch that refuses the completion; the second try then hangs."""
    began, decide, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        if began.is_set():
            again.set()
            await asyncio.Event().wait()
        began.set()
        await decide.wait()
        tx.expect("row", 7)  # nobody has touched that row: refused

    types = one_type(JobPolicy(priority=0, credits=1, timeout_s=1.0))
    async with staged(tmp_path, types, act, poll_s=NEVER_POLLS_S) as stage:
        published = await stage.world.queue.publish(job("a"))
        await soon(began)
        stage.world.ticker.advance(1_001)
        decide.set()
        await soon(again)
        await stage.world.settle()
        sql = "SELECT lease_until FROM job_queue WHERE id = ?"
        [(until_ms,)] = await stage.world.database.read(sql, (published.job_id,))
        assert until_ms == stage.world.ticker.monotonic_ms() + 2_000
