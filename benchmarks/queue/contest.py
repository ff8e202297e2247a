"""The contestants of a run, each started as a process of its own; peers in locked environments."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import PEERS, ROOT, environment
from benchmarks.queue.workload import TEXT, Sample

TIMEOUT_S = 600.0


class ContestantError(Exception):
    """A contestant did not finish its jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """`what` is a measurement of `child.py`, or the folder of a peer."""

    name: str
    what: str
    base: Path
    jobs: int
    in_flight: int = 64
    is_peer: bool = False

    def run(self) -> Sample:
        """One measurement in a new folder; raises ContestantError."""
        with scratch(self.base) as folder:
            if self.is_peer:
                script = str(PEERS / self.what / "run.py")
                command = [str(environment(self.what)), script, str(folder), str(self.jobs), TEXT]
            else:
                numbers = [str(self.jobs), str(self.in_flight)]
                command = [sys.executable, "-m", "benchmarks.queue.child", self.what, str(folder), *numbers]
            return parsed(self.name, command)


def parsed(name: str, command: list[str]) -> Sample:
    """Run a command whose last line of output is a sample."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise ContestantError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Sample(found["per_s"], found["ms"])


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="queue-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
