"""One service's worker: takes jobs from its bounded queue, runs the handler, commits what it decided."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Counter, Histogram

from finagent.queue.errors import GuardFailedError, LeaseLostError, QueueClosedError, QueueError
from finagent.queue.job import Job, JobTypes
from finagent.queue.port import FailOutcome, JobQueue, Tx
from finagent.queue.rescue import HangJudge
from finagent.runtime.clock import Ticker
from finagent.runtime.errors import GiveUpError, HaltError, RetryError
from finagent.runtime.failpoints import hit
from finagent.runtime.logs import bound
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn, wait_first

LOG = logging.getLogger(__name__)
MAX_ERROR_CHARS = 500


class JobHandler(Protocol):
    """What a service does with one job: read, decide, fill the buffer. Must be safe to run twice."""

    async def handle(self, job: Job, tx: Tx) -> None: ...


class TimedOutError(Exception):
    """A handler made no progress for longer than its type's time-out."""


@dataclass(slots=True, kw_only=True)
class WorkerTools:
    """What all workers of a processor share."""

    queue: JobQueue
    types: JobTypes
    ticker: Ticker
    judge: HangJudge
    on_halt: Callable[[str], None]
    guard_retries: int
    metrics: Metrics | None


@dataclass(slots=True)
class ServiceWorker:
    """Runs the jobs of one service, each in its own task, at most as many as its types have credits.

    It has the shape of a service, so a supervisor can start, restart and stop it.
    """

    name: str
    needs: tuple[str, ...]
    consumes: tuple[str, ...]
    handler: JobHandler
    tools: WorkerTools
    is_open: bool = False
    in_flight: dict[str, int] = field(default_factory=dict)
    _queue: asyncio.Queue[Job] = field(init=False)
    _tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _hung: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _attempts: dict[tuple[str, str], Counter] = field(default_factory=dict)
    _seconds: dict[tuple[str, str], Histogram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        credits = sum(self.tools.types.policy(job_type).credits for job_type in self.consumes)
        # Twice the credits: a completion in a batch frees its credit before its worker has noticed.
        self._queue = asyncio.Queue(maxsize=2 * credits + 1)
        self._idle.set()

    def free(self, job_type: str) -> int:
        """Credits left for a type; none while the worker is not running."""
        if not self.is_open:
            return 0
        return self.tools.types.policy(job_type).credits - self.in_flight.get(job_type, 0)

    def deliver(self, job: Job) -> None:
        """Take one claimed job."""
        self.in_flight[job.type] = self.in_flight.get(job.type, 0) + 1
        self._idle.clear()
        timeout_s = self.tools.types.policy(job.type).timeout_s
        self.tools.judge.start(job, timeout_s=timeout_s, now_ms=self.tools.ticker.monotonic_ms())
        self._queue.put_nowait(job)

    def expire(self, job_id: int) -> bool:
        """Stop a hung handler; it ends as a failure that is tried again. False when it is not here."""
        task = self._tasks.get(job_id)
        if task is None or task in self._hung:
            return False
        self._hung.add(task)
        task.cancel()
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set and running jobs are over; cancelled, leave them to the next boot."""
        self.is_open = True
        self.tools.queue.poke()
        try:
            await wait_first(self._serve(), _until_set(stop), name=self.name)
            self.is_open = False
            while not self._queue.empty():
                self._start(self._queue.get_nowait())
            await self._idle.wait()
        finally:
            self.is_open = False
            for task in list(self._tasks.values()):
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            self._start(await self._queue.get())

    def _start(self, job: Job) -> None:
        self._tasks[job.id] = spawn(self._run_job(job), f"{self.name}:{job.type}:{job.id}")

    async def _run_job(self, job: Job) -> None:
        started_ms = self.tools.ticker.monotonic_ms()
        outcome = "cancelled"
        current = asyncio.current_task()
        try:
            with bound(job_id=job.id, job_type=job.type, trace_id=job.trace_id):
                outcome = await self._judged(job)
        except asyncio.CancelledError:
            if current not in self._hung:
                raise
            outcome = await self._fail(job, _text(TimedOutError(self._timeout_text(job))), "retry")
        finally:
            # The commit that recorded a failure may have claimed the job again: its next try stands there now.
            if self._tasks.get(job.id) is current:
                del self._tasks[job.id]
            if self._hung:
                self._hung = {task for task in self._hung if task is not current}
            self.tools.judge.stop(job)
            self.in_flight[job.type] -= 1
            if not any(self.in_flight.values()):
                self._idle.set()
            self._measure(job, outcome, started_ms)
            if outcome != "done":
                self.tools.queue.poke()  # this credit was not given back by a commit, or its claim found none

    async def _judged(self, job: Job) -> str:
        """Run the handler and commit; how it ended. One branch per reaction."""
        try:
            known = self.tools.types.payload_version(job.type)
            if job.payload_version > known:
                raise GiveUpError(
                    f"payload version {job.payload_version} is newer than this program's {known}"
                )
            await self._until_guards_hold(job)
            return "done"
        except LeaseLostError as error:
            LOG.warning("job.lease_lost", extra={"error": str(error)})
            return "lost"
        except RetryError as error:
            return await self._fail(job, _text(error), "retry", retry_after_s=error.retry_after_s)
        except QueueClosedError:
            return "closed"
        except HaltError as error:
            await self._fail(job, _text(error), "return")
            self.tools.on_halt(str(error))
            return "halt"
        except (GiveUpError, QueueError) as error:
            return await self._fail(job, _text(error), "dead")
        except Exception as error:
            LOG.exception("job.failed")
            return await self._fail(job, _text(error), "retry")

    async def _until_guards_hold(self, job: Job) -> None:
        """Handler and commit, again on fresh reads while a guard fails; then a plain retry."""
        failed: GuardFailedError | None = None
        for _ in range(self.tools.guard_retries + 1):
            tx = Tx()
            result = await self._handled(job, tx)
            if result is not None:
                raise GiveUpError(
                    f"handler of {job.type} returned {type(result).__name__}, it must return None"
                )
            hit("processor.after_effect")
            self.tools.judge.progress(job.id, now_ms=self.tools.ticker.monotonic_ms())
            try:
                hit("processor.before_done")
                await self.tools.queue.complete(job, tx)
                return
            except GuardFailedError as error:
                failed = error
        raise RetryError(f"{failed} ({self.tools.guard_retries + 1} tries)")

    async def _handled(self, job: Job, tx: Tx) -> object:
        """Run the handler; the wall seconds it took are its stage's, however it ends."""
        started_ms = self.tools.ticker.monotonic_ms()
        try:
            result: object = await self.handler.handle(job, tx)  # type: ignore[func-returns-value]
            return result
        finally:
            if self.tools.metrics is not None:
                seconds = (self.tools.ticker.monotonic_ms() - started_ms) / 1000
                self._seconds_of(self.tools.metrics.stage_duration_seconds, "stage", job.type).observe(
                    seconds
                )

    async def _fail(
        self, job: Job, error: str, outcome: FailOutcome, *, retry_after_s: float | None = None
    ) -> str:
        """Record the failure; a lease or a queue that is gone by now is nobody's error any more."""
        try:
            status = await self.tools.queue.fail(job, error, outcome=outcome, retry_after_s=retry_after_s)
        except (LeaseLostError, QueueClosedError, HaltError) as lost:
            LOG.warning("job.fail_lost", extra={"error": str(lost)})
            return "lost"
        if outcome != "return":
            LOG.warning("job.not_done", extra={"outcome": outcome, "status": str(status), "error": error})
        return "dead" if status == "dead" else outcome

    def _timeout_text(self, job: Job) -> str:
        return f"no progress for {self.tools.types.policy(job.type).timeout_s:g} s"

    def _measure(self, job: Job, outcome: str, started_ms: int) -> None:
        metrics = self.tools.metrics
        if metrics is not None:
            attempts = self._attempts.get((job.type, outcome))
            if attempts is None:
                attempts = metrics.job_attempts_total.labels(type=job.type, outcome=outcome)
                self._attempts[job.type, outcome] = attempts
            attempts.inc()
            seconds = (self.tools.ticker.monotonic_ms() - started_ms) / 1000
            self._seconds_of(metrics.job_latency_seconds, "type", job.type).observe(seconds)

    def _seconds_of(self, family: Histogram, label: str, job_type: str) -> Histogram:
        """A histogram's child; looking it up by its label each time costs more than observing."""
        child = self._seconds.get((label, job_type))
        if child is None:
            child = self._seconds[label, job_type] = family.labels(**{label: job_type})
        return child


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
