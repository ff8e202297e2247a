"""Requests that are done together in few statements end exactly as they would one by one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from finagent.queue.errors import LeaseLostError
from finagent.queue.job import JobStatus
from finagent.queue.port import Tx
from tests.contract.queue_world import QueueWorld, job


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[QueueWorld]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=False)
    await world.open()
    yield world
    await world.close()


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 17, 63, 64, 65, 101])
async def test_each_publisher_of_a_batch_gets_the_id_of_its_own_job(world: QueueWorld, count: int) -> None:
    """Whatever the number of rows to a statement."""
    before = world.queue.counters.commits
    published = await asyncio.gather(*(world.queue.publish(job(f"j{at}")) for at in range(count)))
    assert world.queue.counters.commits - before <= 2
    for at, one in enumerate(published):
        stored = await world.queue.get(one.job_id)
        assert stored is not None
        assert (stored.idem_key, one.created) == (job(f"j{at}").idem_key, True)


async def test_work_published_twice_in_one_batch_exists_once_and_ids_have_no_gap(world: QueueWorld) -> None:
    names = ["a", "b", "a", "c", "b", "d"]
    published = await asyncio.gather(*(world.queue.publish(job(name)) for name in names))
    assert [one.created for one in published] == [True, True, False, True, False, True]
    assert published[2].job_id == published[0].job_id
    assert sorted({one.job_id for one in published}) == [1, 2, 3, 4]


async def test_a_pruned_key_in_a_batch_still_names_its_old_job(world: QueueWorld) -> None:
    hands = world.hands()
    old = await world.queue.publish(job("old"))
    await world.queue.complete(await hands.take(), Tx())
    await world.queue.publish(job("newest", type="idle"))
    world.clock.advance(world.clock.now_ms() + 10)
    assert await world.queue.prune(older_than_ms=world.clock.now_ms()) == 1
    names = ["a", "b", "old", "c", "d"]
    published = await asyncio.gather(*(world.queue.publish(job(name)) for name in names))
    assert [one.created for one in published] == [True, True, False, True, True]
    assert published[2].job_id == old.job_id


async def test_a_lost_lease_among_completions_fails_alone(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many([job(name) for name in "abcde"])
    held = [await hands.take() for _ in range(5)]
    await world.queue.fail(held[2], "given back", outcome="dead")
    ended = await asyncio.gather(*(world.queue.complete(one, Tx()) for one in held), return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), type(None), LeaseLostError, type(None), type(None)]
    found = [await world.queue.get(one.id) for one in held]
    expected = [JobStatus.DONE, JobStatus.DONE, JobStatus.DEAD, JobStatus.DONE, JobStatus.DONE]
    assert [one.status for one in found if one is not None] == expected


async def test_a_job_completed_twice_in_one_batch_is_refused_once(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many([job(name) for name in "abcd"])
    held = [await hands.take() for _ in range(4)]
    twice = [*held, held[0]]
    ended = await asyncio.gather(*(world.queue.complete(one, Tx()) for one in twice), return_exceptions=True)
    assert [type(one) for one in ended] == [type(None)] * 4 + [LeaseLostError]
