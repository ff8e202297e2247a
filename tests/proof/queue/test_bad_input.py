"""Bad input of every kind, among good jobs: a typed error or a dead job with its reason, and nobody else affected."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from finagent.queue.errors import (
    JobNotFoundError,
    LeaseLostError,
    PayloadError,
    QueueError,
    UnknownJobTypeError,
)
from finagent.queue.job import MAX_PAYLOAD_BYTES, JobPolicy, JobStatus, JobTypes, NewJob
from finagent.queue.port import Tx
from tests.contract.queue_world import QueueWorld
from tests.proof.queue.shop import TYPES, Shop

OLD_TYPES = JobTypes({"work": JobPolicy(priority=1, max_attempts=2)})
LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    await shop.open()
    yield shop
    await shop.close()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("raise", "KeyError: 'nobody thought of this'"),
        ("hang", "TimedOutError: no progress for 1 s"),
        ("number", "returned int, it must return None"),
        ("cancelled", "cancelled from within"),
        ("give up", "cannot succeed"),
        ("bad fact", "bad fact"),
        ("bad follow-up", "'nobody' is not registered"),
        ("negative wait", "is -5.0: give seconds"),
        ("no wait at all", "is nan: give seconds"),
        ("deep", "RecursionError"),
    ],
)
async def test_bad_handler_ends_dead_with_its_reason_and_stops_nobody(
    shop: Shop, act: str, reason: str
) -> None:
    """Its effects are rolled back; jobs before, between and after it are done."""
    before = await shop.publish("before", "well")
    bad = [await shop.publish(f"bad-{number}", act) for number in range(3)]
    after = [await shop.publish(f"after-{number}", "well") for number in range(6)]
    for job_id in bad:
        job = await shop.ended(job_id)
        assert job.status is JobStatus.DEAD
        assert reason in str(job.error)
    for job_id in [before, *after]:
        assert (await shop.ended(job_id)).status is JobStatus.DONE
    assert not [fact for fact in await shop.world.stored_facts() if fact.startswith("bad")]
    assert shop.world.halts == []
    assert (await shop.world.queue.stats()).published == 10


@pytest.mark.parametrize("act", ["hang the second time", "stubborn"])
async def test_next_attempt_of_a_job_is_watched_as_the_first_was(tmp_path: Path, act: str) -> None:
    """Claimed again in the commit that recorded the failure, or while the first attempt ignores being stopped."""
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    await shop.open()
    try:
        job_id = await shop.publish("twice", act)
        await shop.attempt(job_id, 2)
        shop.acts.released.set()
        job = await shop.ended(job_id)
        assert "no progress for 1 s" in str(job.error)
    finally:
        for task in shop.tasks:
            task.cancel()
        await asyncio.gather(*shop.tasks, return_exceptions=True)
        await shop.world.close()


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (NewJob("nobody", {}, "k"), UnknownJobTypeError),
        (NewJob("work", {"f": object()}, "k"), PayloadError),  # type: ignore[dict-item]
        (NewJob("work", {"f": float("nan")}, "k"), PayloadError),
        (NewJob("work", {"f": {1, 2}}, "k"), PayloadError),  # type: ignore[dict-item]
        (NewJob("work", {"f": LOOP}, "k"), PayloadError),  # type: ignore[dict-item]
        (NewJob("work", {"f": "x" * MAX_PAYLOAD_BYTES}, "k"), PayloadError),
        (NewJob("work", {"f": "\u20ac" * (MAX_PAYLOAD_BYTES // 3)}, "k"), PayloadError),
        (NewJob("work", {}, "k", payload_version=3), PayloadError),
        (NewJob("work", {}, "k", payload_version=0), PayloadError),
    ],
    ids=["type", "object", "nan", "set", "circle", "large", "large-utf8", "future", "version-0"],
)
async def test_bad_job_is_refused_by_every_door_and_stores_nothing(
    shop: Shop, job: NewJob, error: type[QueueError]
) -> None:
    """publish, publish_many and a Tx refuse it with what is good beside it; the queue works on."""
    queue, good = shop.world.queue, NewJob("work", {"act": "well"}, "good")
    tx = Tx()
    tx.enqueue(good)
    tx.enqueue(job)
    with pytest.raises(error):
        await queue.publish(job)
    with pytest.raises(error):
        await queue.publish_many([good, job])
    with pytest.raises(error):
        await queue.commit(tx)
    assert (await queue.stats()).published == 0
    assert (await shop.ended((await queue.publish(good)).job_id)).status is JobStatus.DONE


async def test_payload_of_the_largest_size_is_taken(shop: Shop) -> None:
    """The limit itself is allowed."""
    payload = {"act": "well", "f": ""}
    payload["f"] = "x" * (MAX_PAYLOAD_BYTES - len('{"act":"well","f":""}'))
    published = await shop.world.queue.publish(NewJob("work", payload, "largest"))
    assert (await shop.ended(published.job_id)).status is JobStatus.DONE


async def test_instant_in_the_past_runs_at_once(shop: Shop) -> None:
    """A negative delay is no delay: there is no waiting for an instant that has gone."""
    now_ms = shop.world.clock.now_ms()
    for number, run_at_ms in enumerate((now_ms - 60_000, 0, -1)):
        job = await shop.ended(await shop.publish(f"past-{number}", "well", run_at_ms=run_at_ms))
        assert job.status is JobStatus.DONE


async def test_payload_version_from_the_future_ends_dead_and_keeps_its_payload(tmp_path: Path) -> None:
    """A program that was rolled back must not guess what a newer one meant; a redrive after the update runs it."""
    world = QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES)
    await world.open()
    new = (await world.queue.publish(NewJob("work", {"act": "well"}, "new", payload_version=2))).job_id
    old = (await world.queue.publish(NewJob("work", {"act": "well"}, "old"))).job_id
    await world.close()
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=OLD_TYPES))
    await shop.open()
    dead = await shop.ended(new)
    assert dead.status is JobStatus.DEAD
    assert "payload version 2 is newer than this program's 1" in str(dead.error)
    assert dead.payload == {"act": "well"}
    assert (await shop.ended(old)).status is JobStatus.DONE
    await shop.close()


async def test_job_that_is_not_there_and_lease_that_never_was_are_typed_errors(shop: Shop) -> None:
    """Cancel, retry and complete of nothing."""
    queue = shop.world.queue
    job = await queue.get(
        await shop.publish("later", "well", run_at_ms=shop.world.clock.now_ms() + 9_000_000)
    )
    assert job is not None
    with pytest.raises(LeaseLostError):
        await queue.complete(job, Tx())
    with pytest.raises(LeaseLostError):
        await queue.fail(job, "x", outcome="dead")
    for ask in (queue.cancel, queue.retry):
        with pytest.raises(JobNotFoundError):
            await ask(10_000)
