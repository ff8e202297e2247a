"""Figures: samples of one quantity, the limit they are held to, and the one document of a run."""

import json
import os
import platform
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEBI = 1 << 20

LIMITS: Mapping[str, float] = {
    "import_s": 60.0,
    "import_peak_mib": 2048.0,
    "scan_universe_s": 1.0,
    "replay_20_sessions_s": 60.0,
    "commits_per_session": 2500.0,
    "bars_to_intent_p50_ms": 20.0,
    "made_up_bars_to_intent_p50_ms": 20.0,
    "help_s": 0.3,
    "start_to_ready_s": 2.0,
    "at_rest_mib": 300.0,
    "stop_s": 10.0,
    "monte_carlo_s": 0.2,
}
"""What is promised, by figure; the unit is the last word of the name (commits count)."""


@dataclass(slots=True)
class Figures:
    """What a run measured; ``put`` holds a figure to its limit when it has one."""

    ratios: dict[str, float] = field(default_factory=dict)
    absolute: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: float) -> None:
        """One value."""
        self.absolute[name] = rounded(value)
        if name in LIMITS:
            self.ratios[name] = rounded(value / LIMITS[name])

    def put_best(self, name: str, samples: Sequence[float]) -> None:
        """The least of several runs; their median beside it shows how noisy the machine was."""
        self.put(name, min(samples))
        if len(samples) > 1:
            self.put(f"{name}_median", statistics.median(samples))
            self.put(f"{name}_runs", len(samples))

    def put_spread(self, name: str, unit: str, runs: Sequence[Sequence[float]]) -> None:
        """Half and 99 of 100 samples of a run stay below these, in the best of the runs."""
        for share in (50, 99):
            self.put_best(f"{name}_p{share}_{unit}", [percentile(run, share) for run in runs])
        self.put(f"{name}_samples", len(runs[0]))

    def document(self, machine: Mapping[str, object]) -> str:
        """The run as one line of JSON: a ratio below 1 is within its limit."""
        limits = {name: LIMITS[name] for name in self.ratios}
        return json.dumps(
            {
                "ratios": self.ratios,
                "absolute": self.absolute,
                "limits": limits,
                "skipped": self.skipped,
                "machine": machine,
            }
        )

    def table(self) -> str:
        """The limited figures for a person."""
        rows = [f"{'figure':<32}{'measured':>12}{'limit':>10}{'ratio':>8}"]
        rows += [
            f"{name:<32}{self.absolute[name]:>12g}{LIMITS[name]:>10g}{ratio:>8.2f}{' MISSED' * (ratio > 1)}"
            for name, ratio in self.ratios.items()
        ]
        return "\n".join([*rows, *(f"{name}: skipped, {why}" for name, why in self.skipped.items())])


def machine(load_before: Sequence[float]) -> dict[str, object]:
    """What ran it, and how busy it was with other work before and after."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "load_before": [rounded(load) for load in load_before],
        "load_after": [rounded(load) for load in os.getloadavg()],
    }


def percentile(samples: Sequence[float], share: int) -> float:
    """The least sample that ``share`` of 100 samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def rounded(value: float) -> float:
    """Four significant digits: more would claim what was not measured."""
    return float(f"{value:.4g}")


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in path.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
