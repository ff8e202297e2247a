"""What a person at the terminal is told unasked: plans that wait for an answer, and what an interrupt has kept."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_cli import finagent
from tests.e2e.test_watch import FINAGENT, environment


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FINAGENT, *arguments], env=environment(home), cwd=home.parent, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its lines on stderr, as they come."""
    assert process.stderr is not None
    while line := process.stderr.readline():
        yield line


def test_agent_tells_the_plans_that_wait_with_the_command_that_answers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    agent = started(home, "orchestrate", "--port", "0", "--at", "2026-11-20T09:29")
    try:
        asked = next((line for line in lines(agent) if "waits for your answer" in line), "the agent ended")
        command = asked.rstrip().partition("finagent ")[2].partition(" (or")[0]
        assert command.startswith("approve pl_"), asked
        assert ": plan to buy " in asked
        symbol = asked.partition(":")[0]
        rejected = finagent(home, "reject", symbol.lower())
        assert (rejected.returncode, rejected.stdout) == (0, f"{symbol} rejected.\n"), rejected.stderr
        again = finagent(home, *command.split())
        assert again.returncode == 3, "the id that was told is the plan that was rejected"
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=30)
    assert agent.returncode == 0


@pytest.fixture
def replay_home(real_home: Path, tmp_path: Path) -> Path:
    """A home of its own over the imported bars."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "bars").symlink_to(real_home / "bars")
    return home


def test_interrupted_replay_says_what_it_kept_and_goes_on_there(replay_home: Path) -> None:
    command = ("replay", "--from", "2018-02-16", "--to", "2018-03-16")
    first = started(replay_home, *command)
    next(line for line in lines(first) if "(3 of 20)" in line)
    first.send_signal(signal.SIGINT)
    out, rest = first.communicate(timeout=60)
    said = rest.splitlines()[-1]
    assert (first.returncode, out) == (130, "")
    assert said.startswith("replay: stopped in 2018-02-")
    assert said.endswith("of 20); what was committed is kept, the same command goes on there")
    stopped_in = said.partition("stopped in ")[2].partition(")")[0]
    second = started(replay_home, *command)
    began = next(line for line in lines(second) if line.startswith("replay: "))
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    assert began == f"replay: {stopped_in})\n"


def test_replay_without_minutes_says_which_sessions_and_the_mend(replay_home: Path) -> None:
    """DG gapped that day, and only its daily bar is there."""
    shown = " ".join(finagent(replay_home, "replay", "--from", "2014-06-09").stdout.split())
    assert "Daily bars alone in 1 session: 2014-06-09 (DG)." in shown
    assert "finagent data import DIR" in shown
