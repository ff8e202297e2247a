"""Lanes and batches of a worker: handlers overlap, take turns with the loop, and fail one by one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finagent.queue.errors import LeaseLostError
from finagent.queue.job import Job, JobPolicy, JobStatus, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.queue.worker import ServiceWorker
from finagent.runtime.clock import SystemTicker
from finagent.runtime.errors import CancelJobError, HaltError, ReturnJobError
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import QueueWorld, job, soon

MANY = 20
POLICY = JobPolicy(priority=5, credits=64, max_attempts=2, timeout_s=10.0, backoff_base_s=0.0)
TYPES = JobTypes(
    {"work": POLICY, "bulk": JobPolicy(priority=5, credits=64, batch=8, max_attempts=2, backoff_base_s=0.0)}
)
Act = Callable[[Sequence[Job], Tx], Awaitable[None]]


@dataclass
class Both:
    """A handler of single jobs and of batches; remembers the names it was given together."""

    act: Act
    seen: list[list[str]] = field(default_factory=list)

    async def handle(self, job: Job, tx: Tx) -> None:
        await self.handle_many([job], tx)

    async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> None:
        self.seen.append([each.idem_key for each in jobs])
        await self.act(jobs, tx)


@dataclass
class Bench:
    """A world with a running worker."""

    world: QueueWorld
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    worker: ServiceWorker = field(init=False)
    processor: EventLoopProcessor = field(init=False)

    def run(self, act: Act, *, guard_retries: int = 3) -> Both:
        handler = Both(act)
        self.processor = EventLoopProcessor(
            self.world.queue,
            TYPES,
            clock=self.world.clock,
            ticker=self.world.ticker,
            on_halt=self.world.halts.append,
            poll=False,
            guard_retries=guard_retries,
        )
        self.worker = self.processor.worker(ServiceContract(name="all", consumes=("work", "bulk")), handler)
        self.tasks = [spawn(self.processor.run(self.stop), "p"), spawn(self.worker.run(self.stop), "w")]
        return handler

    async def publish(self, count: int, type: str = "work") -> list[int]:
        jobs = [job(f"{number}", type=type) for number in range(count)]
        return [each.job_id for each in await self.world.queue.publish_many(jobs)]

    async def quiet(self) -> None:
        await asyncio.wait_for(self.world.queue.wait_quiescent(), 10)

    async def stored(self, job_id: int) -> Job:
        found = await self.world.queue.get(job_id)
        assert found is not None
        return found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=True, types=TYPES)
    await world.open()
    bench = Bench(world)
    yield bench
    bench.stop.set()
    await asyncio.wait_for(asyncio.gather(*bench.tasks, return_exceptions=True), 10)
    await world.close()


async def test_handlers_that_wait_overlap(bench: Bench) -> None:
    """All of them are under way at once, as if each had a task of its own."""
    running, all_in = 0, asyncio.Event()

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        nonlocal running
        running += 1
        if running == MANY:
            all_in.set()
        await soon(all_in)

    bench.run(act)
    await bench.publish(MANY)
    await bench.quiet()
    assert running == MANY


async def test_handlers_that_never_wait_leave_the_loop_its_turns(tmp_path: Path) -> None:
    """A slice of time, then the others; measured in turns, since time on this machine says little."""
    world = QueueWorld(tmp_path / "jobs.db", threaded=True, types=TYPES)
    await world.open()
    bench, ticker, turns = Bench(world), SystemTicker(), [0]

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        end_ms = ticker.monotonic_ms() + 6
        while ticker.monotonic_ms() < end_ms:
            world.ticker.advance(1)

    async def beside() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    handler = bench.run(act)
    other = spawn(beside(), "beside")
    await bench.publish(MANY)
    await bench.quiet()
    assert sum(map(len, handler.seen)) == MANY
    assert turns[0] >= MANY
    other.cancel()
    bench.stop.set()
    await asyncio.gather(*bench.tasks, other, return_exceptions=True)
    await world.close()


async def test_batch_handler_is_given_what_waits_up_to_its_size(bench: Bench) -> None:
    """Effects of the whole batch are one commit with its completions."""

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        tx.put("+".join(each.idem_key for each in jobs))

    handler = bench.run(act)
    await bench.publish(MANY, "bulk")
    await bench.quiet()
    assert [len(group) for group in handler.seen] == [8, 8, 4]
    assert await bench.world.stored_facts() == {"+".join(group): 1 for group in handler.seen}


async def test_single_jobs_beside_batches_stay_single(bench: Bench) -> None:
    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        assert len({each.type for each in jobs}) == 1

    handler = bench.run(act)
    mixed = [NewJob("work" if number % 5 == 0 else "bulk", {}, str(number)) for number in range(MANY)]
    await bench.world.queue.publish_many(mixed)
    await bench.quiet()
    assert sorted(name for group in handler.seen for name in group) == sorted(str(n) for n in range(MANY))
    assert all(len(group) == 1 for group in handler.seen if int(group[0]) % 5 == 0)


async def test_bad_job_of_a_batch_fails_alone(bench: Bench) -> None:
    """The others are done by a second call each, and nothing of the failed call is stored."""

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        for each in jobs:
            tx.put(f"fact {each.idem_key}")
        if any(each.idem_key == "3" for each in jobs):
            raise ValueError("three is bad")

    handler = bench.run(act)
    ids = await bench.publish(8, "bulk")
    await bench.quiet()
    ends = [await bench.stored(job_id) for job_id in ids]
    assert [each.status for each in ends].count(JobStatus.DONE) == 7
    assert ends[3].status is JobStatus.DEAD
    assert "three is bad" in str(ends[3].error)
    assert [each.attempts for each in ends] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert [len(group) for group in handler.seen][:9] == [8, *[1] * 8]
    assert await bench.world.stored_facts() == {f"fact {n}": 1 for n in range(8) if n != 3}


async def test_failed_guard_of_a_batch_decides_again_for_all(bench: Bench) -> None:
    tries = 0

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        nonlocal tries
        tries += 1
        tx.expect("account", 0 if tries == 1 else await bench.world.queue.row_version("account"))
        tx.put("decided")

    tx = Tx()
    tx.touch("account")
    await bench.world.queue.commit(tx)
    handler = bench.run(act)
    await bench.publish(4, "bulk")
    await bench.quiet()
    assert [len(group) for group in handler.seen] == [4, 4]
    assert await bench.world.stored_facts() == {"decided": 1}


async def test_lost_lease_in_a_batch_costs_the_others_nothing(bench: Bench) -> None:
    """The batch is refused as a whole; then each job learns for itself."""
    stolen: list[Job] = []

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        if not stolen:
            stolen.append(jobs[2])
            await bench.world.queue.fail(jobs[2], "taken away", outcome="dead")

    handler = bench.run(act)
    ids = await bench.publish(5, "bulk")
    await bench.quiet()
    ends = [(await bench.stored(job_id)).status for job_id in ids]
    assert ends == [JobStatus.DEAD if n == 2 else JobStatus.DONE for n in range(5)]
    assert [len(group) for group in handler.seen] == [5, 1, 1, 1, 1, 1]


async def test_hung_batch_is_tried_one_by_one(bench: Bench) -> None:
    """The one that hangs is found, and only its attempt counts."""
    started = asyncio.Event()

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        if any(each.idem_key == "1" and each.attempts == 1 for each in jobs):
            started.set()
            await asyncio.Event().wait()

    handler = bench.run(act)
    ids = await bench.publish(3, "bulk")
    for _ in range(2):  # first all of them hang together, then the culprit alone
        await soon(started)
        started.clear()
        for _ in range(125):
            bench.world.ticker.advance(250)
            bench.processor.run_once()
            await asyncio.sleep(0)
    await bench.quiet()
    ends = [await bench.stored(job_id) for job_id in ids]
    assert [each.status for each in ends] == [JobStatus.DONE] * 3
    assert [each.attempts for each in ends] == [1, 2, 1]
    assert handler.seen[0] == ["0", "1", "2"]
    assert all(len(group) == 1 for group in handler.seen[1:])


async def test_progress_keeps_a_handler_from_being_taken_for_hung(bench: Bench) -> None:
    over, ticks = asyncio.Event(), 0

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        nonlocal ticks
        while not over.is_set():
            tx.progress()
            ticks += 1
            await asyncio.sleep(0)

    bench.run(act)
    (job_id,) = await bench.publish(1)
    for _ in range(100):
        bench.world.ticker.advance(250)
        bench.processor.run_once()
        before = ticks
        while ticks == before:  # its own turns are what the test counts
            await bench.world.settle()
    over.set()
    await bench.quiet()
    assert (await bench.stored(job_id)).attempts == 1


@pytest.mark.parametrize(
    ("error", "status", "attempts", "text"),
    [
        (CancelJobError("no longer wanted"), JobStatus.CANCELLED, 1, "no longer wanted"),
        (asyncio.CancelledError(), JobStatus.DEAD, 2, "cancelled from within"),
        (LeaseLostError(1), JobStatus.LEASED, 1, "None"),
    ],
)
async def test_reaction_of_the_worker(
    bench: Bench, error: BaseException, status: JobStatus, attempts: int, text: str
) -> None:
    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        raise error

    bench.run(act)
    (job_id,) = await bench.publish(1)
    while (await bench.stored(job_id)).status is not status or bench.worker.in_flight.get("work"):
        await bench.world.settle()
    ended = await bench.stored(job_id)
    assert (ended.attempts, text in str(ended.error)) == (attempts, True)


async def test_returned_job_counts_no_attempt(bench: Bench) -> None:
    calls = 0

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        nonlocal calls
        calls += 1
        if calls < 5:
            raise ReturnJobError("interrupted")

    bench.run(act)
    (job_id,) = await bench.publish(1)
    await bench.quiet()
    assert ((await bench.stored(job_id)).attempts, calls) == (1, 5)


async def test_cancelled_worker_drops_its_jobs_and_serves_again(bench: Bench) -> None:
    """A supervisor ends and restarts a worker: what ran stays leased, what waited is run by the next one."""
    release = asyncio.Event()

    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        if jobs[0].idem_key == "0":
            await release.wait()

    handler = bench.run(act)
    await bench.publish(1)
    while not handler.seen:
        await bench.world.settle()
    bench.tasks[1].cancel()
    await asyncio.gather(bench.tasks[1], return_exceptions=True)
    assert bench.worker.in_flight["work"] == 0
    assert bench.worker.free("work") == 0
    bench.tasks[1] = spawn(bench.worker.run(bench.stop), "w")
    await bench.world.queue.publish(job("later"))
    while ["later"] not in handler.seen:
        await bench.world.settle()


async def test_halt_of_a_batch_gives_all_its_jobs_back(bench: Bench) -> None:
    async def act(jobs: Sequence[Job], tx: Tx) -> None:
        bench.stop.set()
        raise HaltError("books do not balance")

    bench.run(act)
    ids = await bench.publish(3, "bulk")
    await asyncio.wait_for(asyncio.gather(*bench.tasks), 10)
    assert bench.world.halts == ["books do not balance"]
    ends = [await bench.stored(job_id) for job_id in ids]
    assert [(each.status, each.attempts) for each in ends] == [(JobStatus.READY, 0)] * 3


def test_handler_that_cannot_take_batches_is_refused(tmp_path: Path) -> None:
    class Single:
        async def handle(self, job: Job, tx: Tx) -> None: ...

    class Many:
        async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> None: ...

    async def refused(handler: Single | Many, job_type: str) -> str:
        world = QueueWorld(tmp_path / "jobs.db", threaded=False, types=TYPES)
        await world.open()
        processor = EventLoopProcessor(
            world.queue, TYPES, clock=world.clock, ticker=world.ticker, on_halt=print, poll=False
        )
        with pytest.raises(ValueError, match="it needs") as caught:
            processor.worker(ServiceContract(name="all", consumes=(job_type,)), handler)
        await world.close()
        return str(caught.value)

    assert "handle_many(jobs, tx)" in asyncio.run(refused(Single(), "bulk"))
    assert "handle(job, tx)" in asyncio.run(refused(Many(), "work"))
