"""The market beside a result: bought before the first session that was tested, held to the end, nothing paid for it."""

import math
from collections.abc import Sequence

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.metrics import Course, Figures, of_returns
from finagent.domain.gap_measure import MARKET_SYMBOL
from finagent.domain.indicators import adjusted_close

SHOWN = ("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown_ratio")
Held = dict[str, str | float | int | list[float | None] | None]


def market_held(dataset: Dataset, course: Course) -> Held | None:
    """Its figures over the sessions of a course, and how the course moved with it; None without a bar of it.

    ``returns`` are from close to close on the ex-date's basis, None where one of the two closes is not stored;
    ``missing`` counts these, which the figures leave out. ``dividends`` is how many are stored and counted.
    """
    number = dataset.numbers.get(MARKET_SYMBOL)
    rows = [dataset.rows[session] for session in course.sessions]
    found = [None if number is None else _return(dataset, row, number) for row in rows]
    known = [each for each in found if each is not None]
    if not known:
        return None
    figures = of_returns(known)
    actions = dataset.actions.get(MARKET_SYMBOL, ())
    dates = set(course.sessions)
    return {
        "symbol": MARKET_SYMBOL,
        "missing": len(found) - len(known),
        "dividends": sum(each.dividend_e4 > 0 and each.ex_session in dates for each in actions),
        **{name: figures[name] for name in SHOWN},
        **_together(found, course.returns),
        "returns": [None if each is None else round(each, 8) for each in found],
    }


def _return(dataset: Dataset, row: int, number: int) -> float | None:
    daily = dataset.daily
    if row < 1 or ABSENT in (int(daily.volume[row, number]), int(daily.volume[row - 1, number])):
        return None
    action = dataset.actions_on.get(dataset.sessions[row].date, {}).get(MARKET_SYMBOL)
    if action is not None and action.split_ratio_e6 <= 0:
        return None
    numerator, denominator = adjusted_close(int(daily.close_e4[row - 1, number]), action)
    return int(daily.close_e4[row, number]) * denominator / numerator - 1 if numerator > 0 else None


def _together(market: Sequence[float | None], own: Sequence[float] | None) -> Figures:
    """Correlation and beta of the sessions that both know; None where either never moved."""
    pairs = [(a, b) for a, b in zip(market, own or (), strict=own is not None) if a is not None]
    if len(pairs) < 2:
        return {"correlation": None, "beta": None}
    a, b = (math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True))
    both = math.fsum((x - a) * (y - b) for x, y in pairs)
    of_market, of_own = math.fsum((x - a) ** 2 for x, _ in pairs), math.fsum((y - b) ** 2 for _, y in pairs)
    return {
        "correlation": both / math.sqrt(of_market * of_own) if of_market > 0 and of_own > 0 else None,
        "beta": both / of_market if of_market > 0 else None,
    }
