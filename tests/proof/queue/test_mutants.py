"""Planted bugs: a fast selection of the proofs must fail on each; a check that no mutant can fail proves nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.proof.mutants import BATCHES, CONTRACT, CREDITS, LOCKED, MODEL, MUTANTS, PRAGMAS
from tests.proof.planted import EXIT_GONE
from tests.proof.queue.nursery import Nursery

SELECTION = (PRAGMAS, CREDITS, BATCHES, CONTRACT, LOCKED, MODEL)
CAUGHT, SOUND = 1, 0
LIMIT_S = 120.0


class Judges:
    """Runs tests with a bug planted, each time in a new process."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._told = folder / "told.txt"

    def __call__(self, mutant: str, tests: Sequence[str]) -> tuple[int, str]:
        """Pytest's exit code (1: a test failed) or EXIT_GONE, and what failed first."""
        self._nursery.order("judge", mutant=mutant, tests=" ".join(tests), told=self._told)
        self._nursery.hear("pid")
        code = int(self._nursery.hear("ended", limit_s=LIMIT_S)[1])
        told = self._told.read_text(errors="replace")
        if "MutantGoneError" in told:
            return EXIT_GONE, told[-2000:]
        failed = re.findall(r"^(?:FAILED|ERROR) tests/.*$", told, re.MULTILINE)
        return code, failed[0] if code == CAUGHT and failed else told[-2000:]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    folder = tmp_path_factory.mktemp("judge")
    with Nursery(folder, "tests.proof.judge") as nursery:
        yield Judges(nursery, folder)


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_planted_bug_is_caught(
    name: str, judge: Judges, record_property: Callable[[str, object], None]
) -> None:
    """The selection fails, by a test and not by a mutant that cannot even start; the likeliest test is asked first."""
    mutant = MUTANTS[name]
    code, sign = judge(name, [mutant.first])
    if code != CAUGHT:
        code, sign = judge(name, SELECTION)
    record_property("mutants.planted", 1)
    print(f"{name}: {mutant.bug}: {sign[:200]}")
    assert code != EXIT_GONE, f"the bug never acted, plant it anew: {mutant.bug}: {sign}"
    assert code == CAUGHT, f"not caught: {mutant.bug} (exit {code}): {sign}"
    assert sign.startswith("FAILED"), sign
    record_property("mutants.caught", 1)


@pytest.mark.full
def test_the_same_selection_passes_without_a_bug(judge: Judges) -> None:
    """The judge does not cry wolf, nor does the tap; in CI the selection itself runs in the same session."""
    code, sign = judge("none", SELECTION)
    assert code == SOUND, sign


def test_bug_that_has_lost_its_place_is_an_error(judge: Judges) -> None:
    """Else one that cannot be planted any more would count as one that cannot happen."""
    assert judge("gone", (PRAGMAS,))[0] == EXIT_GONE
