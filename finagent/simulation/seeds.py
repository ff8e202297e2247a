"""Many seeds: one after the other, or one process a core; and what they showed together."""

import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

from finagent.context import Json
from finagent.simulation.fleet import Fleet
from finagent.simulation.silence import quiet
from finagent.simulation.world import SeedResult, SimulatedWorld, Violation

Told = Callable[[SeedResult, int, int], None]


@dataclass(slots=True)
class SeedsReport:
    """What seeds showed together."""

    asked: int = 0
    done: list[int] = field(default_factory=list)
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
        self.done.append(result.seed)
        self.violations += result.violations
        self.faults_fired.update(result.faults)
        self.crashes += result.crashes
        self.lives += result.lives
        self.steps += result.steps
        self.commits += result.commits
        self.virtual_hours += result.virtual_ms / 3_600_000

    @property
    def seeds(self) -> int:
        """How many were run."""
        return len(self.done)

    @property
    def is_partial(self) -> bool:
        """Whether it was stopped before all that were asked for."""
        return self.seeds < self.asked

    @property
    def seeds_per_s(self) -> float:
        """Seeds a second of real time."""
        return self.seeds / self.seconds if self.seconds else 0.0


def run_seed(seed: int, *, keep_trace: bool = False) -> SeedResult:
    """One seed in this process; its world is nothing but cycles, and thousands of worlds fill a memory."""
    with quiet() as keeper:
        result = SimulatedWorld(seed, keeper=keeper, keep_trace=keep_trace).run()
    gc.collect()
    return result


def run_seeds(
    seeds: Sequence[int],
    *,
    workers: int,
    told: Told | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> SeedsReport:
    """Run seeds and tell each as it ends; once ``is_stopped``, what is done so far is the report."""
    report = SeedsReport(asked=len(seeds))
    began = time.perf_counter()
    results = (
        _here(seeds, is_stopped)
        if workers <= 1 or len(seeds) < 2
        else Fleet(_play, _unplayed).results(seeds, workers=min(workers, len(seeds)), is_stopped=is_stopped)
    )
    with contextlib.closing(results):
        for result in results:
            report.add(result)
            if told is not None:
                told(result, report.seeds, len(seeds))
    report.seconds = time.perf_counter() - began
    report.violations.sort(key=lambda each: (each.seed, each.step))
    return report


def default_workers() -> int:
    """One process a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(seeds: Sequence[int], is_stopped: Callable[[], bool]) -> Generator[SeedResult, None, None]:
    for seed in seeds:
        if is_stopped():
            return
        yield _play(seed)


def _play(seed: int) -> SeedResult:
    """One seed of many: what cannot be played to its end is no proof, and stops no other."""
    try:
        return run_seed(seed)
    except Exception as error:
        return _unplayed(seed, f"{type(error).__name__}: {error}")


def _unplayed(seed: int, reason: str) -> SeedResult:
    return SeedResult(seed=seed, violations=[Violation(seed=seed, invariant="played", step=0, detail=reason)])


def ranges(numbers: Iterable[int]) -> list[str]:
    """Numbers in order as ranges: ``0..3``, ``7..7``."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return [f"{first}..{last}" for first, last in found]


def shape(report: SeedsReport) -> dict[str, Json]:
    """The document of ``finagent sim --json``."""
    return {
        "seeds": report.seeds,
        "asked": report.asked,
        "partial": report.is_partial,
        "seeds_done": [*ranges(report.done)],
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
