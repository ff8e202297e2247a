"""The kernel is the reference bit for bit: fills, sizes, limits, order of trades, whatever the market."""

import contextlib
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import given, settings

from finagent.backtest.kernel import engine
from finagent.backtest.running import Engine, trades_hash
from finagent.backtest.source import Ints
from tests.kernel.planted import MUTANTS, planted
from tests.kernel.world import PATIENT, Case, cases, dataset_of, first_difference, run, tables

EXAMPLES = 12
SEED = 20180206
MOST_EXAMPLES = 150
"""So many examples at most until every planted bug is seen."""


@settings(PATIENT, max_examples=EXAMPLES)
@given(cases())
def test_kernel_is_the_reference(case: Case) -> None:
    """Every fill, trade, count and session, and the hash over them; each session played again by itself, too."""
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            reference = run(case, dataset, number, Engine.REFERENCE)
            result = run(case, dataset, number, Engine.KERNEL)
            assert result.engine is Engine.KERNEL
            assert len(result.ledger.tallies) == len(result.sessions)
            assert first_difference(result, reference) is None
            assert trades_hash(result.ledger) == trades_hash(reference.ledger)


def test_property_sees_every_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bug makes some example differ; the same examples from the same seed every time."""
    alive = {name: planted(mutant) for name, mutant in MUTANTS.items()}
    right = planted(None)

    def played(play: Callable[..., None], given: tuple[Ints, Ints, list[int], int]) -> list[object]:
        monkeypatch.setattr(engine, "play", play)
        found = engine.play_one(*given, is_compiled=False)
        return [table.tolist() for table in (found.states, found.tallies, found.kept, found.fills)]

    class AllSeenError(Exception):
        """Nothing is left to find."""

    @hypothesis.seed(SEED)
    @settings(PATIENT, max_examples=MOST_EXAMPLES, phases=[hypothesis.Phase.generate])
    @given(cases())
    def look(case: Case) -> None:
        with dataset_of(case) as dataset:
            for number in range(len(case.asked)):
                given = tables(case, dataset, number)
                good = played(right, given)
                for name, play in list(alive.items()):
                    if played(play, given) != good:
                        del alive[name]
        if not alive:
            raise AllSeenError

    with contextlib.suppress(AllSeenError):
        look()
    assert not alive
