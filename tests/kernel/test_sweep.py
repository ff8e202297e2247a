"""Many sets at once: the same bits for any number of workers, each set what it is alone, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finagent.backtest import sweeping
from finagent.backtest.errors import BacktestError, CheckFailedError
from finagent.backtest.kernel.parts import play_part
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, run_backtest
from finagent.backtest.sweeping import Swept, sweep
from finagent.domain.gap import GapStyle
from finagent.domain.planning_rules import PlanningRules
from tests.conformance.trading import DAY, FREE, lines
from tests.kernel.dying import DEAD, dying_always, dying_once
from tests.kernel.test_engine import LATER, three_days


def some_sets() -> list[Parameters]:
    """Limits, stops, a style that has candidates of its own, another universe, gaps below the index's floor."""
    return [
        FREE,
        replace(FREE, gap=replace(FREE.gap, min_gap_e6=60_000)),
        replace(FREE, planning=replace(FREE.planning, stop_e6=5_000)),
        replace(FREE, gap=replace(FREE.gap, style=GapStyle.FADE), profile=replace(FREE.profile, allow_shorts=True)),
        replace(FREE, gap=replace(FREE.gap, exclude=("AAA",))),
        replace(FREE, gap=replace(FREE.gap, min_gap_e6=10_000), top=1),
        replace(FREE, start_equity_e8=FREE.start_equity_e8 // 3),
    ]  # fmt: skip


def swept(root: Path, sets: Sequence[Parameters], *, workers: int = 1, check: int = 0) -> Swept:
    """The three days under the sets."""
    dataset = three_days().dataset(root)
    return sweep(dataset, sets, lines, dataset.between(DAY, LATER), workers=workers, check=check)


def test_each_set_is_what_the_reference_makes_of_it(tmp_path: Path) -> None:
    """Session by session, and some of them checked by the sweep itself."""
    sets = some_sets()
    found = swept(tmp_path, sets, check=3)
    dataset = three_days().dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    for number, rules in enumerate(sets):
        trades = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY).ledger.trades
        gained = [sum(t.pnl_e8 for t in trades if t.session == each.date) for each in sessions]
        assert found.gains_e8[number].tolist() == gained
        assert (found.trades[number], found.wins[number]) == (len(trades), sum(t.pnl_e8 > 0 for t in trades))
    assert found.trades.max() == 3 > found.trades.min()
    assert not [path for path in dataset.path.iterdir() if path.name.startswith(".sweep")]


def test_one_two_and_more_workers_give_the_same_bits(tmp_path: Path) -> None:
    """Processes of their own that open the tables by path."""
    hashes = {workers: swept(tmp_path, some_sets()[:3], workers=workers).sweep_hash for workers in (1, 2, 3)}
    assert len(set(hashes.values())) == 1, hashes


def test_a_killed_worker_costs_one_more_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as without the kill; one that is killed again is told, and nothing is left behind."""
    sets = some_sets()[:2]
    whole = swept(tmp_path, sets).sweep_hash
    monkeypatch.setattr(sweeping, "play_part", dying_once)
    assert swept(tmp_path, sets, workers=2).sweep_hash == whole
    dataset = three_days().dataset(tmp_path)
    assert (dataset.path / DEAD).exists()
    monkeypatch.setattr(sweeping, "play_part", dying_always)
    with pytest.raises(BacktestError, match="a worker died twice over sets 0 to 0"):
        swept(tmp_path, sets, workers=2)
    assert not [path for path in dataset.path.iterdir() if path.name.startswith(".sweep")]


def test_the_check_refuses_a_sweep_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in one session of one set."""

    def wrong(folder: str, first: int, last: int) -> None:
        play_part(folder, first, last)
        table = np.load(Path(folder) / "gains.npy", mmap_mode="r+")
        table[0, 1] += 1
        table.flush()

    monkeypatch.setattr(sweeping, "play_part", wrong)
    with pytest.raises(CheckFailedError, match="set 0, session 2018-02-07: gain is"):
        swept(tmp_path, [FREE], check=1)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ([], "needs a set and a session"),
        ([FREE, replace(FREE, planning=PlanningRules(preset="structure"))], "set 1: planning.preset"),
    ],
)
def test_what_cannot_be_swept_is_refused(tmp_path: Path, sets: list[Parameters], words: str) -> None:
    """By name, with the mend."""
    with pytest.raises(BacktestError, match=words) as refused:
        swept(tmp_path, sets)
    assert refused.value.hint


def test_more_than_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed."""
    monkeypatch.setattr(sweeping, "MOST_BYTES", 23)
    with pytest.raises(BacktestError, match="1 sets over 3 sessions"):
        swept(tmp_path, [FREE])


def test_a_price_beyond_the_integers_is_refused_with_its_symbol(tmp_path: Path) -> None:
    """Three million dollars a share."""
    stored = three_days()
    stored.quiet_days("BBB", 2_900_000, before=LATER)
    stored.daily_bar(LATER, "BBB", 3_100_000, 3_100_000, 3_100_000, 3_100_000, 1_000)
    dataset = stored.dataset(tmp_path)
    with pytest.raises(BacktestError, match="BBB: a price or volume"):
        sweep(dataset, [FREE], lines, dataset.between(DAY, LATER))
