"""Sets that differ only in their gap or their account share sums of plans: each comes to what it comes to alone."""

import numpy as np
import pytest

from finagent.backtest.dataset import Dataset
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel import engine
from tests.kernel.mutants import SUM_MUTANTS
from tests.kernel.test_equal import LARGE_EXAMPLES, unseen
from tests.kernel.world import Case, cases, tables, tight

GAPS_E6 = (20_000, 39_900, 60_000)
ACCOUNTS = (100, 60, 45, 30, 15, 5)
"""Percent of a case's own."""


def together(case: Case, dataset: Dataset) -> list[object]:
    """All sets of a case, each with several gaps and accounts, at once: gains by day and counts."""
    found: list[object] = []
    for number in range(len(case.asked)):
        shared, chosen, equity_e8 = tables(case, dataset, number)
        sets = np.asarray([chosen] * len(GAPS_E6) * len(ACCOUNTS))
        sets[:, c.MIN_GAP] = np.repeat(GAPS_E6, len(ACCOUNTS))
        accounts = [equity_e8 * percent // 100 for percent in ACCOUNTS] * len(GAPS_E6)
        many = engine.play_many(shared, sets, accounts, is_compiled=False)
        found += [many.gains.tolist(), many.tallies.tolist(), many.states[:, : c.FILLS_KEPT].tolist()]
    return found


@LARGE_EXAMPLES
def test_sums_show_every_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes some example differ from what the kernel comes to as it is written."""
    assert not unseen(SUM_MUTANTS, cases().map(tight), together, monkeypatch)
