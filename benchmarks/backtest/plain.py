"""The rule in plain Python over exact integers: the arbiter of all contestants, written without any of their code.

A trade is (session, symbol) -> (shares, entry, exit, gain), prices and gain in 1e-4.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from benchmarks.backtest.work import E4, FLATTEN_MINUTES, MINUTES, PRICES, Arrays, Ints, Rule

Trades = dict[tuple[int, int], tuple[int, int, int, int]]
Bar = tuple[int, int, int, int]


def daily_trades(arrays: Arrays, rule: Rule, *, on_grid: bool) -> Trades:
    """Every trade of a daily work; ``on_grid``: fills at prices between cents are rounded against the buyer."""
    opened, high, low, close = (ticks(arrays, name) for name in PRICES)
    found: Trades = {}
    for at in gaps(arrays, opened, rule):
        bar = (int(opened[at]), int(high[at]), int(low[at]), int(close[at]))
        shares = int(rule.notional * E4) // bar[0]
        stop, target = levels(bar[0], rule)
        if shares > 0 and stop < bar[0] < target:
            left = leave(bar, stop, target)
            found[at] = priced(shares, bar[0], bar[3] if left is None else left, rule, on_grid=on_grid)
    return found


def minute_trades(arrays: Arrays, rule: Rule, *, on_grid: bool) -> Trades:
    """Every trade of a work on minutes."""
    columns = [ticks(arrays, name) for name in PRICES]
    found: Trades = {}
    for place, symbol in gaps(arrays, columns[0][:, 0, :], rule):
        own = [
            (minute, tuple(int(column[place, minute, symbol]) for column in columns))
            for minute in range(MINUTES)
            if columns[0][place, minute, symbol] > 0
        ]
        reference = own[0][1][3]
        shares = int(rule.notional * E4) // reference
        stop, target = levels(reference, rule)
        if shares <= 0 or len(own) < 2 or not stop < reference < target:
            continue
        left = own[-1][1][3]
        for minute, bar in own[1:]:
            if minute >= MINUTES - FLATTEN_MINUTES:
                left = bar[0]
                break
            gone = leave((bar[0], bar[1], bar[2], bar[3]), stop, target)
            if gone is not None:
                left = gone
                break
        found[place, symbol] = priced(shares, own[1][1][0], left, rule, on_grid=on_grid)
    return found


def ticks(arrays: Arrays, name: str) -> Ints:
    """Prices in 1e-4; 0 where there is no bar."""
    found: Ints = np.rint(np.nan_to_num(arrays[name]) * E4).astype(np.int64)
    return found


def gaps(arrays: Arrays, opened: Ints, rule: Rule) -> Iterator[tuple[int, int]]:
    """Where the exact gap reaches the rule's, by session and symbol."""
    over, under = arrays["prev_over"], arrays["prev_under"]
    prev = arrays["prev"].astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = opened / E4 / prev - 1 >= rule.gap - 1e-6
    least = Fraction(str(rule.gap)) + 1
    for place, symbol in np.argwhere(near & (opened > 0)).tolist():
        at = place, symbol
        if Fraction(int(opened[at]) * int(under[at]), int(over[at])) >= least:
            yield at


def levels(reference: int, rule: Rule) -> tuple[int, int]:
    """Stop and target, rounded to their tick towards the reference."""
    stop = _up(reference - reference * Fraction(str(rule.stop)))
    return stop, _down(reference + (reference - stop) * Fraction(str(rule.target_r)))


def leave(bar: Bar, stop: int, target: int) -> int | None:
    """Where a bar ends the trade; None where it does not."""
    opened, high, low, _ = bar
    if low <= stop:
        return min(stop, opened)
    if high >= target:
        return max(target, opened)
    return None


def priced(shares: int, entry: int, left: int, rule: Rule, *, on_grid: bool) -> tuple[int, int, int, int]:
    """Fills and the gain after a fee a share and fill."""
    if on_grid:
        entry, left = _up(Fraction(entry)), _down(Fraction(left))
    return shares, entry, left, shares * (left - entry) - 2 * shares * round(rule.fee * E4)


def _tick(price: int) -> int:
    return 100 if price >= E4 else 1


def _up(price: Fraction) -> int:
    whole = -(-price.numerator // price.denominator)
    return -(-whole // _tick(whole)) * _tick(whole)


def _down(price: Fraction) -> int:
    whole = price.numerator // price.denominator
    return whole // _tick(whole) * _tick(whole)
