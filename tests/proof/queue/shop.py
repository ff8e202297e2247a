"""A processor that works on good and bad jobs, on clocks moved by hand: what the proofs of bad input share."""

import asyncio
import gc
from dataclasses import dataclass, field

from finagent.queue.job import MAX_PAYLOAD_BYTES, Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.errors import GiveUpError, RetryError
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import PATIENCE_S, QueueWorld

TYPES = JobTypes(
    {"work": JobPolicy(priority=1, credits=4, max_attempts=2, timeout_s=1.0)},
    payload_versions={"work": 2},
)
HOPS = 10  # of the loop per 250 ms: time enough for a commit, and one second is not over before it is made


class UnprintableError(Exception):
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class StrangeError(BaseException):
    """What no handler should raise: it is no Exception."""


class Acts:
    """Does what the payload says, well or badly."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def handle(self, job: Job, tx: Tx) -> object:  # the wrong type on purpose
        tx.put(f"{job.idem_key}:{job.attempts}")
        match job.payload["act"]:
            case "raise":
                raise KeyError("nobody thought of this")
            case "hang":
                await asyncio.Event().wait()
            case "stubborn":
                await self.ignore_the_first_stop(job)
            case "hang the second time" if job.attempts == 1:
                raise RetryError("at once", retry_after_s=0.0)
            case "hang the second time":
                await asyncio.Event().wait()
            case "number":
                return 5
            case "cancelled":
                raise asyncio.CancelledError
            case "give up":
                raise GiveUpError("cannot succeed")
            case "bad fact":
                tx.put("bad")
            case "bad follow-up":
                tx.enqueue(NewJob("nobody", {}, "x"))
            case "negative wait":
                raise RetryError("again", retry_after_s=-5.0)
            case "no wait at all":
                raise RetryError("again", retry_after_s=float("nan"))
            case "deep":
                return await self.handle(job, tx)
            case "no wait, for ever":
                raise RetryError("again", retry_after_s=float("inf"))
            case "wait past all time":
                raise RetryError("again", retry_after_s=1e300)
            case "unprintable":
                raise UnprintableError
            case "half a character":
                raise ValueError("\ud800 is no text")
            case "long":
                raise ValueError("x" * 1_000_000)
            case "strange":
                raise StrangeError("not an Exception")
            case "large follow-up":
                tx.enqueue(NewJob("work", {"f": "x" * MAX_PAYLOAD_BYTES}, "x"))
            case "no follow-up":
                tx.enqueue(5)  # type: ignore[arg-type]
            case "no guard":
                tx.expect("account", "three")  # type: ignore[arg-type]
        return None

    async def ignore_the_first_stop(self, job: Job) -> None:
        """Hangs; the first attempt does not even react to being stopped, until it is released."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if job.attempts > 1:
                raise
            while not self.released.is_set():
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    continue


@dataclass
class Shop:
    """A processor that works on what is published, on clocks moved by hand."""

    world: QueueWorld
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    acts: Acts = field(default_factory=Acts)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> None:
        await self.world.open()
        processor = EventLoopProcessor(
            self.world.queue,
            self.world.types,
            clock=self.world.clock,
            ticker=self.world.ticker,
            on_halt=self.world.halts.append,
        )
        worker = processor.worker(ServiceContract(name="shop", consumes=("work",)), self.acts)  # type: ignore[arg-type]
        self.tasks = [spawn(processor.run(self.stop), "processor"), spawn(worker.run(self.stop), "worker")]

    async def publish(self, idem_key: str, act: str, **fields: object) -> int:
        job = NewJob("work", {"act": act}, idem_key, **fields)  # type: ignore[arg-type]
        return (await self.world.queue.publish(job)).job_id

    async def ended(self, job_id: int) -> Job:
        """The job when it is over; both clocks run on meanwhile, in steps of a poll."""
        job: Job | None = None
        for _ in range(4_000):
            job = await self.world.queue.get(job_id)
            assert job is not None
            if job.finished_at_ms is not None:
                return job
            self.world.ticker.advance(250)
            self.world.clock.advance(self.world.clock.now_ms() + 250)
            for _ in range(HOPS):
                await asyncio.sleep(0)
        raise AssertionError(f"after 1,000 s this is not over: {job}")

    async def attempt(self, job_id: int, number: int) -> None:
        """Let time pass until the job was claimed so often."""
        for _ in range(4_000):
            job = await self.world.queue.get(job_id)
            if job is not None and job.attempts == number:
                return
            self.world.ticker.advance(250)
            for _ in range(HOPS):
                await asyncio.sleep(0)
        raise AssertionError(f"job {job_id} was not claimed {number} times")

    async def close(self) -> None:
        """A stop in order; a worker that never gets idle is an error here."""
        self.stop.set()
        _, late = await asyncio.wait(self.tasks, timeout=PATIENCE_S / 2)
        for task in late:
            task.cancel()
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.world.close()
        gc.collect()  # what a task that died complains of, it complains of here and not in another test
        assert not late, "a worker did not stop: it still counts jobs that are over"
        assert [end for end in ends if end is not None] == []
