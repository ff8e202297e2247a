"""What a trial came to, in figures of its sessions; requirements and objectives are named after these."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, sqrt

import numpy as np
import numpy.typing as npt

from finagent.backtest.errors import BacktestError
from finagent.backtest.source import Ints
from finagent.domain.money import MONEY_SCALE

Floats = npt.NDArray[np.float64]
YEAR = 252
"""Sessions of a year."""
MEASURES = {
    "return": "max",
    "cagr": "max",
    "max_drawdown": "min",
    "sharpe": "max",
    "sortino": "max",
    "calmar": "max",
    "volatility": "min",
    "expectancy": "max",
    "win_rate": "max",
    "worst_session": "max",
    "trades": "max",
}
"""Each measure with what is better; docs/optimize.md says how each is reckoned."""
OPERATORS = (">=", "<=", ">", "<")


def measure(gains_e8: Ints, start_equity_e8: int, *, trades: int, wins: int) -> dict[str, float | None]:
    """All measures of a run of sessions; None where it does not tell: no trade, no variance, an account used up.

    Returns are those of sessions on the equity before each; Sharpe and Sortino are per year of 252 sessions, without a
    riskless rate (W. F. Sharpe, "The Sharpe Ratio", 1994; F. A. Sortino and L. N. Price, 1994, target 0); Calmar is
    CAGR over the deepest drawdown (T. W. Young, 1991).
    """
    equity = equity_of(gains_e8, start_equity_e8)
    returns = returns_of(gains_e8, start_equity_e8)
    years = len(gains_e8) / YEAR
    total = float(equity[-1] / equity[0] - 1)
    peak = np.maximum.accumulate(equity)
    drawdown = float(((peak - equity) / peak).max())
    cagr = (1 + total) ** (1 / years) - 1 if total > -1 and years else None
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    downside = sqrt(float(np.square(np.minimum(returns, 0)).mean())) if len(returns) else 0.0
    mean = float(returns.mean()) if len(returns) else 0.0
    found: dict[str, float | None] = {
        "return": total,
        "cagr": cagr,
        "max_drawdown": drawdown,
        "sharpe": mean / spread * sqrt(YEAR) if spread else None,
        "sortino": mean / downside * sqrt(YEAR) if downside else None,
        "calmar": cagr / drawdown if drawdown and cagr is not None else None,
        "volatility": spread * sqrt(YEAR),
        "expectancy": int(gains_e8.sum()) / trades / MONEY_SCALE if trades else None,
        "win_rate": wins / trades if trades else None,
        "worst_session": float(returns.min()) if len(returns) else None,
        "trades": float(trades),
    }
    return {name: value if value is not None and isfinite(value) else None for name, value in found.items()}


def equity_of(gains_e8: Ints, start_equity_e8: int) -> Floats:
    """Equity before the first session and after each, in 1e-8; the sums are exact, their floats are not."""
    sums = np.concatenate(([0], np.cumsum(np.asarray(gains_e8, np.int64)))) + start_equity_e8
    return sums.astype(np.float64)


def returns_of(gains_e8: Ints, start_equity_e8: int) -> Floats:
    """Each session's gain on the equity before it; from the session on that uses the account up, -1 and then 0."""
    equity = equity_of(gains_e8, start_equity_e8)
    before, after = equity[:-1], equity[1:]
    alive: npt.NDArray[np.bool_] = np.minimum.accumulate(before) > 0
    returns = np.zeros(len(before))
    np.divide(after - before, before, out=returns, where=alive)
    return np.maximum(returns, -1.0)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a trial has to meet, as it is written: ``trades>=30``."""

    text: str
    name: str
    operator: str
    bound: float

    def is_met(self, measures: Mapping[str, float | None]) -> bool:
        """What is not known meets nothing."""
        value = measures.get(self.name)
        return value is not None and self.excess(measures) <= 0

    def excess(self, measures: Mapping[str, float | None]) -> float:
        """How far it is missed, 0 or below where it is met; what is not known misses by 1e9."""
        value = measures.get(self.name)
        if value is None:
            return 1e9
        away = self.bound - value if self.operator.startswith(">") else value - self.bound
        return away if "=" in self.operator or away != 0 else 1e-12


def requirement(text: str) -> Requirement:
    """A requirement as it is written; BacktestError names what is wrong with it."""
    found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*(-?[0-9.]+(?:e-?\d+)?)\s*", text)
    try:
        bound = float(found[3]) if found else 0.0
    except ValueError:
        found = None
    if found is None:
        raise BacktestError(
            f"--require {text} is no requirement",
            hint='write a measure, >= or <=, and a number: "trades>=30"',
            code="require",
        )
    known(found[1], option="--require")
    return Requirement("".join(text.split()), found[1], found[2], bound)


def known(name: str, *, option: str) -> str:
    """The name of a measure; BacktestError with the nearest for one that is none."""
    if name not in MEASURES:
        close = get_close_matches(name, MEASURES, n=1, cutoff=0.5)
        raise BacktestError(
            f"{option} {name}: there is no such measure",
            hint=f"did you mean {close[0]}?" if close else f"there are {', '.join(MEASURES)}",
            code="measure",
        )
    return name


def score(name: str, measures: Mapping[str, float | None]) -> float:
    """A measure so that more is better; what is not known is worst."""
    value = measures.get(name)
    if value is None:
        return -float("inf")
    return value if MEASURES[name] == "max" else -value


def front(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> list[int]:
    """The rows that no other beats in one of the measures without losing in another (Pareto), in their order.

    Of rows that are equal in all of them the first stands for all.
    """
    points = [tuple(score(name, row) for name in names) for row in rows]
    order = sorted(range(len(points)), key=lambda at: (tuple(-value for value in points[at]), at))
    kept: list[int] = []
    for at in order:
        is_beaten = any(
            all(theirs >= ours for theirs, ours in zip(points[other], points[at], strict=True))
            for other in kept
        )
        if not is_beaten and all(value > -float("inf") for value in points[at]):
            kept.append(at)
    return sorted(kept)
