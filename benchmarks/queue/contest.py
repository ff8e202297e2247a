"""The contestants of a run, each started as a process of its own; peers in locked environments."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.queue.workload import TEXT, Sample

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"
CACHE = Path(os.environ.get("FINAGENT_BENCH_CACHE", ROOT / ".cache" / "benchmarks"))
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


def environment(peer: str) -> Path:
    """The Python of a peer's locked environment; made once per lock file, outside git."""
    lock = PEERS / peer / "requirements.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{peer}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = ["-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)]
        subprocess.run([str(python), *install], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return python


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="queue-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
