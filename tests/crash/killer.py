"""Starts a replay, kills it with SIGKILL at an instant or at a counted step, and starts it again until it ends."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.evidence import Evidence, read_evidence
from tests.crash.mutants import AFTER_FINISH
from tests.crash.replay_child import READY, Errand

ROOT = Path(__file__).resolve().parents[2]
SEED_VARIABLE = "FINAGENT_CRASH_SEED"
COMMIT_POINTS = ("writer.after_begin", "writer.before_commit", "writer.after_commit", "writer.before_deliver")
TICK_POINTS = ("tick.in_commit", "tick.committed")
JOB_POINTS = ("processor.after_effect", "processor.before_done", AFTER_FINISH)
KILLED = -signal.SIGKILL
LIMIT_S = 180.0


class BrokenRunError(Exception):
    """The replay ended with an error, or did not end at all."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One death: so many seconds after the first step or the start of the process, or at a counted failpoint."""

    after_s: float | None = None
    is_from_start: bool = False
    failpoint: str = ""

    def __str__(self) -> str:
        if self.after_s is None:
            return self.failpoint
        return f"{self.after_s:.2f} s after the {'start' if self.is_from_start else 'first step'}"


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that came to its end."""

    evidence: Evidence
    commits: int
    jobs: int
    played_s: float
    elapsed_s: float

    @property
    def ready_s(self) -> float:
        """From the start of the process to the first step."""
        return self.elapsed_s - self.played_s


@dataclass(slots=True)
class Killer:
    """Replays an errand in homes of its own below a folder; hash seeds vary from start to start."""

    errand: Errand
    folder: Path
    chance: random.Random
    shared: Path | None = None
    kills: list[str] = field(default_factory=list)
    _homes: int = 0

    def home(self) -> Path:
        """A new home that shares the bars and the calendar of another one."""
        self._homes += 1
        path = self.folder / f"home-{self._homes}"
        path.mkdir(parents=True)
        for name in ("bars", "cache"):
            if self.shared is not None and (self.shared / name).exists():
                (path / name).symlink_to(self.shared / name)
        return path

    def unkilled(self) -> Finished:
        """The run as it is when nobody kills it."""
        finished = self.start(self.home(), Kill())
        assert finished is not None
        return finished

    def finish(self, home: Path, kills: Iterator[Kill]) -> Finished:
        """Start the run of a home again and again, killed each time while kills are left, until it ends."""
        while (finished := self.start(home, next(kills, Kill()))) is None:
            pass
        return finished

    def start(self, home: Path, kill: Kill) -> Finished | None:
        """One start; None when it was killed, BrokenRunError when it ended badly or never."""
        began_s = time.perf_counter()
        process = self._spawn(home, kill)
        output = ""
        if not kill.is_from_start:
            assert process.stdout is not None
            process.stdout.readline()  # READY, or nothing from a child that ended before
        try:
            output, errors = process.communicate(timeout=LIMIT_S if kill.after_s is None else kill.after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
            if kill.after_s is None:
                raise BrokenRunError(f"no end after {LIMIT_S:.0f} s: {errors[-2000:]}") from None
        elapsed_s = time.perf_counter() - began_s
        if process.returncode == KILLED:
            self.kills.append(str(kill))
            return None
        if process.returncode != 0:
            raise BrokenRunError(f"exit {process.returncode} with kill {kill}: {errors[-2000:]}")
        told = json.loads(output.removeprefix(READY))
        (path,) = (home / "runs").glob("*/finagent.db")
        return Finished(read_evidence(path), told["commits"], told["jobs"], told["played_s"], elapsed_s)

    def _spawn(self, home: Path, kill: Kill) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": str(self.chance.randrange(1, 2**32)),
            "FINAGENT_FAILPOINTS": kill.failpoint,
        }
        errand = replace(self.errand, home=str(home))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.replay_child", errand.dumps()],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def rotating_seed() -> int:
    """A new seed for each run of the tests, or the one of the environment; printed, so that it can be repeated."""
    seed = int(os.environ.get(SEED_VARIABLE, "") or random.SystemRandom().randrange(10**9))
    print(f"{SEED_VARIABLE}={seed}")
    return seed


def random_instants(chance: random.Random, run: Finished, *, count: int) -> Iterator[Kill]:
    """Kills at random instants of the parts into which they cut a run, one in four at its start or in recovery."""
    for _ in range(count):
        if chance.random() < 0.25:
            yield Kill(after_s=chance.uniform(0.5, 1.1) * run.ready_s, is_from_start=True)
        else:
            yield Kill(after_s=chance.uniform(0, 2) * run.played_s / count)


def counted_steps(chance: random.Random, run: Finished, *, count: int) -> Iterator[Kill]:
    """Kills at the N-th pass of a random point, cutting a run in as many parts; one in three in recovery."""
    families = ((COMMIT_POINTS, run.commits), (TICK_POINTS, run.commits), (JOB_POINTS, run.jobs))
    for _ in range(count):
        points, passes = chance.choice(families)
        most = 3 if chance.random() < 1 / 3 else max(3, 2 * passes // count)
        yield Kill(failpoint=f"{chance.choice(points)}@{chance.randint(1, most)}=kill")


def after_jobs(chance: random.Random, run: Finished, *, count: int) -> Iterator[Kill]:
    """Kills right after a commit that finished a job, where whatever was left out of it is lost."""
    for _ in range(count):
        yield Kill(failpoint=f"{AFTER_FINISH}@{chance.randint(1, 2 * run.jobs // count)}=kill")
