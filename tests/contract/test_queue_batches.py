"""What a JobQueue promises of one request (Q1 to Q8) holds when many are committed together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from finagent.queue.errors import GuardFailedError, LeaseLostError
from finagent.queue.job import Job, JobStatus, NewJob
from finagent.queue.port import Published, Tx
from tests.contract.queue_world import START_MS, Hands, QueueWorld, job

MANY = 8  # as many "work" jobs as the hands of a test take at once


@pytest.fixture(params=["threaded", "inline"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueWorld]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=request.param == "threaded")
    await world.open()
    yield world
    await world.close()


def named(prefix: str, count: int = MANY, **fields: object) -> list[NewJob]:
    return [job(f"{prefix}-{number}", **fields) for number in range(count)]


async def publish_together(world: QueueWorld, jobs: Sequence[NewJob]) -> list[Published]:
    """One call each, all in the same batch."""
    return list(await asyncio.gather(*(world.queue.publish(each) for each in jobs)))


async def take_all(hands: Hands, count: int = MANY) -> list[Job]:
    return [await hands.take() for _ in range(count)]


async def statuses(world: QueueWorld) -> dict[str, str]:
    stored = await world.queue.list(limit=1_000)
    return {each.idem_key: str(each.status) for each in reversed(stored)}


# ---------------------------------------------------------------- completions
async def test_lost_lease_fails_alone_among_completions_of_one_batch(world: QueueWorld) -> None:
    """The others are done; the job belongs to who holds it now."""
    hands = world.hands()
    await world.queue.publish_many(named("a"))
    claimed = await take_all(hands)
    stale, others = claimed[3], [each for each in claimed if each is not claimed[3]]
    world.ticker.advance(10_000)
    hands.alive = {each.id: world.ticker.monotonic_ms() + 60_000 for each in others}
    hands.credits["work"] = 1
    world.queue.poke()
    owner = await hands.take()
    assert (owner.id, owner.attempts) == (stale.id, 2)
    answers = await asyncio.gather(
        *(world.queue.complete(each, Tx()) for each in claimed), return_exceptions=True
    )
    assert [type(each) for each in answers] == [
        LeaseLostError if each is stale else type(None) for each in claimed
    ]
    found = await statuses(world)
    assert Counter(found.values()) == {"done": MANY - 1, "leased": 1}
    assert found[stale.idem_key] == "leased"
    await world.queue.complete(owner, Tx())
    assert set((await statuses(world)).values()) == {"done"}


async def test_leases_of_a_dead_boot_fail_together_and_change_nothing(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many(named("a"))
    stale = await take_all(hands)
    await world.reopen()
    owners = {each.id: each for each in await take_all(world.hands())}
    asked = [world.queue.complete(each, Tx()) for each in stale]
    answers = await asyncio.gather(
        *asked, *(world.queue.extend(each) for each in stale), return_exceptions=True
    )
    assert {type(each) for each in answers} == {LeaseLostError}
    assert set((await statuses(world)).values()) == {"leased"}
    await asyncio.gather(*(world.queue.complete(each, Tx()) for each in owners.values()))
    assert set((await statuses(world)).values()) == {"done"}


async def test_same_job_completed_twice_in_one_batch_is_done_once(world: QueueWorld) -> None:
    hands = world.hands()
    await world.queue.publish_many(named("a"))
    claimed = await take_all(hands)
    answers = await asyncio.gather(
        *(world.queue.complete(each, Tx()) for each in [*claimed, claimed[0]]), return_exceptions=True
    )
    assert [type(each) for each in answers] == [*[type(None)] * MANY, LeaseLostError]


async def test_completions_with_and_without_effects_of_one_batch_keep_their_own(world: QueueWorld) -> None:
    """Facts, follow-ups, a bad fact, a failed guard and plain ones: each request has its own outcome."""
    hands = world.hands()
    await world.queue.publish_many(named("a"))
    claimed = await take_all(hands)
    buffers = [Tx() for _ in claimed]
    for number in (1, 4):
        buffers[number].put(f"fact-{number}")
        buffers[number].enqueue(job(f"child-{number}", type="idle"))
    buffers[2].put("half")
    buffers[2].put("bad")
    buffers[5].put("guarded")
    buffers[5].expect("account", 3)
    pairs = zip(claimed, buffers, strict=True)
    answers = await asyncio.gather(*(world.queue.complete(*pair) for pair in pairs), return_exceptions=True)
    raised = {number: type(answer) for number, answer in enumerate(answers) if answer is not None}
    assert raised == {2: ValueError, 5: GuardFailedError}
    assert await world.stored_facts() == {"fact-1": 1, "fact-4": 1}
    children = await world.queue.list(type="idle")
    assert {(each.idem_key, each.parent_id) for each in children} == {
        (f"child-{number}", claimed[number].id) for number in (1, 4)
    }
    found = await statuses(world)
    assert {name for name, status in found.items() if status == "leased" and name[0] == "a"} == {"a-2", "a-5"}


async def test_credit_of_each_completion_is_used_in_the_same_commit_or_the_next(world: QueueWorld) -> None:
    """24 jobs pass through 8 credits, with failures, returns and refused completions between them."""
    hands = world.hands()
    await world.queue.publish_many(named("a", 3 * MANY))
    done = 0
    while done < 3 * MANY:
        claimed = await take_all(hands, min(MANY, 3 * MANY - done))
        for number, each in enumerate(claimed):
            if number % 4 == 1 and each.failures == 0:
                await world.queue.fail(each, "again", outcome="retry", retry_after_s=0.0)
            elif number % 4 == 2 and each.attempts == 1:
                await world.queue.fail(each, "back", outcome="return")
            else:
                await world.queue.complete(each, Tx())
                done += 1
            hands.credits["work"] += 1
        world.queue.poke()
        await world.settle()
        assert len(hands.jobs) == min(MANY, 3 * MANY - done)
    assert set((await statuses(world)).values()) == {"done"}


# ---------------------------------------------------------------- publishing
@pytest.mark.parametrize("door", ["many", "together"])
async def test_key_that_was_pruned_stays_taken_in_a_batch(world: QueueWorld, door: str) -> None:
    """Old and new keys mixed: each old one answers with the id that it had."""
    hands = world.hands()
    first = await world.queue.publish_many(named("old"))
    for each in await take_all(hands):
        await world.queue.complete(each, Tx())
    await world.queue.publish(job("newest", type="idle"))
    world.clock.advance(START_MS + 10)
    assert await world.queue.prune(older_than_ms=START_MS + 5) == MANY
    mixed = [each for pair in zip(named("old"), named("new"), strict=True) for each in pair]
    again = await (world.queue.publish_many(mixed) if door == "many" else publish_together(world, mixed))
    assert [each.created for each in again] == [False, True] * MANY
    assert [each.job_id for each in again[::2]] == [each.job_id for each in first]
    assert len({each.job_id for each in again}) == 2 * MANY
    assert (await world.queue.stats()).published == 2 * MANY + 1


@pytest.mark.parametrize("door", ["many", "together"])
async def test_key_given_twice_in_a_batch_is_one_job(world: QueueWorld, door: str) -> None:
    jobs = [*named("a"), *named("a"), *named("b")]
    found = await (world.queue.publish_many(jobs) if door == "many" else publish_together(world, jobs))
    assert [each.created for each in found] == [True] * MANY + [False] * MANY + [True] * MANY
    assert [each.job_id for each in found[:MANY]] == [each.job_id for each in found[MANY : 2 * MANY]]
    assert (await world.queue.stats()).published == 2 * MANY


@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 17, 63, 64, 65, 130, 300])
async def test_ids_of_a_batch_are_those_of_its_jobs(world: QueueWorld, count: int) -> None:
    """Whatever the number of rows to a statement: the answer at a place names the job of that place."""
    found = await world.queue.publish_many(named("a", count))
    by_id = {each.id: each.idem_key for each in await world.queue.list(limit=1_000)}
    assert [by_id[each.job_id] for each in found] == [f"a-{number}" for number in range(count)]


async def test_handed_over_job_is_the_stored_one_whatever_door_it_came_through(world: QueueWorld) -> None:
    """Field by field: published alone, together, by a call, with a completion, and due later."""
    hands = world.hands()
    rich = {
        "key": "k",
        "priority": 3,
        "deadline_at_ms": START_MS + 99_000,
        "payload_version": 2,
        "trace_id": "t",
    }
    await world.queue.publish(job("alone", **rich, max_attempts=7))
    parent = await hands.take()
    tx = Tx()
    tx.enqueue(job("child", run_at_ms=START_MS - 5))
    await world.queue.complete(parent, tx)
    hands.credits["work"] += 1
    await publish_together(world, named("together", 5))
    await world.queue.publish_many(named("many", 4, type="exit"))
    await world.queue.publish(job("later", type="idle", run_at_ms=START_MS + 50))
    world.clock.advance(START_MS + 50)
    world.queue.poke()
    for claimed in await take_all(hands, 11):
        stored = await world.queue.get(claimed.id)
        assert stored == claimed
        assert (claimed.status, claimed.attempts) == (JobStatus.LEASED, 1)
        assert claimed.started_at_ms is not None


async def test_jobs_taken_at_once_count_their_attempt_and_end_dead_when_they_kill(world: QueueWorld) -> None:
    """Published while hands are free: each death counts from the first one on."""
    hands = world.hands()
    for door in ("together", "many"):
        jobs = named(door, MANY // 2)
        await (world.queue.publish_many(jobs) if door == "many" else publish_together(world, jobs))
    for boot in range(1, 4):
        taken = await take_all(hands)
        assert {each.attempts for each in taken} == {boot}
        await world.reopen()
        hands = world.hands()
    await world.settle()
    assert hands.jobs == []
    for each in await world.queue.list():
        assert (each.status, each.attempts, each.error) == (JobStatus.DEAD, 3, "killed its worker 3 times")


async def test_job_with_free_hands_still_waits_for_its_key_its_time_and_its_credit(world: QueueWorld) -> None:
    """Nothing is handed over early because somebody could take it: key, run_at, deadline, credits, order."""
    hands = world.hands()
    hands.credits = {"exit": 4, "work": 8, "idle": 2}
    await world.queue.publish_many(
        [
            *named("key", 4, key="k"),
            *named("later", 4, run_at_ms=START_MS + 1_000),
            *named("late", 4, deadline_at_ms=START_MS - 1),
            *named("idle", 4, type="idle"),
        ]
    )
    await world.settle()
    assert sorted(each.idem_key for each in hands.jobs) == ["idle-0", "idle-1", "key-0"]
    found = await statuses(world)
    assert {found[f"late-{number}"] for number in range(4)} == {"cancelled"}
    assert {found[f"later-{number}"] for number in range(4)} == {"scheduled"}


async def test_job_published_now_does_not_overtake_one_that_waits(world: QueueWorld) -> None:
    """A credit that comes free goes to the oldest, not to what happens to be published in that commit."""
    hands = world.hands()
    hands.credits = {"exit": 0, "work": 1, "idle": 0}
    await world.queue.publish_many(named("old", 3))
    first = await hands.take()
    await asyncio.gather(
        world.queue.complete(first, Tx()), *(world.queue.publish(each) for each in named("new", 5))
    )
    hands.credits["work"] += 1
    world.queue.poke()
    assert (await hands.take()).idem_key == "old-1"


async def test_serial_consumer_gets_jobs_of_a_batch_one_at_a_time_in_order(world: QueueWorld) -> None:
    hands = world.hands(serial=True)
    await world.queue.publish_many(
        [*named("idle", 3, type="idle"), *named("work", 3), *named("exit", 3, type="exit")]
    )
    order = []
    for _ in range(9):
        claimed = await hands.take()
        assert hands.jobs == []
        order.append(claimed.idem_key)
        await world.queue.complete(claimed, Tx())
        hands.credits[claimed.type] += 1
    assert order[0] == "exit-0"
    assert order == [f"{kind}-{number}" for kind in ("exit", "work", "idle") for number in range(3)]
