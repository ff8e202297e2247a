"""Kinds of gaps: by size, direction, market, weekday, catalyst and volume; all but one known when the gap is.

``day-rvol`` alone needs the whole day. The others look at nothing that comes after the first minute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.gaps import FoundGaps
from finagent.backtest.market import open_session
from finagent.backtest.source import Ints
from finagent.domain.catalyst import current_headlines, earnings_catalyst, headline_catalysts
from finagent.domain.indicators import relative_volume
from finagent.domain.market import MINUTE_MS
from finagent.domain.money import RATIO_SCALE

SIZES_E6 = (5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 150_000, 200_000)
VOLUMES_E6 = (500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000)
STRONG, WEAK = 60, 40
"""Percent of the symbols that gap up: at least so many is a market that is up, at most so many one that is down."""
LEAST_READABLE = 20
"""With fewer symbols nothing is said of the market."""
VOLUME_SESSIONS, LEAST_VOLUME_SESSIONS = 20, 5
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNKNOWN = "unknown"
AT_OPEN, AT_CLOSE = "when the first minute has ended", "only after the close"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Names in the order in which they are shown, and the number of each gap's name."""

    names: tuple[str, ...]
    of: Ints
    known: str = AT_OPEN


def group(dataset: Dataset, found: FoundGaps, by: str) -> Grouping:
    """The gaps sorted into kinds; ``by`` is one of ``WAYS``."""
    return WAYS[by](dataset, found)


def gap_catalyst(dataset: Dataset, row: int, symbol: str, *, sign: int) -> str:
    """The strongest event that was known of a symbol when its session opened: its name, or ``none known``.

    An event against the direction of the trade (``sign`` 1 long, -1 short) counts half, as in the score.
    """
    session = dataset.sessions[row]
    if row == 0:
        return UNKNOWN
    closed_ms, as_of_ms = dataset.sessions[row - 1].close_ms, session.open_ms + MINUTE_MS
    reports = dataset.earnings(symbol, session.previous, session.date)
    report = earnings_catalyst(reports, symbol, session=session.date, previous_close_ms=closed_ms)
    texts = dataset.headlines(symbol, closed_ms, as_of_ms)
    events = headline_catalysts(
        current_headlines(texts, symbol, previous_close_ms=closed_ms, as_of_ms=as_of_ms)
    )
    known = [
        (-(event.value_e6 // 2) if event.sign * sign < 0 else -event.value_e6, event.name)
        for event in (*([] if report is None else [report]), *events)
    ]
    return min(known)[1] if known else "none known"


def bucket_names(edges_e6: tuple[int, ...], unit: str, scale: int) -> tuple[str, ...]:
    """What is between the edges, in words: below the first, between two, from the last on."""
    ends = [f"{edge / scale:g}" for edge in edges_e6]
    middle = [f"{low} to {high}{unit}" for low, high in pairwise(ends)]
    return (f"below {ends[0]}{unit}", *middle, f"{ends[-1]}{unit} and more")


def _by_size(dataset: Dataset, found: FoundGaps) -> Grouping:
    gaps = found.gaps
    size = np.abs(gaps.open_e4 * gaps.denominator - gaps.numerator) * RATIO_SCALE // gaps.numerator
    names = bucket_names(SIZES_E6, " %", RATIO_SCALE // 100)
    return Grouping(names, np.searchsorted(np.asarray(SIZES_E6), size, side="right"))


def _by_direction(dataset: Dataset, found: FoundGaps) -> Grouping:
    return Grouping(("up", "down"), (found.gaps.sign < 0).astype(np.int64))


def _by_weekday(dataset: Dataset, found: FoundGaps) -> Grouping:
    days = np.asarray([session.date for session in dataset.sessions], "datetime64[D]").astype(np.int64)
    return Grouping(WEEKDAYS, (days[found.gaps.row] + 3) % 7)  # 1970-01-01 was a Thursday


def _by_market(dataset: Dataset, found: FoundGaps) -> Grouping:
    """Breadth at the open, over all symbols whatever was asked for."""

    def of(row: int) -> int:
        readable, ups = found.readable.get(row, 0), found.ups.get(row, 0)
        if readable < LEAST_READABLE:
            return 3
        return 0 if ups * 100 >= STRONG * readable else 2 if ups * 100 <= WEAK * readable else 1

    names = (f"up (≥ {STRONG} %)", "mixed", f"down (≤ {WEAK} %)", UNKNOWN)
    return Grouping(names, _looked_up(found.gaps.row, of))


def _by_catalyst(dataset: Dataset, found: FoundGaps) -> Grouping:
    gaps = found.gaps
    told = [
        gap_catalyst(dataset, row, dataset.symbols[number], sign=sign)
        for row, number, sign in zip(gaps.row.tolist(), gaps.symbol.tolist(), gaps.sign.tolist(), strict=True)
    ]
    counts = {name: told.count(name) for name in set(told)}
    names = tuple(sorted(counts, key=lambda name: (name in ("none known", UNKNOWN), -counts[name], name)))
    places = {name: place for place, name in enumerate(names)}
    return Grouping(names, np.asarray([places[name] for name in told], np.int64))


def _by_rvol(dataset: Dataset, found: FoundGaps) -> Grouping:
    """Volume of the first minute against that of the same minute before, as the scan has it; needs minutes."""
    gaps = found.gaps
    of = np.full(len(gaps), len(VOLUMES_E6) + 1, np.int64)
    for place in np.flatnonzero(gaps.has_minutes).tolist():
        session, symbol = dataset.sessions[int(gaps.row[place])], dataset.symbols[int(gaps.symbol[place])]
        market, as_of_ms = open_session(dataset, session), session.open_ms + MINUTE_MS
        before = market.history(symbol, as_of_ms, most_bars=1).volumes_to_now
        now = sum(bar.volume for bar in market.bars(symbol, as_of_ms) if bar.start_ms >= session.open_ms)
        known = relative_volume(now, before, LEAST_VOLUME_SESSIONS)
        if known is not None:
            of[place] = np.searchsorted(VOLUMES_E6, known[0] * RATIO_SCALE // known[1], side="right")
    return Grouping((*bucket_names(VOLUMES_E6, " x", RATIO_SCALE), UNKNOWN), of)


def _by_day_rvol(dataset: Dataset, found: FoundGaps) -> Grouping:
    """Dollars of the day against the average of the twenty sessions before, which splits leave alone."""
    gaps, daily = found.gaps, dataset.daily
    before = gaps.row[:, None] - np.arange(1, VOLUME_SESSIONS + 1)
    symbol = np.broadcast_to(gaps.symbol[:, None], before.shape)
    volume = daily.volume[np.maximum(before, 0), symbol]
    has_bar = (before >= 0) & (volume != ABSENT)
    worth = np.where(has_bar, daily.close_e4[np.maximum(before, 0), symbol].astype(np.int64) * volume, 0)
    count, total = has_bar.sum(axis=1), worth.sum(axis=1)
    today = daily.volume[gaps.row, gaps.symbol]
    is_known = (count >= LEAST_VOLUME_SESSIONS) & (total > 0) & (today != ABSENT)
    usual = np.where(is_known, total, 1) / np.maximum(count, 1)
    times = daily.close_e4[gaps.row, gaps.symbol].astype(np.float64) * today / usual
    of = np.searchsorted(np.asarray(VOLUMES_E6) / RATIO_SCALE, times, side="right")
    names = (*bucket_names(VOLUMES_E6, " x", RATIO_SCALE), UNKNOWN)
    return Grouping(names, np.where(is_known, of, len(VOLUMES_E6) + 1), AT_CLOSE)


def _looked_up(rows: Ints, of: Callable[[int], int]) -> npt.NDArray[np.int64]:
    known, places = np.unique(rows, return_inverse=True)
    return np.asarray([of(row) for row in known.tolist()], np.int64)[places] if rows.size else rows


WAYS: dict[str, Callable[[Dataset, FoundGaps], Grouping]] = {
    "size": _by_size,
    "direction": _by_direction,
    "rvol": _by_rvol,
    "day-rvol": _by_day_rvol,
    "catalyst": _by_catalyst,
    "weekday": _by_weekday,
    "market": _by_market,
}
