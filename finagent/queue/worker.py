"""One service's worker: takes claimed jobs, runs the handler in lanes, commits what it decided."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from finagent.queue.errors import DelayError, GuardFailedError, LeaseLostError, QueueClosedError
from finagent.queue.handler import BatchHandler, JobHandler, Reaction, is_printable, react, told
from finagent.queue.job import Job, JobTypes
from finagent.queue.port import FailOutcome, JobQueue, Tx
from finagent.queue.rescue import HangJudge, Held
from finagent.queue.tally import JobTally
from finagent.runtime.clock import Ticker
from finagent.runtime.errors import GiveUpError, HaltError, RetryError, ReturnJobError
from finagent.runtime.failpoints import hit
from finagent.runtime.logs import bind_late
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
    lane goes on, so handlers overlap as if each had a task of its own, and those that never wait share one; what
    a handler sets in a context variable the next job of its lane sees, so a handler sets its own each time. A
    lane does not wait for the commit either: `_ended` is told of it.

    It has the shape of a service, so a supervisor can start, restart and stop it.
    """

    name: str
    needs: tuple[str, ...]
    consumes: tuple[str, ...]
    handler: JobHandler | BatchHandler
    tools: WorkerTools
    is_open: bool = False
    in_flight: dict[str, int] = field(default_factory=dict)
    _routes: "dict[str, _Route]" = field(init=False)
    _waiting: deque[Held] = field(default_factory=deque)
    _held: dict[int, Held] = field(default_factory=dict)
    _lanes: set[asyncio.Task[None]] = field(default_factory=set)
    _is_serving: bool = False
    _lanes_coming: int = 0
    _is_giving_way: bool = False
    _is_idle: bool = True
    _burst: int = 1
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        types = self.tools.types
        self._routes = {job_type: _route(types, job_type, self.handler) for job_type in self.consumes}
        self._idle.set()

    def free(self, job_type: str) -> int:
        """Credits left for a type; none while the worker is not running."""
        if not self.is_open:
            return 0
        return self._routes[job_type].credits - self.in_flight.get(job_type, 0)

    def deliver(self, job: Job, now_ms: int) -> None:
        """Take one claimed job; `now_ms` is machinery time."""
        job_type = job.type
        self.in_flight[job_type] = self.in_flight.get(job_type, 0) + 1
        if self._is_idle:
            self._is_idle = False
            self._idle.clear()
        held = self.tools.judge.start(job, timeout_ms=self._routes[job_type].timeout_ms, now_ms=now_ms)
        self._held[job.id] = held
        held.is_waiting = True
        self._waiting.append(held)
        if not self._is_serving:
            self._waiting.remove(held)
            self._spawn_failed([held], ReturnJobError(f"{self.name} has stopped"))
        elif not self._lanes_coming:
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
        self._lanes_coming = 0
        self.tools.queue.poke()
        self._open_lanes()
        try:
            await stop.wait()
            self.is_open = False
            while not self._is_idle:
                await self._idle.wait()
        finally:
            self.is_open = self._is_serving = False
            for held in self._waiting:  # nobody is at work on them: their leases may end
                self.tools.judge.stop(held)
            for lane in list(self._lanes):
                lane.cancel()
            await asyncio.gather(*self._lanes, return_exceptions=True)
            self.tools.queue.poke()  # other types may have what these took of the total

    # ------------------------------------------------------------ lanes
    def _open_lanes(self) -> None:
        """As many as may be needed: one first, twice as many each time a handler turned out to wait."""
        if not self._is_serving:
            return
        for _ in range(min(self._burst, len(self._waiting)) - self._lanes_coming):
            self._lanes_coming += 1
            lane = spawn(self._lane(), self.name)
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        self._burst *= 2

    async def _lane(self) -> None:
        self._lanes_coming -= 1
        if self._is_giving_way:
            self._burst = 1
            return  # the lane before this one comes back: its handler has not waited
        task = asyncio.current_task()
        now_ms = slice_ms = self.tools.ticker.monotonic_ms()
        while self._waiting and self._is_serving:
            group = self._next_group()
            if self._waiting and not self._lanes_coming:
                self._open_lanes()
            bind_late(group[0].log_fields)
            now_ms = await self._run_group(group, task, now_ms)
            if now_ms - slice_ms >= SLICE_MS and self._waiting:
                self._is_giving_way = True
                try:
                    await asyncio.sleep(0)  # others of this loop want their turn too
                finally:
                    self._is_giving_way = False
                now_ms = slice_ms = self.tools.ticker.monotonic_ms()

    def _next_group(self) -> list[Held]:
        """The next job, with those of its type behind it when its handler takes several at once."""
        waiting = self._waiting
        group = [waiting.popleft()]
        first = group[0]
        most = 1 if first.is_alone else self._routes[first.job.type].batch
        while len(group) < most and waiting and not waiting[0].is_alone:
            if waiting[0].job.type != first.job.type:
                break
            group.append(waiting.popleft())
        return group

    async def _run_group(self, group: list[Held], task: "asyncio.Task[None] | None", now_ms: int) -> int:
        """Run the handler and ask for the commit; every way in which that fails is dealt with here.

        Takes the machinery time at which it begins and gives the one at which the handler was through.
        """
        tools, route = self.tools, self._routes[group[0].job.type]
        jobs = [held.job for held in group]
        began_ms, ended_ms = now_ms, None
        for held in group:
            held.task, held.has_moved, held.is_waiting = task, True, False
        try:
            for job in jobs:
                if job.payload_version > route.newest:
                    raise GiveUpError(
                        f"payload version {job.payload_version} is newer than this program's {route.newest}"
                    )
            tx = Tx(group[0].progress if len(group) == 1 else _progress_of(group))
            try:
                result = await route.call(jobs, tx)
            finally:
                ended_ms = tools.ticker.monotonic_ms()
                tools.tally.ran(route.job_type, ended_ms - began_ms)
            if result is not None:
                raise GiveUpError(
                    f"handler of {route.job_type} returned {type(result).__name__}, it must return None"
                )
            hit("processor.after_effect", route.kinds)
            hit("processor.before_done", route.kinds)
            tools.queue.finish(jobs, tx, lambda _, error: self._ended(group, error))
            for held in group:
                held.is_decided = True
        except asyncio.CancelledError:
            await self._cancelled(group, task)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            await self._failed(group, error)
        finally:
            for held in group:
                held.task = None
            while task is not None and self._is_serving and task.cancelling():
                task.uncancel()  # a cancel that the handler swallowed is not for the jobs after it
        return tools.ticker.monotonic_ms() if ended_ms is None else ended_ms

    async def _cancelled(self, group: list[Held], task: "asyncio.Task[None] | None") -> None:
        """The judge stopped a hung handler, the handler raised it itself, or this worker is being ended."""
        if task is not None and group[0].is_hung:
            task.uncancel()
            timeout_s = self._routes[group[0].job.type].timeout_ms / 1000
            await self._failed(group, TimedOutError(f"no progress for {timeout_s:g} s"))
        elif task is not None and (self._is_serving or not task.cancelling()):
            while task.cancelling():
                task.uncancel()
            await self._failed(group, RetryError("CancelledError: the handler was cancelled from within"))
        else:
            for held in group:  # the jobs stay leased, and their leases end by themselves
                self._drop(held)
            raise asyncio.CancelledError

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
            held.is_waiting, held.is_decided, held.is_hung, held.stamp_ms = True, False, False, now_ms
            self._waiting.appendleft(held)
        self._open_lanes()

    async def _failed(self, group: list[Held], error: BaseException) -> None:
        """Several jobs that fail together are tried one by one; a single one ends as its error says."""
        bind_late(group[0].log_fields)
        if len(group) > 1 and not isinstance(error, QueueClosedError | HaltError):
            text = f"{type(error).__name__}: {told(error)}"
            LOG.warning("job.batch_failed", extra={"jobs": len(group), "error": text})
            for held in group:
                held.is_alone, held.tries = True, 0
            self._again(group)
            return
        reaction = react(error)
        if reaction.is_surprise:
            shown = error if is_printable(error) else None
            LOG.error("job.failed", exc_info=shown, extra={"error": reaction.text})
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
            self.tools.on_halt(told(error))
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
            self._is_idle = True
            self._idle.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """What a worker knows of one of its types, worked out once."""

    job_type: str
    kinds: tuple[str]
    call: Callable[[list[Job], Tx], Awaitable[object]]
    credits: int
    batch: int
    timeout_ms: int
    newest: int


def _route(types: JobTypes, job_type: str, handler: JobHandler | BatchHandler) -> _Route:
    policy = types.policy(job_type)
    return _Route(
        job_type=job_type,
        kinds=(job_type,),
        call=_call_of(handler, is_batch=policy.batch > 1),
        credits=policy.credits,
        batch=policy.batch,
        timeout_ms=round(policy.timeout_s * 1000),
        newest=types.payload_version(job_type),
    )


def _progress_of(group: list[Held]) -> Callable[[], None]:
    def progress() -> None:
        for held in group:
            held.progress()

    return progress


def _call_of(
    handler: JobHandler | BatchHandler, *, is_batch: bool
) -> Callable[[list[Job], Tx], Awaitable[object]]:
    """One shape for both kinds of handlers; what it gives must be None, which the worker checks."""
    if is_batch:
        return cast("BatchHandler", handler).handle_many
    handle = cast("JobHandler", handler).handle
    return lambda jobs, tx: handle(jobs[0], tx)
