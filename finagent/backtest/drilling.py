"""Drilling a daily bar into its stored minutes: in which order it reached its prices.

Other programs call it a bar magnifier, or looking inside the bar. Only the exits of a bar that reached stop and target
ask for it, and only behind the entry: no decision sees a minute.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.ledger import FillRow, Ledger
from finagent.backtest.market import instrument_of
from finagent.backtest.parameters import Parameters
from finagent.backtest.source import Ints
from finagent.domain.fills import Ambiguity
from finagent.domain.market import MINUTE_MS, Bar
from finagent.domain.rows import replace

COLUMNS = 6
"""Minute since the open, open, high, low, close, volume."""
_NONE: Ints = np.empty((0, COLUMNS), np.int64)


@dataclass(frozen=True, slots=True)
class Drilled:
    """Of ``bars`` daily bars that reached stop and target so many were decided by their minutes; the others are
    counted by why not.
    """

    bars: int = 0
    decided: int = 0
    no_minutes: int = 0
    identity_mismatch: int = 0
    incomplete: int = 0
    one_minute: int = 0

    @property
    def words(self) -> str:
        """As a result tells it."""
        noun = "bar" if self.bars == 1 else "bars"
        told = f"drilled {self.decided:,} of {self.bars:,} ambiguous {noun} into minutes"
        reasons = (
            (self.no_minutes, "without minutes"),
            (self.identity_mismatch, "with minutes at another price"),
            (self.incomplete, "with a price that no minute holds"),
            (self.one_minute, "with both in one minute"),
        )
        left = ", ".join(f"{count:,} {reason}" for count, reason in reasons if count)
        return f"{told}; stop first in {left}" if left else told


def minutes_inside(dataset: Dataset, row: int, symbol: int) -> tuple[Ints, str]:
    """The minutes of a daily bar that made a new high or low, by ``COLUMNS``, the first from the day's open on and the
    last the day's close; else none, and why they are not believed.

    They have to be that bar: opens at most 10 % apart, the same high and low to a tick. A price that the day reached
    and no minute holds may have been reached at any time; the close alone has its place.
    """
    number = int(dataset.minutes.rows_of[row])
    daily, minutes = dataset.daily, dataset.minutes
    if number < 0 or daily.volume[row, symbol] == ABSENT:
        return _NONE, "no_minutes"
    start, end = minutes.offsets[number, symbol : symbol + 2].tolist()
    regular = dataset.sessions[row].minutes
    low, high = np.searchsorted(minutes.minute[start:end], (0, regular)).tolist()
    if low == high:
        return _NONE, "no_minutes"
    own = slice(start + low, start + high)
    prices = (minutes.open_e4, minutes.high_e4, minutes.low_e4, minutes.close_e4)
    found = np.stack(
        [column[own].astype(np.int64) for column in (minutes.minute, *prices, minutes.volume)], 1
    )
    opened, highest, lowest, closed = (
        int(column[row, symbol]) for column in (daily.open_e4, daily.high_e4, daily.low_e4, daily.close_e4)
    )
    if abs(opened - int(found[0, 1])) * 10 > found[0, 1]:
        return _NONE, "identity_mismatch"
    found[0, 1] = opened
    found[0, 2], found[0, 3] = max(int(found[0, 2]), opened), min(int(found[0, 3]), opened)
    found = np.concatenate([found, [[regular, closed, closed, closed, closed, 0]]])
    highs, lows = np.maximum.accumulate(found[:, 2]), np.minimum.accumulate(found[:, 3])
    tick = instrument_of(dataset.symbols[symbol]).tick_e4(lowest)
    if lows[-1] <= 0 or max(abs(int(highs[-1]) - highest), abs(int(lows[-1]) - lowest)) > tick:
        return _NONE, "incomplete"
    is_new = np.append(True, (highs[1:] > highs[:-1]) | (lows[1:] < lows[:-1]))
    return found[is_new], ""


def bars_inside(dataset: Dataset, row: int, symbol: str) -> tuple[Bar, ...]:
    """The same as bars; none where they are not believed."""
    found, _ = minutes_inside(dataset, row, dataset.numbers[symbol])
    open_ms = dataset.sessions[row].open_ms
    return tuple(Bar(open_ms + minute * MINUTE_MS, *values) for minute, *values in found.tolist())


def until(day: Bar, inside: Iterable[Bar], drilled_ms: int) -> Bar:
    """What a day reached until the end of one of its minutes, as far as its minutes know."""
    seen = [bar for bar in inside if bar.start_ms <= drilled_ms]
    high_e4, low_e4 = max(bar.high_e4 for bar in seen), min(bar.low_e4 for bar in seen)
    return replace(day, high_e4=min(day.high_e4, high_e4), low_e4=max(day.low_e4, low_e4))


def drilled(dataset: Dataset, rules: Parameters, ledger: Ledger) -> Drilled | None:
    """What the minutes decided in the sessions on daily bars; None where they were not asked."""
    if rules.ambiguity is not Ambiguity.MINUTES:
        return None
    daily = {day.session for day in ledger.days if not day.has_minutes}
    found: dict[str, FillRow] = {}
    for fill in ledger.fills:
        if fill.session in daily and (fill.model.is_ambiguous or fill.model.drilled_ms is not None):
            found[fill.plan_id] = fill
    counts = Counter(_why(dataset, fill) for fill in found.values())
    return Drilled(bars=len(found), **counts)


def _why(dataset: Dataset, fill: FillRow) -> str:
    """How a bar was decided, or why its minutes did not."""
    if not fill.model.is_ambiguous:
        return "decided"
    inside, why = minutes_inside(dataset, dataset.rows[fill.session], dataset.numbers[fill.fill.symbol])
    if why:
        return why
    stop_e4, target_e4 = fill.model.reference_e4, fill.model.best_e4
    high_e4, low_e4 = int(inside[:, 2].max()), int(inside[:, 3].min())
    holds_both = all(low_e4 <= level <= high_e4 for level in (stop_e4, target_e4) if level is not None)
    return "one_minute" if holds_both else "incomplete"  # a level may lie on the tick that no minute has
