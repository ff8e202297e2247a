"""A study: the same trials for any number of workers and however often it is killed; what goes wrong is marked."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finagent.backtest import entering, scanning
from finagent.backtest.errors import BacktestError
from finagent.backtest.kernel.compiling import SWITCH
from finagent.backtest.market import SessionMarket
from finagent.backtest.parameters import DayLines, Parameters
from finagent.backtest.running import Bars, run_backtest
from finagent.backtest.scanning import scan_session
from finagent.backtest.search import evolving, playing, proposing
from finagent.backtest.search import study as studying
from finagent.backtest.search.playing import Player
from finagent.backtest.search.space import Dimension, Values
from finagent.backtest.search.study import best, checked, run
from finagent.backtest.search.trials import Journal, State, Trial, as_line
from finagent.domain.gap import GapRules
from finagent.domain.market import Session
from finagent.runtime.append_log import AppendLog
from tests.conformance.trading import DAY, FREE, NEXT_DAY, lines, market, until_close, with_bars
from tests.kernel.test_engine import LATER, three_days
from tests.search.killed import BATCH
from tests.search.world import make, search, study

ROOT = Path(__file__).resolve().parents[2]


def journal_of(root: Path, name: str = "trials") -> bytes:
    return (root / f"{name}.jsonl").read_bytes()


def test_each_trial_is_what_the_reference_makes_of_its_set(tmp_path: Path) -> None:
    """Gain by gain; the set that does not fit together is refused by name, and the rest goes on."""
    trials = study(tmp_path, search())
    dataset = three_days().dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    assert [trial.number for trial in trials] == list(range(32))
    for trial in trials[::5]:
        result = run_backtest(dataset, make(trial.values), lines, sessions, bars=Bars.DAILY)
        played = playing.as_played(result)
        assert (trial.gains_e8 == played.gains_e8).all()
        assert trial.measures["trades"] == played.trades
    refused = [trial for trial in trials if trial.state is State.REFUSED]
    assert [(trial.values, trial.note) for trial in refused] == [
        ({"planning.target_r": "8", "planning.stop_pct": "0.5"}, "these do not fit together")
    ]


@pytest.mark.parametrize("method", ["sobol", "nsga2", "tpe"])
def test_each_set_is_one_trial_however_many_are_asked_for(tmp_path: Path, method: str) -> None:
    """More trials than sets are as many as there are sets: what counts trials counts none twice."""
    asked = search(method, 256)
    trials = study(tmp_path, asked)
    assert asked.trials == len(trials) == len({tuple(trial.values.items()) for trial in trials}) == 32


@pytest.mark.parametrize("method", ["grid", "sobol", "nsga2", "tpe"])
def test_a_journal_cut_anywhere_is_finished_to_the_same_bytes(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a kill leaves: nothing, half a line, a whole one, half a batch, all."""
    monkeypatch.setattr(proposing.Grid, "batch", BATCH)
    monkeypatch.setattr(proposing.Sobol, "batch", BATCH)
    monkeypatch.setattr(evolving, "TPE_BATCH", BATCH)
    asked = search(method, 0 if method == "grid" else 21)
    study(tmp_path, asked)
    whole = journal_of(tmp_path)
    assert len(whole.splitlines()) == asked.trials
    ends = [0, *(at + 1 for at, byte in enumerate(whole) if byte == ord("\n"))]
    for cut in (
        0,
        1,
        ends[1] - 1,
        ends[1],
        ends[1] + 40,
        ends[BATCH],
        ends[BATCH + 3] - 2,
        len(whole) - 1,
        len(whole),
    ):
        (tmp_path / "cut.jsonl").write_bytes(whole[:cut])
        study(tmp_path, asked, name="cut")
        assert journal_of(tmp_path, "cut") == whole, cut


def test_sigkill_during_a_study_costs_no_trial_and_changes_none(tmp_path: Path) -> None:
    """A process that dies with half the trials written down, and the same one again."""
    asked = search("sobol", 24)
    study(tmp_path, asked, name="undisturbed")
    command = [sys.executable, "-m", "tests.search.killed", str(tmp_path), "sobol", "24"]
    done = subprocess.run(
        [*command, "16"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(journal_of(tmp_path).splitlines()) == 16
    study(tmp_path, asked)
    assert journal_of(tmp_path) == journal_of(tmp_path, "undisturbed")


def test_what_is_written_down_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished study plays nothing."""
    study(tmp_path, search())

    def never(self: Player, sets: Sequence[Parameters], sessions: object) -> None:
        raise AssertionError("played")

    monkeypatch.setattr(Player, "play", never)
    assert len(study(tmp_path, search())) == 32


def test_one_and_two_workers_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's threads, by its workers where there is no machine code, and one by one by the reference's."""
    asked = search("sobol", 4)
    study(tmp_path, asked)
    study(tmp_path, asked, name="threads", workers=2)
    assert journal_of(tmp_path) == journal_of(tmp_path, "threads")
    monkeypatch.setattr(playing, "WORTH_WORKERS", 0)
    monkeypatch.setenv(SWITCH, "python")
    study(tmp_path, asked, name="kernel", workers=2)
    monkeypatch.setattr(Player, "_is_declared", lambda self, rules, has_minutes: False)
    study(tmp_path, asked, name="reference", workers=2)
    assert journal_of(tmp_path) == journal_of(tmp_path, "kernel") == journal_of(tmp_path, "reference")


def test_a_journal_of_other_sets_is_refused(tmp_path: Path) -> None:
    """Trials that another version of the method would not have tried are not mixed in."""
    study(tmp_path, search("sobol", 4))
    with pytest.raises(BacktestError, match="trial 0 of the journal tried another set"):
        study(tmp_path, replace(search("sobol", 4), seed=8))


@pytest.mark.parametrize("is_quoted", [False, True])
def test_minutes_are_swept_where_the_kernel_plays_them_and_played_alone_elsewhere(
    tmp_path: Path, is_quoted: bool
) -> None:
    """A day that falls through its stop; with a quote in it the kernel leaves it, and the next sets are not offered."""
    stored = until_close(with_bars(market(), ("09:40", 104, 104, 102, 102)), 102, first="09:41")
    if is_quoted:
        stored.quote(DAY, "AAA", "09:30", "104.99", "105.01")
    dataset = stored.dataset(tmp_path)
    days = dataset.between(DAY, DAY)
    player = Player(dataset, lines, Bars.AUTO)
    assert not player.is_swift(days)
    sets = [make({"planning.target_r": target}) for target in ("1", "3")]
    for played, rules in zip(player.play(sets, days), sets, strict=True):
        alone = playing.as_played(run_backtest(dataset, rules, lines, days))
        assert (played.gains_e8.tolist(), played.trades) == (alone.gains_e8.tolist(), alone.trades)
        assert alone.trades == 1
    assert player.is_swift(days) is not is_quoted
    assert len(player.play(sets, days)) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_whose_rule_fails_on_a_day_is_kept_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """A scan that fails for small gaps on the second day: the day before counts, the note says where and why."""
    for module in (scanning, entering):
        monkeypatch.setattr(module, "scan_session", failing_scan)
    dataset = three_days().dataset(tmp_path)
    asked = checked(replace(search(), space=(Dimension("gap", ("1", "4"), True),)), 3)

    def rules(values: Values) -> Parameters:
        return replace(FREE, gap=replace(FREE.gap, min_gap_e6=int(values["gap"]) * 10_000))

    journal = Journal.open(AppendLog(tmp_path / "trials.jsonl"))
    player = Player(dataset, lines, Bars.DAILY, workers, executor=None if workers == 1 else Here())
    failed, whole = run(asked, rules, player, dataset.between(DAY, LATER), journal)
    assert (failed.state, failed.note) == (State.FAILED, f"{NEXT_DAY}: ZeroDivisionError: no such gap")
    assert failed.gains_e8.tolist() == whole.gains_e8[:1].tolist() != [0]
    assert (whole.state, len(whole.gains_e8), whole.is_eligible, failed.is_eligible) == (
        State.DONE,
        3,
        True,
        False,
    )
    again = Journal.open(AppendLog(tmp_path / "trials.jsonl")).trials
    assert [as_line(trial) for trial in again] == [as_line(failed), as_line(whole)]


def test_a_schedule_that_fails_on_a_day_is_met_by_every_trial(tmp_path: Path) -> None:
    """With workers, too, whose table of lines cannot be made."""

    def broken(session: Session) -> DayLines:
        if session.date == NEXT_DAY:
            raise ZeroDivisionError("no such hour")
        return lines(session)

    dataset = three_days().dataset(tmp_path)
    player = Player(dataset, broken, Bars.DAILY, workers=2)
    played = player.play([FREE, FREE], dataset.between(DAY, LATER))
    assert [each.failure for each in played] == [f"{NEXT_DAY}: ZeroDivisionError: no such hour"] * 2


def failing_scan(seen: SessionMarket, as_of_ms: int, rules: GapRules, **more: Any) -> object:
    """A rule of the scan that fails on one day for gaps below 2 %."""
    if rules.min_gap_e6 < 20_000 and seen.session.date == NEXT_DAY:
        raise ZeroDivisionError("no such gap")
    return scan_session(seen, as_of_ms, rules, **more)


class Here:
    """Runs the parts in this process, where the planted bug is known."""

    def run(self, task: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [task(*call) for call in calls]

    def close(self) -> None:
        """There are no workers."""


def test_requirements_decide_what_may_be_chosen(tmp_path: Path) -> None:
    """The best of those that meet them, the first of equals; none where nothing does."""
    trials = study(tmp_path, search(requires=("trades>=2",)))
    able = [trial for trial in trials if trial.is_eligible]
    assert 0 < len(able) < 32
    chosen = best(trials, "return")
    assert chosen is not None
    tops = [trial.number for trial in able if trial.measures["return"] == chosen.measures["return"]]
    assert chosen.number == tops[0]
    none = study(tmp_path, search(requires=("trades>1000",)), name="none")
    assert best(none, "return") is None
    assert {trial.unmet for trial in none if trial.state is State.DONE} == {("trades>1000",)}


def test_what_breaks_its_drawdown_in_the_first_quarter_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have broken it over all sessions as well; and what falls behind the median is given up later."""
    monkeypatch.setattr(studying, "EARLY_SHARE", 2)
    monkeypatch.setattr(studying, "EARLY_TRIALS", 4)
    monkeypatch.setattr(proposing.Grid, "batch", BATCH)
    bound = ("max_drawdown<=0.001",)
    whole = study(tmp_path, search(requires=bound))
    pruned = study(tmp_path, search(requires=bound, prunes=True), name="pruned")
    missed = [trial for trial in pruned if trial.note == "max_drawdown<=0.001 is missed already"]
    behind = [trial for trial in pruned if "below the median" in trial.note]
    assert missed
    for trial in missed:
        assert trial.state is State.PRUNED
        assert whole[trial.number].unmet == bound
    for trial in behind:
        assert trial.number >= BATCH
    for trial in pruned:
        if trial.state is State.DONE:
            assert trial.measures == whole[trial.number].measures


def test_more_sets_than_memory_holds_are_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is played."""
    with pytest.raises(BacktestError, match="--trials 5: the grid has 32 sets"):
        search("grid", 5)
    assert checked(search(), 3).trials == 32
    monkeypatch.setattr(studying, "MOST_BYTES", 20 * 3 * 8)
    with pytest.raises(BacktestError, match="21 sets over 3 sessions take 0 MiB") as refused:
        search("sobol", 21)
    assert "at most 20 sets fit" in refused.value.hint
    assert search("sobol", 20).trials == 20


def test_best_of_trials_that_tell_nothing_is_none() -> None:
    """A measure that is not known chooses nobody."""
    trial = Trial(0, {}, State.DONE, {"sharpe": None})
    assert best([trial], "sharpe") is None
    assert FREE.start_equity_e8
