"""Values that no caller should give, handlers that misbehave in rarer ways: refused alone, or dead with a reason."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from finagent.queue.errors import DelayError, PayloadError, QueueError
from finagent.queue.job import Job, JobStatus, NewJob
from finagent.queue.port import Published, Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, QueueWorld, soon
from tests.contract.queue_world import job as small_job
from tests.proof.queue.shop import TYPES, Shop

NO_DELAYS = (-1.0, -0.001, math.nan, math.inf, -math.inf, 1e300)
MOST_INT64 = 2**63 - 1


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    await shop.open()
    yield shop
    await shop.close()


@pytest.fixture(params=["threaded", "inline"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueWorld]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=request.param == "threaded")
    await world.open()
    yield world
    await world.close()


# ---------------------------------------------------------------- values
REFUSED: dict[str, dict[str, object]] = {
    "bytes": {"payload": {"f": b"x"}},
    "key of bytes": {"payload": {b"f": 1}},
    "infinite": {"payload": {"f": math.inf}},
    "number of 5,000 digits": {"payload": {"f": 10**5000}},
    "half a character as idempotency key": {"idem_key": "\ud800"},
    "half a character as key": {"key": "\ud800"},
    "half a character as trace": {"trace_id": "\ud800"},
    "no idempotency key": {"idem_key": None},
    "no type": {"type": None},
    "number as type": {"type": 5},
    "text as version": {"payload_version": "1"},
    "no attempt allowed": {"max_attempts": -1},
    "priority past 64 bits": {"priority": MOST_INT64 + 1},
    "instant past 64 bits": {"run_at_ms": MOST_INT64 + 1},
    "instant that is no number": {"run_at_ms": math.nan},
    "instant that never comes": {"run_at_ms": math.inf},
    "half a millisecond": {"run_at_ms": START_MS + 0.5},
    "deadline past 64 bits": {"deadline_at_ms": MOST_INT64 + 1},
    "deadline that is no number of milliseconds": {"deadline_at_ms": 0.5},
}


@pytest.mark.parametrize("name", ["no idempotency key", *sorted(REFUSED.keys() - {"no idempotency key"})])
async def test_bad_value_is_refused_alone_in_its_batch(world: QueueWorld, name: str) -> None:
    """Published beside good jobs, in a call with good jobs, and with a commit: only what it belongs to fails."""
    good = [small_job(f"good-{number}") for number in range(6)]
    bad = small_job("bad")._replace(**REFUSED[name])  # type: ignore[arg-type]
    answers = await asyncio.gather(
        *(world.queue.publish(each) for each in [*good[:3], bad, *good[3:]]), return_exceptions=True
    )
    refusal = answers.pop(3)
    assert isinstance(refusal, QueueError), repr(refusal)
    assert [type(each) for each in answers] == [Published] * 6
    more = [small_job(f"more-{number}") for number in range(6)]
    with pytest.raises(type(refusal)):
        await world.queue.publish_many([*more[:3], bad, *more[3:]])
    tx = Tx()
    tx.put("fact")
    tx.enqueue(more[0])
    tx.enqueue(bad)
    with pytest.raises(type(refusal)):
        await world.queue.commit(tx)
    assert (await world.queue.stats()).published == 6
    assert await world.stored_facts() == {}
    assert (await world.queue.publish(small_job("after"))).created
    assert world.halts == []


@pytest.mark.parametrize(
    "payload", [{"f": "\ud800"}, {"\udfff": 1}, {"f": "\0"}, {"": ""}, {"f": 10**4000}, {"f": -0.0}, {}]
)
async def test_strange_payload_that_is_json_comes_back_as_it_was(
    world: QueueWorld, payload: dict[str, object]
) -> None:
    """Lone surrogates are escaped, so that they can be stored; numbers keep their digits."""
    hands = world.hands()
    await world.queue.publish(small_job("a")._replace(payload=payload))  # type: ignore[arg-type]
    claimed = await hands.take()
    assert claimed.payload == payload
    assert repr(claimed.payload) == repr(payload)


@pytest.mark.parametrize("key", [1, None, True, 1.5])
async def test_payload_with_keys_that_are_no_text_is_refused(world: QueueWorld, key: object) -> None:
    """JSON would turn such a key into text without a word, and the handler would not find it."""
    job = small_job("a")._replace(payload={"in": {key: 1}})  # type: ignore[dict-item]
    with pytest.raises(PayloadError, match="is no text"):
        await world.queue.publish(job)
    assert (await world.queue.stats()).published == 0


async def test_deepest_payload_that_is_taken_can_be_handled(shop: Shop) -> None:
    """What was encoded near the limit of recursion must not stop whoever decodes it, deeper in the stack or not."""
    payload: dict[str, object] = {"act": "well"}
    depth = 0
    while depth < 5_000:
        try:
            TYPES.encode(NewJob("work", payload, "deep"))  # type: ignore[arg-type]
        except PayloadError:
            break
        payload = {"act": "well", "f": payload}
        depth += 1
    jobs = []
    for less in range(1, 200, 5):  # the next frame of the stack may be the one too many
        payload = {"act": "well"}
        for _ in range(depth - less):
            payload = {"act": "well", "f": payload}
        try:
            job = NewJob("work", payload, f"deep-{less}")  # type: ignore[arg-type]
            jobs.append((await shop.world.queue.publish(job)).job_id)
        except PayloadError:
            continue
    assert jobs, "none was taken"
    good = await shop.publish("good", "well")
    for job_id in jobs:
        assert (await shop.ended(job_id)).status in (JobStatus.DONE, JobStatus.DEAD)
    assert (await shop.ended(good)).status is JobStatus.DONE
    assert shop.world.halts == []


# ---------------------------------------------------------------- waits
@pytest.mark.parametrize("delay_s", NO_DELAYS)
async def test_impossible_delay_is_refused_with_its_own_error(world: QueueWorld, delay_s: float) -> None:
    """Negative, not a number, infinite, or past the end of 64 bits: nothing is stored, the good beside it is."""
    bad = small_job("bad", delay_s=delay_s)
    good, refused = await asyncio.gather(
        world.queue.publish(small_job("good")), world.queue.publish(bad), return_exceptions=True
    )
    assert isinstance(good, Published)
    assert isinstance(refused, DelayError)
    assert re.search(r"bad|work", str(refused)), "the message names the job"
    with pytest.raises(DelayError):
        await world.queue.publish_many([small_job("other"), bad])
    tx = Tx()
    tx.enqueue(bad)
    with pytest.raises(DelayError):
        await world.queue.commit(tx)
    assert (await world.queue.stats()).published == 1


async def test_delay_is_counted_from_the_commit_and_none_is_no_delay(world: QueueWorld) -> None:
    published = await world.queue.publish_many(
        [small_job("later", delay_s=1.5), small_job("now", delay_s=0.0)]
    )
    later, now = [await world.queue.get(each.job_id) for each in published]
    assert later is not None
    assert now is not None
    assert (later.run_at_ms, later.status) == (START_MS + 1_500, JobStatus.SCHEDULED)
    assert (now.run_at_ms, now.status) == (START_MS, JobStatus.READY)


@pytest.mark.parametrize("retry_after_s", NO_DELAYS)
async def test_impossible_wait_before_a_retry_is_refused_and_the_job_stays_leased(
    world: QueueWorld, retry_after_s: float
) -> None:
    """The owner keeps his lease and can still say how it ended."""
    hands = world.hands()
    await world.queue.publish(small_job("a"))
    claimed = await hands.take()
    with pytest.raises(DelayError):
        await world.queue.fail(claimed, "again", outcome="retry", retry_after_s=retry_after_s)
    await world.queue.complete(claimed, Tx())
    assert world.halts == []


# ---------------------------------------------------------------- handlers
@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("no wait, for ever", r"again|lease expired|DelayError"),
        ("wait past all time", r"again|lease expired|DelayError"),
        ("unprintable", r"UnprintableError|lease expired"),
        ("half a character", r"is no text|lease expired"),
        ("long", r"ValueError: x+"),
        ("strange", r"StrangeError|lease expired"),
        ("large follow-up", r"the limit is 1048576"),
        ("no follow-up", r"int"),
        ("no guard", r"account|three"),
    ],
)
async def test_handler_that_misbehaves_ends_dead_with_its_reason(
    tmp_path: Path, act: str, reason: str
) -> None:
    """Others before and after are done, nothing of it is stored, its credit comes back, the worker can stop."""
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    await shop.open()
    try:
        before = await shop.publish("before", "well")
        bad = [await shop.publish(f"bad-{number}", act) for number in range(TYPES.policy("work").credits + 2)]
        after = [await shop.publish(f"after-{number}", "well") for number in range(6)]
        for job_id in bad:
            job = await shop.ended(job_id)
            assert job.status is JobStatus.DEAD
            assert re.search(reason, str(job.error))
            assert len(str(job.error)) < 1_000
        for job_id in [before, *after]:
            assert (await shop.ended(job_id)).status is JobStatus.DONE
        assert not [fact for fact in await shop.world.stored_facts() if fact.startswith("bad")]
        assert shop.world.halts == []
    finally:
        await shop.close()


class NotAsync:
    """Forgot `async`: the call gives None, which nobody can wait for."""

    def handle(self, job: Job, tx: Tx) -> None:
        tx.put("bad fact")


class Generator:
    """Has a `yield` where none should be."""

    async def handle(self, job: Job, tx: Tx) -> AsyncIterator[int]:
        yield 1


@pytest.mark.parametrize("handler", [NotAsync(), Generator()], ids=["not async", "generator"])
async def test_handler_that_is_no_coroutine_ends_its_jobs_dead(tmp_path: Path, handler: object) -> None:
    shop = Shop(QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES))
    shop.acts = handler  # type: ignore[assignment]
    await shop.open()
    try:
        job = await shop.ended(await shop.publish("bad", "well"))
        assert job.status is JobStatus.DEAD
        assert "TypeError" in str(job.error)
        assert await shop.world.stored_facts() == {}
    finally:
        await shop.close()


class Patient:
    """Waits for ever, and says when it has begun."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def handle(self, job: Job, tx: Tx) -> None:
        tx.put(f"fact-{job.idem_key}")
        if job.idem_key == "slow" and job.attempts == 1:
            self.began.set()
            await asyncio.Event().wait()


async def test_job_whose_worker_is_cancelled_belongs_to_the_next_boot(tmp_path: Path) -> None:
    """Its effects are gone, its lease is held until the process ends; then it runs again, and is done once."""
    world, handler = QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES), Patient()
    await world.open()
    await world.queue.publish(NewJob("work", {}, "quick"))
    tasks = serving(world, handler)
    slow = (await world.queue.publish(NewJob("work", {}, "slow"))).job_id
    await soon(handler.began)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError)
        for end in await asyncio.gather(*tasks, return_exceptions=True)
    )
    await world.settle()
    found = await world.queue.get(slow)
    assert found is not None
    assert (found.status, found.attempts) == (JobStatus.LEASED, 1)
    assert await world.stored_facts() == {"fact-quick": 1}
    await world.reopen()
    tasks = serving(world, handler)
    await asyncio.wait_for(world.queue.wait_quiescent(), 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await world.stored_facts() == {"fact-quick": 1, "fact-slow": 1}
    assert world.halts == []
    await world.close()


def serving(world: QueueWorld, handler: Patient) -> "list[asyncio.Task[None]]":
    stop = asyncio.Event()
    processor = EventLoopProcessor(
        world.queue, TYPES, clock=world.clock, ticker=world.ticker, on_halt=world.halts.append
    )
    worker = processor.worker(ServiceContract(name="patient", consumes=("work",)), handler)
    return [spawn(processor.run(stop), "processor"), spawn(worker.run(stop), "worker")]
