"""CPU jobs through a real queue: kills, hangs, cancels, guards and restarts cost what they may cost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from finagent.queue.compute_handler import ComputeStep, scratch_of
from finagent.queue.job import Job, JobStatus, JsonValue, NewJob
from finagent.queue.port import Tx
from tests.integration.compute.engine import POLICY, Engine
from tests.integration.compute.functions import path_to

NAMES = (
    "add", "burn", "burn_silently", "burn_stubbornly", "count", "exit_hard", "give_object", "give_up",
    "no_such_function", "pause_silently", "raise_error", "unknown", "wait_for_gate", "work_for",
)  # fmt: skip
Open = Callable[[Engine], Awaitable[Engine]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens engines and closes them in the end."""
    engines: list[Engine] = []

    async def open_engine(engine: Engine) -> Engine:
        await engine.open()
        engines.append(engine)
        return engine

    yield open_engine
    for engine in engines:
        if not engine.stop.is_set():
            await engine.close()


@pytest.fixture
async def engine(opened: Open, tmp_path: Path) -> Engine:
    return await opened(Engine(tmp_path, NAMES))


async def attempts_of(engine: Engine, job_id: int) -> list[tuple[object, ...]]:
    rows = await engine.database.read(
        "SELECT attempt, outcome, error FROM job_attempt WHERE job_id = ? ORDER BY lease_seq", (job_id,)
    )
    return [tuple(row) for row in rows]


async def test_result_and_follow_up_are_committed_with_the_job(engine: Engine) -> None:
    job = await engine.over(await engine.publish("add", "x", a=2, b=3, follow_up=True))
    await engine.queue.wait_quiescent()
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)
    assert await engine.facts() == {"x=5": 1, "x.next=2": 1}
    assert engine.handler.progress_of(job.id) is None


async def test_killed_worker_costs_its_job_one_attempt_and_no_other_job_anything(
    engine: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    ids = [await engine.publish("wait_for_gate", f"job {n}", gate=str(gate)) for n in range(3)]
    pids = [await engine.running(job_id) for job_id in ids]
    assert len(set(pids)) == 3
    os.kill(pids[1], signal.SIGKILL)
    engine.begun[ids[1]].clear()
    second = await engine.running(ids[1])
    assert second not in pids
    gate.touch()
    ended = [await engine.over(job_id) for job_id in ids]
    assert [job.status for job in ended] == [JobStatus.DONE] * 3
    assert [(job.attempts, job.failures) for job in ended] == [(1, 0), (2, 1), (1, 0)]
    ((attempt, outcome, error),) = await attempts_of(engine, ids[1])
    assert (attempt, outcome) == (1, "retry")
    assert f"worker {pids[1]} was killed by SIGKILL" in str(error)
    assert await engine.facts() == {f"job 0={pids[0]}": 1, f"job 1={second}": 1, f"job 2={pids[2]}": 1}


async def test_job_that_kills_each_worker_ends_dead_and_stops_nobody(engine: Engine) -> None:
    killer = await engine.publish("exit_hard", "killer")
    others = [await engine.publish("add", str(n), a=n, b=1) for n in range(20)]
    dead = await engine.over(killer)
    assert (dead.status, dead.attempts) == (JobStatus.DEAD, POLICY.max_attempts)
    assert "ended with exit code 3" in str(dead.error)
    assert {(await engine.over(job_id)).status for job_id in others} == {JobStatus.DONE}


@pytest.mark.parametrize(
    ("name", "tries", "error"),
    [
        ("raise_error", 3, "raised ValueError: the 7th bar has no close"),
        ("give_up", 1, "GiveUpError: there is no such dataset"),
        ("no_such_function", 1, "there is no function no_such_function in"),
        ("give_object", 1, "the result of tests.integration.compute.functions:give_object is no JSON"),
    ],
)
async def test_failing_function_ends_dead_with_its_reason(
    engine: Engine, name: str, tries: int, error: str
) -> None:
    job = await engine.over(await engine.publish(name, "x"))
    assert (job.status, job.attempts) == (JobStatus.DEAD, tries)
    assert error in str(job.error)


async def test_job_without_a_function_ends_dead(opened: Open, tmp_path: Path) -> None:
    engine = await opened(Engine(tmp_path, ("add",)))
    engine.handler._steps.clear()
    job = await engine.over(await engine.publish("add", "x"))
    assert (job.status, job.attempts) == (JobStatus.DEAD, 1)
    assert "no function computes jobs of type 'add'" in str(job.error)


async def test_thousand_tiny_jobs_are_all_done_once(engine: Engine) -> None:
    jobs = [NewJob("add", {"a": n, "b": 1}, str(n)) for n in range(1000)]
    published = await engine.queue.publish_many(jobs)
    await engine.over(published[-1].job_id)
    await engine.queue.wait_quiescent()
    assert (await engine.queue.stats()).by_status["done"] == 1000
    assert await engine.facts() == {f"{n}={n + 1}": 1 for n in range(1000)}


# ---------------------------------------------------------------- alive, hung, cancelled


async def test_progress_keeps_a_job_alive_beyond_its_time_out(opened: Open, tmp_path: Path) -> None:
    engine = await opened(Engine(tmp_path, NAMES, workers=1, policy=replace(POLICY, timeout_s=1.5)))
    await engine.over(await engine.publish("add", "starts the worker", a=1, b=1))
    job = await engine.over(await engine.publish("work_for", "x", seconds=3.5))
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)


async def test_silent_job_is_judged_hung_its_worker_ended_and_tried_again(
    opened: Open, tmp_path: Path
) -> None:
    engine = await opened(Engine(tmp_path, NAMES, policy=replace(POLICY, timeout_s=2.0)))
    job_id = await engine.publish("pause_silently", "x")
    pid = await engine.running(job_id)
    job = await engine.over(job_id)
    assert (job.status, job.attempts) == (JobStatus.DONE, 2)
    ((_, outcome, error),) = await attempts_of(engine, job_id)
    assert (outcome, error) == ("retry", "TimedOutError: no progress for 2 s")
    assert not psutil.pid_exists(pid)


async def test_job_over_the_time_of_its_step_is_tried_again_and_dies(opened: Open, tmp_path: Path) -> None:
    step = ComputeStep(function=path_to("burn_silently"), timeout_s=0.2)
    engine = await opened(Engine(tmp_path, ("burn_silently",), steps={"burn_silently": step}))
    job = await engine.over(await engine.publish("burn_silently", "x"))
    assert (job.status, job.attempts) == (JobStatus.DEAD, POLICY.max_attempts)
    assert "was stopped after 0.2 s" in str(job.error)


@pytest.mark.parametrize("name", ["burn", "burn_stubbornly"])
async def test_cancelled_running_job_ends_cancelled_and_its_worker_stops_burning(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    gate = tmp_path / "gate"
    other = await engine.publish("wait_for_gate", "other", gate=str(gate))
    job_id = await engine.publish(name, "x")
    pid, _ = await engine.running(job_id), await engine.running(other)
    assert not await engine.queue.cancel(job_id)
    assert not engine.handler.cancel(job_id + 100, "nobody")
    assert engine.handler.cancel(job_id, "cancelled by Ada")
    job = await engine.over(job_id)
    assert (job.status, job.attempts) == (JobStatus.CANCELLED, 1)
    assert "cancelled by Ada" in str(job.error)
    if name == "burn_stubbornly":
        assert not psutil.pid_exists(pid)
    assert await engine.facts() == {}
    gate.touch()
    assert (await engine.over(other)).attempts == 1


# ---------------------------------------------------------------- one result, one folder, one end


async def test_failed_guard_decides_again_and_computes_once(opened: Open, tmp_path: Path) -> None:
    finished: list[JsonValue] = []
    witness = tmp_path / "witness"

    async def finish(job: Job, result: JsonValue, tx: Tx) -> None:
        version = await engine.queue.row_version("account")
        finished.append(result)
        if len(finished) == 1:
            other = Tx()
            other.touch("account")
            await engine.queue.commit(other)
        tx.expect("account", version)
        tx.put("decided")

    step = ComputeStep(
        function=path_to("count"), arguments=lambda job: {"until": 2, "witness": str(witness)}, finish=finish
    )
    engine = await opened(Engine(tmp_path, ("count",), steps={"count": step}))
    job = await engine.over(await engine.publish("count", "x"))
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)
    assert finished == [{"counted": 2, "from": 0, "attempt": 1}] * 2
    assert len(witness.read_text().splitlines()) == 2
    assert await engine.facts() == {"decided": 1}


async def test_killed_worker_leaves_a_checkpoint_to_the_next_try(engine: Engine, tmp_path: Path) -> None:
    gate, witness = tmp_path / "gate", tmp_path / "witness"
    job_id = await engine.publish("count", "x", until=5, pause_at=2, gate=str(gate), witness=str(witness))
    pid = await engine.running(job_id)
    os.kill(pid, signal.SIGKILL)
    gate.touch()
    job = await engine.over(job_id)
    assert (job.status, job.attempts) == (JobStatus.DONE, 2)
    assert [line.split()[2] for line in witness.read_text().splitlines()] == ["0", "1", "2", "3", "4"]
    assert await engine.facts() == {"x={'counted': 5, 'from': 2, 'attempt': 2}": 1}


async def test_pool_closed_while_a_job_runs_gives_it_back_for_the_next_start(
    opened: Open, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    engine = await opened(Engine(tmp_path, NAMES))
    job_id = await engine.publish("wait_for_gate", "x", gate=str(gate))
    pid = await engine.running(job_id)
    await engine.close()
    assert not psutil.pid_exists(pid)
    gate.touch()
    again = await opened(Engine(tmp_path, NAMES))
    job = await again.over(job_id)
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)


async def test_folders_of_jobs_that_are_over_are_swept(engine: Engine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = await engine.publish("wait_for_gate", "waiting", gate=str(gate))
    await engine.running(waiting)
    done, dead = await engine.publish("add", "done", a=1, b=1), await engine.publish("give_up", "dead")
    for job in (await engine.over(done), await engine.over(dead), await engine.queue.get(waiting)):
        assert job is not None
        scratch_of(tmp_path / "scratch", job).mkdir(parents=True)
    (tmp_path / "scratch" / "999999-gone").mkdir()
    (tmp_path / "scratch" / "not a job").mkdir()
    assert await engine.handler.sweep(engine.queue) == 2
    assert not scratch_of(tmp_path / "scratch", await engine.over(done)).exists()
    left = sorted(path.name.partition("-")[0] for path in (tmp_path / "scratch").iterdir())
    assert left == sorted([str(waiting), str(dead), "not a job"])
    gate.touch()
    await engine.over(waiting)


async def test_cancelled_worker_task_ends_the_computation_and_leaves_the_job(
    opened: Open, tmp_path: Path
) -> None:
    engine = await opened(Engine(tmp_path, NAMES))
    job_id = await engine.publish("burn_silently", "x")
    pid = await engine.running(job_id)
    engine.tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await engine.tasks.pop()
    assert not psutil.pid_exists(pid)
    left = await engine.queue.get(job_id)
    assert left is not None
    assert left.status is JobStatus.LEASED
