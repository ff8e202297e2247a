"""The sessions and trades of a result in other orders: paths by blocks, reshuffled trades, intervals, stretches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finagent.backtest.search.measures import YEAR, Floats, equity_of
from finagent.backtest.source import Ints

RUIN = 1e-9
"""What is left of an account that a session used up, as a share: a logarithm needs something."""
AT_ONCE = 1_000
"""Orders of the trades that are looked at together."""


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Of each path the return over all of it and the deepest drawdown, as shares."""

    returns: Floats
    drawdowns: Floats


def bootstrap(returns: Floats, *, paths: int, sessions: int, block: int, seed: int) -> Paths:
    """Paths of so many sessions, each made of blocks of consecutive sessions that begin anywhere, round the end.

    The circular block bootstrap of D. N. Politis and J. P. Romano ("A circular block-resampling procedure for
    stationary data", 1992): what hangs together within ``block`` sessions stays together. Whole blocks are joined, not
    sessions: a block's sum, lowest and highest sums and deepest fall tell all that a drawdown needs.
    """
    count = len(returns)
    block = max(1, min(block, count, sessions))
    generator = np.random.default_rng(seed)
    growth = np.log(np.maximum(1 + returns, RUIN))
    level, peak, fall = np.zeros(paths), np.zeros(paths), np.zeros(paths)
    left = sessions
    whole, last = _table(growth, block), _table(growth, left % block or block)
    while left > 0:
        starts = generator.integers(0, count, paths)
        total, lowest, highest, deepest = last if left <= block else whole
        np.maximum(fall, deepest[starts], out=fall)
        np.maximum(fall, peak - level - lowest[starts], out=fall)
        np.maximum(peak, level + highest[starts], out=peak)
        level += total[starts]
        left -= block
    return Paths(np.expm1(level), -np.expm1(-fall))


def _table(growth: Floats, size: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Of the block that begins at each session: its sum, lowest and highest sums, and deepest fall."""
    count = len(growth)
    places = (np.arange(count)[:, None] + np.arange(size)[None, :]) % count
    sums = np.concatenate((np.zeros((count, 1)), np.cumsum(growth[places], axis=1)), axis=1)
    falls = np.maximum.accumulate(sums, axis=1) - sums
    return sums[:, -1].copy(), sums.min(axis=1), sums.max(axis=1), falls.max(axis=1)


def sharpes(returns: Floats, *, paths: int, block: int, seed: int) -> Floats:
    """Sharpe ratios a year of as many sessions again, drawn by the same blocks; paths without variance are left out."""
    count = len(returns)
    block = max(1, min(block, count))
    blocks = -(-count // block)
    generator = np.random.default_rng(seed)
    places = (np.arange(count)[:, None] + np.arange(block)[None, :]) % count
    sums, squares = returns[places].sum(axis=1), np.square(returns[places]).sum(axis=1)
    starts = generator.integers(0, count, (paths, blocks))
    size = blocks * block
    mean = sums[starts].sum(axis=1) / size
    variance = (squares[starts].sum(axis=1) / size - np.square(mean)) * size / max(1, size - 1)
    has_any: npt.NDArray[np.bool_] = variance > 1e-18
    found: Floats = mean[has_any] / np.sqrt(variance[has_any]) * math.sqrt(YEAR)
    return found


def reshuffled(gains_e8: Sequence[int], start_equity_e8: int, *, orders: int, seed: int) -> Floats:
    """Deepest drawdown of the account, as a share, for the same trades in so many random orders.

    Each trade keeps its amount of money, so the end is the same in every order.
    """
    generator = np.random.default_rng(seed)
    amounts = np.asarray(gains_e8, np.float64)
    found = []
    for first in range(0, orders, AT_ONCE):
        rows = np.broadcast_to(amounts, (min(AT_ONCE, orders - first), len(amounts)))
        equity = start_equity_e8 + np.cumsum(generator.permuted(rows, axis=1), axis=1)
        peak = np.maximum(np.maximum.accumulate(equity, axis=1), start_equity_e8)
        found.append(((peak - equity) / peak).max(axis=1, initial=0.0))
    return np.concatenate(found) if found else np.zeros(0)


def interval(values: Floats, confidence: float) -> Mapping[str, float] | None:
    """``{low, median, high}``: the middle share of the values (percentile method, B. Efron 1979); None of none."""
    if not len(values):
        return None
    low, median, high = np.quantile(values, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2]).tolist()
    return {"low": low, "median": median, "high": high}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive sessions, by their places, and what the account did over them."""

    first: int
    last: int
    result: float


def worst_stretch(gains_e8: Ints, start_equity_e8: int, sessions: int) -> Stretch | None:
    """The stretch of so many sessions with the lowest return; None where there are fewer."""
    if not 0 < sessions <= len(gains_e8):
        return None
    equity = equity_of(gains_e8, start_equity_e8)
    before, after = equity[:-sessions], equity[sessions:]
    results = np.where(before > 0, after / np.where(before > 0, before, 1) - 1, 0.0)
    at = int(results.argmin())
    return Stretch(at, at + sessions - 1, float(results[at]))
