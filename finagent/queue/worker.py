"""One service's worker: takes claimed jobs, runs the handler in lanes, commits what it decided."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from finagent.queue.errors import DelayError, GuardFailedError, LeaseLostError, QueueClosedError
from finagent.queue.handler import BatchHandler, JobHandler, Reaction, react
from finagent.queue.job import Job, JobPolicy, JobTypes
from finagent.queue.port import FailOutcome, JobQueue, Tx
from finagent.queue.rescue import HangJudge, Held
from finagent.queue.tally import JobTally
from finagent.runtime.clock import Ticker
from finagent.runtime.errors import GiveUpError, HaltError, RetryError
from finagent.runtime.failpoints import hit
from finagent.runtime.logs import bind, unbind
from finagent.runtime.tasks import spawn

LOG = logging.getLogger(__name__)
SLICE_MS = 5


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
    tally: JobTally


@dataclass(slots=True)
class ServiceWorker:
    """Runs the jobs of one service, at most as many at a time as their types have credits.

    A lane is a task that runs waiting jobs one after the other. While its handler waits for something another
    lane goes on, so handlers overlap as if each had a task of its own, and those that never wait share one.
    A lane does not wait for the commit either: `_ended` is told of it.

    It has the shape of a service, so a supervisor can start, restart and stop it.
    """

    name: str
    needs: tuple[str, ...]
    consumes: tuple[str, ...]
    handler: JobHandler | BatchHandler
    tools: WorkerTools
    is_open: bool = False
    in_flight: dict[str, int] = field(default_factory=dict)
    _policies: dict[str, JobPolicy] = field(init=False)
    _calls: dict[str, Callable[[list[Job], Tx], Awaitable[object]]] = field(init=False)
    _waiting: deque[Held] = field(default_factory=deque)
    _held: dict[int, Held] = field(default_factory=dict)
    _lanes: set[asyncio.Task[None]] = field(default_factory=set)
    _is_serving: bool = False
    _is_lane_coming: bool = False
    _burst: int = 1
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._policies = {job_type: self.tools.types.policy(job_type) for job_type in self.consumes}
        self._calls = {
            job_type: _call_of(self.handler, is_batch=policy.batch > 1)
            for job_type, policy in self._policies.items()
        }
        self._idle.set()

    def free(self, job_type: str) -> int:
        """Credits left for a type; none while the worker is not running."""
        if not self.is_open:
            return 0
        return self._policies[job_type].credits - self.in_flight.get(job_type, 0)

    def deliver(self, job: Job) -> None:
        """Take one claimed job."""
        self.in_flight[job.type] = self.in_flight.get(job.type, 0) + 1
        self._idle.clear()
        timeout_ms = round(self._policies[job.type].timeout_s * 1000)
        held = self.tools.judge.start(job, timeout_ms=timeout_ms, now_ms=self.tools.ticker.monotonic_ms())
        self._held[job.id] = held
        self._waiting.append(held)
        if not self._is_lane_coming:
            self._burst = 1
            self._open_lanes()

    def expire(self, job_id: int) -> bool:
        """Stop a hung handler; it ends as a failure that is tried again. False when it is not running here."""
        held = self._held.get(job_id)
        if held is None or held.task is None or held.is_decided or held.is_hung:
            return False
        for other in self._held.values():
            if other.task is held.task:  # handed over in one batch: they hang together
                other.is_hung = True
        held.task.cancel()
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set and running jobs are over; cancelled, leave them to the next boot."""
        self.is_open = self._is_serving = True
        self._is_lane_coming = False
        self.tools.queue.poke()
        self._open_lanes()
        try:
            await stop.wait()
            self.is_open = False
            await self._idle.wait()
        finally:
            self.is_open = self._is_serving = False
            for lane in list(self._lanes):
                lane.cancel()
            await asyncio.gather(*self._lanes, return_exceptions=True)

    # ------------------------------------------------------------ lanes
    def _open_lanes(self) -> None:
        """As many as may be needed: one first, twice as many each time a handler turned out to wait."""
        if not self._is_serving or not self._waiting:
            return
        self._is_lane_coming = True
        for _ in range(min(self._burst, len(self._waiting))):
            lane = spawn(self._lane(), self.name)
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        self._burst *= 2

    async def _lane(self) -> None:
        self._is_lane_coming = False
        ticker = self.tools.ticker
        began_ms = ticker.monotonic_ms()
        while self._waiting and self._is_serving:
            group = self._next_group()
            if self._waiting and not self._is_lane_coming:
                self._open_lanes()
            await self._run_group(group)
            if ticker.monotonic_ms() - began_ms >= SLICE_MS and self._waiting:
                await asyncio.sleep(0)  # others of this loop want their turn too
                began_ms = ticker.monotonic_ms()

    def _next_group(self) -> list[Held]:
        """The next job, with those of its type behind it when its handler takes several at once."""
        waiting = self._waiting
        group = [waiting.popleft()]
        first = group[0]
        most = 1 if first.is_alone else self._policies[first.job.type].batch
        while len(group) < most and waiting and not waiting[0].is_alone:
            if waiting[0].job.type != first.job.type:
                break
            group.append(waiting.popleft())
        return group

    async def _run_group(self, group: list[Held]) -> None:
        """Run the handler and ask for the commit; every way in which that fails is dealt with here."""
        first = group[0].job
        task = asyncio.current_task()
        for held in group:
            held.task = task
        token = bind(_log_fields(first))
        try:
            await self._decide(group)
        except asyncio.CancelledError:
            if task is None or (task.cancelling() and not group[0].is_hung):
                self._let_go(group)
                raise
            if task.cancelling():
                task.uncancel()
                await self._failed(group, TimedOutError(self._timeout_text(first)))
            else:
                await self._failed(group, RetryError("CancelledError: the handler was cancelled from within"))
        except Exception as error:
            await self._failed(group, error)
        finally:
            for held in group:
                held.task = None
            unbind(token)

    async def _decide(self, group: list[Held]) -> None:
        tools, jobs = self.tools, [held.job for held in group]
        job = jobs[0]
        known = tools.types.payload_version(job.type)
        for one in jobs:
            if one.payload_version > known:
                raise GiveUpError(
                    f"payload version {one.payload_version} is newer than this program's {known}"
                )
        tx = Tx(self._progress_of(group))
        began_ms = tools.ticker.monotonic_ms()
        try:
            result = await self._calls[job.type](jobs, tx)
        finally:
            tools.tally.ran(job.type, tools.ticker.monotonic_ms() - began_ms)
        if result is not None:
            raise GiveUpError(f"handler of {job.type} returned {type(result).__name__}, it must return None")
        hit("processor.after_effect", (job.type,))
        hit("processor.before_done", (job.type,))
        tools.queue.finish(jobs, tx, lambda _, error: self._ended(group, error))
        for held in group:
            held.is_decided = True

    def _progress_of(self, group: list[Held]) -> Callable[[], None]:
        def progress() -> None:
            now_ms = self.tools.ticker.monotonic_ms()
            for held in group:
                held.stamp_ms = now_ms

        return progress

    # ------------------------------------------------------------ how it ended
    def _ended(self, group: list[Held], error: Exception | None) -> None:
        """The commit is on disk, or was refused: then the handler decides again, or the jobs fail."""
        if error is None:
            now_ms = self.tools.ticker.monotonic_ms()
            self.tools.tally.done(group[0].job.type, [now_ms - held.began_ms for held in group])
            for held in group:
                self._drop(held)
        elif not isinstance(error, GuardFailedError):
            self._spawn_failed(group, error)
        elif group[0].tries >= self.tools.guard_retries:
            self._spawn_failed(group, RetryError(f"{error} ({group[0].tries + 1} tries)"))
        else:
            for held in group:
                held.tries += 1
            self._again(group)

    def _spawn_failed(self, group: list[Held], error: Exception) -> None:
        task = spawn(self._failed(group, error), f"{self.name}:refused")
        self._lanes.add(task)
        task.add_done_callback(self._lanes.discard)

    def _again(self, group: list[Held]) -> None:
        """Run the handler again, before all that waits."""
        now_ms = self.tools.ticker.monotonic_ms()
        for held in reversed(group):
            held.is_decided, held.is_hung, held.stamp_ms = False, False, now_ms
            self._waiting.appendleft(held)
        self._open_lanes()

    async def _failed(self, group: list[Held], error: Exception) -> None:
        """Several jobs that fail together are tried one by one; a single one ends as its error says."""
        if len(group) > 1 and not isinstance(error, QueueClosedError | HaltError):
            text = f"{type(error).__name__}: {error}"
            LOG.warning("job.batch_failed", extra={"jobs": len(group), "error": text})
            for held in group:
                held.is_alone = True
            self._again(group)
            return
        reaction = react(error)
        if reaction.is_surprise:
            LOG.error("job.failed", exc_info=error)
        try:
            for held in group:
                held.is_decided = True
                outcome = await self._record(held.job, reaction)
                self.tools.tally.failed(
                    held.job.type, outcome, self.tools.ticker.monotonic_ms() - held.began_ms
                )
        finally:
            for held in group:
                self._drop(held)
        if reaction.halts:
            self.tools.on_halt(str(error))
        self.tools.queue.poke()  # these credits were not given back by a commit, or its claim found none

    async def _record(self, job: Job, reaction: Reaction) -> str:
        """Record the failure; a lease or a queue that is gone by now is nobody's error any more."""
        if reaction.outcome is None:
            LOG.warning("job.lost", extra={"error": reaction.text})
            return reaction.label
        try:
            status = await self._fail(job, reaction.text, reaction.outcome, reaction.retry_after_s)
        except (LeaseLostError, QueueClosedError, HaltError) as lost:
            LOG.warning("job.fail_lost", extra={"error": str(lost)})
            return "lost"
        if reaction.outcome != "return":
            LOG.warning(
                "job.not_done",
                extra={"outcome": reaction.outcome, "status": status, "error": reaction.text},
            )
        return "dead" if status == "dead" else reaction.label

    async def _fail(self, job: Job, text: str, outcome: FailOutcome, retry_after_s: float | None) -> str:
        try:
            return await self.tools.queue.fail(job, text, outcome=outcome, retry_after_s=retry_after_s)
        except DelayError as error:  # the wait it was told makes no sense: wait as the policy says
            return await self.tools.queue.fail(job, f"{text} ({error})", outcome=outcome)

    def _drop(self, held: Held) -> None:
        """The job is out of these hands."""
        job = held.job
        # The commit that recorded a failure may have claimed the job again: its next try stands there now.
        if self._held.get(job.id) is held:
            del self._held[job.id]
        self.tools.judge.stop(held)
        self.in_flight[job.type] -= 1
        if not self._held and not any(self.in_flight.values()):
            self._idle.set()

    def _let_go(self, group: list[Held]) -> None:
        """This worker is being cancelled: the jobs stay leased, and their leases end by themselves."""
        for held in group:
            self._drop(held)

    def _timeout_text(self, job: Job) -> str:
        return f"no progress for {self._policies[job.type].timeout_s:g} s"


def _call_of(
    handler: JobHandler | BatchHandler, *, is_batch: bool
) -> Callable[[list[Job], Tx], Awaitable[object]]:
    """One shape for both kinds of handlers; what it gives must be None, which the worker checks."""
    if is_batch:
        return cast("BatchHandler", handler).handle_many
    handle = cast("JobHandler", handler).handle
    return lambda jobs, tx: handle(jobs[0], tx)


def _log_fields(job: Job) -> Mapping[str, object]:
    fields: dict[str, object] = {"job_id": job.id, "job_type": job.type}
    if job.trace_id is not None:
        fields["trace_id"] = job.trace_id
    return fields
