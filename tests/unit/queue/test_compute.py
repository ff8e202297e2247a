"""The words of CPU work: errors and their reactions, the folder of a job, the handler over a pool in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finagent.queue.compute import (
    ComputeCancelledError,
    ComputeClosedError,
    ComputeFailedError,
    ComputePool,
    ComputeProgress,
    ComputeTask,
    died_of,
    unheard,
)
from finagent.queue.compute_handler import ComputeHandler, ComputeStep, scratch_of
from finagent.queue.job import Job, JobStatus, JsonValue, Lease
from finagent.queue.port import Tx
from finagent.runtime.errors import CancelJobError, GiveUpError, RetryError, ReturnJobError

FIELDS: dict[str, Any] = {
    "id": 3, "type": "backtest", "key": None, "payload": {"b": 1, "a": [2]}, "payload_version": 1,
    "status": JobStatus.LEASED, "priority": 0, "run_at_ms": 0, "deadline_at_ms": None, "attempts": 2,
    "failures": 1, "max_attempts": 3, "lease": Lease(1, 1), "idem_key": "x", "trace_id": None,
    "parent_id": None, "created_at_ms": 0, "started_at_ms": 0, "finished_at_ms": None, "error": None,
}  # fmt: skip


def job_with(**changes: object) -> Job:
    """A running job, its second try."""
    return Job(**{**FIELDS, **changes})


JOB = job_with()


@dataclass
class LocalPool:
    """A pool that computes nothing: it reports once and gives or raises what it was told."""

    outcome: JsonValue | Exception
    tasks: list[ComputeTask] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def run(
        self, task: ComputeTask, *, on_progress: Callable[[ComputeProgress], None] = unheard
    ) -> JsonValue:
        self.tasks.append(task)
        on_progress(ComputeProgress(0.5, "half"))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self, key: str, reason: str) -> bool:
        self.cancelled.append(f"{key}: {reason}")
        return True


def handler_on(pool: ComputePool, progress: Callable[[Job], None] = lambda job: None) -> ComputeHandler:
    async def finish(job: Job, result: JsonValue, tx: Tx) -> None:
        tx.put(f"{job.idem_key}={result}")

    def arguments(job: Job) -> Mapping[str, JsonValue]:
        return {"only": job.payload["a"]}

    step = ComputeStep(function="a.b:c", arguments=arguments, finish=finish, timeout_s=5.0)
    return ComputeHandler(pool, {"backtest": step}, scratch=Path("/scratch"), progress=progress)


async def test_job_becomes_a_task_and_its_result_a_fact() -> None:
    pool, alive, tx = LocalPool(42), list[tuple[int, ComputeProgress | None]](), Tx()
    handler = handler_on(pool, lambda job: alive.append((job.id, handler.progress_of(job.id))))
    await handler.handle(JOB, tx)
    assert tx.facts == ["x=42"]
    assert alive == [(3, ComputeProgress(0.5, "half"))]
    assert handler.progress_of(3) is None
    assert pool.tasks == [
        ComputeTask(
            function="a.b:c",
            arguments={"only": [2]},
            key="job-3",
            attempt=2,
            scratch=scratch_of(Path("/scratch"), JOB),
            timeout_s=5.0,
        )
    ]
    assert handler.cancel(3, "why")
    assert pool.cancelled == ["job-3: why"]


async def test_same_lease_computes_once_and_another_lease_again() -> None:
    pool = LocalPool(1)
    handler = handler_on(pool)
    await handler.handle(JOB, Tx())
    await handler.handle(JOB, Tx())
    assert len(pool.tasks) == 1
    await handler.handle(job_with(lease=Lease(1, 2)), Tx())
    assert len(pool.tasks) == 2


@pytest.mark.parametrize(
    ("outcome", "reaction"),
    [
        (ComputeCancelledError("Ada asked"), CancelJobError),
        (ComputeClosedError(), ReturnJobError),
        (RetryError("busy"), RetryError),
        (ComputeFailedError("a.b:c", type="ValueError", message="", traceback_text=""), ComputeFailedError),
    ],
)
async def test_each_error_of_the_pool_has_its_reaction(outcome: Exception, reaction: type[Exception]) -> None:
    tx = Tx()
    with pytest.raises(reaction):
        await handler_on(LocalPool(outcome)).handle(JOB, tx)
    assert tx.is_empty


def test_reactions_fall_back_on_those_every_worker_knows() -> None:
    assert issubclass(CancelJobError, GiveUpError)
    assert issubclass(ReturnJobError, RetryError)


async def test_type_without_a_step_is_given_up() -> None:
    with pytest.raises(GiveUpError, match="no function computes jobs of type 'scan'; there are: backtest"):
        await handler_on(LocalPool(1)).handle(job_with(type="scan"), Tx())


def test_folder_is_the_same_for_each_try_and_another_for_other_work() -> None:
    folder = Path("/scratch")
    mine = scratch_of(folder, JOB)
    assert mine.parent == folder
    assert mine.name.startswith("3-")
    assert scratch_of(folder, job_with(attempts=9, payload={"a": [2], "b": 1})) == mine
    others = [
        job_with(payload={}),
        job_with(idem_key="y"),
        job_with(type="z"),
        job_with(id=4),
    ]
    assert len({mine, *(scratch_of(folder, job) for job in others)}) == 5


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [
        (None, "was lost"),
        (0, "ended with exit code 0"),
        (-9, "was killed by SIGKILL"),
        (-200, "was killed by signal 200"),
    ],
)
def test_end_of_a_process_is_told_in_words(exit_code: int | None, text: str) -> None:
    assert died_of(exit_code) == text
