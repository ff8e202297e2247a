"""Handlers that take several jobs at once and misbehave: the bad job ends dead alone, the others are done."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from finagent.queue.job import Job, JobPolicy, JobStatus, JobTypes
from finagent.queue.port import Tx
from finagent.runtime.errors import GiveUpError, RetryError
from tests.contract.queue_world import QueueWorld
from tests.proof.queue.shop import Shop

TYPES = JobTypes({"work": JobPolicy(priority=1, credits=8, max_attempts=2, timeout_s=1.0, batch=4)})
JOBS = 16


class Acts:
    """Stores a fact for each job; the bad ones spoil it for all that came with them."""

    def __init__(self) -> None:
        self.sizes: set[int] = set()

    async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> object:  # the wrong type on purpose
        self.sizes.add(len(jobs))
        answer: object = None
        for job in jobs:
            tx.put(job.idem_key)
            match job.payload["act"]:
                case "raise":
                    raise KeyError("nobody thought of this")
                case "hang":
                    await asyncio.Event().wait()
                case "number":
                    answer = 5
                case "cancelled":
                    raise asyncio.CancelledError
                case "give up":
                    raise GiveUpError("cannot succeed")
                case "no wait at all":
                    raise RetryError("again", retry_after_s=float("nan"))
                case "bad fact":
                    tx.put("bad")
        return answer


@pytest.mark.parametrize(
    "act", ["raise", "hang", "number", "cancelled", "give up", "no wait at all", "bad fact"]
)
async def test_bad_job_in_a_batch_ends_dead_alone(tmp_path: Path, act: str) -> None:
    """One in five is bad, so that every batch has one: it is dead with its reason, each other is done once."""
    acts = Acts()
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    shop.acts = acts  # type: ignore[assignment]
    await shop.open()
    try:
        names = [f"job-{number}" for number in range(JOBS)]
        bad = set(names[::5])
        ids = await asyncio.gather(*(shop.publish(name, act if name in bad else "well") for name in names))
        for name, job_id in zip(names, ids, strict=True):
            job = await shop.ended(job_id)
            assert job.status is (JobStatus.DEAD if name in bad else JobStatus.DONE), f"{name}: {job.error}"
            assert (job.error is not None) == (name in bad)
        assert await shop.world.stored_facts() == {name: 1 for name in names if name not in bad}
        assert max(acts.sizes) > 1, "no batch was ever handed over"
        assert shop.world.halts == []
    finally:
        await shop.close()
