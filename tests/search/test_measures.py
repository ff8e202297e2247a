"""Figures of a run of sessions, reckoned by hand and by another library; requirements; the front."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.backtest.errors import BacktestError
from finagent.backtest.metrics import of_returns
from finagent.backtest.search.measures import front, measure, requirement, returns_of

E8 = 10**8
CENTS = st.integers(-40, 50).map(lambda tenths: tenths * E8 // 10)


def test_measures_reckoned_by_hand() -> None:
    """100 to 110, 99, 108.9: returns +10 %, -10 %, +10 %."""
    found = measure(
        np.array([10, -11, 9.9]).astype(float).__mul__(E8).astype(np.int64), 100 * E8, trades=4, wins=2
    )
    assert found["return"] == pytest.approx(0.089)
    assert found["max_drawdown"] == pytest.approx(0.1)
    assert found["cagr"] == pytest.approx(1.089**84 - 1)
    deviation = sqrt(((0.1 - 1 / 30) ** 2 * 2 + (-0.1 - 1 / 30) ** 2) / 2)
    assert found["sharpe"] == pytest.approx(1 / 30 / deviation * sqrt(252))
    assert found["sortino"] == pytest.approx(1 / 30 / sqrt(0.01 / 3) * sqrt(252))
    assert found["volatility"] == pytest.approx(deviation * sqrt(252))
    assert found["calmar"] == pytest.approx((1.089**84 - 1) / 0.1)
    assert found["expectancy"] == pytest.approx(8.9 / 4)
    assert (found["win_rate"], found["trades"]) == (0.5, 4)
    assert found["worst_session"] == pytest.approx(-0.1)


@given(st.lists(CENTS, min_size=3, max_size=60))
def test_measures_agree_with_pandas_on_the_same_returns(gains: list[int]) -> None:
    """Equity, drawdown, deviation and mean as pandas reckons them."""
    found = measure(np.array(gains), 1_000 * E8, trades=1, wins=0)
    equity = pd.Series([1_000 * E8, *(1_000 * E8 + np.cumsum(gains))], dtype="float64")
    returns = equity.pct_change().dropna()
    assert found["return"] == pytest.approx((1 + returns).prod() - 1, abs=1e-12)
    assert found["max_drawdown"] == pytest.approx(float((1 - equity / equity.cummax()).max()), abs=1e-12)
    if returns.std():
        assert found["sharpe"] == pytest.approx(returns.mean() / returns.std() * sqrt(252))


@given(st.lists(CENTS, min_size=1, max_size=60))
def test_measures_are_the_figures_of_a_backtests_report(gains: list[int]) -> None:
    """Which are held against empyrical and quantstats: the same numbers by the same names."""
    found = measure(np.array(gains), 1_000 * E8, trades=1, wins=0)
    figures = of_returns(returns_of(np.array(gains), 1_000 * E8).tolist())
    for name in ("cagr", "volatility", "sharpe", "sortino", "calmar"):
        ours, theirs = found[name], figures[name]
        assert (ours is None) is (theirs is None) or name == "volatility", name
        assert ours is None or theirs is None or ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    assert found["return"] == pytest.approx(figures["total_return"], abs=1e-12)
    fall = figures["max_drawdown_ratio"]
    assert fall is not None
    assert found["max_drawdown"] == pytest.approx(-fall, abs=1e-12)


def test_what_is_not_known_is_none() -> None:
    """No session, no trade, an account used up."""
    empty = measure(np.zeros(0, np.int64), E8, trades=0, wins=0)
    assert {name for name, value in empty.items() if value is not None} == {
        "return", "max_drawdown", "volatility", "trades",
    }  # fmt: skip
    ruined = measure(np.array([-2 * E8, E8]), E8, trades=1, wins=0)
    assert (ruined["return"], ruined["cagr"], ruined["max_drawdown"]) == (-1.0, None, 2.0)
    assert returns_of(np.array([-2 * E8, 5 * E8]), E8).tolist() == [-1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "value", "is_met"),
    [
        ("trades>=30", 30, True), ("trades > 30", 30, False), ("trades<=30", 30, True), ("trades<30", 30, False),
        ("trades>=30", 29, False), ("trades>30", 31, True), ("trades>=30", None, False),
    ],
)  # fmt: skip
def test_a_requirement_is_met_or_not(text: str, value: float | None, is_met: bool) -> None:
    """At its bound and on both sides of it; the excess is above 0 exactly where it is missed."""
    asked = requirement(text)
    assert asked.is_met({"trades": value}) is is_met
    assert (asked.excess({"trades": value}) > 0) is not is_met


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("trades=30", "is no requirement", '"trades>=30"'),
        ("trades>=1.2.3", "is no requirement", '"trades>=30"'),
        ("max_drawdwn<=0.2", "there is no such measure", "did you mean max_drawdown?"),
        ("qqqq>1", "there is no such measure", "there are return"),
    ],
)
def test_a_wrong_requirement_names_its_mend(text: str, words: str, hint: str) -> None:
    """In one line."""
    with pytest.raises(BacktestError, match=words) as caught:
        requirement(text)
    assert hint in caught.value.hint


def test_the_front_by_hand() -> None:
    """(return, drawdown): c is beaten by b in both, d equals a, e is not known."""
    points = [(0.1, 0.1), (0.3, 0.2), (0.2, 0.25), (0.1, 0.1), (None, 0.0), (0.05, 0.05)]
    rows = [{"return": gained, "max_drawdown": fell} for gained, fell in points]
    assert front(rows, ("return", "max_drawdown")) == [0, 1, 5]
    assert front([], ("return",)) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(points: list[tuple[int, int]]) -> None:
    """Against the definition, pair by pair."""
    rows = [{"return": float(gained), "max_drawdown": float(fell)} for gained, fell in points]
    kept = front(rows, ("return", "max_drawdown"))

    def is_beaten(at: int) -> bool:
        gained, fell = points[at]
        return any(
            (other[0] >= gained and other[1] <= fell) and (other != points[at] or number < at)
            for number, other in enumerate(points)
        )

    assert kept == [at for at in range(len(points)) if not is_beaten(at)]
