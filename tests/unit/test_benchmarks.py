"""The benchmark of a trading day: its document, and that it can be run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import LIMITS, Figures, percentile

ROOT = Path(__file__).resolve().parents[2]


def last_line(*arguments: str, of: str = "benchmarks.day") -> dict[str, Any]:
    """The document that a quick run prints last; it ends with 1 where this machine is slower than a limit."""
    done = subprocess.run(
        [sys.executable, "-m", of, "--quick", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def test_last_line_is_one_json_document() -> None:
    """Ratios with their limits, absolute figures and the machine, for a program to read."""
    document = last_line("--only", "help", "scan")
    assert set(document) == {"ratios", "absolute", "limits", "skipped", "machine"}
    assert set(document["ratios"]) == set(document["limits"]) == {"help_s", "scan_universe_s"}
    assert document["absolute"]["scan_symbols"] == 60
    assert document["absolute"]["scan_candidates"] == 6
    assert document["machine"]["quick"] is True


@pytest.mark.full
def test_every_limit_is_measured() -> None:
    """A promise without a figure is none; a quick run's one real session may have no intent."""
    day, stress = last_line(), last_line(of="benchmarks.stress")
    assert set(day["skipped"]) <= {"bars_to_intent"}
    unsaid = {f"{name}_p50_ms": LIMITS[f"{name}_p50_ms"] for name in day["skipped"]}
    assert {**day["limits"], **stress["limits"], **unsaid} == LIMITS


def test_ratio_is_measured_by_limit() -> None:
    """Below 1 is within; a figure without a limit has no ratio."""
    figures = Figures()
    figures.put_best("help_s", [0.6, 0.15, 0.3])
    figures.put("unlimited_s", 5)
    document = json.loads(figures.document({}))
    assert document["ratios"] == {"help_s": 0.5}
    assert document["absolute"] == {
        "help_s": 0.15,
        "help_s_median": 0.3,
        "help_s_runs": 3,
        "unlimited_s": 5,
    }
    assert "MISSED" not in figures.table()


def test_missed_limit_is_marked_in_the_table() -> None:
    """A person sees at once what is too slow."""
    figures = Figures()
    figures.put("help_s", 0.31)
    assert "MISSED" in figures.table()


@pytest.mark.parametrize(
    ("share", "expected"), [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0)], ids=["p50", "p99", "p100", "p1"]
)
def test_percentile_of_a_hundred_is_its_rank(share: int, expected: float) -> None:
    """Nearest rank, so a percentile is a sample that was really measured."""
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_every_limited_figure_is_in_its_document() -> None:
    """docs/benchmarks.md says how each was obtained."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert not [name for name in LIMITS if name not in text]


def test_orders_still_leave_in_the_benchmark_of_their_way_to_the_wire() -> None:
    document = last_line(of="benchmarks.orders")
    assert set(document["ratios"]) >= {"approve_to_wire_p50", "trigger_to_wire_p50"}
    assert all(count > 0 for count in document["samples"].values())
