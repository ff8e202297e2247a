"""A run from end to end: its name, its hash, what it refuses, and what it keeps when a rule fails."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.errors import BacktestError, DatasetChangedError, NothingStoredError
from finagent.backtest.parameters import DayLines
from finagent.backtest.running import (
    Bars,
    as_lines,
    fill_rows,
    journal_rows,
    order_rows,
    outcome_of,
    refuse_unknown,
    run_backtest,
)
from finagent.bootstrap.backtest_report import FOLDER, keep, report
from finagent.domain.market import Session
from tests.conformance.made_up import MadeUp
from tests.conformance.trading import DAY, FREE, NEXT_DAY, lines, market, play, until_close, with_bars


def two_days() -> MadeUp:
    """The day of the suite, and a second one that gaps again."""
    stored = until_close(with_bars(market(), ("09:40", 105, 112, 102, 106)), 106, first="09:41")
    stored.daily_bar(DAY, "AAA", 105, 112, 102, 106, 10_000_000)
    stored.flat_minutes(NEXT_DAY, "AAA", 112, first="09:30", last="15:59")
    return stored


def test_the_same_question_has_the_same_name_and_outcome(tmp_path: Path) -> None:
    """Twice, in two places; another parameter, another range and other bars have other names."""
    first = play(two_days(), tmp_path / "a", last=NEXT_DAY).result
    again = play(two_days(), tmp_path / "b", last=NEXT_DAY).result
    assert first.result_id == again.result_id
    assert outcome_of(first.ledger) == outcome_of(again.ledger)
    others = [
        play(two_days(), tmp_path / "a", replace(FREE, top=4), last=NEXT_DAY).result,
        play(two_days(), tmp_path / "a").result,
        play(two_days(), tmp_path / "a", last=NEXT_DAY, bars=Bars.MINUTE).result,
    ]
    assert len({first.result_id, *(each.result_id for each in others)}) == 4


def test_each_term_of_slippage_names_another_result(tmp_path: Path) -> None:
    """Though nothing here moves with it: the same trades, other questions."""
    costs = (
        FREE.costs,
        replace(FREE.costs, slippage_range_e6=1),
        replace(FREE.costs, slippage_range_e6=2),
        replace(FREE.costs, slippage_impact_e6=1),
    )
    stored = market()
    found = [play(stored, tmp_path, replace(FREE, costs=each)).result.result_id for each in costs]
    assert len(set(found)) == 4


def test_the_outcome_sees_every_part(tmp_path: Path) -> None:
    """A decision, an order, a fill or a trade that is another one makes another hash."""
    ledger = play(two_days(), tmp_path).ledger
    seen = {outcome_of(ledger)}
    ledger.journal[0].data["universe"] = 0
    seen.add(outcome_of(ledger))
    next(iter(ledger.orders.values())).reason = "other"
    seen.add(outcome_of(ledger))
    ledger.fills[0] = replace(ledger.fills[0], leg="other")
    seen.add(outcome_of(ledger))
    ledger.trades[0] = replace(ledger.trades[0], pnl_e8=0)
    seen.add(outcome_of(ledger))
    assert len(seen) == 5


def test_a_rule_that_fails_ends_the_run_there_and_keeps_what_was_before(tmp_path: Path) -> None:
    """The second day's schedule cannot be told: the first day's trade stays, the result says where and why."""

    def broken(session: Session) -> DayLines:
        if session.date == NEXT_DAY:
            raise ZeroDivisionError("no such hour")
        return lines(session)

    dataset = two_days().dataset(tmp_path)
    told: list[tuple[str, int, int]] = []
    sessions = dataset.between(DAY, NEXT_DAY)
    result = run_backtest(dataset, FREE, broken, sessions, told=lambda *step: told.append(step))
    assert [trade.session for trade in result.ledger.trades] == [DAY]
    assert [day.session for day in result.ledger.days] == [DAY]
    document = report(result, bars=Bars.AUTO, elapsed_ms=1)
    assert document["partial"] == {"session": NEXT_DAY, "error": "ZeroDivisionError: no such hour"}
    assert told == [(DAY, 1, 2), (NEXT_DAY, 2, 2)]


def test_an_unknown_symbol_is_named_with_its_neighbours(tmp_path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(BacktestError, match="no symbol AAB among the 1") as caught:
        play(two_days(), tmp_path, replace(FREE, symbols=("AAB",)))
    assert caught.value.hint == "the nearest are AAA"


def test_no_symbol_is_unknown_where_nothing_is_stored() -> None:
    """What is missing is an import, not a letter."""
    refuse_unknown((), None)
    with pytest.raises(NothingStoredError, match="there are no stored bars"):
        refuse_unknown((), ("AAB",))


def test_sessions_without_bars_are_refused(tmp_path: Path) -> None:
    """A range outside the store, and none at all."""
    dataset = two_days().dataset(tmp_path)
    late = [replace(dataset.sessions[-1], date="2030-01-02")]
    with pytest.raises(BacktestError, match="2030-01-02 to 2030-01-02: there are no bars for it"):
        run_backtest(dataset, FREE, lines, late)
    with pytest.raises(BacktestError, match="no session"):
        run_backtest(dataset, FREE, lines, [])


def test_a_dataset_changed_under_the_run_gives_no_result(tmp_path: Path) -> None:
    """However far the run had come."""
    dataset = two_days().dataset(tmp_path)

    def meddling(session: Session) -> DayLines:
        file = dataset.path / "minute_volume.col"
        file.chmod(0o644)
        file.write_bytes(file.read_bytes())
        return lines(session)

    with pytest.raises(DatasetChangedError, match="changed while it was used"):
        run_backtest(dataset, FREE, meddling, dataset.between(DAY, DAY))


def test_the_document_counts_what_happened(tmp_path: Path) -> None:
    """Sessions, trades, totals with their bounds, assumptions; money as texts."""
    found = play(two_days(), tmp_path, last=NEXT_DAY)
    document = report(found.result, bars=Bars.AUTO, elapsed_ms=7)
    rows = document["sessions"]
    assert isinstance(rows, list)
    assert rows[0] == {
        "session": DAY, "skipped": [], "bars": "minute", "candidates": 1, "plans": 1, "approved": 1, "orders": 3,
        "fills": 2, "trades": 1, "pnl": "-380.00", "flat": True, "held_over": [],
    }  # fmt: skip
    totals = document["totals"]
    assert isinstance(totals, dict)
    assert (totals["trades"], totals["ambiguous"]) == (2, 1)
    assert totals["pnl"] == totals["pnl_worst"] == "-380.00"
    assert totals["pnl_best"] == "1140.00"
    assert totals["max_drawdown"] == "380.00"
    assert totals["end_equity"] == "99620.00"
    assert document["partial"] is None
    assert document["jobs"] == {"done": 0, "dead": 0, "live": 0}


def test_results_are_kept_whole(tmp_path: Path) -> None:
    """The document, and a line for each decision, order and fill; the newest is named."""
    found = play(two_days(), tmp_path / "data")
    document = report(found.result, bars=Bars.AUTO, elapsed_ms=7)
    folder = keep(tmp_path, document, found.result)
    assert json.loads((folder / "result.json").read_text()) == document
    assert (tmp_path / FOLDER / "last").read_text().strip() == document["result_id"] == folder.name
    counts = [
        len((folder / name).read_text().splitlines())
        for name in ("decisions.jsonl", "orders.jsonl", "fills.jsonl")
    ]
    assert counts == [len(found.ledger.journal), 3, 2]
    assert as_lines(fill_rows(found.ledger)).count("worst_e4") == 2
    assert as_lines(order_rows(found.ledger)).count("\n") == 3
    assert as_lines(journal_rows(found.ledger)).startswith("[")
