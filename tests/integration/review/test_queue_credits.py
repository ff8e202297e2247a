"""Who gets a credit: the total goes to those that have work, and a worker that stops takes no more of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finagent.queue.job import Job, JobPolicy, JobStatus, JobTypes
from finagent.queue.port import Tx
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import QueueWorld, job, soon
from tests.integration.review.queue_stage import MANY_TURNS, one_type, staged, turns

ONE_TRY = one_type(JobPolicy(priority=0, credits=1, max_attempts=1))
HIGH_AND_LOW = JobTypes({"high": JobPolicy(priority=0, credits=2), "low": JobPolicy(priority=9, credits=2)})


@dataclass
class Held:
    """A handler that begins and then waits for the test."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, claimed: Job, tx: Tx) -> None:
        self.began.set()
        await self.release.wait()


class LateAnswer:
    """Keeps back what the database answers after it has committed."""

    def __init__(self, world: QueueWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_fn = world.database.write_fn
        self.is_committed, self.go_on = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(world.database, "write_fn", self)

    async def __call__(self, work: Callable[..., object]) -> object:
        result = await self.write_fn(work)
        self.is_committed.set()
        await self.go_on.wait()
        return result


# ------------------------------------------------------------ the total
async def test_lower_type_runs_while_the_higher_one_has_nothing_to_do(tmp_path: Path) -> None:
    async with staged(tmp_path, HIGH_AND_LOW, total_credits=2) as stage:
        await stage.world.queue.publish(job("a", "low"))
        await turns()
        assert stage.handler.seen == ["a"]


async def test_shared_credit_that_a_low_job_frees_goes_to_a_high_one_first(tmp_path: Path) -> None:
    held = Held()
    async with staged(tmp_path, HIGH_AND_LOW, held, total_credits=2) as stage:
        await stage.world.queue.publish_many([job(f"low {n}", "low") for n in range(20)])
        await soon(held.began)
        await stage.world.queue.publish(job("high", "high"))
        held.release.set()
        await stage.quiet()
        assert stage.handler.seen[:3] == ["low 0", "low 1", "high"]
        assert len(stage.handler.seen) == 21


async def test_freed_shared_credit_wakes_the_other_type_without_a_poll(tmp_path: Path) -> None:
    held = Held()
    async with staged(tmp_path, HIGH_AND_LOW, held, total_credits=1) as stage:
        await stage.world.queue.publish(job("a", "high"))
        await soon(held.began)
        await stage.world.queue.publish(job("b", "low"))
        await turns()
        assert stage.handler.seen == ["a"]
        held.release.set()
        await turns(MANY_TURNS)
        assert stage.handler.seen == ["a", "b"]


async def test_reserve_comes_on_top_while_it_is_in_use(tmp_path: Path) -> None:
    """Two jobs run on their reserve; the total of two is still there for others, and no more than that."""
    held = Held()
    types = JobTypes(
        {"exit": JobPolicy(priority=0, credits=2, reserve=2), "low": JobPolicy(priority=9, credits=3)}
    )
    async with staged(tmp_path, types, held, total_credits=2) as stage:
        await stage.world.queue.publish_many([job(name, "exit") for name in ("exit 0", "exit 1", "exit 2")])
        await soon(held.began)
        await stage.world.queue.publish_many([job(name, "low") for name in ("low 0", "low 1", "low 2")])
        await turns()
        assert stage.handler.seen == ["exit 0", "exit 1", "low 0", "low 1"]
        held.release.set()
        await stage.quiet()


# ------------------------------------------------------------ stopping
async def test_stopping_worker_takes_no_more_of_a_backlog(tmp_path: Path) -> None:
    held = Held()
    async with staged(tmp_path, one_type(JobPolicy(priority=1, credits=2)), held) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(100)])
        await soon(held.began)
        stage.worker_stop.set()
        await turns()
        held.release.set()
        await stage.stop("worker")
        assert stage.handler.seen == ["0", "1"]
        assert await stage.by_status() == {"done": 2, "ready": 98}


@pytest.mark.parametrize("stopped", [("worker",), ("worker", "processor")], ids=" and ".join)
async def test_claim_that_nobody_is_left_to_take_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: tuple[str, ...]
) -> None:
    """The last commit before the stop has claimed a job with a single try."""
    async with staged(tmp_path, ONE_TRY) as stage:
        late = LateAnswer(stage.world, monkeypatch)
        asked = spawn(stage.world.queue.publish(job("a")), "publish")
        await soon(late.is_committed)
        for name in stopped:
            await stage.stop(name)
        late.go_on.set()
        published = await asked
        await stage.world.settle()
        await turns()
        found = await stage.stored(published.job_id)
        assert stage.handler.seen == []
        assert (found.status, found.attempts) == (JobStatus.READY, 0)


async def test_closing_queue_claims_nothing_that_could_not_end(tmp_path: Path) -> None:
    async with staged(tmp_path, ONE_TRY) as stage:
        asked = spawn(stage.world.queue.publish(job("a")), "publish")
        await asyncio.sleep(0)
        await stage.world.queue.close()
        found = await stage.stored((await asked).job_id)
        assert found.status in (JobStatus.READY, JobStatus.DONE)
