"""On real bars the kernel gives what the reference gives: every fill, trade and count of every session."""

from collections.abc import Sequence

import pytest
from _pytest.mark.structures import ParameterSet

from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.backtest.checking import facts
from finagent.backtest.dataset import Dataset
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.running import Bars, Engine, run_backtest, trades_hash
from finagent.bootstrap.backtests import day_lines, parameters
from finagent.domain.market import Session
from finagent.settings import load_settings
from tests.e2e.cases import Case

RISK, SCAN, EXECUTION = "FINAGENT__RISK__", "FINAGENT__SCAN__", "FINAGENT__EXECUTION__"
PLANNING = "FINAGENT__PLANNING__"
LOOSE = {f"{SCAN}MIN_GAP_PCT": "2", f"{RISK}ALLOW_SHORTS": "true"}


A_YEAR, ALL = ("2017-01-03", "2017-12-29"), ("2005-01-03", "2018-02-15")
CASES = (Case("a year", A_YEAR, {}, 200), Case("a year, both ways", A_YEAR, LOOSE, 400))
MORE = (
    Case("all", ALL, {}, 4_000),
    Case("all, both ways", ALL, LOOSE, 4_000),
    Case("all, faded", ALL, {**LOOSE, f"{SCAN}STYLE": "fade"}, 4_000),
    Case("all, micro", ALL, {f"{RISK}PROFILE": "micro"}, 1_000),
    Case(
        "all, hardly any volume",
        ALL,
        {**LOOSE, f"{EXECUTION}PARTICIPATION_PCT": "0.003", f"{EXECUTION}AMBIGUITY": "path"},
        1_000,
    ),
)


def asked(
    case: Case, dataset: Dataset, calendar: ExchangeCalendar, monkeypatch: pytest.MonkeyPatch
) -> tuple[Parameters, Lines, Sequence[Session]]:
    """The rules of a case's settings, the lines of its days, and its sessions."""
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    return parameters(settings), day_lines(settings, calendar), dataset.between(*case.sessions)


def cases(short: Sequence[Case], long: Sequence[Case]) -> list[ParameterSet]:
    """By name; the long ones are for the full form."""
    return [
        *(pytest.param(case, id=case.name) for case in short),
        *(pytest.param(case, id=case.name, marks=pytest.mark.full) for case in long),
    ]


@pytest.mark.parametrize("case", cases(CASES, MORE))
def test_kernel_is_the_reference_on_real_bars(
    case: Case, dataset: Dataset, calendar: ExchangeCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings through both, session by session; sessions played again by themselves agree, too."""
    rules, lines, sessions = asked(case, dataset, calendar, monkeypatch)
    reference = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY)
    kernel = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.KERNEL, check=20)
    assert len(kernel.ledger.tallies) == len(sessions)
    assert kernel.checked == 20
    assert [trade.trade_id for trade in kernel.ledger.trades] == [
        trade.trade_id for trade in reference.ledger.trades
    ]
    assert trades_hash(kernel.ledger) == trades_hash(reference.ledger)
    assert kernel.ledger.days == reference.ledger.days
    for session in sessions[:: max(1, len(sessions) // 300)]:
        ours, theirs = (dict(facts(each.ledger, session.date)) for each in (kernel, reference))
        assert ours == theirs
    assert len(reference.ledger.trades) >= case.least_trades


MINUTES = ("2018-02-16", "2018-03-16")
MANY = {
    f"{SCAN}MIN_GAP_PCT": "0.5", f"{SCAN}MIN_RVOL": "0", f"{SCAN}TOP": "3", f"{RISK}ALLOW_SHORTS": "true",
    f"{RISK}MAX_OPEN_POSITIONS": "20", f"{RISK}MAX_TRADES_PER_DAY": "50", f"{RISK}MAX_POSITION_PCT": "10",
}  # fmt: skip
TIGHT = {f"{PLANNING}STOP_PCT": "0.3", f"{PLANNING}TARGET_R": "1.5", f"{PLANNING}TIME_STOP_MINUTES": "390"}
COMMISSION = {
    f"{EXECUTION}COMMISSION_PER_SHARE": "0.005", f"{EXECUTION}COMMISSION_MIN": "1",
    f"{EXECUTION}COMMISSION_MAX_PCT": "0.5",
}  # fmt: skip
TRAILING = {
    f"{PLANNING}TRAIL_AFTER_R": "0.1", f"{PLANNING}TRAIL_ATR": "0.1", f"{PLANNING}TIME_STOP_MINUTES": "20",
    f"{EXECUTION}AMBIGUITY": "target_first", f"{EXECUTION}PARTICIPATION_PCT": "0.02", **COMMISSION,
}  # fmt: skip
BOLD = {
    f"{RISK}RISK_PER_TRADE_PCT": "5", f"{RISK}MAX_POSITION_PCT": "100", f"{RISK}PAUSE_LOSS_PCT": "0.3",
    f"{RISK}FLATTEN_LOSS_PCT": "0.5", f"{RISK}MAX_LOSSES_IN_A_ROW": "2", f"{EXECUTION}COMMISSION_MIN": "1",
}  # fmt: skip
ON_MINUTES = (
    Case("as it comes", MINUTES, {}, 5),
    Case("trailing", MINUTES, {**MANY, **TRAILING}, 100),
)
MORE_ON_MINUTES = (
    Case("micro", MINUTES, {f"{SCAN}MIN_GAP_PCT": "2", f"{RISK}PROFILE": "micro"}, 10),
    Case("both ways", MINUTES, MANY, 80),
    Case("faded", MINUTES, {**MANY, f"{SCAN}STYLE": "fade"}, 80),
    Case("tight, along the path", MINUTES, {**MANY, **TIGHT, f"{EXECUTION}AMBIGUITY": "path"}, 100),
    Case("bold", MINUTES, {f"{SCAN}MIN_GAP_PCT": "2", **TIGHT, **BOLD}, 10),
    Case(
        "hardly any volume",
        MINUTES,
        {**MANY, **TIGHT, f"{EXECUTION}PARTICIPATION_PCT": "0.005", **COMMISSION},
        50,
    ),
    Case("days of both kinds", ("2018-01-02", "2018-03-16"), MANY, 150),
)


@pytest.mark.parametrize("case", cases(ON_MINUTES, MORE_ON_MINUTES))
def test_kernel_is_the_reference_on_real_minutes(
    case: Case, dataset: Dataset, calendar: ExchangeCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every session by the kernel, and every figure of every session what the reference says."""
    rules, lines, sessions = asked(case, dataset, calendar, monkeypatch)
    reference = run_backtest(dataset, rules, lines, sessions)
    kernel = run_backtest(dataset, rules, lines, sessions, engine=Engine.KERNEL, check=5)
    assert (len(kernel.ledger.tallies), kernel.checked) == (len(sessions), 5)
    assert trades_hash(kernel.ledger) == trades_hash(reference.ledger)
    for session in sessions:
        ours, theirs = (dict(facts(each.ledger, session.date)) for each in (kernel, reference))
        assert ours == theirs
    assert len(reference.ledger.trades) >= case.least_trades
