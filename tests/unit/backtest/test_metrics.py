"""The figures of a result: equal to two public libraries' on the same returns, and honest where nothing is known."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.ledger import DayRow, Ledger
from finagent.backtest.metrics import Course, course_of, drawdowns, figures, of_returns, of_trades
from finagent.domain.positions import Trade
from tests.conformance.trading import DAY, NEXT_DAY, market, play, until_close, with_bars
from tests.unit.backtest.public_figures import FILE, courses, money

EXPECTED = json.loads(FILE.read_text(encoding="utf-8"))
E8 = 100_000_000


@pytest.fixture(scope="module")
def trade(tmp_path_factory: pytest.TempPathFactory) -> Trade:
    """A real one, to make others of."""
    stored = until_close(with_bars(market(), ("09:40", 105, 112, 104, 106)), 106, first="09:41")
    return play(stored, tmp_path_factory.mktemp("market")).trade


@pytest.mark.parametrize("name", sorted(courses()))
def test_figures_of_returns_are_those_of_empyrical(name: str) -> None:
    """Growth, volatility, Sharpe, Sortino, Calmar, drawdown: to ten digits."""
    found = of_returns(courses()[name])
    assert {key: found[key] for key in EXPECTED[name]} == pytest.approx(EXPECTED[name], rel=1e-10)


def test_figures_of_trades_are_those_of_quantstats(trade: Trade) -> None:
    """Profit factor, payoff, runs of losses; the win rate beside them."""
    trades = [
        replace(trade, pnl_e8=cents * 1_000_000, exit_at_ms=trade.exit_at_ms + place)
        for place, cents in enumerate(money())
    ]
    found, expected = of_trades(trades), EXPECTED["trades"]
    for key in ("profit_factor", "payoff", "most_losses_in_a_row"):
        assert found[key] == pytest.approx(expected[key], rel=1e-12)
    assert found["wins"] == pytest.approx(expected["win_rate"] * len(trades))
    assert of_trades(trades[::-1]) == found  # in whatever order they come


def test_nothing_tested_is_unknown_and_never_nought() -> None:
    """No returns, one, and some without any spread."""
    ratios = ("cagr", "sharpe", "sortino", "calmar", "max_drawdown_ratio", "volatility")
    assert [of_returns([])[key] for key in ratios] == [None] * 6
    assert [of_returns([0.0, 0.0])[key] for key in ("sharpe", "sortino", "calmar")] == [None] * 3
    assert of_returns([0.01])["sharpe"] is None
    assert of_returns([0.0, 0.0])["cagr"] == 0.0
    assert {of_trades([])[key] for key in ("profit_factor", "expectancy_r", "median_r", "payoff")} == {None}


def test_a_loser_that_never_comes_leaves_the_profit_factor_unknown(trade: Trade) -> None:
    """Division by nothing is no infinity in a document."""
    won = replace(trade, pnl_e8=5 * E8, r_multiple_e6=500_000)
    found = of_trades([won, replace(won, r_multiple_e6=1_500_000)])
    assert (found["profit_factor"], found["payoff"], found["average_loss"]) == (None, None, None)
    assert (found["expectancy"], found["expectancy_r"], found["median_r"]) == (5.0, 1.0, 1.0)
    assert found["average_minutes"] == (won.exit_at_ms - won.entry_at_ms) / 60_000


def ledger(trade: Trade, *gains_e8: int, start_e8: int = 1_000 * E8) -> Ledger:
    """A session without bars, two with, and trades that ended in the second of these."""
    found = Ledger(start_e8)
    found.days = [
        DayRow("2018-02-05", True, (), 0, ("no bars",)),
        DayRow(DAY, True, (), 0, ("a scan that came too late",)),
        DayRow(NEXT_DAY, True, (), 0, ()),
    ]
    for gain_e8 in gains_e8:
        found.add_trade(replace(trade, pnl_e8=gain_e8), NEXT_DAY)
    return found


def test_a_session_without_bars_is_no_return(trade: Trade) -> None:
    """What was not tested is left out; a session that was tested and did nothing is a return of nought."""
    course = course_of(ledger(trade, 10 * E8, -30 * E8))
    assert course.sessions == (DAY, NEXT_DAY)
    assert course.equity_e8 == [1_000 * E8, 980 * E8]
    assert course.returns == [0.0, -0.02]
    assert figures(ledger(trade, 10 * E8))["sessions"] == 2


def test_an_empty_account_has_no_returns(trade: Trade) -> None:
    """A return on nothing is none; the trades' own figures stay."""
    ruined = ledger(trade, -2_000 * E8)
    ruined.days.append(DayRow("2018-02-08", True, (), 0, ()))
    assert course_of(ruined).returns is None
    found = figures(ruined)
    assert (found["sharpe"], found["cagr"], found["losses"]) == (None, None, 1)


def test_the_drawdown_lasts_until_a_new_high() -> None:
    """Down, half up, up again: four sessions below."""
    found = of_returns([0.1, -0.5, 0.2, 0.2, 0.1, 0.5])
    assert found["longest_drawdown_sessions"] == 4
    assert found["max_drawdown_ratio"] == pytest.approx(-0.5)
    assert Path(FILE).name == "public_figures.json"


def test_drawdowns_are_told_with_their_days_the_deepest_first(trade: Trade) -> None:
    """A fall that was made good, one that was not; a session at the old peak ends one."""
    days = [f"2018-01-{day:02d}" for day in range(1, 9)]
    course = Course(tuple(days), tuple(each * E8 for each in (10, -11, 5, 6, 0, -20, 5, -1)), 100 * E8)
    first = {"depth": pytest.approx(-0.1), "from": days[1], "lowest": days[1], "back": days[3], "sessions": 2}
    second = {
        "depth": pytest.approx(-2 / 11),
        "from": days[5],
        "lowest": days[5],
        "back": None,
        "sessions": 3,
    }
    assert drawdowns(course) == [second, first]
    assert drawdowns(course, 1) == [second]
    assert drawdowns(Course((), (), 100 * E8)) == []
