"""Failpoints of one kind: a pass counts for a job type only when it is about that type."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.runtime import failpoints
from finagent.runtime.failpoints import FailpointError, arm, hit, is_armed, parse


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    failpoints.disarm_all()
    yield
    failpoints.disarm_all()


def test_point_of_a_kind_counts_only_passes_about_that_kind() -> None:
    arm("writer.before_commit", kind="score", at=2)
    hit("writer.before_commit")
    hit("writer.before_commit", ("scan", "risk"))
    hit("writer.before_commit", ["score", "scan"])
    with pytest.raises(FailpointError, match=r"writer\.before_commit\[score\]"):
        hit("writer.before_commit", ["scan", "score"])


def test_one_pass_about_a_kind_named_twice_counts_once() -> None:
    arm("here", kind="score", at=2)
    hit("here", ("score", "score", "score"))


def test_point_without_a_kind_counts_every_pass() -> None:
    arm("here", at=3)
    hit("here")
    hit("here", ("score",))
    with pytest.raises(FailpointError):
        hit("here", ("scan", "score"))


def test_is_armed_says_whether_kinds_are_worth_working_out() -> None:
    assert not is_armed()
    arm("here", kind="score")
    assert is_armed()
    failpoints.disarm_all()
    assert not is_armed()


def test_kinds_are_read_from_the_variable() -> None:
    assert parse("a.b[send_exit]@2=kill, a.b@1=raise") == {
        "a.b[send_exit]": (2, "kill"),
        "a.b": (1, "raise"),
    }


@pytest.mark.parametrize(
    "wrong", ["a[b@1=kill", "a]@1=kill", "a[]@1=kill", "[b]@1=kill", "a[b][c]@1=kill", "a@0=kill", "a@1=die"]
)
def test_item_that_cannot_be_read_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="FINAGENT_FAILPOINTS has"):
        parse(f"good@1=kill,{wrong}")


def test_process_writes_down_which_point_killed_it(tmp_path: Path) -> None:
    log = tmp_path / "died-at"
    armed = {"FINAGENT_FAILPOINTS": "a@2=kill,b[send]@1=kill,c@1=kill", "FINAGENT_FAILPOINT_LOG": str(log)}
    code = "from finagent.runtime.failpoints import hit; hit('a'); hit('b', ['send']); hit('c')"
    child = subprocess.run([sys.executable, "-c", code], env={**os.environ, **armed}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert log.read_text() == "b[send]\n"
