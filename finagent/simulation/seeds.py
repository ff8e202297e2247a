"""Many seeds: one after the other, or one process a core; and what they showed together."""

import gc
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from finagent.context import Json
from finagent.simulation.silence import quiet
from finagent.simulation.world import SeedResult, SimulatedWorld, Violation

Told = Callable[[SeedResult, int, int], None]


@dataclass(slots=True)
class SeedsReport:
    """What seeds showed together."""

    seeds: int = 0
    violations: list[Violation] = field(default_factory=list)
    faults_fired: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    lives: int = 0
    steps: int = 0
    commits: int = 0
    virtual_hours: float = 0.0
    seconds: float = 0.0

    def add(self, result: SeedResult) -> None:
        """One seed more."""
        self.seeds += 1
        self.violations += result.violations
        self.faults_fired.update(result.faults)
        self.crashes += result.crashes
        self.lives += result.lives
        self.steps += result.steps
        self.commits += result.commits
        self.virtual_hours += result.virtual_ms / 3_600_000

    @property
    def seeds_per_s(self) -> float:
        """Seeds a second of real time."""
        return self.seeds / self.seconds if self.seconds else 0.0


def run_seed(seed: int, *, keep_trace: bool = False) -> SeedResult:
    """One seed in this process."""
    with quiet() as keeper:
        return SimulatedWorld(seed, keeper=keeper, keep_trace=keep_trace).run()


def run_seeds(
    seeds: Sequence[int], *, workers: int, told: Told | None = None, until_violation: bool = False
) -> SeedsReport:
    """Run seeds and tell each as it ends; ``until_violation`` stops at the first one that breaks a promise."""
    report = SeedsReport()
    began = time.perf_counter()
    results = _here(seeds) if workers <= 1 or len(seeds) < 2 else _apart(seeds, workers)
    try:
        for result in results:
            report.add(result)
            if told is not None:
                told(result, report.seeds, len(seeds))
            if until_violation and result.violations:
                break
    finally:
        results.close()
    report.seconds = time.perf_counter() - began
    report.violations.sort(key=lambda each: (each.seed, each.step))
    return report


def default_workers() -> int:
    """One process a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(seeds: Sequence[int]) -> Generator[SeedResult, None, None]:
    for seed in seeds:
        yield run_seed(seed)


def _apart(seeds: Sequence[int], workers: int) -> Generator[SeedResult, None, None]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(seeds)), initializer=_begin_worker) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=max(1, min(10, len(seeds) // workers // 4)))


def _begin_worker() -> None:
    """Ctrl-C is the parent's to handle; what is imported by now is no garbage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()


def shape(report: SeedsReport) -> dict[str, Json]:
    """The document of ``finagent sim --json``."""
    return {
        "seeds": report.seeds,
        "violations": [
            {"seed": each.seed, "invariant": each.invariant, "step": each.step, "detail": each.detail}
            for each in report.violations
        ],
        "faults_fired": dict(sorted(report.faults_fired.items())),
        "crashes": report.crashes,
        "virtual_hours": round(report.virtual_hours, 1),
        "seeds_per_s": round(report.seeds_per_s, 2),
        "lives": report.lives,
        "steps": report.steps,
        "commits": report.commits,
        "seconds": round(report.seconds, 2),
    }
