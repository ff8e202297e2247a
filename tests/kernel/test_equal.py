"""The kernel is the reference bit for bit: fills, sizes, limits, order of trades, whatever the market."""

import contextlib
from collections.abc import Callable, Mapping

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

from finagent.backtest.dataset import Dataset
from finagent.backtest.kernel import engine
from finagent.backtest.running import Bars, Engine, trades_hash
from tests.kernel.minute_world import minute_cases
from tests.kernel.mutants import AMOUNT_MUTANTS, DAILY_MUTANTS, MINUTE_MUTANTS, Mutant
from tests.kernel.planted import planted
from tests.kernel.world import PATIENT, Case, cases, dataset_of, first_difference, run, tables, tight

Asking = Callable[[Case, Dataset], list[object]]
Both = tuple[Callable[..., None], Callable[..., None]]
EXAMPLES = 12
SEED = 20180206
MOST_EXAMPLES = 150
"""So many examples at most until every planted bug is seen."""
LARGE_EXAMPLES = pytest.mark.filterwarnings("ignore:Generating overly large repr")
"""The last example, by which all were seen, is never made smaller."""


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


@settings(PATIENT, max_examples=3)
@given(cases().map(tight))
def test_kernel_is_the_reference_where_amounts_bind(case: Case) -> None:
    """A limit in money that no account changes, and then the account after all."""
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            results = [run(case, dataset, number, each) for each in (Engine.KERNEL, Engine.REFERENCE)]
            assert first_difference(*results) is None


@settings(PATIENT, max_examples=EXAMPLES)
@given(minute_cases())
def test_kernel_is_the_reference_on_minutes(case: Case) -> None:
    """The same where days on minutes and on daily bars alternate; only what a halt holds open is not its own."""
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            reference = run(case, dataset, number, Engine.REFERENCE, Bars.AUTO)
            result = run(case, dataset, number, Engine.KERNEL, Bars.AUTO, check=1)
            assert len(result.ledger.tallies) == len(result.sessions) or case.stored.halted
            assert first_difference(result, reference) is None
            assert trades_hash(result.ledger) == trades_hash(reference.ledger)


@LARGE_EXAMPLES
def test_property_sees_every_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bug makes some example differ; the same examples from the same seed every time."""
    assert not unseen(DAILY_MUTANTS, cases(), alone(Bars.DAILY), monkeypatch)
    assert not unseen(AMOUNT_MUTANTS, cases().map(tight), alone(Bars.DAILY), monkeypatch)


@pytest.mark.full
@LARGE_EXAMPLES
def test_property_sees_every_planted_bug_on_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what only sessions with minutes have."""
    assert not unseen(MINUTE_MUTANTS, minute_cases(), alone(Bars.AUTO), monkeypatch)


def alone(bars: Bars) -> Asking:
    """Each set of a case by itself, with all that the kernel keeps of it."""

    def asking(case: Case, dataset: Dataset) -> list[object]:
        found = (
            engine.play_one(*tables(case, dataset, number, bars), is_compiled=False)
            for number in range(len(case.asked))
        )
        return [
            table.tolist() for each in found for table in (each.states, each.tallies, each.kept, each.fills)
        ]

    return asking


def unseen(
    mutants: Mapping[str, Mutant],
    market: SearchStrategy[Case],
    asking: Asking,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """The bugs that no example shows."""
    alive = {name: planted(mutant) for name, mutant in mutants.items()}
    right = planted(None)

    def played(both: Both, case: Case, dataset: Dataset) -> list[object]:
        monkeypatch.setattr(engine, "play", both[0])
        monkeypatch.setattr(engine, "play_minutes", both[1])
        return asking(case, dataset)

    class AllSeenError(Exception):
        """Nothing is left to find."""

    @hypothesis.seed(SEED)
    @settings(PATIENT, max_examples=MOST_EXAMPLES, phases=[hypothesis.Phase.generate])
    @given(market)
    def look(case: Case) -> None:
        with dataset_of(case) as dataset:
            good = played(right, case, dataset)
            for name, both in list(alive.items()):
                if played(both, case, dataset) != good:
                    del alive[name]
        if not alive:
            raise AllSeenError

    with contextlib.suppress(AllSeenError):
        look()
    return list(alive)
