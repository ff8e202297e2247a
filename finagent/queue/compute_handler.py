"""The handler of CPU jobs: runs a job's function in the pool, then puts what it found into the commit."""

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from finagent.queue.compute import (
    ComputeCancelledError,
    ComputeClosedError,
    ComputePool,
    ComputeProgress,
    ComputeTask,
)
from finagent.queue.job import Job, JobStatus, JsonValue, Lease
from finagent.queue.payload import dumps
from finagent.queue.port import JobQueue, Tx
from finagent.runtime.errors import CancelJobError, GiveUpError

CLOSED_WAIT_S = 0.5
KEPT_RESULTS = 32
OVER = (JobStatus.DONE, JobStatus.CANCELLED)


def payload_of(job: Job) -> Mapping[str, JsonValue]:
    """The job's payload as it is."""
    return job.payload


async def nothing_to_store(job: Job, result: JsonValue, tx: Tx) -> None:
    """The function left its result where its arguments said."""


def unheard(job: Job) -> None:
    """Nobody judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeStep:
    """How jobs of one type are computed.

    `function` is "package.module:name"; the payload never names it. `arguments` makes its arguments of a job.
    `finish` puts facts, follow-up jobs and guards into `tx`; after a failed guard it runs again on fresh reads
    with the same result. `timeout_s`: the most real seconds in a worker.
    """

    function: str
    arguments: Callable[[Job], Mapping[str, JsonValue]] = payload_of
    finish: Callable[[Job, JsonValue, Tx], Awaitable[None]] = nothing_to_store
    timeout_s: float | None = None


class ComputeHandler:
    """A JobHandler for CPU work; one for all types of `steps`.

    `scratch` is the folder of checkpoints: each job has one in it that all its tries share. With each report of
    its worker a job counts as alive, and `progress` is told; one that reports nothing for its type's
    `timeout_s` is judged hung, its worker is stopped and the attempt counts.
    """

    def __init__(
        self,
        pool: ComputePool,
        steps: Mapping[str, ComputeStep],
        *,
        scratch: Path,
        progress: Callable[[Job], None] = unheard,
    ) -> None:
        self._pool = pool
        self._steps = dict(steps)
        self._scratch = scratch
        self._progress = progress
        self._latest: dict[int, ComputeProgress] = {}
        # A failed guard calls `handle` again under the same lease: hours of work are not done again for that.
        self._results: dict[int, tuple[Lease | None, JsonValue]] = {}

    async def handle(self, job: Job, tx: Tx) -> None:
        """Compute and fill `tx`. Raises CancelJobError after `cancel`, ReturnJobError when the pool closes."""
        step = self._steps.get(job.type)
        if step is None:
            raise GiveUpError(
                f"no function computes jobs of type {job.type!r}; there are: {', '.join(sorted(self._steps))}"
            )
        await step.finish(job, await self._result(job, step, tx), tx)

    def cancel(self, job_id: int, reason: str) -> bool:
        """End a running job: it ends cancelled with the reason. False when it does not run here.

        True says that it was told to end; the job's status says when that is on disk.
        """
        return self._pool.cancel(key_of(job_id), reason)

    def progress_of(self, job_id: int) -> ComputeProgress | None:
        """The newest report of a running job."""
        return self._latest.get(job_id)

    async def sweep(self, queue: JobQueue) -> int:
        """Remove the folders of jobs that are over or gone; gives their number. Dead jobs may be redriven."""
        removed = 0
        for folder in await asyncio.to_thread(_folders, self._scratch):
            job = await queue.get(int(folder.name.partition("-")[0]))
            if job is None or job.status in OVER:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                removed += 1
        return removed

    async def _result(self, job: Job, step: ComputeStep, tx: Tx) -> JsonValue:
        known = self._results.pop(job.id, None)
        result = (
            known[1]
            if known is not None and known[0] == job.lease
            else await self._compute(job, step, tx.progress)
        )
        self._results[job.id] = (job.lease, result)
        while len(self._results) > KEPT_RESULTS:
            del self._results[next(iter(self._results))]
        return result

    async def _compute(self, job: Job, step: ComputeStep, stamp: Callable[[], None]) -> JsonValue:
        def report(progress: ComputeProgress) -> None:
            self._latest[job.id] = progress
            stamp()
            self._progress(job)

        task = ComputeTask(
            function=step.function,
            arguments=step.arguments(job),
            key=key_of(job.id),
            attempt=job.attempts,
            scratch=scratch_of(self._scratch, job),
            timeout_s=step.timeout_s,
        )
        try:
            return await self._pool.run(task, on_progress=report)
        except ComputeCancelledError as error:
            raise CancelJobError(error.reason) from None
        except ComputeClosedError:
            # Given back it is ready at once: do not take and return it in a circle until the worker stops too.
            await asyncio.sleep(CLOSED_WAIT_S)
            raise
        finally:
            self._latest.pop(job.id, None)


def key_of(job_id: int) -> str:
    """The task's key of a job."""
    return f"job-{job_id}"


def scratch_of(folder: Path, job: Job) -> Path:
    """The job's folder: the same for each of its tries, another one for other work under the same id."""
    text = dumps([job.type, job.idem_key, dict(job.payload)])
    return folder / f"{job.id}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _folders(scratch: Path) -> list[Path]:
    if not scratch.is_dir():
        return []
    return sorted(path for path in scratch.iterdir() if path.name.partition("-")[0].isdigit())
