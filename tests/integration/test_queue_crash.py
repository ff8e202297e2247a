"""Processes killed at every named point: nothing acknowledged is lost, nothing is done twice."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = 12
CHILD = Path(__file__).with_name("queue_child.py")
POINTS = (
    "writer.after_begin",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_deliver",
    "processor.after_effect",
    "processor.before_done",
)


def run_child(folder: Path, failpoints: str = "") -> int:
    environment = {**os.environ, "FINAGENT_FAILPOINTS": failpoints, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(CHILD), str(folder / "jobs.db"), str(folder / "witness"), str(JOBS)]
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


def acknowledged(folder: Path) -> set[str]:
    path = folder / "witness"
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.split()[1] for line in lines if line.startswith("published")}


def read(folder: Path, sql: str) -> list[tuple[str, int]]:
    connection = sqlite3.connect(folder / "jobs.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def check_conserved(folder: Path) -> None:
    """Acknowledged publishes are stored; each done job left its fact exactly once, and no other did."""
    parents = {key for (key,) in read(folder, "SELECT idem_key FROM job_queue WHERE type = 'parent'")}
    assert acknowledged(folder) <= parents
    done = read(folder, "SELECT type || ':' || idem_key, 1 FROM job_queue WHERE status = 'done'")
    assert sorted(read(folder, "SELECT key, length(value) FROM meta")) == sorted(done)
    children = read(
        folder,
        "SELECT p.idem_key, (SELECT count(*) FROM job_queue c WHERE c.parent_id = p.id) FROM job_queue p"
        " WHERE p.type = 'parent' AND p.status = 'done'",
    )
    assert all(count == 2 for _, count in children)


def check_finished(folder: Path) -> None:
    check_conserved(folder)
    counts = dict(read(folder, "SELECT status, count(*) FROM job_queue GROUP BY status"))
    assert counts == {"done": 3 * JOBS}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("at", [2, 3])  # 1 is the boot, 2 the publishes, 3 the first completions
def test_process_killed_at_a_point_loses_nothing_and_repeats_nothing(
    tmp_path: Path, point: str, at: int
) -> None:
    assert run_child(tmp_path, f"{point}@{at}=kill") == -signal.SIGKILL
    check_conserved(tmp_path)
    assert run_child(tmp_path) == 0
    check_finished(tmp_path)


def test_process_killed_again_and_again_still_finishes_once(tmp_path: Path) -> None:
    for number in range(6):
        assert run_child(tmp_path, f"{POINTS[number]}@{2 + number % 3}=kill") == -signal.SIGKILL
        check_conserved(tmp_path)
    assert run_child(tmp_path) == 0
    check_finished(tmp_path)


def test_clean_stop_is_recorded_and_a_kill_is_not(tmp_path: Path) -> None:
    run_child(tmp_path, "writer.after_commit@2=kill")
    run_child(tmp_path)
    assert read(tmp_path, "SELECT epoch, clean FROM boot ORDER BY epoch") == [(1, 0), (2, 1)]
