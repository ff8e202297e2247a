"""Worse worlds, reckoned by hand on one trade: 190 shares at 105, stop 103, target 111; the stored data stay."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import DatasetChangedError
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, Engine, run_backtest
from finagent.backtest.search.playing import as_played
from finagent.backtest.stress.altered import Place, with_gaps, with_halts, without_days, without_minutes
from finagent.backtest.stress.shocks import Base, Shocked, gains_of, rescaled, shocks
from finagent.domain.costs import CostRules
from finagent.domain.market import Session
from tests.conformance.made_up import MadeUp, ms
from tests.conformance.trading import DAY, FREE, lines, market, shown, until_close, with_bars
from tests.kernel.test_engine import LATER, three_days

E8 = 10**8


def stopped_on_minutes() -> MadeUp:
    """Falls through the stop within the bar of 09:40, and lies at 102 afterwards."""
    stored = with_bars(market(), ("09:40", 104, 104, 102, 102))
    stored.flat_minutes(DAY, "AAA", 104, first="09:32", last="09:39")
    return until_close(stored, 102, first="09:41")


def fills(dataset: Dataset, sessions: Sequence[Session]) -> list[tuple[str, int, str, str]]:
    return [shown(row) for row in run_backtest(dataset, FREE, lines, sessions).ledger.fills]


def test_a_stop_is_jumped_over_by_a_bar_that_opens_beyond_it(tmp_path: Path) -> None:
    """1 R of two dollars below 103: the fill is at the open, at 101, and a minute earlier in the bar."""
    dataset = stopped_on_minutes().dataset(tmp_path)
    sessions = dataset.between(DAY, DAY)
    ledger = run_backtest(dataset, FREE, lines, sessions).ledger
    assert [shown(row) for row in ledger.fills][1] == ("stop", 190, "103.00", "09:41")
    found = with_gaps(dataset, [(ledger.trades[0], DAY)], Place(tmp_path, "gaps"), risk_e6=1_000_000)
    assert fills(found, sessions)[1] == ("stop", 190, "101.00", "09:40")
    assert fills(dataset, sessions)[1] == ("stop", 190, "103.00", "09:41")
    assert found.dataset_id != dataset.dataset_id


def test_a_halt_keeps_the_stop_from_its_price(tmp_path: Path) -> None:
    """From 09:35 to 10:05 nothing trades; the first price after it is 102, at its open."""
    dataset = stopped_on_minutes().dataset(tmp_path)
    halts = {"AAA": [(ms(DAY, "09:35"), ms(DAY, "10:05"))]}
    found = with_halts(dataset, halts, Place(tmp_path, "halts"))
    assert fills(found, dataset.between(DAY, DAY))[1] == ("stop", 190, "102.00", "10:05")
    assert found.is_halted("AAA", ms(DAY, "09:40"))
    assert not dataset.is_halted("AAA", ms(DAY, "09:40"))
    assert len(dataset.minutes.minute) - len(found.minutes.minute) == 30


@pytest.mark.parametrize(("share", "trades"), [(0.0, 1), (1.0, 0)])
def test_missing_bars_are_missing_in_the_copy_alone(tmp_path: Path, share: float, trades: int) -> None:
    """All or none of them; the data on the disk and their identity stay."""
    dataset = stopped_on_minutes().dataset(tmp_path)
    sessions = dataset.between(DAY, DAY)
    found = without_minutes(dataset, sessions, Place(tmp_path, "minutes"), share=share, seed=1)
    assert len(run_backtest(found, FREE, lines, sessions).ledger.trades) == trades
    days = three_days().dataset(tmp_path / "days")
    played = days.between(DAY, LATER)
    missing = without_days(days, played, Place(tmp_path, "days"), share=share, seed=1)
    assert (missing.daily.volume[days.rows[DAY]] >= 0).sum() == trades
    for each in (dataset, days):
        each.check_unchanged()
    assert len(run_backtest(days, FREE, lines, played[:1], bars=Bars.DAILY).ledger.trades) == 1


def test_a_share_of_the_days_is_missing_by_the_seed(tmp_path: Path) -> None:
    """The same seed, the same days."""
    dataset = three_days().dataset(tmp_path)
    counts = []
    for seed in (1, 1, 2, 3):
        found = without_days(dataset, dataset.sessions, Place(tmp_path, "s"), share=0.5, seed=seed)
        counts.append(found.daily.volume.tolist())
    assert counts[0] == counts[1]
    assert len({str(each) for each in counts}) > 1


def test_losses_carry_on_as_a_part_of_the_account() -> None:
    """100 gains 10 %, then 10 % of 110; with 20 lost on the first day the account is 90, and gains 9 on the second."""
    found = rescaled(np.array([10, 11]), np.array([-20, 0]), 100)
    assert found.tolist() == [-10, 9]
    assert rescaled(np.array([10, 11]), np.array([0, 0]), 100).tolist() == [10, 11]
    assert rescaled(np.array([-100, 5]), np.array([0, 0]), 100).tolist() == [-100, 0]


def base_of(stored: MadeUp, root: Path, rules: Parameters = FREE, *, last: str = DAY) -> Base:
    dataset = stored.dataset(root)
    sessions = dataset.between(DAY, last)
    result = run_backtest(dataset, rules, lines, sessions, engine=Engine.KERNEL)
    return Base(dataset, rules, lines, sessions, Bars.AUTO, result)


def shocked(base: Base, folder: Path) -> dict[str, Shocked]:
    return {each.name: each for each in shocks(base, seed=1, folder=folder, told=lambda _: None)}


def test_every_shock_on_minutes(tmp_path: Path) -> None:
    """Two dollars a share lost at the stop, four where it is jumped over; a dollar an order of commission."""
    base = base_of(stopped_on_minutes(), tmp_path)
    found = shocked(base, tmp_path / "altered")
    gained = {name: int(each.played.gains_e8.sum()) for name, each in found.items() if each.played}
    assert gains_of(base).tolist() == [-380 * E8]
    assert gained["gap_through_stop"] == -760 * E8
    assert gained["commission"] == -382 * E8
    assert gained["slippage_x2"] == gained["slippage_x4"] == -380 * E8
    assert gained["halts"] <= -380 * E8
    assert {name for name, each in found.items() if each.played is None} == {
        "missing_days",
        "stop_at_day_worst",
    }
    assert found["missing_days"].words == "no session is played on days"


def test_slippage_by_the_range_is_doubled_too(tmp_path: Path) -> None:
    """A tenth of the two dollars of the stop's bar: 0.20 a share, then 0.40 and 0.80; a dollar an order on top."""
    rules = replace(FREE, costs=replace(FREE.costs, slippage_range_e6=100_000))
    base = base_of(stopped_on_minutes(), tmp_path, rules)
    assert gains_of(base).tolist() == [-418 * E8]
    found = shocked(base, tmp_path / "altered")
    gained = {name: int(each.played.gains_e8.sum()) for name, each in found.items() if each.played}
    assert (gained["slippage_x2"], gained["slippage_x4"]) == (-456 * E8, -532 * E8)
    assert gained["all_costs"] == -458 * E8


def test_every_shock_on_days(tmp_path: Path) -> None:
    """The second day's stop is filled at the day's worst price instead; slippage is paid at both ends."""
    rules = replace(
        FREE, costs=CostRules(participation_e6=1_000_000, has_regulatory_fees=False), open_slippage_e6=1_000
    )
    base = base_of(three_days(), tmp_path, rules, last=LATER)
    found = shocked(base, tmp_path / "altered")
    own = int(gains_of(base).sum())
    gained = {name: int(each.played.gains_e8.sum()) for name, each in found.items() if each.played}
    assert gained["slippage_x4"] < gained["slippage_x2"] < own
    assert gained["all_costs"] < gained["commission"] < own
    twice = replace(
        rules, costs=replace(rules.costs, slippage_e6=2 * rules.costs.slippage_e6), open_slippage_e6=2_000
    )
    again = run_backtest(base.dataset, twice, lines, base.sessions, bars=Bars.DAILY)
    assert gained["slippage_x2"] == int(as_played(again).gains_e8.sum())
    stopped = [trade for trade, _ in base.trades if trade.exit_reason.value == "stop"]
    assert len(stopped) == 1
    row = base.dataset.rows[stopped[0].session]
    low_e4 = int(base.dataset.daily.low_e4[row, 0])
    lost = sum((low_e4 - leg.price_e4) * leg.quantity_e4 for leg in stopped[0].exits)
    worst = found["stop_at_day_worst"].played
    assert worst is not None
    place = [session.date for session in base.sessions].index(stopped[0].session)
    assert worst.gains_e8[place] == gains_of(base)[place] + lost
    assert (
        found["halts"].played is found["gap_through_stop"].played is found["missing_minutes"].played is None
    )


def test_a_dataset_that_changes_meanwhile_is_still_refused(tmp_path: Path) -> None:
    """The copy has no files of its own to watch, the original has."""
    dataset = three_days().dataset(tmp_path)
    without_days(dataset, dataset.sessions, Place(tmp_path, "x"), share=0.5, seed=1).check_unchanged()
    file = next(dataset.path.glob("daily_close*"))
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(DatasetChangedError):
        dataset.check_unchanged()
