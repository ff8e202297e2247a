"""The judge sees planted bugs: a check that no bug can fail proves nothing."""

import pytest

from tests.sim.mutants import MUTANTS, caught_at

SEEDS = range(40)


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_seen_within_few_seeds(name: str) -> None:
    """By an invariant that is meant for it, at the first seed that is printed."""
    seed = caught_at(MUTANTS[name], SEEDS)
    print(f"{name} ({MUTANTS[name].bug}): seen at seed {seed}")
    assert seed is not None
