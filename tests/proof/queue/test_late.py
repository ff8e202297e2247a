"""A job past its deadline never runs late by surprise, not even when its lease ends in the same commit."""

from pathlib import Path

from finagent.queue.job import JobStatus
from tests.contract.queue_world import START_MS, QueueWorld, job


async def test_expired_job_past_its_deadline_is_cancelled_and_not_claimed_again(tmp_path: Path) -> None:
    """A process that stalled: lease and deadline are over when the next commit comes (found by the model)."""
    world = QueueWorld(tmp_path / "jobs.db", threaded=False)
    await world.open()
    try:
        hands = world.hands()
        published = await world.queue.publish(job("late", deadline_at_ms=START_MS + 1_000))
        await hands.take()
        world.clock.advance(START_MS + 60_000)
        world.ticker.advance(60_000)
        await world.settle()
        await world.settle()
        assert hands.jobs == []
        found = await world.queue.get(published.job_id)
        assert found is not None
        assert (found.status, found.error) == (JobStatus.CANCELLED, "too_late")
    finally:
        await world.close()
