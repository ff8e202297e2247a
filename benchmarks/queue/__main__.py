"""`python -m benchmarks.queue`: all contestants in turn, several rounds; the last line is one JSON document.

A ratio is ours over theirs in jobs per second, taken within one round; the median of the rounds is told. The
table says which are below their target. `--quick` is one short round that only proves the run itself works.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.environments import CACHE, environment
from benchmarks.figures import machine, rounded
from benchmarks.queue.contest import Contestant
from benchmarks.queue.workload import Sample

Round = Mapping[str, Sample]
TMPFS = Path("/dev/shm")
RATIOS: Mapping[str, tuple[str, str, float]] = {
    "cycle_disk_vs_huey": ("cycle_disk", "huey_disk", 10.0),
    "cycle_disk_vs_persist_queue": ("cycle_disk", "persist_queue_disk", 10.0),
    "cycle_disk_vs_dbos": ("cycle_disk", "dbos_disk", 30.0),
    "cycle_tmpfs_vs_huey": ("cycle_tmpfs", "huey_tmpfs", 4.0),
    "cycle_tmpfs_vs_raw_limit": ("cycle_tmpfs", "raw_tmpfs", 0.35),
    "batch_tmpfs_vs_raw_limit": ("bulk_tmpfs", "raw_tmpfs", 0.60),
    "solo_vs_huey": ("solo_disk", "huey_disk", 1.2),
    "grouped_vs_ungrouped": ("grouped_disk", "ungrouped_disk", 10.0),
}
"""Ratio -> ours, theirs, the least that was promised."""


def contestants(disk: Path, tmpfs: Path, scale: float) -> list[Contestant]:
    """In the order of a round."""

    def count(jobs: int) -> int:
        return max(64, round(jobs * scale))

    return [
        Contestant(name="cycle_disk", what="cycle", base=disk, jobs=count(20_000)),
        Contestant(name="huey_disk", what="huey", base=disk, jobs=count(2_000), is_peer=True),
        Contestant(
            name="persist_queue_disk", what="persist-queue", base=disk, jobs=count(2_000), is_peer=True
        ),
        Contestant(name="dbos_disk", what="dbos", base=disk, jobs=count(300), is_peer=True),
        Contestant(name="solo_disk", what="cycle", base=disk, jobs=count(2_000), in_flight=1),
        Contestant(name="latency_1_disk", what="latency", base=disk, jobs=count(2_000), in_flight=1),
        Contestant(name="latency_64_disk", what="latency", base=disk, jobs=count(20_000)),
        Contestant(name="grouped_disk", what="grouped", base=disk, jobs=count(20_000)),
        Contestant(name="ungrouped_disk", what="ungrouped", base=disk, jobs=count(2_000)),
        Contestant(name="history_disk", what="history", base=disk, jobs=count(20_000)),
        Contestant(name="reclaim_disk", what="reclaim", base=disk, jobs=10_000),
        Contestant(name="cycle_tmpfs", what="cycle", base=tmpfs, jobs=count(20_000)),
        Contestant(name="raw_tmpfs", what="raw", base=tmpfs, jobs=count(40_000)),
        Contestant(name="bulk_tmpfs", what="bulk", base=tmpfs, jobs=count(20_000)),
        Contestant(name="huey_tmpfs", what="huey", base=tmpfs, jobs=count(4_000), is_peer=True),
    ]


def ratios(rounds: list[Round]) -> dict[str, float]:
    """Each ratio within its round, then the median of the rounds."""
    return {
        name: rounded(statistics.median(one[ours].per_s / one[theirs].per_s for one in rounds))
        for name, (ours, theirs, _) in RATIOS.items()
    }


def absolute(rounds: list[Round]) -> dict[str, float]:
    """Medians of jobs per second, and of the milliseconds a contestant told."""
    found: dict[str, float] = {}
    for name, first in rounds[0].items():
        found[f"{name}_per_s"] = rounded(statistics.median(one[name].per_s for one in rounds))
        for label in first.ms:
            key = f"{name}_{label}" if label == "jobs_per_commit" else f"{name}_{label}_ms"
            found[key] = rounded(statistics.median(one[name].ms[label] for one in rounds))
    pairs = [(one["history_disk"].per_s, one["cycle_disk"].per_s) for one in rounds]
    found["history_500k_vs_empty"] = rounded(statistics.median(old / empty for old, empty in pairs))
    return found


def table(measured: Mapping[str, float]) -> str:
    """The ratios for a person."""
    rows = [f"{'ratio':<30}{'measured':>10}{'target':>9}"]
    for name, value in measured.items():
        target = RATIOS[name][2]
        rows.append(f"{name:<30}{value:>10g}{target:>9g}{' MISSED' * (value < target)}")
    return "\n".join(rows)


def main() -> None:
    """Measure, print the table, then the document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant runs (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short round; its figures mean little")
    parser.add_argument("--disk", type=Path, default=CACHE / "disk", help="a folder on a real disk")
    parser.add_argument("--tmpfs", type=Path, default=TMPFS, help="a folder in memory (default /dev/shm)")
    chosen = parser.parse_args()
    count, scale = (1, 0.05) if chosen.quick else (chosen.rounds, 1.0)
    for peer in ("huey", "persist-queue", "dbos"):
        environment(peer)
    before = os.getloadavg()
    rounds: list[Round] = []
    for number in range(1, count + 1):
        found: dict[str, Sample] = {}
        for contestant in contestants(chosen.disk, chosen.tmpfs, scale):
            found[contestant.name] = contestant.run()
            shown = f"{found[contestant.name].per_s:,.0f}/s"
            print(f"round {number} of {count}: {contestant.name} {shown}", file=sys.stderr, flush=True)
        rounds.append(found)
    measured = ratios(rounds)
    print(table(measured))
    document = {"ratios": measured, "absolute": absolute(rounds), "rounds": count, "machine": machine(before)}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
