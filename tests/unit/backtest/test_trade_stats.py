"""Figures of trades that a person can reckon."""

import pytest

from finagent.backtest.trade_stats import TradeFigures, trade_stats


def trade(session: str, dollars: int, r: float, mae_r: float = -0.5, mfe_r: float = 1.0) -> TradeFigures:
    return TradeFigures(session=session, pnl_e8=dollars * 10**8, r=r, mae_r=mae_r, mfe_r=mfe_r)


def test_figures_are_those_of_a_pocket_calculator() -> None:
    """Won 300 and 100, lost 200 and nothing: half won, +0.25 R, 400 over 200."""
    stats = trade_stats(
        [
            trade("a", 300, 3),
            trade("b", 100, 1),
            trade("c", -200, -2, mae_r=-2.5),
            trade("d", 0, -1, mfe_r=0.2),
        ]
    )
    assert (stats.n, stats.sessions, stats.pnl_e8, stats.is_small) == (4, 4, 200 * 10**8, True)
    assert stats.win_rate.value == 0.5
    assert (stats.win_rate.low, stats.win_rate.high) == pytest.approx((0.150, 0.850), abs=5e-4)
    assert stats.expectancy_r.value == 0.25
    assert stats.expectancy_r.low == pytest.approx(0.25 - 3.182 * (59 / 16) ** 0.5 / 3**0.5, abs=0.02)
    assert stats.profit_factor.value == 2.0
    assert (stats.mae_r.value, stats.mfe_r.value) == (-1.0, 0.8)


def test_trades_of_one_day_are_one_day() -> None:
    """Four trades of one session tell nothing of other sessions; without a loss there is no profit factor."""
    stats = trade_stats([trade("a", 100, 1)] * 4)
    assert stats.sessions == 1
    assert stats.expectancy_r.low is None
    assert stats.win_rate.low == pytest.approx(0.207, abs=0.001)
    assert stats.profit_factor.value is None


def test_thirty_trades_are_no_longer_few() -> None:
    """The mark ends where the design says it does."""
    trades = [trade(f"s{number}", 1, 0.1) for number in range(30)]
    assert not trade_stats(trades).is_small
    assert trade_stats(trades[1:]).is_small
