"""No promise is broken in the simulated world, seed by seed."""

from datetime import date

import pytest

from finagent.simulation.seeds import run_seed, run_seeds

CHUNK = 10


@pytest.mark.parametrize("first", range(0, 40, CHUNK))
def test_no_promise_is_broken_in_the_first_seeds(first: int) -> None:
    """The real services against faults and crashes, the same seeds each time."""
    found = [each for seed in range(first, first + CHUNK) for each in run_seed(seed).violations]
    assert not found


@pytest.mark.full
def test_no_promise_is_broken_in_a_thousand_seeds_and_a_rotating_range() -> None:
    """0..999, then a hundred that change with the day and are printed."""
    start = 1_000 + date.today().toordinal() % 10_000 * 100
    print(f"rotating range {start}..{start + 99}")
    report = run_seeds([*range(1_000), *range(start, start + 100)], workers=2)
    assert not report.violations
