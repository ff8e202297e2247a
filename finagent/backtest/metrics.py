"""The figures of a result: of its returns by session, and of its trades.

Each has the definition of the public libraries (empyrical, quantstats) at 252 sessions a year and without a riskless
rate; what they would show as infinite or undefined is None. Sums are exact or rounded once, so no order matters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from finagent.backtest.ledger import Ledger
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE
from finagent.domain.positions import Trade

SESSIONS_A_YEAR = 252
Figures = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Course:
    """The account by session tested: profit, and equity before it."""

    sessions: tuple[str, ...]
    pnl_e8: tuple[int, ...]
    start_equity_e8: int

    @property
    def equity_e8(self) -> list[int]:
        """Equity after each session."""
        level, course = self.start_equity_e8, []
        for pnl_e8 in self.pnl_e8:
            level += pnl_e8
            course.append(level)
        return course

    @property
    def returns(self) -> list[float] | None:
        """Profit over equity before it, by session; None once the account was empty: nothing can be told of it."""
        before = [self.start_equity_e8, *self.equity_e8[:-1]]
        if min(before) <= 0:
            return None
        return [pnl_e8 / equity_e8 for pnl_e8, equity_e8 in zip(self.pnl_e8, before, strict=True)]


def course_of(ledger: Ledger) -> Course:
    """The account over the sessions that had bars, a trade counted in the session in which it ended."""
    pnl = dict.fromkeys((day.session for day in ledger.days if not _is_empty(day.skipped)), 0)
    for trade, session in zip(ledger.trades, ledger.exit_sessions, strict=True):
        pnl[session] = pnl.get(session, 0) + trade.pnl_e8
    sessions = sorted(pnl)
    return Course(tuple(sessions), tuple(pnl[each] for each in sessions), ledger.start_equity_e8)


def _is_empty(skipped: Sequence[str]) -> bool:
    """Whether a session was left out for want of bars; a scan alone that was skipped is none of it."""
    return any(reason in ("no bars", "no minute bars") for reason in skipped)


def figures(ledger: Ledger) -> Figures:
    """All of them, by name."""
    course = course_of(ledger)
    return {**of_returns(course.returns or []), **of_trades(ledger.trades)}


def of_returns(returns: Sequence[float]) -> Figures:
    """What simple returns by session came to; ratios without returns or without any spread are None."""
    count = len(returns)
    growth = math.prod(1 + each for each in returns)
    cagr = growth ** (SESSIONS_A_YEAR / count) - 1 if count and growth >= 0 else None
    drawdown, longest = _falls(returns)
    spread = _deviation(returns)
    below = math.sqrt(math.fsum(min(each, 0.0) ** 2 for each in returns) / count) if count else 0.0
    mean, year = math.fsum(returns) / count if count else 0.0, math.sqrt(SESSIONS_A_YEAR)
    return {
        "sessions": count,
        "total_return": growth - 1 if count else None,
        "cagr": cagr,
        "volatility": spread * year if spread is not None else None,
        "sharpe": mean / spread * year if spread else None,
        "sortino": mean / below * year if below else None,
        "calmar": cagr / -drawdown if cagr is not None and drawdown else None,
        "max_drawdown_ratio": drawdown if count else None,
        "longest_drawdown_sessions": longest,
    }


def _deviation(values: Sequence[float]) -> float | None:
    """The sample's standard deviation; None of fewer than two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in values) / (len(values) - 1))


def _falls(returns: Sequence[float]) -> tuple[float, int]:
    """The deepest fall from a peak (0 or below), and the most sessions in a row below one."""
    level = peak = 1.0
    deepest, below, longest = 0.0, 0, 0
    for each in returns:
        level *= 1 + each
        below = 0 if level >= peak else below + 1
        peak, longest = max(peak, level), max(longest, below)
        deepest = min(deepest, level / peak - 1)
    return deepest, longest


def drawdowns(course: Course, most: int = 5) -> list[dict[str, str | float | int | None]]:
    """The deepest falls of the account from a peak: the first session below it, the lowest, the one that was back.

    ``depth`` is a ratio below 0; ``back`` is None where the account never was. The deepest first.
    """
    found: list[dict[str, str | float | int | None]] = []
    peak, below, deepest, lowest = course.start_equity_e8, 0, 0.0, ""

    def end(back: str | None, place: int) -> None:
        start = course.sessions[place - below]
        found.append({"depth": deepest, "from": start, "lowest": lowest, "back": back, "sessions": below})

    for place, (session, level) in enumerate(zip(course.sessions, course.equity_e8, strict=True)):
        if level < peak:
            below += 1
            if level / peak - 1 < deepest:
                deepest, lowest = level / peak - 1, session
            continue
        if below:
            end(session, place)
        peak, below, deepest = level, 0, 0.0
    if below:
        end(None, len(course.sessions))
    return sorted(found, key=lambda each: (each["depth"], each["from"]))[:most]


def of_trades(trades: Sequence[Trade]) -> Figures:
    """What trades came to, in money and in R; profit factor and payoff of trades that never lost are None."""
    pnls = [trade.pnl_e8 for trade in trades]
    won, lost = [each for each in pnls if each > 0], [each for each in pnls if each < 0]
    multiples = sorted(trade.r_multiple_e6 for trade in trades)
    count = len(trades)
    average_won = sum(won) / len(won) / MONEY_SCALE if won else None
    average_lost = sum(lost) / len(lost) / MONEY_SCALE if lost else None
    return {
        "profit_factor": sum(won) / -sum(lost) if lost else None,
        "expectancy": sum(pnls) / count / MONEY_SCALE if count else None,
        "expectancy_r": sum(multiples) / count / RATIO_SCALE if count else None,
        "median_r": _median(multiples) / RATIO_SCALE if count else None,
        "average_win": average_won,
        "average_loss": average_lost,
        "payoff": average_won / -average_lost if average_won and average_lost else None,
        "wins": len(won),
        "losses": len(lost),
        "most_losses_in_a_row": _run_of_losses(trades),
        "average_minutes": (
            sum(trade.exit_at_ms - trade.entry_at_ms for trade in trades) / count / 60_000 if count else None
        ),
    }


def _median(ordered: Sequence[int]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _run_of_losses(trades: Sequence[Trade]) -> int:
    """The most trades that lost one after the other, by their exits."""
    by_exit = sorted(trades, key=lambda each: (each.exit_at_ms, each.symbol, each.trade_id))
    runs = groupby(by_exit, key=lambda trade: trade.pnl_e8 < 0)
    return max((len(list(run)) for is_lost, run in runs if is_lost), default=0)
