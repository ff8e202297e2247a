"""The kernel in a run: machine code or as written, what it leaves to the reference, the check, many sets, workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from finagent.backtest import candidates, stretches
from finagent.backtest.errors import CheckFailedError, DatasetChangedError
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel import compiling, engine
from finagent.backtest.kernel.gathering import Tables
from finagent.backtest.kernel.loading import Code
from finagent.backtest.kernel.playing import play as written
from finagent.backtest.kernel.tables import set_row, undeclared
from finagent.backtest.parameters import DayLines, Parameters
from finagent.backtest.running import Bars, Engine, Result, run_backtest, trades_hash
from finagent.domain.market import Session
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.setups import Setup
from tests.conformance.made_up import MadeUp, MadeUpCalendar
from tests.conformance.trading import DAY, FREE, NEXT_DAY, lines, until_close, with_bars
from tests.kernel.minute_world import minute_cases
from tests.kernel.world import PATIENT, Case, cases, dataset_of, tables

LATER = "2018-02-08"


def three_days() -> MadeUp:
    """Daily bars that gap on three days."""
    stored = MadeUp(MadeUpCalendar("2018-01-01", 29))
    stored.quiet_days("AAA", 100, before=DAY)
    stored.daily_bar(DAY, "AAA", 105, 108, 104, 107, 10_000_000)
    stored.daily_bar(NEXT_DAY, "AAA", 113, 114, 100, 101, 10_000_000)
    stored.daily_bar(LATER, "AAA", 107, 130, 107, 120, 10_000_000)
    return stored


def played(
    stored: MadeUp,
    root: Path,
    rules: Parameters = FREE,
    *,
    bars: Bars = Bars.AUTO,
    check: int = 0,
    first: str = DAY,
) -> Result:
    """The three days through the kernel."""
    dataset = stored.dataset(root)
    sessions = dataset.between(first, LATER)
    return run_backtest(dataset, rules, lines, sessions, bars=bars, engine=Engine.KERNEL, check=check)


@settings(PATIENT, max_examples=4)
@given(cases())
def test_machine_code_is_the_kernel_as_it_is_written(case: Case) -> None:
    """The same tables, column by column: what is told of one set, and what many sets come to in one call."""
    pytest.importorskip("numba")
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            given_tables = tables(case, dataset, number)
            compiled = engine.play_one(*given_tables, is_compiled=True)
            as_written = engine.play_one(*given_tables, is_compiled=False)
            for name in ("states", "gains", "tallies", "kept", "fills"):
                assert np.array_equal(getattr(compiled, name), getattr(as_written, name)), name


@settings(PATIENT, max_examples=6)
@given(minute_cases())
def test_machine_code_is_the_kernel_as_it_is_written_on_minutes(case: Case) -> None:
    """The same where days on minutes and on daily bars alternate."""
    pytest.importorskip("numba")
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            given_tables = tables(case, dataset, number, Bars.AUTO)
            compiled = engine.play_one(*given_tables, is_compiled=True)
            as_written = engine.play_one(*given_tables, is_compiled=False)
            for name in ("states", "gains", "tallies", "kept", "fills"):
                assert np.array_equal(getattr(compiled, name), getattr(as_written, name)), name
            many = engine.play_many(
                given_tables[0], np.asarray([given_tables[1]] * 2), [given_tables[2]] * 2, is_compiled=True
            )
            assert many.gains.tolist() == [as_written.gains[0].tolist()] * 2


@settings(PATIENT, max_examples=4)
@given(cases())
def test_many_sets_come_to_what_each_comes_to_alone(case: Case) -> None:
    """Gains of each day and counts of each set, over the same sessions and candidates."""
    with dataset_of(case) as dataset:
        shared, _, _ = tables(case, dataset, 0)
        sets = [(set_row(rules), rules.start_equity_e8) for rules, _ in case.asked]
        many = engine.play_many(shared, np.asarray([row for row, _ in sets]), [e8 for _, e8 in sets])
        for number, (row, equity_e8) in enumerate(sets):
            alone = engine.play_one(shared, row, equity_e8)
            assert many.gains[number].tolist() == alone.gains[0].tolist()
            assert many.tallies[number].tolist() == alone.tallies.sum(0).tolist()


@settings(PATIENT, max_examples=6)
@given(cases())
def test_sets_that_share_come_to_what_each_comes_to_alone(case: Case) -> None:
    """Least gaps up and down, stops, targets and caps, small accounts and one that is beyond the integers."""
    with dataset_of(case) as dataset:
        shared, chosen, equity_e8 = tables(case, dataset, 0)
        gaps_e6 = (60_000, 20_000, 90_000, 39_900, 40_000, 20_000, 60_000, 20_000) * 2
        sets = np.asarray([chosen] * len(gaps_e6))
        sets[:, c.MIN_GAP] = gaps_e6
        sets[4:7, c.TOP] = 1
        sets[8:, c.TARGET_R] = 700_000
        sets[12:, c.STOP_WIDTH] = 9_000
        sets[14:, c.MAX_POSITION_E8] = 300 * 10**8
        accounts = [equity_e8] * len(gaps_e6)
        accounts[5] = accounts[8] = c.MOST_EQUITY_E8 + 1
        accounts[6] = accounts[12] = equity_e8 // 7
        many = engine.play_many(shared, sets, accounts, is_compiled=False)
        assert np.flatnonzero(many.states[:, c.IS_BEYOND]).tolist() == [5, 8]
        for number, own in enumerate(sets.tolist()):
            alone = engine.play_one(shared, own, accounts[number], is_compiled=False)
            assert many.gains[number].tolist() == alone.gains[0].tolist()
            assert many.tallies[number].tolist() == alone.tallies.sum(0).tolist()


def test_without_numba_everything_runs_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine code, whatever is asked for."""
    monkeypatch.setenv(compiling.SWITCH, "python")
    assert compiling.machine_code(written, engine.TABLES[0]) is None
    widths = (c.ROW_WIDTH, c.LINE_WIDTH, c.BAR_WIDTH)
    nothing = Tables(
        np.zeros((2, c.DAY_WIDTH), np.int64), *(np.zeros((0, width), np.int64) for width in widths)
    )
    found = engine.play_one(nothing, set_row(FREE), 5, is_compiled=True)
    assert found.gains.tolist() == [[0, 0]]


def test_where_nothing_can_be_written_each_process_compiles_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache folder that is a file, then one that can be made."""
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiling.cache_folder("1") is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = compiling.cache_folder("1")
    assert found is not None
    assert found.is_relative_to(tmp_path / "finagent")
    assert compiling.cache_folder("2") != found


def test_code_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was written is read; what lost its end is nothing, and is made anew."""
    path = tmp_path / "play.code"
    assert Code.read(path) is None
    Code("name", b"one\ntwo").write(path)
    assert Code.read(path) == Code("name", b"one\ntwo")
    path.write_bytes(path.read_bytes()[:-1])
    assert Code.read(path) is None


def test_code_that_nobody_kept_is_made_only_where_that_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for one set; what another process has made is loaded. Tables that are none are refused before it runs."""
    pytest.importorskip("numba")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiling, "_MACHINE", {})
    assert compiling.machine_code(written, engine.TABLES[0], is_made=False) is None
    assert compiling.machine_code(written, engine.TABLES[0]) is not None
    compiling._MACHINE.clear()
    found = compiling.machine_code(written, engine.TABLES[0], is_made=False)
    assert found is not None
    with pytest.raises(TypeError, match="not int64"):
        found(0, 0, *[np.zeros((2, 4), np.int64)[:, ::2]] * engine.TABLES[0], False)


def test_a_run_mixes_both_engines(tmp_path: Path) -> None:
    """A day with quotes is the reference's; its profit sizes the kernel's next day, on minutes or not."""
    stored = three_days()
    until_close(with_bars(stored), 105, first="09:32")
    stored.daily_bar(DAY, "AAA", 105, 105, 105, 105, 10_000_000)
    stored.minute_bar(DAY, "AAA", "09:30", 105, 105, 105, 105, 100_000)
    for bars, is_quoted, by_kernel in ((Bars.AUTO, False, 3), (Bars.AUTO, True, 2), (Bars.DAILY, True, 3)):
        if is_quoted:
            stored.quote(DAY, "AAA", "09:30", "104.99", "105.01")
        mixed = played(stored, tmp_path, bars=bars, check=9)
        dataset = stored.dataset(tmp_path)
        alone = run_backtest(dataset, FREE, lines, dataset.between(DAY, LATER), bars=bars)
        assert len(mixed.ledger.tallies) == mixed.checked == by_kernel
        assert trades_hash(mixed.ledger) == trades_hash(alone.ledger)
        assert mixed.ledger.days == alone.ledger.days
        assert mixed.ledger.trades == alone.ledger.trades != []
        assert mixed.result_id != alone.result_id


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        (replace(FREE, planning=PlanningRules(classic_entry=Setup.OPENING_RANGE_BREAK)), "classic_entry"),
        (replace(FREE, planning=PlanningRules(preset="structure")), "preset"),
        (replace(FREE, costs=replace(FREE.costs, slippage_range_e6=1)), "slippage_range_pct"),
        (replace(FREE, costs=replace(FREE.costs, slippage_impact_e6=1)), "slippage_impact_bps"),
        (replace(FREE, buying_power_e6=500_000), "buying power"),
        (replace(FREE, top=5_000), "scan.top"),
        (replace(FREE, start_equity_e8=2**60), "start_equity_e8"),
        (replace(FREE, profile=replace(FREE.profile, max_exposure_e6=10**9)), "max_exposure_e6"),
    ],
)
def test_rules_that_it_does_not_declare_are_the_references(
    tmp_path: Path, rules: Parameters, word: str
) -> None:
    """By name, and the run goes on."""
    assert word in undeclared(rules)
    assert played(three_days(), tmp_path, rules).engine is Engine.REFERENCE


def test_prices_beyond_its_integers_are_the_references(tmp_path: Path) -> None:
    """One day at three million dollars a share: that session by the reference, the others by the kernel."""
    stored = three_days()
    stored.quiet_days("BBB", 2_900_000, before=NEXT_DAY)
    stored.daily_bar(NEXT_DAY, "BBB", 3_100_000, 3_100_000, 3_100_000, 3_100_000, 1_000)
    found = played(stored, tmp_path)
    assert sorted(found.ledger.tallies) == [DAY, LATER]
    dataset = stored.dataset(tmp_path)
    alone = run_backtest(dataset, FREE, lines, dataset.between(DAY, LATER))
    assert found.ledger.trades == alone.ledger.trades


def test_an_account_beyond_its_integers_is_the_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole run by the reference, with its result."""
    monkeypatch.setattr(c, "MOST_EQUITY_E8", FREE.start_equity_e8 - 1)
    monkeypatch.setattr("finagent.backtest.kernel.tables.undeclared", lambda rules: "")
    found = played(three_days(), tmp_path)
    assert found.engine is Engine.REFERENCE
    assert len(found.ledger.trades) == 3


def test_a_schedule_that_fails_is_met_by_the_reference(tmp_path: Path) -> None:
    """The days before are kept, the session and the error are named."""

    def broken(session: Session) -> DayLines:
        if session.date == LATER:
            raise ZeroDivisionError("no such hour")
        return lines(session)

    dataset = three_days().dataset(tmp_path)
    result = run_backtest(dataset, FREE, broken, dataset.between(DAY, LATER), engine=Engine.KERNEL)
    assert result.failure is not None
    assert (result.failure.session, len(result.ledger.trades)) == (LATER, 2)


def test_a_scan_that_fails_is_met_by_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index cannot be built: everything is the reference's, and it says what it meets itself."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no such candidate")

    monkeypatch.setattr(stretches, "find_or_build_month", broken)
    found = played(three_days(), tmp_path)
    assert (found.engine, found.failure, len(found.ledger.trades)) == (Engine.REFERENCE, None, 3)


def test_the_check_refuses_a_kernel_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fee too much in one fill: the session and the field are named, nothing counts."""

    def dear(*tables: Any) -> None:
        written(*tables)
        tables[12][0][c.F_FEES] += 1

    monkeypatch.setattr(engine, "play", dear)
    with pytest.raises(
        CheckFailedError, match=f"session {DAY}: fees_e8 of fill 1 .AAA entry. is 1 by the kernel"
    ):
        played(three_days(), tmp_path, check=3)


def test_the_check_carries_sales_that_have_not_settled(tmp_path: Path) -> None:
    """A cash account: each session played again by itself sees what the ones before sold."""
    profile = replace(
        FREE.profile, day_trade_rule="cash_settled", max_position_e6=None, risk_per_trade_e6=20_000
    )
    found = played(three_days(), tmp_path, replace(FREE, profile=profile), check=3)
    quantities = [trade.quantity_e4 // 10_000 for trade in found.ledger.trades]
    assert found.checked == 3
    assert quantities == [666, 264, 416]  # each day without the sale before


def test_the_index_is_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other thresholds and weights use the same one; another style and smaller gaps are other questions."""
    dataset = three_days().dataset(tmp_path)
    first = candidates.find_or_build_month(dataset, FREE, "2018-02")
    monkeypatch.setattr(candidates, "_scan", None)
    loose = replace(FREE, gap=replace(FREE.gap, min_gap_e6=30_000, min_adv_usd=0), top=1)
    assert candidates.find_or_build_month(dataset, loose, "2018-02").index_id == first.index_id
    keys = {
        candidates.index_key(dataset, replace(FREE, **change))
        for change in (
            {},
            {"gap": replace(FREE.gap, min_gap_e6=10_000)},
            {"gap": replace(FREE.gap, atr_sessions=10)},
            {"lookback_days": None},
        )
    }
    assert len(keys) == 4


def test_an_index_that_was_changed_is_refused(tmp_path: Path) -> None:
    """A byte, and an index under another's name."""
    dataset = three_days().dataset(tmp_path)
    candidates.find_or_build_month(dataset, FREE, "2018-02")
    path = next((dataset.path / candidates.FOLDER).iterdir())
    with pytest.raises(DatasetChangedError, match="another question"):
        candidates.open_month(path, "other", "2018-02")
    file = path / "candidates.col"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DatasetChangedError, match="other values"):
        played(three_days(), tmp_path)


def test_a_build_that_is_killed_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one builds it anew."""
    dataset = three_days().dataset(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(candidates, "settle", lambda scratch, path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            candidates.find_or_build_month(dataset, FREE, "2018-02")
    assert list((dataset.path / candidates.FOLDER).iterdir()) == []
    assert len(candidates.find_or_build_month(dataset, FREE, "2018-02").columns) == 3


def test_progress_is_told_while_the_index_is_built(tmp_path: Path) -> None:
    """Every session of the first run, also those that the kernel then plays at once; the next run has an index."""
    dataset = three_days().dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    steps: list[list[tuple[str, int, int]]] = [[], []]
    for told in steps:
        run_backtest(
            dataset,
            FREE,
            lines,
            sessions,
            engine=Engine.KERNEL,
            told=lambda *step, told=told: told.append(step),
        )
    assert steps[0] == [(DAY, 1, 3), (DAY, 1, 3), (NEXT_DAY, 2, 3), (LATER, 3, 3)]
    assert steps[1] == [(DAY, 1, 3)]


def test_an_open_position_is_the_references(tmp_path: Path) -> None:
    """The kernel begins flat or not at all."""
    from finagent.backtest.reference import Run

    dataset = three_days().dataset(tmp_path)
    hand = stretches.Stretches(dataset, FREE, lines)
    watching = Run.begin(dataset, FREE)
    watching.ledger._armed["pl"] = None  # type: ignore[assignment]  # anything that is watched
    assert hand.play(watching, [(each, False) for each in dataset.between(DAY, LATER)]) == 0
