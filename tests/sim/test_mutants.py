"""The judge sees planted bugs: a check that no bug can fail proves nothing."""

import pytest

from tests.sim.garden import seeing
from tests.sim.mutants import MUTANTS

SEEDS = 200


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_seen(name: str) -> None:
    """By an invariant that is meant for it; where its own seed no longer tells that story, within 200 seeds."""
    mutant = MUTANTS[name]
    others = (seed for seed in range(SEEDS) if seed != mutant.first_seed)
    seed = next(seeing(mutant, (mutant.first_seed, *others)), None)
    print(f"{name} ({mutant.bug}): seen at seed {seed}")
    assert seed is not None


@pytest.mark.full
@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_seen_in_so_many_of_two_hundred_seeds(name: str) -> None:
    """Prints the first and how many."""
    seen = list(seeing(MUTANTS[name], range(SEEDS)))
    print(f"{name} ({MUTANTS[name].bug}): first seen at seed {seen[:1]}, in {len(seen)} of {SEEDS} seeds")
    assert seen
