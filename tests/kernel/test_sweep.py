"""Many sets at once: the same bits for any number of workers, each set what it is alone, and what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finagent.backtest import sweeping
from finagent.backtest.errors import BacktestError, CheckFailedError
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.engine import Played
from finagent.backtest.kernel.minute_tables import lines_of
from finagent.backtest.kernel.parts import play_sets
from finagent.backtest.kernel.threads import cuts
from finagent.backtest.parameters import DayLines, Lines, Parameters, ScanLine
from finagent.backtest.running import Bars, Engine, run_backtest, trades_hash
from finagent.backtest.source import Halt
from finagent.backtest.sweeping import Swept, sweep
from finagent.domain.fills import Ambiguity
from finagent.domain.gap import GapStyle
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.planning_rules import PlanningRules
from tests.conformance.made_up import MadeUp, ms
from tests.conformance.trading import DAY, FREE, NEXT_DAY, lines
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


@pytest.mark.parametrize(
    ("is_kin", "size", "parts"),
    [
        ([0, 1, 1, 0, 1, 1, 0, 1, 1], 3, [(0, 3), (3, 6), (6, 9)]),
        ([0, 1, 1, 0, 1, 1, 0, 1, 1], 2, [(0, 3), (3, 6), (6, 9)]),
        ([0, 0, 0, 0, 0], 2, [(0, 2), (2, 4), (4, 5)]),
        ([0, 1, 1, 1, 1, 1, 1], 2, [(0, 2), (2, 4), (4, 7)]),
        ([0], 4, [(0, 1)]),
    ],
)
def test_parts_cut_no_sets_apart_that_share_their_plans(
    is_kin: list[int], size: int, parts: list[tuple[int, int]]
) -> None:
    """Unless these are more than two parts would hold."""
    rows = np.zeros((len(is_kin), c.SET_WIDTH), np.int64)
    rows[:, c.IS_KIN] = is_kin
    assert cuts(rows, size) == parts


def test_a_killed_worker_costs_one_more_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as without the kill; one that is killed again is told, and nothing is left behind."""
    sets = some_sets()[:2]
    whole = swept(tmp_path, sets).sweep_hash
    monkeypatch.setattr(sweeping, "play_part", dying_once)
    assert swept(tmp_path, sets, workers=2).sweep_hash == whole
    dataset = three_days().dataset(tmp_path)
    assert (dataset.path / DEAD).exists()
    monkeypatch.setattr(sweeping, "play_part", dying_always)
    with pytest.raises(BacktestError, match="a worker died twice over 1 of the sets, one of them set"):
        swept(tmp_path, sets, workers=2)
    assert not [path for path in dataset.path.iterdir() if path.name.startswith(".sweep")]


def test_the_check_refuses_a_sweep_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in one session of one set."""

    def wrong(*given: Any) -> Played:
        played = play_sets(*given)
        played.gains[0, 1] += 1
        return played

    monkeypatch.setattr(sweeping, "play_sets", wrong)
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


def minutes_too(*, halted: bool = False, quoted: bool = False, early: bool = False) -> MadeUp:
    """The three days, the second of them on minutes: it rises to the target, or is halted when it closes."""
    stored = three_days()
    stored.daily_bar(NEXT_DAY, "AAA", 113, 122, 113, 120, 10_000_000)
    last = "15:50" if halted else "15:59"
    stored.flat_minutes(NEXT_DAY, "AAA", 113, first="09:30", last="09:40")
    stored.flat_minutes(NEXT_DAY, "AAA", 114, first="09:41", last=last)
    if halted:
        stored.halted.append(Halt("AAA", ms(NEXT_DAY, "15:51"), ms(NEXT_DAY, "17:00")))
    if quoted:
        stored.quote(NEXT_DAY, "AAA", "09:30", "112.99", "113.01")
    if early:
        stored.flat_minutes(NEXT_DAY, "AAA", 113, first="09:00", last="09:20")
    return stored


LATE = replace(FREE, planning=replace(FREE.planning, time_stop_minutes=None))
ALONE = replace(FREE, planning=replace(FREE.planning, time_stop_minutes=10, stop_e6=5_000))


def without_ladder(session: Session) -> DayLines:
    """Nothing is closed before the close."""
    return replace(lines(session), flatten_ms=())


def with_early_plan(session: Session) -> DayLines:
    """A scan before the open that plans, too."""
    usual = lines(session)
    early = ScanLine(session.open_ms - 5 * MINUTE_MS, "early", "plan")
    return replace(usual, scans=(early, *usual.scans))


def test_sweeps_take_minutes_where_there_are_some(tmp_path: Path) -> None:
    """Each set session by session what the reference makes of it, the same bits for any number of workers."""
    dataset = minutes_too().dataset(tmp_path)
    sessions, sets = dataset.between(DAY, LATER), [*some_sets(), LATE, ALONE]
    found = [
        sweep(dataset, sets, lines, sessions, bars=Bars.AUTO, workers=each, check=2) for each in (1, 2, 3)
    ]
    assert len({each.sweep_hash for each in found}) == 1
    assert found[0].sweep_hash != sweep(dataset, sets, lines, sessions).sweep_hash
    for number, rules in enumerate(sets):
        trades = run_backtest(dataset, rules, lines, sessions).ledger.trades
        gained = [sum(t.pnl_e8 for t in trades if t.session == each.date) for each in sessions]
        assert found[0].gains_e8[number].tolist() == gained


@pytest.mark.parametrize(
    ("stored", "schedule", "bars", "words"),
    [
        (minutes_too(quoted=True), lines, Bars.AUTO, f"session {NEXT_DAY}: it has quotes"),
        (
            minutes_too(early=True),
            with_early_plan,
            Bars.AUTO,
            f"session {NEXT_DAY}: it has an opening auction",
        ),
        (minutes_too(), lines, Bars.MINUTE, f"session {DAY}: there are no minute bars"),
        (
            minutes_too(halted=True),
            without_ladder,
            Bars.AUTO,
            "set 0: its account has an order or a halt .* session 2",
        ),
    ],
)
def test_a_session_that_is_not_the_kernels_is_refused_by_name(
    stored: MadeUp, schedule: Lines, bars: Bars, words: str, tmp_path: Path
) -> None:
    """Quotes, an auction, no minutes, a position that stays; run alone the reference plays that session."""
    dataset = stored.dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    with pytest.raises(BacktestError, match=words):
        sweep(dataset, [LATE], schedule, sessions, bars=bars)
    both = [
        run_backtest(dataset, LATE, schedule, sessions, engine=each)
        for each in (Engine.KERNEL, Engine.REFERENCE)
    ]
    assert trades_hash(both[0].ledger) == trades_hash(both[1].ledger)
    assert both[0].ledger.days == both[1].ledger.days
    assert (NEXT_DAY in both[0].ledger.tallies) is (bars is Bars.MINUTE)


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        (replace(FREE, approval_delay_ms=1_000), "simulated_delay_s"),
        (replace(FREE, entry_ttl_ms=10**13), "entry_ttl_ms"),
    ],
)
def test_rules_that_it_does_not_declare_on_minutes(tmp_path: Path, rules: Parameters, word: str) -> None:
    """By name in a sweep, by the reference alone; on daily bars they do not matter."""
    dataset = minutes_too().dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    with pytest.raises(BacktestError, match=word):
        sweep(dataset, [rules], lines, sessions, bars=Bars.AUTO)
    found = run_backtest(dataset, rules, lines, sessions, engine=Engine.KERNEL)
    assert sorted(found.ledger.tallies) == [DAY, LATER]
    assert sweep(dataset, [rules], lines, sessions).trades.tolist() == [2]


SECOND = 1_000


@pytest.mark.parametrize(
    "change",
    [
        lambda due, open_ms: {"scans": (replace(due.scans[0], at_ms=due.scans[0].at_ms + SECOND),)},
        lambda due, open_ms: {"scans": (due.scans[0], due.scans[0])},
        lambda due, open_ms: {"scans": (due.scans[0], replace(due.scans[0], at_ms=open_ms + 5 * MINUTE_MS))},
        lambda due, open_ms: {"flatten_ms": (due.flatten_ms[0] + SECOND,)},
        lambda due, open_ms: {"windows": ((open_ms + 5 * MINUTE_MS, due.windows[0][1]),)},
        lambda due, open_ms: {"day_close_ms": open_ms},
    ],
)
def test_lines_that_the_kernel_does_not_declare(
    tmp_path: Path, change: Callable[..., dict[str, object]]
) -> None:
    """Instants within a minute, scans of one name or minute, a scan that waits, a day that ends before its close."""
    dataset = minutes_too().dataset(tmp_path)
    session = dataset.between(NEXT_DAY, NEXT_DAY)[0]
    due = lines(session)
    assert lines_of(dataset, session, due) is not None
    assert lines_of(dataset, session, replace(due, **change(due, session.open_ms))) is None


def test_a_minute_beyond_the_integers_is_the_references(tmp_path: Path) -> None:
    """A bar at three million dollars."""
    stored = minutes_too()
    stored.minute_bar(NEXT_DAY, "AAA", "10:30", 114, 3_000_000, 114, 114, 10)
    dataset = stored.dataset(tmp_path)
    found = run_backtest(dataset, LATE, lines, dataset.between(DAY, LATER), engine=Engine.KERNEL)
    assert sorted(found.ledger.tallies) == [DAY, LATER]


def test_sets_that_ask_the_minutes_and_sets_that_do_not(tmp_path: Path) -> None:
    """Each what the reference makes of it, for any number of workers: one group shares candidates, not the rule."""
    stored = three_days()
    stored.daily_bar(DAY, "AAA", 105, 112, 102, 107, 10_000_000)
    for at, price in (("09:30", 105), ("11:00", 112), ("14:00", 102)):
        stored.minute_bar(DAY, "AAA", at, price, price, price, price, 100)
    dataset = stored.dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    sets = [replace(FREE, ambiguity=each) for each in (*Ambiguity, Ambiguity.STOP_FIRST)]
    found = [sweep(dataset, sets, lines, sessions, workers=each, check=4) for each in (1, 2)]
    assert found[0].sweep_hash == found[1].sweep_hash
    for number, rules in enumerate(sets):
        trades = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY).ledger.trades
        gained = [sum(t.pnl_e8 for t in trades if t.session == each.date) for each in sessions]
        assert found[0].gains_e8[number].tolist() == gained
    by_minutes = found[0].gains_e8[list(Ambiguity).index(Ambiguity.MINUTES)]
    assert by_minutes[0] > found[0].gains_e8[0][0]
