"""ComputePool on processes of this machine: a slot per worker, each on its own, restarted when it dies.

Why not a library: ProcessPoolExecutor and loky fail every running task when one worker dies; pebble shares
locks between workers, which one that is killed can take with it, and is LGPL; none of them has progress.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from finagent.adapters.pool.worker import DEFAULT_PATIENCE, Patience, Worker, line_of
from finagent.queue.compute import (
    ComputeCancelledError,
    ComputeClosedError,
    ComputeProgress,
    ComputeTask,
    ComputeTimeoutError,
    unheard,
)
from finagent.queue.job import JsonValue
from finagent.runtime.tasks import spawn

LOG = logging.getLogger(__name__)
WAIT_REPORT_S = 1.0
WAITING = ComputeProgress(0.0, "waiting for a worker")


def default_workers() -> int:
    """All cores this process may use but one, which is for the event loop; at least one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)) - 1)
    return max(1, (os.cpu_count() or 1) - 1)


@dataclass(slots=True)
class _Slot:
    """A place for one worker."""

    worker: Worker | None = None


@dataclass(slots=True)
class _Run:
    """A task under way and, once somebody ended it, why."""

    body: asyncio.Task[JsonValue]
    ended_by: Exception | None = None

    def end(self, error: Exception) -> None:
        if self.ended_by is None and not self.body.done():
            self.ended_by = error
            self.body.cancel()


class ProcessComputePool:
    """Runs tasks in up to `workers` processes, started when first needed and kept for later tasks.

    `niceness` keeps CPU work behind the event loop. Use the pool from one loop; on Linux its workers end with
    the thread of that loop too, since the kernel takes that thread for their parent.
    """

    def __init__(
        self, *, workers: int | None = None, niceness: int = 5, patience: Patience = DEFAULT_PATIENCE
    ) -> None:
        count = default_workers() if workers is None else workers
        if count < 1:
            raise ValueError(f"a pool of {count} workers runs nothing: give at least 1")
        self._niceness = niceness
        self._patience = patience
        self._slots = [_Slot() for _ in range(count)]
        self._idle = list(self._slots)
        self._waiters: deque[asyncio.Future[_Slot]] = deque()
        self._runs: dict[str, _Run] = {}
        self._is_closed = False

    @property
    def pids(self) -> Sequence[int]:
        """The processes that live now."""
        return [slot.worker.pid for slot in self._slots if slot.worker is not None and slot.worker.is_alive]

    async def run(
        self, task: ComputeTask, *, on_progress: Callable[[ComputeProgress], None] = unheard
    ) -> JsonValue:
        """See ComputePool."""
        line = line_of(task)
        while (other := self._runs.get(task.key)) is not None:
            on_progress(WAITING)
            await asyncio.wait([other.body], timeout=WAIT_REPORT_S)
        if self._is_closed:
            raise ComputeClosedError
        run = self._runs[task.key] = _Run(spawn(self._run(task, line, on_progress), f"compute-{task.key}"))
        run.body.add_done_callback(lambda _: self._forget(task.key, run))
        current = asyncio.current_task()
        try:
            return await run.body
        except asyncio.CancelledError:
            if run.ended_by is None or (current is not None and current.cancelling()):
                raise
            raise run.ended_by from None

    def cancel(self, key: str, reason: str) -> bool:
        """See ComputePool."""
        run = self._runs.get(key)
        if run is None or run.body.done():
            return False
        run.end(ComputeCancelledError(reason))
        return True

    async def close(self) -> None:
        """End all tasks (their `run` raises ComputeClosedError) and all processes; bounded, safe to repeat.

        Cancelled meanwhile, it kills what is left.
        """
        self._is_closed = True
        for run in list(self._runs.values()):
            run.end(ComputeClosedError("the compute pool was closed while the task ran"))
        try:
            if self._runs:
                await asyncio.wait([run.body for run in self._runs.values()])
            await asyncio.gather(*(slot.worker.end() for slot in self._slots if slot.worker is not None))
        finally:
            for slot in self._slots:
                worker, slot.worker = slot.worker, None
                if worker is not None:
                    worker.kill()

    async def __aenter__(self) -> "ProcessComputePool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _forget(self, key: str, run: _Run) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]

    async def _run(
        self, task: ComputeTask, line: str, on_progress: Callable[[ComputeProgress], None]
    ) -> JsonValue:
        """Take a slot, run the task there, and leave the slot free for the next one however it ends."""
        slot = await self._slot(on_progress)
        timer: asyncio.TimerHandle | None = None
        worker = slot.worker
        try:
            if worker is None or not worker.is_ready:
                await self._retire(slot)
                worker = slot.worker = await Worker.start(niceness=self._niceness, patience=self._patience)
            if task.timeout_s is not None:
                error = ComputeTimeoutError(task.function, timeout_s=task.timeout_s)
                loop = asyncio.get_running_loop()
                timer = loop.call_later(task.timeout_s, self._runs[task.key].end, error)
            return await worker.run(task, line, on_progress)
        finally:
            if timer is not None:
                timer.cancel()
            try:
                if worker is not None:
                    await worker.stop()
            finally:
                self._free(slot)

    async def _retire(self, slot: _Slot) -> None:
        """Collect a worker that has died."""
        worker, slot.worker = slot.worker, None
        if worker is not None:
            LOG.warning("compute.worker_lost", extra={"pid": worker.pid})
            await worker.end()

    async def _slot(self, on_progress: Callable[[ComputeProgress], None]) -> _Slot:
        """A free slot, one with a worker first; first come, first served. Waiting is reported as progress."""
        if self._idle:
            self._idle.sort(key=lambda slot: slot.worker is not None)
            return self._idle.pop()
        turn: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            while not turn.done():
                on_progress(WAITING)
                await asyncio.wait([turn], timeout=WAIT_REPORT_S)
        except BaseException:
            if turn.done():
                self._free(turn.result())
            else:
                self._waiters.remove(turn)
            raise
        return turn.result()

    def _free(self, slot: _Slot) -> None:
        """Hand the slot to the first who waits, or keep it for the next."""
        if self._waiters:
            self._waiters.popleft().set_result(slot)
        else:
            self._idle.append(slot)


class PoolService:
    """Closes a pool when the supervisor stops it; the pool itself starts when first used.

    `needs` names the services that use the pool, so that this one stops before them: their running tasks are
    given back with their attempts, and nobody waits for hours of work to end.
    """

    name = "pool"

    def __init__(self, pool: ProcessComputePool, *, needs: tuple[str, ...]) -> None:
        self.needs = needs
        self._pool = pool

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await stop.wait()
        finally:
            await self._pool.close()
