"""Figures of trades: win rate, expectancy in R, profit factor, excursions, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finagent.backtest import intervals
from finagent.backtest.intervals import Estimate
from finagent.domain.money import MONEY_SCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """What a closed trade came to; money in 1e-8."""

    session: str
    pnl_e8: int
    r: float
    mae_r: float
    mfe_r: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStats:
    """Figures of a group. ``profit_factor`` is gross profit over gross loss, None without a loss."""

    n: int
    sessions: int
    pnl_e8: int
    win_rate: Estimate
    expectancy_r: Estimate
    profit_factor: Estimate
    mae_r: Estimate
    mfe_r: Estimate

    @property
    def is_small(self) -> bool:
        """Too few to mean anything."""
        return self.n < intervals.SMALL


def trade_stats(trades: Sequence[TradeFigures]) -> TradeStats:
    """Of at least one trade; those of one session count as partly the same."""
    _, sessions = np.unique(np.asarray([trade.session for trade in trades]), return_inverse=True)
    money = np.asarray([trade.pnl_e8 for trade in trades], np.float64) / MONEY_SCALE
    columns = {
        name: np.asarray([getattr(trade, name) for trade in trades], np.float64)
        for name in ("r", "mae_r", "mfe_r")
    }
    return TradeStats(
        n=len(trades),
        sessions=int(np.unique(sessions).size),
        pnl_e8=sum(trade.pnl_e8 for trade in trades),
        win_rate=intervals.rate(money > 0, sessions),
        expectancy_r=intervals.mean(columns["r"], sessions),
        profit_factor=intervals.ratio(np.maximum(money, 0), np.maximum(-money, 0), sessions),
        mae_r=intervals.mean(columns["mae_r"], sessions),
        mfe_r=intervals.mean(columns["mfe_r"], sessions),
    )
