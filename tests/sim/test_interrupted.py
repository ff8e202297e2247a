"""A run of many seeds that is stopped keeps what it has found, and its processes say nothing of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from finagent.cli.root import run
from finagent.simulation.fleet import Fleet
from tests.sim.garden import planted
from tests.sim.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
LONG = ("sim", "--seeds", "0..9999", "--workers", "2", "--json")
Capture = pytest.CaptureFixture[str]


@contextmanager
def started() -> Iterator[subprocess.Popen[str]]:
    """Many seeds in a group of their own, as a terminal starts them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "finagent", *LONG], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[dict[str, object], str]:
    """Its document and what it says after a signal to its whole group, as a terminal or ``timeout`` sends it."""
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return json.loads(out), err


def mapped(pid: int) -> Iterator[str]:
    """The files that each process it has started has in memory."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            yield Path(f"/proc/{child}/maps").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_run_reports_the_seeds_it_has_done(number: signal.Signals, status: int) -> None:
    with started() as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("sim: seed ")
        document, err = ended(process, number)
    assert (process.returncode, err) == (status, "")
    assert (document["partial"], document["asked"]) == (True, 10_000)
    assert 1 <= int(str(document["seeds"])) < 10_000
    assert document["seeds_done"]
    assert document["faults_fired"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_processes_that_still_import_say_nothing_when_stopped(number: signal.Signals) -> None:
    with started() as process:
        while not any("sqlite" in maps for maps in mapped(process.pid)):
            assert process.poll() is None
        document, err = ended(process, number)
    assert (document["partial"], err) == (True, "")


def test_broken_promise_is_told_as_its_seed_ends(capsys: Capture) -> None:
    """Before the seed after it has ended."""
    with planted(MUTANTS["stop_missing"]):
        assert run(["sim", "--seeds", "0..2", "--workers", "1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("sim: BROKEN seed 0 step "))
    assert "protected" in lines[first]
    assert first < lines.index("sim: seed 1 (2 of 3)")


def die_or_double(number: int) -> str:
    """Ends its process at 3."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return str(number * 2)


def test_process_that_dies_costs_its_number_alone() -> None:
    fleet = Fleet(die_or_double, lambda number, reason: f"{number}: {reason}")
    found = fleet.results(range(6), workers=2, is_stopped=lambda: False)
    assert sorted(found) == ["0", "10", "2", "3: its process ended with -9", "4", "8"]
