"""A backtest and a replay of the same sessions are the same: trades, fills, orders, plans and decisions."""

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.backtest.dataset import Dataset
from finagent.backtest.ledger import Ledger
from finagent.backtest.running import run_backtest
from finagent.bootstrap.backtests import day_lines, parameters
from finagent.bootstrap.runs import run_path, run_replay
from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.domain.plan import Plan
from finagent.domain.positions import Trade
from finagent.settings import load_settings
from tests.e2e.cases import Case

GAP, SCAN = "FINAGENT__SCAN__MIN_GAP_PCT", "FINAGENT__SCAN__"
PLANNING, EXECUTION, RISK = "FINAGENT__PLANNING__", "FINAGENT__EXECUTION__", "FINAGENT__RISK__"
MINUTES, EXTENDED, QUOTED = (
    ("2018-02-16", "2018-03-16"),
    ("2011-01-03", "2011-01-31"),
    ("2013-10-04", "2013-10-11"),
)
SHORTS = {f"{RISK}ALLOW_SHORTS": "true"}
STRUCTURE = {GAP: "2", f"{PLANNING}PRESET": "structure", **SHORTS}
ANYTHING = {
    GAP: "0.1", f"{SCAN}MIN_ADV_USD": "0", f"{SCAN}MAX_PRICE": "100000", f"{SCAN}MIN_PREMARKET_VOLUME": "0",
    f"{SCAN}MIN_RVOL": "0", **SHORTS,
}  # fmt: skip
TIGHT = {f"{PLANNING}STOP_PCT": "0.3", f"{PLANNING}TARGET_R": "1.5", f"{PLANNING}TIME_STOP_MINUTES": "390"}


CASES = (
    Case("classic", MINUTES, {}, 5),
    Case(
        "in parts, with commission",
        ("2018-02-21", "2018-02-23"),
        {
            GAP: "2",
            f"{EXECUTION}PARTICIPATION_PCT": "0.02",
            f"{EXECUTION}COMMISSION_PER_SHARE": "0.005",
            f"{EXECUTION}COMMISSION_MIN": "1",
            f"{EXECUTION}COMMISSION_MAX_PCT": "0.5",
        },
        2,
    ),
    Case("structure", MINUTES, {**STRUCTURE, f"{PLANNING}STRUCTURE_SETUP": "vwap_reclaim"}, 5),
)
MORE = (
    Case("opening auction", QUOTED, ANYTHING, 1),
    Case("classic at 2 %", MINUTES, {GAP: "2"}, 20),
    Case("premarket break", EXTENDED, {**ANYTHING, f"{PLANNING}PRESET": "structure"}, 0),
    Case(
        "opening range", MINUTES, {GAP: "2", **SHORTS, f"{PLANNING}CLASSIC_ENTRY": "opening_range_break"}, 10
    ),
    Case("fade", MINUTES, {GAP: "2", **SHORTS, f"{SCAN}STYLE": "fade"}, 10),
    Case("micro", MINUTES, {GAP: "2", f"{RISK}PROFILE": "micro"}, 10),
    Case(
        "trailing, late approval",
        MINUTES,
        {
            GAP: "2",
            f"{PLANNING}TRAIL_AFTER_R": "0.3",
            f"{PLANNING}TRAIL_ATR": "0.3",
            "FINAGENT__APPROVAL__SIMULATED_DELAY_S": "150",
        },
        20,
    ),
    Case(
        "hardly any volume, with commission",
        MINUTES,
        {
            GAP: "2",
            **TIGHT,
            f"{EXECUTION}PARTICIPATION_PCT": "0.005",
            f"{EXECUTION}COMMISSION_PER_SHARE": "0.005",
            f"{EXECUTION}COMMISSION_MIN": "1",
            f"{EXECUTION}COMMISSION_MAX_PCT": "0.5",
        },
        20,
    ),
    Case(
        "bold, with commission",
        MINUTES,
        {
            GAP: "2",
            **TIGHT,
            f"{RISK}RISK_PER_TRADE_PCT": "5",
            f"{RISK}MAX_POSITION_PCT": "100",
            f"{RISK}PAUSE_LOSS_PCT": "0.3",
            f"{RISK}FLATTEN_LOSS_PCT": "0.5",
            f"{EXECUTION}COMMISSION_PER_SHARE": "0.005",
            f"{EXECUTION}COMMISSION_MIN": "1",
        },
        10,
    ),
    Case(
        "slippage by range and participation",
        MINUTES,
        {GAP: "2", **TIGHT, f"{EXECUTION}SLIPPAGE_RANGE_PCT": "10", f"{EXECUTION}SLIPPAGE_IMPACT_BPS": "100"},
        20,
    ),
    Case("breakers", MINUTES, {GAP: "2", **TIGHT, f"{RISK}MAX_LOSSES_IN_A_ROW": "2"}, 10),
    Case(
        "first pull-back, along the path",
        MINUTES,
        {**STRUCTURE, f"{PLANNING}STRUCTURE_SETUP": "first_pullback", f"{EXECUTION}AMBIGUITY": "path"},
        1,
    ),
    Case(
        "VWAP pull-back, target first",
        MINUTES,
        {
            **STRUCTURE,
            GAP: "0.5",
            f"{SCAN}MIN_RVOL": "0",
            f"{PLANNING}STRUCTURE_SETUP": "vwap_pullback",
            f"{EXECUTION}AMBIGUITY": "target_first",
        },
        1,
    ),
    Case(
        "gap fill",
        MINUTES,
        {**STRUCTURE, f"{PLANNING}STRUCTURE_SETUP": "gap_fill_fade", f"{SCAN}STYLE": "fade"},
        1,
    ),
)


@dataclass(frozen=True)
class Both:
    """The file of a replay and the ledger of a backtest."""

    case: Case
    file: sqlite3.Connection
    ledger: Ledger


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param(case, id=case.name) for case in CASES),
        *(pytest.param(case, id=case.name, marks=pytest.mark.full) for case in MORE),
    ],
)
def both(
    request: pytest.FixtureRequest,
    real_home: Path,
    calendar: ExchangeCalendar,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """The same settings through the agent's services and through the reference engine."""
    case: Case = request.param
    home = tmp_path_factory.mktemp("replay")
    (home / "bars").symlink_to(real_home / "bars")
    first, last = case.sessions
    with pytest.MonkeyPatch.context() as patch:
        for name, value in case.environment.items():
            patch.setenv(name, value)
        settings = load_settings()
        document = asyncio.run(run_replay(settings, home, first=first, last=last))
    rules, lines = parameters(settings), day_lines(settings, calendar)
    result = run_backtest(dataset, rules, lines, dataset.between(first, last))
    assert result.failure is None
    return Both(case, sqlite3.connect(run_path(home, str(document["result_id"]))), result.ledger)


def test_trades_are_equal_field_by_field(both: Both) -> None:
    """Every field of every trade, its exits included."""
    rows = both.file.execute("SELECT body FROM trade ORDER BY trade_id").fetchall()
    replayed = [decode(Trade, body) for (body,) in rows]
    assert sorted(both.ledger.trades, key=lambda trade: trade.trade_id) == replayed
    assert len(replayed) >= both.case.least_trades


def test_fills_are_equal(both: Both) -> None:
    """Execution, price, instant, fees, leg and reason, in the order in which they were booked."""
    rows = both.file.execute("SELECT body, leg, reason FROM fill ORDER BY recorded_seq").fetchall()
    replayed = [(decode(BrokerFill, body), leg, reason) for body, leg, reason in rows]
    assert [(row.fill, row.leg, row.reason) for row in both.ledger.fills] == replayed


def test_orders_are_equal(both: Both) -> None:
    """Bodies, states and instants of every order, the ones that never filled included."""
    rows = both.file.execute(
        "SELECT body, state, filled, created_at, accepted_at, ended_at, reason FROM broker_order"
        " ORDER BY client_order_id"
    ).fetchall()
    tested = [
        (
            row.intent,
            row.state.value,
            row.filled_e4,
            row.created_at_ms,
            row.accepted_at_ms,
            row.ended_at_ms,
            row.reason,
        )
        for _, row in sorted(both.ledger.orders.items())
    ]
    assert tested == [(decode(OrderIntent, body), *rest) for body, *rest in rows]


def test_plans_are_equal(both: Both) -> None:
    """Every plan with its state and the reason for it."""
    rows = both.file.execute("SELECT body, state, reason FROM plan ORDER BY plan_id").fetchall()
    tested = [(row.plan, row.state.value, row.reason) for _, row in sorted(both.ledger.plans.items())]
    assert tested == [(decode(Plan, body), state, reason) for body, state, reason in rows]


DECISIONS = (
    "scan", "score", "no_plan", "plan", "risk", "approved", "plan_ended", "intent", "fill", "exit", "move_stop",
    "trade", "limit", "day_report",
)  # fmt: skip
"""What is decided, and what came of it; the steps of an order at its broker are compared as orders."""


def test_decisions_come_in_the_same_order(both: Both) -> None:
    """Instant, kind and subject of every decision."""
    tested = [(e.at_ms, e.kind, e.ref) for e in both.ledger.journal if e.kind in DECISIONS]
    rows = both.file.execute("SELECT at, kind, ref FROM journal ORDER BY seq").fetchall()
    assert tested == [row for row in rows if row[1] in DECISIONS]
    assert {"scan", "plan", "trade", "day_report"} <= {kind for _, kind, _ in tested}


def test_scans_drop_the_same_symbols_for_the_same_reasons(both: Both) -> None:
    """Candidates, drops by reason and data issues of every scan."""
    tested = {entry.ref: dict(entry.data) for entry in both.ledger.journal if entry.kind == "scan"}
    rows = both.file.execute(
        "SELECT ref, json_extract(data, '$.universe'), json_extract(data, '$.dropped') FROM journal"
        " WHERE kind = 'scan'"
    ).fetchall()
    assert {ref: (found["universe"], found["dropped"]) for ref, found in tested.items()} == {
        ref: (universe, json.loads(dropped)) for ref, universe, dropped in rows
    }
