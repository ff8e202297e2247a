"""What every JobQueue promises (Q1 to Q8 of the queue's design), run over each adapter."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from finagent.queue.errors import (
    GuardFailedError,
    JobNotFoundError,
    LeaseLostError,
    PayloadError,
    QueueClosedError,
    UnknownJobTypeError,
)
from finagent.queue.job import JobStatus, NewJob
from finagent.queue.port import CronTick, Tx
from tests.contract.queue_world import START_MS, QueueWorld, job, spawn


@pytest.fixture(params=["threaded", "inline"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueWorld]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=request.param == "threaded")
    await world.open()
    yield world
    await world.close()


async def status_of(world: QueueWorld, job_id: int) -> JobStatus:
    found = await world.queue.get(job_id)
    assert found is not None
    return found.status


# ---------------------------------------------------------------- publish
async def test_published_job_is_stored_before_publish_returns(world: QueueWorld) -> None:
    published = await world.queue.publish(job("a", trace_id="t1", key="k"))
    await world.reopen()
    stored = await world.queue.get(published.job_id)
    assert stored is not None
    assert (stored.status, stored.payload, stored.trace_id, stored.key) == (
        JobStatus.READY,
        {"name": "a"},
        "t1",
        "k",
    )
    assert (stored.priority, stored.max_attempts, stored.created_at_ms) == (5, 3, START_MS)


async def test_publishing_again_returns_the_job_that_exists_and_says_so(world: QueueWorld) -> None:
    first = await world.queue.publish(job("a"))
    again = await world.queue.publish(job("a"))
    other = await world.queue.publish(job("a", type="idle"))
    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.job_id == first.job_id != other.job_id


async def test_publish_many_keeps_order_and_reports_each(world: QueueWorld) -> None:
    await world.queue.publish(job("b"))
    published = await world.queue.publish_many([job("a"), job("b"), job("c")])
    assert [one.created for one in published] == [True, False, True]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (NewJob("nobody", {}, "a"), UnknownJobTypeError),
        (NewJob("work", {"a": object()}, "a"), PayloadError),  # type: ignore[dict-item]
        (NewJob("work", {"a": float("nan")}, "a"), PayloadError),
        (NewJob("work", {"a": "x" * (1 << 20)}, "a"), PayloadError),
        (NewJob("work", {}, "a", payload_version=3), PayloadError),
    ],
)
async def test_bad_job_is_refused_and_stores_nothing(
    world: QueueWorld, bad: NewJob, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await world.queue.publish_many([job("good"), bad])
    tx = Tx()
    tx.put("fact")
    tx.enqueue(bad)
    with pytest.raises(error):
        await world.queue.commit(tx)
    assert (await world.queue.stats()).published == 0
    assert await world.stored_facts() == {}


async def test_closed_queue_refuses_requests(world: QueueWorld) -> None:
    await world.queue.close()
    with pytest.raises(QueueClosedError):
        await world.queue.publish(job("a"))


# ---------------------------------------------------------------- commits
async def test_completion_facts_and_follow_up_jobs_are_one_commit(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a", trace_id="t"))
    claimed = await hands.take()
    tx = Tx()
    tx.put("fact")
    tx.enqueue(job("next"))
    await world.queue.complete(claimed, tx)
    follow_up = await hands.take()
    assert (follow_up.parent_id, follow_up.trace_id) == (claimed.id, "t")
    assert await status_of(world, claimed.id) is JobStatus.DONE
    assert await world.stored_facts() == {"fact": 1}


async def test_bad_request_fails_alone_in_its_batch(world: QueueWorld) -> None:
    good, bad = Tx(), Tx()
    good.put("good")
    bad.put("half")
    bad.put("bad")
    results = await asyncio.gather(
        world.queue.commit(good),
        world.queue.commit(bad),
        world.queue.publish(job("a")),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert await world.stored_facts() == {"good": 1}
    assert (await world.queue.stats()).published == 1


async def test_failed_effects_leave_the_job_leased(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    claimed = await hands.take()
    bad = Tx()
    bad.put("bad")
    with pytest.raises(ValueError, match="bad fact"):
        await world.queue.complete(claimed, bad)
    assert await status_of(world, claimed.id) is JobStatus.LEASED
    await world.queue.complete(claimed, Tx())


async def test_guard_is_checked_in_the_commit_and_moves_the_version(world: QueueWorld) -> None:
    assert await world.queue.row_version("account") == 0
    first, late = Tx(), Tx()
    for tx, fact in ((first, "first"), (late, "late")):
        tx.expect("account", 0)
        tx.put(fact)
    await world.queue.commit(first)
    with pytest.raises(GuardFailedError) as caught:
        await world.queue.commit(late)
    assert caught.value.row == "account"
    assert await world.queue.row_version("account") == 1
    assert await world.stored_facts() == {"first": 1}


async def test_only_one_of_two_commits_in_a_batch_passes_the_same_guard(world: QueueWorld) -> None:
    def guarded(fact: str) -> Tx:
        tx = Tx()
        tx.expect("account", 0)
        tx.touch("account")
        tx.put(fact)
        return tx

    results = await asyncio.gather(
        *(world.queue.commit(guarded(name)) for name in "ab"), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), GuardFailedError]
    assert await world.queue.row_version("account") == 1


async def test_touch_moves_the_version_unchecked(world: QueueWorld) -> None:
    tx = Tx()
    tx.touch("account")
    await world.queue.commit(tx)
    await world.queue.commit(tx)
    assert await world.queue.row_version("account") == 2


async def test_failed_guard_keeps_the_lease_so_that_the_handler_can_decide_again(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    claimed = await hands.take()
    tx = Tx()
    tx.expect("account", 7)
    with pytest.raises(GuardFailedError):
        await world.queue.complete(claimed, tx)
    await world.queue.complete(claimed, Tx())
    assert await status_of(world, claimed.id) is JobStatus.DONE


# ---------------------------------------------------------------- leases
async def test_stale_owner_can_neither_complete_fail_nor_extend(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    stale = await hands.take()
    await world.reopen()
    tx = Tx()
    tx.put("stale")
    tx.enqueue(job("stale"))
    hands = world.hands()
    owner = await hands.take()
    assert owner.id == stale.id
    assert owner.attempts == 2
    with pytest.raises(LeaseLostError):
        await world.queue.complete(stale, tx)
    with pytest.raises(LeaseLostError):
        await world.queue.complete(stale, Tx())
    with pytest.raises(LeaseLostError):
        await world.queue.fail(stale, "x", outcome="dead")
    with pytest.raises(LeaseLostError):
        await world.queue.extend(stale)
    assert await world.stored_facts() == {}
    await world.queue.extend(owner)
    await world.queue.complete(owner, Tx())
    with pytest.raises(LeaseLostError):
        await world.queue.complete(owner, Tx())


async def test_boot_returns_leases_at_once_with_run_at_untouched(world: QueueWorld) -> None:
    hands = world.hands()
    published = await world.queue.publish(job("a"))
    await hands.take()
    world.clock.advance(START_MS + 5)
    await world.reopen()
    stored = await world.queue.get(published.job_id)
    assert stored is not None
    assert (stored.status, stored.run_at_ms, stored.attempts, stored.failures) == (
        JobStatus.READY,
        START_MS,
        1,
        0,
    )


async def test_job_that_kills_its_worker_ends_dead_with_its_reason(world: QueueWorld) -> None:
    published = await world.queue.publish(job("killer"))
    for _ in range(3):
        assert (await world.hands().take()).id == published.job_id
        await world.reopen()
    dead = await world.queue.get(published.job_id)
    assert dead is not None
    assert (dead.status, dead.error) == (JobStatus.DEAD, "killed its worker 3 times")
    await world.queue.publish(job("other"))
    assert (await world.hands().take()).idem_key == "other"


async def test_lease_expires_when_nobody_vouches_for_it(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    lost = await hands.take()
    world.ticker.advance(9_999)
    world.queue.poke()
    await world.settle()
    assert await status_of(world, lost.id) is JobStatus.LEASED
    world.ticker.advance(1)
    world.queue.poke()
    again = await hands.take()
    assert (again.id, again.attempts) == (lost.id, 2)
    with pytest.raises(LeaseLostError):
        await world.queue.complete(lost, Tx())


async def test_lease_of_a_handler_that_shows_progress_is_prolonged(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    slow = await hands.take()
    world.ticker.advance(10_000)
    hands.alive[slow.id] = world.ticker.monotonic_ms() + 5_000
    world.queue.poke()
    await world.settle()
    await world.queue.complete(slow, Tx())


async def test_extend_prolongs_the_lease(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    slow = await hands.take()
    world.ticker.advance(9_000)
    await world.queue.extend(slow)
    world.ticker.advance(9_000)
    world.queue.poke()
    await world.settle()
    await world.queue.complete(slow, Tx())


# ---------------------------------------------------------------- failures
async def test_failure_is_retried_after_its_back_off_and_dies_after_the_last_attempt(
    world: QueueWorld,
) -> None:
    hands = world.hands()
    published = await world.queue.publish(job("a"))
    for attempt in (1, 2, 3):
        claimed = await hands.take()
        assert claimed.attempts == attempt
        status = await world.queue.fail(claimed, f"broken {attempt}", outcome="retry")
        due_ms = world.queue.next_run_at_ms()
        if due_ms is not None:
            assert status is JobStatus.SCHEDULED
            world.clock.advance(due_ms)
            world.queue.poke()
    stored = await world.queue.get(published.job_id)
    assert stored is not None
    assert stored.status is JobStatus.DEAD
    assert stored.error == "broken 3 (attempt 3 of 3, the last)"


async def test_retry_after_is_respected(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    await world.queue.fail(await hands.take(), "busy", outcome="retry", retry_after_s=42.0)
    assert world.queue.next_run_at_ms() == START_MS + 42_000


async def test_returned_job_is_ready_and_its_attempt_is_not_counted(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    await world.queue.fail(await hands.take(), "halt", outcome="return")
    again = await hands.take()
    assert (again.attempts, again.failures) == (1, 0)


@pytest.mark.parametrize("outcome", ["dead", "cancelled"])
async def test_job_can_be_given_up(world: QueueWorld, outcome: str) -> None:
    hands = world.hands()
    await world.queue.publish(job("a"))
    claimed = await hands.take()
    status = await world.queue.fail(claimed, "why", outcome=outcome)  # type: ignore[arg-type]
    assert status == outcome == await status_of(world, claimed.id)


async def test_dead_jobs_are_redriven_by_one_call(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many([job("a"), job("b"), job("c", type="idle")])
    for _ in range(3):
        await world.queue.fail(await hands.take(), "why", outcome="dead")
    assert await world.queue.redrive("work") == 2
    assert await world.queue.redrive() == 1
    assert await world.queue.redrive() == 0
    assert (await hands.take()).attempts == 2, "fresh attempts, but not as if it had never begun"


async def test_cancel_and_retry_by_hand(world: QueueWorld) -> None:
    later = await world.queue.publish(job("a", run_at_ms=START_MS + 1_000))
    assert await world.queue.cancel(later.job_id)
    assert not await world.queue.cancel(later.job_id)
    assert await world.queue.retry(later.job_id)
    assert not await world.queue.retry(later.job_id)
    running = await world.hands().take()
    assert running.id == later.job_id
    assert not await world.queue.cancel(later.job_id)
    with pytest.raises(JobNotFoundError):
        await world.queue.cancel(999)


# ---------------------------------------------------------------- time
async def test_scheduled_job_waits_for_its_instant(world: QueueWorld) -> None:
    hands = world.hands()
    later = await world.queue.publish(job("later", run_at_ms=START_MS + 1_000))
    assert world.queue.next_run_at_ms() == START_MS + 1_000
    world.clock.advance(START_MS + 999)
    world.queue.poke()
    await world.settle()
    assert hands.jobs == []
    world.clock.advance(START_MS + 1_000)
    world.queue.poke()
    assert (await hands.take()).id == later.job_id


async def test_job_past_its_deadline_is_cancelled_too_late(world: QueueWorld) -> None:
    early = await world.queue.publish(job("a", deadline_at_ms=START_MS + 1_000))
    later = await world.queue.publish(job("b", run_at_ms=START_MS + 2_000, deadline_at_ms=START_MS + 1_500))
    world.clock.advance(START_MS + 1_001)
    hands = world.hands()
    await world.settle()
    assert hands.jobs == []
    stored = await world.queue.get(early.job_id)
    assert stored is not None
    assert (stored.status, stored.error) == (JobStatus.CANCELLED, "too_late")
    world.clock.advance(START_MS + 2_000)
    world.queue.poke()
    await world.settle()
    assert await status_of(world, later.job_id) is JobStatus.CANCELLED


async def test_job_at_its_deadline_still_runs(world: QueueWorld) -> None:
    await world.queue.publish(job("a", deadline_at_ms=START_MS + 1_000))
    world.clock.advance(START_MS + 1_000)
    assert (await world.hands().take()).idem_key == "a"


async def test_next_run_change_is_told_when_an_earlier_job_is_scheduled(world: QueueWorld) -> None:
    await world.queue.publish(job("a", run_at_ms=START_MS + 5_000))
    await asyncio.wait_for(world.queue.wait_next_run_change(), 10)
    change = spawn(world.queue.wait_next_run_change(), "change")
    await world.queue.publish(job("b", run_at_ms=START_MS + 9_000))
    assert not change.done()
    await world.queue.publish(job("c", run_at_ms=START_MS + 1_000))
    await asyncio.wait_for(change, 10)


async def test_cron_tick_fires_once_across_restarts(world: QueueWorld) -> None:
    tick = CronTick(name="scan", fire_at_ms=START_MS)
    assert await world.queue.fire(tick, [job("scan:1")])
    await world.reopen()
    assert not await world.queue.fire(tick, [job("scan:2")])
    assert await world.queue.last_fire_ms("scan") == START_MS
    assert await world.queue.last_fire_ms("other") is None
    assert (await world.queue.stats()).published == 1


async def test_skipped_cron_tick_is_recorded_and_publishes_nothing(world: QueueWorld) -> None:
    tick = CronTick(name="scan", fire_at_ms=START_MS)
    assert await world.queue.fire(tick, [job("scan:1")], skipped="missed")
    assert not await world.queue.fire(tick, [job("scan:1")])
    assert (await world.queue.stats()).published == 0


# ---------------------------------------------------------------- order
async def test_claims_stay_within_credits_and_follow_priority(world: QueueWorld) -> None:
    await world.queue.publish_many([job(str(n)) for n in range(5)])
    await world.queue.publish_many(
        [job("low", priority=9), job("first", type="exit"), job("high", priority=1)]
    )
    hands = world.hands()
    hands.credits["work"] = 2
    await world.settle()
    assert [claimed.idem_key for claimed in hands.jobs] == ["first", "high", "0"]


async def test_completion_makes_room_for_the_next_job_in_the_same_commit(world: QueueWorld) -> None:
    await world.queue.publish_many([job("a"), job("b")])
    hands = world.hands()
    hands.credits["work"] = 1
    first = await hands.take()
    await world.queue.complete(first, Tx())
    assert [claimed.idem_key for claimed in hands.jobs] == ["b"]


async def test_refused_completion_makes_no_room(world: QueueWorld) -> None:
    await world.queue.publish_many([job("a"), job("b")])
    hands = world.hands()
    hands.credits["work"] = 1
    first = await hands.take()
    tx = Tx()
    tx.expect("account", 7)
    with pytest.raises(GuardFailedError):
        await world.queue.complete(first, tx)
    assert hands.jobs == []


async def test_jobs_of_one_key_never_run_at_the_same_time(world: QueueWorld) -> None:
    await world.queue.publish_many(
        [job("a", key="plan"), job("b", key="plan"), job("c", type="exit", key="plan"), job("d", key="other")]
    )
    hands = world.hands()
    await world.settle()
    assert [claimed.idem_key for claimed in hands.jobs] == ["c", "d"]
    hands.credits["exit"] += 1
    await world.queue.complete(hands.jobs[0], Tx())
    assert [claimed.idem_key for claimed in hands.jobs] == ["c", "d", "a"]


async def test_first_job_of_a_key_comes_first_whatever_its_type(world: QueueWorld) -> None:
    """Seen in a crash drill: exits that were tried again for ever kept their key from the job they waited for."""
    await world.queue.publish(job("older", key="plan", priority=0))
    world.clock.advance(START_MS + 1)
    await world.queue.publish_many([job("again", type="exit", key="plan"), job("b", type="exit", key="plan")])
    hands = world.hands()
    await world.settle()
    assert [claimed.idem_key for claimed in hands.jobs] == ["older"]
    await world.queue.complete(hands.jobs[0], Tx())
    assert [claimed.idem_key for claimed in hands.jobs] == ["older", "again"]


async def test_serial_consumer_gets_one_job_at_a_time_in_order(world: QueueWorld) -> None:
    await world.queue.publish_many(
        [job("a"), job("b", priority=1), job("c", type="exit"), job("d", priority=1)]
    )
    hands = world.hands(serial=True)
    order = []
    for _ in range(4):
        claimed = await hands.take()
        assert hands.jobs == []
        order.append(claimed.idem_key)
        await world.queue.complete(claimed, Tx())
    assert order == ["c", "b", "d", "a"]


async def test_serial_consumer_that_cannot_take_the_first_job_gets_no_other(world: QueueWorld) -> None:
    """Which job is next is a matter of the rows alone, never of who is up already."""
    hands = world.hands(serial=True)
    hands.credits["exit"] = 0
    await world.queue.publish_many([job("first", type="exit"), job("second")])
    await world.settle()
    assert hands.jobs == []
    hands.credits["exit"] = 1
    world.queue.poke()
    assert (await hands.take()).idem_key == "first"


async def test_detached_consumer_gets_nothing_more(world: QueueWorld) -> None:
    hands = world.hands()
    world.queue.detach()
    await world.queue.publish(job("a"))
    world.queue.poke()
    await world.settle()
    assert hands.jobs == []


# ---------------------------------------------------------------- quiescence, counts, retention
async def test_quiescent_only_when_nothing_is_ready_leased_or_queued(world: QueueWorld) -> None:
    await asyncio.wait_for(world.queue.wait_quiescent(), 10)
    await world.queue.publish(job("later", run_at_ms=START_MS + 1_000))
    await asyncio.wait_for(world.queue.wait_quiescent(), 10)
    await world.queue.publish(job("a"))
    quiet = spawn(world.queue.wait_quiescent(), "quiet")
    hands = world.hands()
    claimed = await hands.take()
    await world.settle()
    assert not quiet.done()
    tx = Tx()
    tx.enqueue(job("b"))
    await world.queue.complete(claimed, tx)
    await world.settle()
    assert not quiet.done()
    await world.queue.complete(await hands.take(), Tx())
    await asyncio.wait_for(quiet, 10)


async def test_nothing_disappears_from_the_counts(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many([job(str(n)) for n in range(6)])
    await world.queue.publish(job("later", run_at_ms=START_MS + 9_000))
    await world.queue.complete(await hands.take(), Tx())
    await world.queue.fail(await hands.take(), "x", outcome="dead")
    await world.queue.fail(await hands.take(), "x", outcome="cancelled")
    stats = await world.queue.stats()
    assert stats.by_status == {"scheduled": 1, "ready": 0, "leased": 3, "done": 1, "dead": 1, "cancelled": 1}
    assert stats.published == 7
    assert [dead.idem_key for dead in stats.dead] == ["1"]
    assert stats.next_run_at_ms == START_MS + 9_000


async def test_pruned_jobs_keep_their_keys_and_their_count(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many([job(str(n)) for n in range(5)])
    for _ in range(4):
        await world.queue.complete(await hands.take(), Tx())
    await world.queue.fail(await hands.take(), "x", outcome="dead")
    assert await world.queue.prune(older_than_ms=START_MS) == 0
    assert await world.queue.prune(older_than_ms=START_MS + 1, limit=3) == 3
    assert await world.queue.prune(older_than_ms=START_MS + 1, limit=3) == 1
    again = await world.queue.publish(job("0"))
    assert not again.created
    stats = await world.queue.stats()
    assert (stats.published, stats.pruned) == (5, {"done": 4})
    fresh = await world.queue.publish(job("fresh"))
    assert fresh.job_id == 6


async def test_list_gives_newest_first_and_filters(world: QueueWorld) -> None:
    await world.queue.publish_many([job("a"), job("b", type="idle"), job("c", run_at_ms=START_MS + 1)])
    assert [found.idem_key for found in await world.queue.list()] == ["c", "b", "a"]
    assert [found.idem_key for found in await world.queue.list(type="idle")] == ["b"]
    assert [found.idem_key for found in await world.queue.list(status=JobStatus.SCHEDULED)] == ["c"]
    assert [found.idem_key for found in await world.queue.list(limit=1)] == ["c"]
    assert await world.queue.get(99) is None
