"""The contestants of a round, each a process of its own; peers in their locked environments."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import PEERS, ROOT, environment
from benchmarks.processes import Finished, finagent, python

TIMEOUT_S = 600.0
DATA_FILES = ("equities_daily.parquet", "corporate_actions.parquet", "equities_minute_2018.parquet")
Document = Mapping[str, Any]


class ContestantError(Exception):
    """A contestant did not finish its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer's measurement: its folder, the work it takes, the kind of that work, and how often it runs it."""

    name: str
    work: str
    kind: str = "daily"
    repeats: int = 1
    part: int | None = None
    """Only so many of the symbols, for an engine that would take too long over all."""

    def run(self, works: Path) -> Document:
        """Its document; raises ContestantError."""
        script = str(PEERS / self.name / "run.py")
        command = [str(environment(self.name)), script, str(works / self.work), self.kind, str(self.repeats)]
        command += [] if self.part is None else [str(self.part)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(PEERS)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ContestantError(f"{self.name} ended with {done.returncode}: {done.stderr[-2000:]}")
        found: Document = json.loads(done.stdout.strip().splitlines()[-1])
        return found


PEER_RUNS: Mapping[str, Peer] = {
    "vectorbt_daily": Peer(name="vectorbt", work="daily", repeats=3),
    "vectorbt_minutes": Peer(name="vectorbt", work="minutes", kind="minutes", repeats=3),
    "backtesting_quarter": Peer(name="backtesting", work="quarter"),
    "nautilus_quarter": Peer(name="nautilus", work="quarter"),
    "backtrader_quarter": Peer(name="backtrader", work="quarter", part=100),
}
AGREEING: Mapping[str, Peer] = {**PEER_RUNS, "backtesting_daily": Peer(name="backtesting", work="daily")}
"""Those of a round, and one that is too slow for it: compared, where it ran, but not timed."""
OURS = ("daily", "minutes", "quarter", "sweep", "alone")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run has its home and its works, and its size."""

    size: str
    folder: Path

    @property
    def home(self) -> Path:
        """The program's home."""
        return self.folder / "home"

    @property
    def works(self) -> Path:
        """The works' folder."""
        return self.folder / "works"

    def child(self, name: str) -> Finished:
        """A measurement of ours."""
        return python("benchmarks.backtest.child", name, self.size, str(self.home), str(self.works))

    def fill(self, data: Path | None) -> Document:
        """Import the data (None: made-up prices), build what is built once, write the works."""
        source = self.folder / "files"
        if data is None:
            from benchmarks.backtest.made_up import write_files

            write_files(source)
        else:
            source.mkdir(parents=True)
            for name in DATA_FILES:
                (source / name).symlink_to(data / name)
        imported = finagent("data", "import", str(source), "--json", home=self.home)
        return {"import_s": imported.seconds, **self.child("prepare").document}


def say(text: str) -> None:
    """Progress for a person."""
    print(text, file=sys.stderr, flush=True)
