"""The processor over a real queue: every reaction of a handler, guards, time-outs, serial order, stopping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finagent.queue.errors import PayloadError, UnknownJobTypeError
from finagent.queue.job import Job, JobStatus, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.queue.worker import ServiceWorker
from finagent.runtime.errors import GiveUpError, HaltError, RetryError
from finagent.runtime.metrics import Metrics
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, TYPES, QueueWorld, job, soon

Act = Callable[[Job, Tx], Awaitable[None]]


@dataclass
class Handler:
    """Does what the test says and remembers the jobs it saw."""

    act: Act
    seen: list[str] = field(default_factory=list)

    async def handle(self, job: Job, tx: Tx) -> None:
        self.seen.append(job.idem_key)
        return await self.act(job, tx)


@dataclass
class Engine:
    """A world with a running processor."""

    world: QueueWorld
    metrics: Metrics = field(default_factory=Metrics)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    processor: EventLoopProcessor = field(init=False)
    worker: ServiceWorker = field(init=False)

    def run(
        self,
        act: Act,
        *,
        serial: bool = False,
        poll: bool = False,
        guard_retries: int = 10,
        keep_days: float | None = None,
    ) -> Handler:
        handler = Handler(act)
        self.processor = EventLoopProcessor(
            self.world.queue,
            TYPES,
            clock=self.world.clock,
            ticker=self.world.ticker,
            on_halt=self.world.halts.append,
            serial=serial,
            poll=poll,
            guard_retries=guard_retries,
            keep_days=keep_days,
            metrics=self.metrics,
        )
        contract = ServiceContract(name="all", consumes=("exit", "work", "idle"))
        self.worker = self.processor.worker(contract, handler)
        self.tasks = [
            spawn(self.processor.run(self.stop), "processor"),
            spawn(self.worker.run(self.stop), "worker"),
        ]
        return handler

    async def quiet(self) -> None:
        await asyncio.wait_for(self.world.queue.wait_quiescent(), 10)

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(asyncio.gather(*self.tasks), 10)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=True)
    await world.open()
    engine = Engine(world)
    yield engine
    await engine.end()
    await world.close()


async def stored(engine: Engine, job_id: int) -> Job:
    found = await engine.world.queue.get(job_id)
    assert found is not None
    return found


async def nothing(job: Job, tx: Tx) -> None:
    """A handler that has nothing to say."""


async def test_published_job_runs_and_leaves_its_effects(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        tx.put(claimed.idem_key)
        if claimed.idem_key == "a":
            tx.enqueue(job("b"))

    handler = engine.run(act)
    await engine.world.queue.publish(job("a"))
    await engine.quiet()
    assert handler.seen == ["a", "b"]
    assert await engine.world.stored_facts() == {"a": 1, "b": 1}
    assert (
        engine.metrics.registry.get_sample_value(
            "finagent_job_attempts_total", {"type": "work", "outcome": "done"}
        )
        == 2.0
    )


async def test_retry_error_waits_as_long_as_it_was_told(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        if claimed.attempts == 1:
            raise RetryError("busy", retry_after_s=5.0)

    handler = engine.run(act)
    await engine.world.queue.publish(job("a"))
    await engine.quiet()
    assert engine.world.queue.next_run_at_ms() == START_MS + 5_000
    engine.world.clock.advance(START_MS + 5_000)
    engine.world.queue.poke()
    await engine.world.settle()
    await engine.quiet()
    assert handler.seen == ["a", "a"]


async def test_give_up_error_ends_dead_with_its_reason(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        raise GiveUpError("no such symbol")

    engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await engine.quiet()
    dead = await stored(engine, published.job_id)
    assert (dead.status, dead.error, dead.attempts) == (JobStatus.DEAD, "GiveUpError: no such symbol", 1)


async def test_handler_that_returns_something_ends_dead(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        return 5  # type: ignore[return-value]

    engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await engine.quiet()
    dead = await stored(engine, published.job_id)
    assert dead.status is JobStatus.DEAD
    assert dead.error is not None
    assert "returned int" in dead.error


async def test_follow_up_job_that_cannot_be_stored_ends_dead_without_effects(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        tx.put("fact")
        tx.enqueue(NewJob("work", {"a": object()}, "b"))  # type: ignore[dict-item]

    engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await engine.quiet()
    dead = await stored(engine, published.job_id)
    assert dead.status is JobStatus.DEAD
    assert dead.error is not None
    assert dead.error.startswith(PayloadError.__name__)
    assert await engine.world.stored_facts() == {}


async def test_unknown_exception_is_retried_until_the_last_attempt(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        raise ZeroDivisionError("oops")

    handler = engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await engine.quiet()
    while (due_ms := engine.world.queue.next_run_at_ms()) is not None:
        engine.world.clock.advance(due_ms)
        await engine.world.settle()
        await engine.quiet()
    dead = await stored(engine, published.job_id)
    assert handler.seen == ["a"] * 3
    assert (dead.status, dead.failures) == (JobStatus.DEAD, 3)


async def test_failed_guard_runs_the_handler_again_on_fresh_reads(engine: Engine) -> None:
    queue = engine.world.queue

    async def act(claimed: Job, tx: Tx) -> None:
        version = await queue.row_version("account")
        if version == 0:
            other = Tx()
            other.touch("account")
            await queue.commit(other)
        tx.expect("account", version)
        tx.put(f"seen {version}")

    handler = engine.run(act)
    published = await queue.publish(job("a"))
    await engine.quiet()
    assert handler.seen == ["a", "a"]
    assert await engine.world.stored_facts() == {"seen 1": 1}
    assert (await stored(engine, published.job_id)).attempts == 1


async def test_guard_that_never_holds_becomes_a_plain_retry(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        tx.expect("account", 7)

    handler = engine.run(act, guard_retries=2)
    published = await engine.world.queue.publish(job("a"))
    await engine.quiet()
    assert handler.seen == ["a"] * 3
    assert (await stored(engine, published.job_id)).status is JobStatus.SCHEDULED


async def test_halt_error_returns_the_job_and_tells_why(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        engine.stop.set()
        raise HaltError("books do not balance")

    engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await asyncio.wait_for(asyncio.gather(*engine.tasks), 10)
    returned = await stored(engine, published.job_id)
    assert engine.world.halts == ["books do not balance"]
    assert (returned.status, returned.attempts) == (JobStatus.READY, 0)


async def test_hung_handler_is_stopped_and_its_job_tried_again(engine: Engine) -> None:
    started = asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        if claimed.attempts == 1:
            started.set()
            await asyncio.Event().wait()

    handler = engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await soon(started)
    engine.processor.run_once()
    for _ in range(41):
        engine.world.ticker.advance(250)
        engine.processor.run_once()
    while (due_ms := engine.world.queue.next_run_at_ms()) is None:
        await engine.world.settle()
    engine.world.clock.advance(due_ms)
    await engine.world.settle()
    await engine.quiet()
    assert handler.seen == ["a", "a"]
    assert (await stored(engine, published.job_id)).status is JobStatus.DONE


async def test_serial_processor_follows_priority_and_never_overlaps(engine: Engine) -> None:
    running: list[str] = []

    async def act(claimed: Job, tx: Tx) -> None:
        assert running == []
        running.append(claimed.idem_key)
        await engine.world.queue.row_version("x")
        running.clear()

    await engine.world.queue.publish_many([job("a"), job("b", type="idle"), job("c", type="exit"), job("d")])
    handler = engine.run(act, serial=True)
    await engine.quiet()
    assert handler.seen == ["c", "a", "d", "b"]


async def test_due_job_is_woken_by_the_timer_of_the_poll(engine: Engine) -> None:
    ran = asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        ran.set()

    engine.run(act, poll=True)
    await engine.world.queue.publish(job("a", run_at_ms=START_MS + 100))
    engine.world.clock.advance(START_MS + 100)
    while not ran.is_set():
        engine.world.ticker.advance(250)
        await engine.world.settle()


async def test_stop_lets_running_jobs_finish_and_takes_no_new_ones(engine: Engine) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        started.set()
        await release.wait()

    handler = engine.run(act)
    first = await engine.world.queue.publish(job("a"))
    await soon(started)
    engine.stop.set()
    while engine.worker.is_open:
        await engine.world.settle()
    second = await engine.world.queue.publish(job("b"))
    release.set()
    await asyncio.wait_for(asyncio.gather(*engine.tasks), 10)
    assert handler.seen == ["a"]
    assert (await stored(engine, first.job_id)).status is JobStatus.DONE
    assert (await stored(engine, second.job_id)).status is JobStatus.READY


async def test_cancelled_worker_leaves_its_job_to_the_next_boot(engine: Engine) -> None:
    started = asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        started.set()
        await asyncio.Event().wait()

    engine.run(act)
    published = await engine.world.queue.publish(job("a"))
    await soon(started)
    engine.tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await engine.tasks.pop()
    assert (await stored(engine, published.job_id)).status is JobStatus.LEASED
    await engine.world.reopen()
    assert (await stored(engine, published.job_id)).status is JobStatus.READY


async def test_many_jobs_of_many_types_all_end_done(engine: Engine) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        await asyncio.sleep(0)

    handler = engine.run(act)
    jobs = [job(f"{type}{n}", type=type) for n in range(100) for type in ("exit", "work", "idle")]
    await asyncio.gather(*(engine.world.queue.publish(new) for new in jobs))
    await engine.quiet()
    assert len(handler.seen) == len(set(handler.seen)) == 300
    assert (await engine.world.queue.stats()).by_status["done"] == 300


async def test_type_is_consumed_by_one_service_only(engine: Engine) -> None:
    engine.run(nothing)
    with pytest.raises(ValueError, match="'work' is consumed by 'all' and 'other'"):
        engine.processor.worker(ServiceContract(name="other", consumes=("work",)), Handler(nothing))
    with pytest.raises(UnknownJobTypeError):
        engine.processor.worker(ServiceContract(name="other", consumes=("nobody",)), Handler(nothing))
    assert engine.processor.unserved_types() == ()


async def test_shared_credits_go_to_the_first_priority_and_reserves_come_on_top(engine: Engine) -> None:
    processor = EventLoopProcessor(
        engine.world.queue,
        TYPES,
        clock=engine.world.clock,
        ticker=engine.world.ticker,
        on_halt=print,
        total_credits=5,
    )
    worker = processor.worker(
        ServiceContract(name="all", consumes=("exit", "work", "idle")), Handler(nothing)
    )
    worker.is_open = True
    free = processor.free_credits()
    assert [free.room(job_type) for job_type in TYPES] == [4, 5, 5]
    free.take("work", 5)
    assert [free.room(job_type) for job_type in TYPES] == [2, 0, 0]
    worker.in_flight.update(work=5, exit=1)
    free = processor.free_credits()
    assert [free.room(job_type) for job_type in TYPES] == [1, 0, 0]
    free.take("work", -1)
    assert [free.room(job_type) for job_type in TYPES] == [2, 1, 1]


async def test_old_jobs_are_dropped_in_slices_while_nothing_else_is_to_do(engine: Engine) -> None:
    """Their keys and their count stay."""
    release = asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        if claimed.idem_key == "slow":
            await release.wait()

    queue, world = engine.world.queue, engine.world
    engine.run(act, poll=True, keep_days=1.0)
    await queue.publish_many([job(f"old-{number}", type="idle") for number in range(300)])
    await engine.quiet()
    world.clock.advance(START_MS + 2 * 86_400_000)
    await queue.publish(job("slow"))
    for _ in range(8):
        world.ticker.advance(250)
        await world.settle()
    assert (await queue.stats()).pruned == {}
    release.set()
    while sum((await queue.stats()).pruned.values()) < 300:
        world.ticker.advance(250)
        await asyncio.sleep(0)
    assert (await queue.stats()).published == 301
    assert not (await queue.publish(job("old-7", type="idle"))).created
