"""Every failpoint x every job type of the real agent, on the queue alone: killed there, it ends as if never killed."""

import random
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.proof.points import POINTS, Chain, Death, NeverReachedError
from tests.proof.queue.nursery import Nursery
from tests.proof.queue.steps import FIRST, KINDS, Row, outcome
from tests.proof.queue.witness import read_witness

KILLED, ENDED = "-9", "0"
CI_KINDS = 6


class Steps:
    """Homes in a folder, each with the queue of one chain of deaths."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._homes = (folder / f"home-{number}" for number in count())
        whole = self.start(self.new_home(), "")
        assert whole is not None
        self._whole = whole

    def new_home(self) -> Path:
        home = next(self._homes)
        home.mkdir()
        return home

    def start(self, home: Path, failpoint: str) -> list[Row] | None:
        """One process; None when it was killed, else the outcome."""
        path, witness = home / "jobs.db", home / "witness"
        self._nursery.order("steps", path=path, witness=witness, failpoint=failpoint)
        self._nursery.hear("pid")
        _, code = self._nursery.hear("ended")
        assert code in (KILLED, ENDED), f"exit {code} at {failpoint!r}: {self._nursery.errors()[-3000:]}"
        if code == ENDED:
            return outcome(path)
        if path.exists() and (seen := read_witness(witness)):
            stored = {f"{row[0]}:{row[1]}" for row in outcome(path)}
            assert set(seen["published"]) <= stored, f"an acknowledged job is lost at {failpoint}"
        return None

    def check(self, found: list[Row], deaths: Sequence[Death]) -> None:
        """The same jobs, parents, failures and facts as without a kill, each fact once."""
        told = ", ".join(str(death) for death in deaths)
        assert len(found) == 2 * FIRST * len(KINDS)
        assert {(row[4], row[8]) for row in found} == {("done", "x")}, f"killed at {told}"
        assert found == self._whole, f"killed at {told}"


def test_queue_killed_at_every_point_about_every_job_type_ends_as_if_never_killed(
    tmp_path: Path, is_full: bool, chance: random.Random, record_property: Callable[[str, object], None]
) -> None:
    """Six types by the printed seed in CI, all of them in full; the points in any order."""
    kinds = sorted(KINDS) if is_full else chance.sample(sorted(KINDS), CI_KINDS)
    struck: list[Death] = []
    with Nursery(tmp_path) as nursery:
        steps = Steps(nursery, tmp_path)
        chain = Chain(steps.new_home, steps.start, steps.check)
        for kind in kinds:
            points = chance.sample(POINTS, len(POINTS))
            struck += chain.survive([Death(point, kind, chance.randint(1, 2 * FIRST)) for point in points])
    assert len({(death.point, death.kind) for death in struck}) == len(POINTS) * len(kinds)
    print(f"{len(struck)} kills: {', '.join(str(death) for death in struck)}")
    record_property("proof.points x types survived", len(struck))


def test_point_that_is_never_reached_is_an_error(tmp_path: Path) -> None:
    """Else a point that was renamed would count as survived."""
    with Nursery(tmp_path) as nursery:
        steps = Steps(nursery, tmp_path)
        with pytest.raises(NeverReachedError, match=r"writer\.gone\[scan\]@1"):
            Chain(steps.new_home, steps.start, steps.check).survive([Death("writer.gone", "scan", 3)])
