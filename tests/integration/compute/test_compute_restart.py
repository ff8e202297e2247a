"""The whole process is killed while a worker computes: nobody is left, and the job goes on where it was."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

CHILD = Path(__file__).with_name("compute_child.py")


@contextmanager
def child(folder: Path, name: str = "count") -> Iterator[subprocess.Popen[str]]:
    """The process, killed at the end if it still is there."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), name],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def read(folder: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "jobs.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.full)])
def test_job_survives_the_kill_of_the_process_and_goes_on_from_its_checkpoint(
    tmp_path: Path, kills: int
) -> None:
    for number in range(kills):
        with child(tmp_path) as process:
            word, pid = next_line(process)
            assert word == "worker"
            worker = psutil.Process(int(pid))
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            worker.wait(5)
        assert read(tmp_path, "SELECT status, attempts FROM job_queue") == [("leased", number + 1)]
    (tmp_path / "gate").touch()
    with child(tmp_path) as process:
        while (line := next_line(process))[0] == "worker":
            continue
        assert line == ["over", "done", str(kills + 1)]
    lines = [line.split() for line in (tmp_path / "witness").read_text().splitlines()]
    assert [int(step) for _, _, step in lines] == list(range(6))
    assert [int(attempt) for attempt, _, _ in lines] == [1] * 3 + [kills + 1] * 3
    (fact,) = read(tmp_path, "SELECT key, length(value) FROM meta")
    assert fact == (f"job={{'counted': 6, 'from': 3, 'attempt': {kills + 1}}}", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker notices it when the function lets it")
@pytest.mark.parametrize("name", ["burn_silently", "hold_the_interpreter"])
def test_worker_ends_with_its_parent_whatever_its_function_does(tmp_path: Path, name: str) -> None:
    with child(tmp_path, name) as process:
        worker = psutil.Process(int(next_line(process)[1]))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        worker.wait(5)
