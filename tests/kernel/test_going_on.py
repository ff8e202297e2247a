"""A run that goes on where an earlier try stood: sessions of the kernel and of the reference, one after the other."""

import pickle
from pathlib import Path

import pytest

from finagent.backtest.errors import BacktestError
from finagent.backtest.going_on import Standing
from finagent.backtest.running import Bars, Engine, Result, run_backtest, trades_hash
from tests.conformance.made_up import MadeUp
from tests.conformance.trading import DAY, FREE, NEXT_DAY, lines
from tests.kernel.test_engine import LATER, three_days


class Killed(BaseException):
    """What a try dies of here."""


class Kept:
    """Every standing, as bytes: what another process would read."""

    def __init__(self) -> None:
        self.newest: dict[str, bytes] = {}
        self.sessions: list[int] = []

    def kept(self, name: str) -> Standing | None:
        return pickle.loads(self.newest[name]) if name in self.newest else None

    def keep(self, name: str, standing: Standing) -> None:
        self.newest[name] = pickle.dumps(standing)
        self.sessions.append(standing.sessions)


def quoted() -> MadeUp:
    """The three days; the second has minutes with a quote, so it is the reference's."""
    stored = three_days()
    stored.flat_minutes(NEXT_DAY, "AAA", 113, first="09:30", last="15:59")
    stored.quote(NEXT_DAY, "AAA", "09:30", "112.99", "113.01")
    return stored


def run(root: Path, keeper: Kept | None = None, *, dies_at: str = "") -> tuple[Result, list[str]]:
    """The three days by the kernel where it can, and which sessions were come to."""
    dataset, told = quoted().dataset(root), []

    def show(session: str, number: int, count: int) -> None:
        told.append(session)
        if session == dies_at:
            raise Killed

    sessions = dataset.between(DAY, LATER)
    found = run_backtest(
        dataset, FREE, lines, sessions, engine=Engine.KERNEL, check=2, version="1", told=show, keeper=keeper
    )
    return found, told


@pytest.mark.parametrize("dies_at", [NEXT_DAY, LATER])
def test_a_try_after_another_comes_to_what_one_would_have(tmp_path: Path, dies_at: str) -> None:
    """The same trades, account, counts and checked sessions, though the kernel played some of them before."""
    whole, _ = run(tmp_path)
    assert (len(whole.ledger.tallies), whole.checked) == (2, 2)
    keeper = Kept()
    with pytest.raises(Killed):
        run(tmp_path, keeper, dies_at=dies_at)
    found, told = run(tmp_path, keeper)
    assert told[0] == dies_at
    assert keeper.sessions == [1, 2]
    assert trades_hash(found.ledger) == trades_hash(whole.ledger)
    assert found.ledger.days == whole.ledger.days
    assert found.ledger.journal == whole.ledger.journal
    assert (found.checked, found.ledger.tallies) == (whole.checked, whole.ledger.tallies)


def test_a_kernel_that_met_too_large_a_product_is_not_asked_again(tmp_path: Path) -> None:
    """As in a run that nobody killed, the reference plays from there on."""
    keeper = Kept()
    whole, _ = run(tmp_path, keeper)
    (name,) = keeper.newest
    first = pickle.loads(keeper.newest[name])
    keeper.newest[name] = pickle.dumps(
        Standing(
            sessions=2,
            ledger=first.ledger,
            venue=first.venue,
            agenda=first.agenda,
            cells=first.cells,
            is_beyond=True,
        )
    )
    found, _ = run(tmp_path, keeper)
    assert list(found.ledger.tallies) == [DAY]
    assert trades_hash(found.ledger) == trades_hash(whole.ledger)


def test_a_range_within_the_store_that_has_no_bars_lacks_them_for_all_of_it(tmp_path: Path) -> None:
    """Every session is known, none has a minute."""
    dataset = three_days().dataset(tmp_path)
    with pytest.raises(BacktestError, match=r"there are no minute bars for it$"):
        run_backtest(dataset, FREE, lines, dataset.between(DAY, LATER), bars=Bars.MINUTE)
