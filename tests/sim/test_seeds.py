"""No promise is broken in the simulated world, seed by seed."""

import os
from datetime import date

import pytest

from finagent.simulation.faults import KINDS
from finagent.simulation.seeds import SeedsReport, run_seeds

WORKERS = 2
IN_CI = int(os.environ.get("FINAGENT_SIM_SEEDS", "200"))
"""Fewer for a quick look while working."""
NEW_IN_FULL = 100
ENOUGH = 200
"""Seeds in which every kind of fault comes to strike."""
ONCE_BROKEN = (
    203, 221, 259, 270, 276, 313, 345, 449, 488, 532, 549, 675, 978, 1308, 1809, 1893, 2198, 2203, 2291, 2306, 2428,
    2582, 3143, 3647, 3670, 3901, 3906, 3942, 4063, 5798, 5876, 6299,
)  # fmt: skip
"""Seeds beyond the first that showed something; regressions/README.md tells what."""


def test_no_promise_is_broken_in_the_first_seeds_and_some_new_ones() -> None:
    """The same two hundred each time, and twenty that change with the day and are printed."""
    report = run_seeds([*range(IN_CI), *ONCE_BROKEN, *_rotating(IN_CI // 10)], workers=WORKERS)
    assert not report.violations, _told(report)
    assert report.crashes
    assert report.seeds == IN_CI + len(ONCE_BROKEN) + IN_CI // 10
    if IN_CI >= ENOUGH:
        assert set(KINDS) <= report.faults_fired.keys(), "a kind of fault that never strikes proves nothing"


@pytest.mark.full
def test_no_promise_is_broken_in_a_thousand_seeds_and_a_rotating_range() -> None:
    """0..999, then a hundred that change with the day and are printed."""
    report = run_seeds([*range(1_000), *_rotating(NEW_IN_FULL)], workers=WORKERS)
    assert not report.violations, _told(report)


def _rotating(count: int) -> range:
    start = 1_000 + date.today().toordinal() % 10_000 * NEW_IN_FULL
    print(f"rotating range: finagent sim --seeds {start}..{start + count - 1}")
    return range(start, start + count)


def _told(report: SeedsReport) -> str:
    """Each broken promise with the command that shows it again."""
    return "\n".join(
        f"{each.invariant}: {each.detail} (finagent sim --seed {each.seed})" for each in report.violations
    )
