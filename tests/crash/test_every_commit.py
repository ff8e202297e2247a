"""A run taken up from what was on disk after a commit, commit by commit: each ends as the whole run does."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from finagent.adapters.sqlite import queue
from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.requests import BatchOrder, BatchResult, Stage
from finagent.bootstrap import runs
from finagent.bootstrap.world import load_world
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import load_settings
from tests.crash.conftest import MADE_UP
from tests.crash.evidence import Evidence, differences, read_evidence
from tests.crash.killer import Finished
from tests.crash.replay_child import plan_of

STRIDE = 5


class CopyingRunner(BatchRunner):
    """The real runner; it copies the committed database around finished jobs, and every fifth time."""

    folder: ClassVar[Path]
    eventful: ClassVar[set[int]]
    commits: ClassVar[int]
    last: ClassVar[bytes]

    def run(self, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        result = super().run(connection, order)
        if result.committed:
            self._copy(connection.serialize(), any(r.stage is Stage.FINISH for r in order.requests))
        return result

    def _copy(self, image: bytes, finishes: bool) -> None:
        CopyingRunner.commits += 1
        if finishes:
            self.eventful.update((self.commits - 1, self.commits))
            (self.folder / str(self.commits - 1)).write_bytes(self.last)
        if finishes or self.commits % STRIDE == 0:
            (self.folder / str(self.commits)).write_bytes(image)
        CopyingRunner.last = image


@dataclass(frozen=True, slots=True)
class Commits:
    """Copies of a run's file by number of commit; ``eventful`` are those that finish a job and those just before."""

    folder: Path
    eventful: list[int]

    def all(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.iterdir())


def play(home: Path, taken_up: Path | None = None) -> Evidence:
    """Replay in a home, from a copied file if one is given; nothing in memory is shared between two runs."""
    settings = load_settings()
    world = load_world(settings, home, vendor=MADE_UP.vendor)
    plan = plan_of(settings, world, home, MADE_UP.first, MADE_UP.last)
    if taken_up is not None:
        shutil.copy(taken_up, plan.path)
    asyncio.run(runs.play(settings, world, plan, ImmediatePacer()))
    return read_evidence(plan.path)


def new_home(folder: Path, warm_home: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "cache").symlink_to(warm_home / "cache")
    return folder


@pytest.fixture(scope="module")
def commits(warm_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Commits:
    """A run that left copies of its file as commits made it."""
    folder = tmp_path_factory.mktemp("commits")
    CopyingRunner.folder, CopyingRunner.eventful = folder, set()
    CopyingRunner.commits, CopyingRunner.last = 0, b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "BatchRunner", CopyingRunner)
        play(new_home(tmp_path_factory.mktemp("copied") / "home", warm_home))
    return Commits(folder, sorted(CopyingRunner.eventful))


def check(numbers: list[int], commits: Commits, unkilled: Finished, homes: Path, warm_home: Path) -> None:
    for number in numbers:
        home = new_home(homes / str(number), warm_home)
        found = differences(play(home, commits.folder / str(number)), unkilled.evidence)
        assert found == [], f"taken up after commit {number}"
        shutil.rmtree(home)


def test_run_taken_up_after_a_few_commits_ends_as_the_whole_one(
    commits: Commits, unkilled: Finished, warm_home: Path, tmp_path: Path, chance: random.Random
) -> None:
    """Four of the commits around finished jobs, by the printed seed."""
    check(chance.sample(commits.eventful, 4), commits, unkilled, tmp_path, warm_home)


@pytest.mark.full
def test_run_taken_up_after_every_eventful_commit_ends_as_the_whole_one(
    commits: Commits,
    unkilled: Finished,
    warm_home: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """All commits around finished jobs, and every fifth of the quiet ones."""
    numbers = commits.all()
    assert len(numbers) > len(commits.eventful)
    check(numbers, commits, unkilled, tmp_path, warm_home)
    record_property("crash.commits taken up", len(numbers))
