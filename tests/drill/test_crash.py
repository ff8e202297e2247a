"""The crash drill as it is typed: real processes, SIGKILL, a broker server of its own, a judge outside."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEED_VARIABLE = "FINAGENT_DRILL_SEED"
LIMIT_S = 1_800
"""A hung drill ends: on a crowded machine, where a start takes 20 s, thirty kills take a quarter of an hour."""


def drill(home: Path, *, kills: int, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """One drill with a seed of its own, printed so that it can be repeated."""
    seed = int(os.environ.get(SEED_VARIABLE, "") or random.SystemRandom().randrange(10**6))
    print(f"{SEED_VARIABLE}={seed}")
    done = subprocess.run(
        [sys.executable, "-m", "finagent", "--home", str(home), "drill", "crash",
         "--kills", str(kills), "--seed", str(seed), "--json"],
        capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert "error" not in document, document
    print(
        json.dumps({key: document[key] for key in ("kills_by_kind", "steps_killed_at", "plans", "ready_s")})
    )
    assert done.returncode == (0 if document["passed"] else 1)
    return document


def test_thirty_kills_lose_nothing_double_nothing_and_orphan_nothing(tmp_path: Path) -> None:
    found = drill(tmp_path, kills=30)
    assert found["findings"] == {"lost": [], "duplicate": [], "orphan": [], "other": []}
    assert (found["kills"], found["passed"]) == (30, True)
    assert found["orders_at_broker"] > 0
    assert found["approvals_acknowledged"] > 0
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert "Crash drill: <span class=passed>passed</span>" in page


@pytest.mark.full
def test_drill_that_is_told_to_stop_leaves_no_process_behind(tmp_path: Path) -> None:
    """SIGTERM in the middle of an agent's life, as a supervisor sends it: to the drill alone."""
    running = subprocess.Popen(
        [sys.executable, "-m", "finagent", "--home", str(tmp_path), "drill", "crash", "--kills", "5"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stderr is not None
    try:
        next(line for line in running.stderr if "1 of 5 kills" in line)
        running.terminate()
        assert running.wait(60) == 128 + signal.SIGTERM
    finally:
        running.kill()
        running.stderr.close()
    assert _processes_of(tmp_path) == []


def _processes_of(home: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(os.fsencode(home) in word for word in words):
            found.append(b" ".join(words).decode())
    return found


@pytest.mark.full
def test_two_hundred_kills_lose_nothing_double_nothing_and_orphan_nothing(tmp_path: Path) -> None:
    found = drill(tmp_path, kills=200, limit_s=4 * LIMIT_S)
    assert found["findings"] == {"lost": [], "duplicate": [], "orphan": [], "other": []}
    assert len(found["steps_killed_at"]) > 25
