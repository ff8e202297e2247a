"""Backtests as jobs of a real agent: asked, computed in a worker, killed, cancelled, bounded, and found again."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from finagent.bootstrap import start_agent
from finagent.bootstrap.agent import Agent
from finagent.bootstrap.backtest_jobs import (
    BACKTEST,
    COMPUTE,
    progress_in,
    request_of,
    settings_of,
    with_progress,
)
from finagent.bootstrap.backtest_report import FOLDER
from finagent.bootstrap.backtests import Request, backtest
from finagent.context import CommandResult, Json, SurfaceError
from finagent.queue.job import Job, JobStatus, JsonValue, NewJob
from finagent.runtime.clock import SystemTicker
from finagent.settings import Settings, SettingsError
from tests.integration.data.market_files import FIRST, LAST

ROOT = Path(__file__).resolve().parents[3]
SOON_S = 60
ASKED: dict[str, Json] = {"first": FIRST, "last": LAST}


@pytest.fixture
def home(stored: Path, tmp_path: Path) -> Path:
    """A home of its own over the same bars."""
    (tmp_path / "bars").symlink_to(stored / "bars")
    return tmp_path


@pytest.fixture
async def agent(home: Path) -> AsyncIterator[Agent]:
    """An agent over it."""
    running = await start_agent(Settings(), home)
    yield running
    await running.stop()


async def ask(agent: Agent, **more: Json) -> CommandResult:
    """Ask for a backtest of all that is stored."""
    assert agent.context.commands is not None
    return await agent.context.commands.backtest({**ASKED, **more}, identity="test")


def number(found: CommandResult) -> int:
    """The job's number."""
    assert isinstance(found.data["job_id"], int)
    return found.data["job_id"]


async def until(agent: Agent, job_id: int, *states: JobStatus) -> Job:
    """The job, once it is in one of these states."""
    async with asyncio.timeout(SOON_S):
        while True:
            job = await agent.engine.queue.get(job_id)
            assert job is not None
            if job.status in states:
                return job
            await SystemTicker().sleep(0.02)


async def held_worker(of: int) -> psutil.Process:
    """The worker that a process has begun, stopped before it can finish anything."""
    async with asyncio.timeout(SOON_S):
        while True:
            for child in psutil.Process(of).children():
                if any("adapters.pool.child" in word for word in child.cmdline()):
                    child.suspend()
                    return child
            await SystemTicker().sleep(0.005)


async def test_a_job_leaves_the_result_that_the_command_leaves(
    agent: Agent, home: Path, tmp_path: Path
) -> None:
    """The same id, trades and figures; the same question again is the same job; another one another."""
    found = await ask(agent)
    assert found.code == "queued"
    job = await until(agent, number(found), JobStatus.DONE, JobStatus.DEAD)
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)
    listed: Any = await agent.context.views.backtests()
    (row,) = listed["results"]
    kept = await agent.context.views.backtest(str(row["result_id"])[:8])
    again = backtest(Settings(), home, Request(first=FIRST, last=LAST))
    assert {key: again[key] for key in again if key != "elapsed_ms"} == {
        key: kept[key] for key in kept if key != "elapsed_ms"
    }
    known = await ask(agent)
    assert (known.code, known.data["job_id"], known.data["status"]) == ("known", job.id, "done")
    other = await ask(agent, settings={"planning": {"target_r": "2"}})
    assert other.data["job_id"] != job.id
    await until(agent, number(other), JobStatus.DONE)
    listed = await agent.context.views.backtests(limit=1)
    assert listed["results"][0]["settings"]["planning"]["target_r"] == "2"


async def test_a_killed_worker_costs_one_try(agent: Agent) -> None:
    """The next worker does it."""
    job_id = number(await ask(agent))
    worker = await held_worker(os.getpid())
    worker.kill()
    job = await until(agent, job_id, JobStatus.DONE, JobStatus.DEAD)
    assert (job.status, job.attempts) == (JobStatus.DONE, 2)


async def test_a_running_backtest_can_be_cancelled_and_asked_again(agent: Agent) -> None:
    """It ends cancelled by whom; the queue takes it up again by a retry."""
    assert agent.context.commands is not None
    job_id = number(await ask(agent))
    await held_worker(os.getpid())
    told = await agent.context.commands.cancel_job(job_id, identity="cli:me")
    assert (told.code, told.is_done) == ("cancelling", True)
    job = await until(agent, job_id, JobStatus.CANCELLED, JobStatus.DONE, JobStatus.DEAD)
    assert (job.status, job.error) == (JobStatus.CANCELLED, "cancelled by cli:me")
    known = await ask(agent)
    assert f"finagent jobs retry {job_id} runs it again." in known.message
    assert (await agent.context.commands.retry_job(job_id, identity="cli:me")).is_done
    assert (await until(agent, job_id, JobStatus.DONE, JobStatus.DEAD)).status is JobStatus.DONE
    over = await agent.context.commands.cancel_job(job_id, identity="cli:me")
    assert (over.code, over.is_done) == ("not_cancelled", False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts private memory")
async def test_more_than_the_memory_ends_dead_with_the_mend(home: Path) -> None:
    """At once, not after three tries; the agent goes on."""
    small = Settings().model_copy(
        update={"backtest": Settings().backtest.model_copy(update={"memory_mb": 8})}
    )
    agent = await start_agent(small, home)
    try:
        job = await until(agent, number(await ask(agent)), JobStatus.DEAD, JobStatus.DONE)
        assert (job.status, job.attempts) == (JobStatus.DEAD, 1)
        assert "it needs more than 8 MiB: raise backtest.memory_mb" in str(job.error)
        assert not agent.is_failed
    finally:
        await agent.stop()


async def test_a_wrong_question_is_refused_before_it_is_queued(agent: Agent) -> None:
    """Range, symbols, words, settings, each with its mend; what changed after that ends the job with the same line."""
    for more, words in (
        ({"first": "2018-02-10", "last": "2018-02-11"}, "no session from 2018-02-10 to 2018-02-11"),
        (
            {"last": "2018-03-01"},
            "2018-02-07 to 2018-03-01: there are no bars for some of it | the store holds",
        ),
        ({"symbols": ["aaa", "ZAA"]}, "no symbol ZAA among the 3 that are stored | the nearest are AAA"),
        ({"last": "2018-01-01"}, "--to 2018-01-01 is before --from"),
        (
            {"bars": "daily", "at": "10:00"},
            "--at 10:00: sessions on daily bars alone are scanned at their open | ",
        ),
        ({"bars": "weekly"}, "bars weekly is none of auto, daily, minute"),
        ({"settings": {"planning": {"target_r": "-1"}}}, "planning.target_r"),
        (
            {"bars": "daily", "settings": {"planning": {"preset": "structure"}}},
            "planning.preset structure enters within the session, which daily bars alone do not show",
        ),
        ({"settings": {"broker": {"name": "paper"}}}, "broker is no section that a backtest follows"),
        ({"settings": {"scann": {}}}, "scann is no section that a backtest follows | did you mean scan?"),
        ({"settings": {"planning": {"targt_r": "1"}}}, "planning.targt_r | did you mean target_r?"),
        ({"settings": {"scan": {"target_r": "1"}}}, "scan.target_r | target_r is a key of section planning"),
    ):
        with pytest.raises(SurfaceError) as caught:
            await ask(agent, **more)  # type: ignore[arg-type]
        assert words in f"{caught.value.message} | {caught.value.hint}"
    assert not await agent.engine.queue.list(type=BACKTEST)
    gone: dict[str, JsonValue] = {"request": {"first": FIRST, "symbols": ["ZZZ"]}, "settings": {}}
    asked = await agent.engine.queue.publish(NewJob(BACKTEST, gone, "gone"))
    job = await until(agent, asked.job_id, JobStatus.DEAD, JobStatus.DONE)
    assert "no symbol ZZZ among the 3 that are stored. the nearest are" in str(job.error)
    assert job.attempts == 1


async def test_progress_is_told_to_readers_of_the_home(agent: Agent, home: Path) -> None:
    """While it runs: a fraction and the session; afterwards nothing is shown of it."""
    job_id = number(await ask(agent))
    await until(agent, job_id, JobStatus.DONE)
    told = progress_in(home)[str(job_id)]
    assert isinstance(told, dict)
    assert isinstance(told["fraction"], float)
    assert with_progress(home)({"id": job_id})["progress"] == told
    assert with_progress(home)({"id": 99})["progress"] is None
    assert with_progress(home)({"id": job_id, "status": "done"})["progress"] is None
    (home / COMPUTE / "progress.json").write_text("{")
    assert progress_in(home) == {}


def test_settings_of_a_question_win_over_those_of_the_process() -> None:
    """By section; a number for a text is taken, an unknown one is refused."""
    base = Settings()
    assert str(settings_of(base, {"planning": {"target_r": 2}}).planning.target_r) == "2"
    assert settings_of(base, {}) == base
    with pytest.raises(SettingsError, match="settings of planning are keys"):
        settings_of(base, {"planning": "all"})
    assert request_of({"first": FIRST}) == Request(first=FIRST, last=FIRST)


def finagent(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A command of its own process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    return subprocess.Popen(
        [sys.executable, "-m", "finagent", "--home", str(home), *arguments],
        cwd=home,
        env={**kept, "PYTHONPATH": str(ROOT), "FINAGENT__API__PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer_of(command: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a command printed as JSON."""
    printed, errors = command.communicate(timeout=SOON_S)
    assert command.returncode == 0, errors
    found: dict[str, Any] = json.loads(printed)
    return found


async def test_a_killed_agent_goes_on_with_it_at_its_next_start(home: Path) -> None:
    """Asked without an agent, begun by one that is killed with SIGKILL, done by the next; no worker is left."""
    await (await start_agent(Settings(), home)).stop()  # the home has a database now
    span = ("--from", FIRST, "--to", LAST)
    asked = answer_of(finagent(home, "backtest", *span, "--queue", "--json"))
    assert "No agent runs here: finagent orchestrate computes it." in asked["message"]
    job_id = str(asked["data"]["job_id"])
    with finagent(home, "orchestrate") as first:
        worker = await held_worker(first.pid)
        first.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.resume()  # held so early that the kernel did not know yet with whom it is to die
        worker.wait(SOON_S)
    with finagent(home, "orchestrate") as second:
        try:
            async with asyncio.timeout(SOON_S):
                while not (home / FOLDER / "last").exists():
                    await SystemTicker().sleep(0.05)
            while (job := answer_of(finagent(home, "jobs", "show", job_id, "--json")))["status"] == "leased":
                pass  # its result is there, its end is about to be committed
        finally:
            second.terminate()
            second.communicate(timeout=SOON_S)
    assert (job["status"], job["tries"]) == ("done", 2)
