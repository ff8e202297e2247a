"""The market beside a result, reckoned by hand."""

import math
from pathlib import Path

import pytest

from finagent.backtest.holding import market_held
from finagent.backtest.metrics import Course
from tests.conformance.made_up import MadeUp, MadeUpCalendar

DAYS = ("2018-01-02", "2018-01-03", "2018-01-04", "2018-01-05")
E8 = 100_000_000


def market(*closes: str | None, symbol: str = "SPY") -> MadeUp:
    """A session before the first, and one close a session; None: no bar."""
    stored = MadeUp(MadeUpCalendar("2017-12-29", 8))
    for day, close in zip(("2018-01-01", *DAYS), closes, strict=False):
        if close is not None:
            stored.daily_bar(day, symbol, close, close, close, close, 1_000)
    return stored


def course(*pnl: int) -> Course:
    return Course(DAYS[: len(pnl)], tuple(each * E8 for each in pnl), 100 * E8)


def test_growth_is_from_close_to_close_with_splits_and_dividends(tmp_path: Path) -> None:
    """100 to 110, two for one to 54, a dollar paid at 53: 10 %, -2/110, nothing."""
    stored = market("100", "110", "54", "53")
    stored.action("SPY", "2018-01-03", split="2")
    stored.action("SPY", "2018-01-04", dividend=1)
    found = market_held(stored.dataset(tmp_path), course(10, -11, 0))
    assert found is not None
    assert found["returns"] == pytest.approx([0.1, -2 / 110, 0.0], abs=1e-8)
    assert found["total_return"] == pytest.approx(1.1 * 108 / 110 - 1)
    assert found["max_drawdown_ratio"] == pytest.approx(-2 / 110)
    assert (found["symbol"], found["missing"], found["dividends"]) == ("SPY", 0, 1)
    x, y = [0.1, -2 / 110, 0.0], [0.1, -0.1, 0.0]
    mean = sum(x) / 3
    both = sum((a - mean) * b for a, b in zip(x, y, strict=True))
    spread = sum((a - mean) ** 2 for a in x)
    assert found["beta"] == pytest.approx(both / spread)
    assert found["correlation"] == pytest.approx(both / math.sqrt(spread * 0.02))


def test_a_close_that_is_not_stored_leaves_its_sessions_out(tmp_path: Path) -> None:
    """Two returns need it; what is left is told, and how many are not."""
    found = market_held(market("100", "110", None, "120", "126").dataset(tmp_path), course(1, 1, 1, 1))
    assert found is not None
    assert found["returns"] == pytest.approx([0.1, None, None, 0.05])
    assert found["missing"] == 2
    assert found["total_return"] == pytest.approx(1.1 * 1.05 - 1)


def test_without_bars_of_the_market_there_is_nothing_to_hold(tmp_path: Path) -> None:
    """Another symbol alone; and one session alone moves with nothing."""
    assert market_held(market("1", "2", symbol="AAA").dataset(tmp_path / "a"), course(1)) is None
    found = market_held(market("100", "110").dataset(tmp_path / "b"), course(1))
    assert found is not None
    assert (found["correlation"], found["beta"], found["total_return"]) == (None, None, pytest.approx(0.1))


def test_an_account_that_was_emptied_moves_with_nothing(tmp_path: Path) -> None:
    """It has no returns."""
    found = market_held(market("100", "110", "120").dataset(tmp_path), course(-100, 1))
    assert found is not None
    assert (found["correlation"], found["total_return"]) == (None, pytest.approx(0.2))
