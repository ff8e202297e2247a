"""Copies of a dataset with something wrong in them: bars that are missing, halts, opens beyond a stop.

The dataset on the disk is never written: what is changed is copied into memory, under an identity and in a folder of
its own, so that nothing that is kept beside the original can be mistaken for it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finagent.backtest.dataset import ABSENT, Dataset, MinuteRows
from finagent.backtest.market import Flags
from finagent.backtest.source import Ints
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import RATIO_SCALE
from finagent.domain.positions import Trade


@dataclass(frozen=True, slots=True)
class Place:
    """Where new data go: a folder for what is built beside them, and their name."""

    folder: Path
    name: str


def renamed(dataset: Dataset, place: Place) -> Dataset:
    """The same columns under another identity."""
    identity = hashlib.sha256(f"{dataset.dataset_id}/{place.name}".encode()).hexdigest()[:16]
    path = place.folder / identity
    path.mkdir(parents=True, exist_ok=True)
    return replace(dataset, path=path, dataset_id=identity, seal={})


def without_days(
    dataset: Dataset, sessions: Sequence[Session], place: Place, *, share: float, seed: int
) -> Dataset:
    """Each daily bar of the sessions is missing with a chance, the day itself and what later days know of it."""
    rows = [dataset.rows[session.date] for session in sessions]
    volume = np.array(dataset.daily.volume, np.int64)
    generator = np.random.default_rng(seed)
    for row in rows:
        volume[row, generator.random(volume.shape[1]) < share] = ABSENT
    return replace(renamed(dataset, place), daily=replace(dataset.daily, volume=volume))


def without_minutes(
    dataset: Dataset, sessions: Sequence[Session], place: Place, *, share: float, seed: int
) -> Dataset:
    """Each minute bar of the sessions is missing with a chance."""
    minutes = dataset.minutes
    generator = np.random.default_rng(seed)
    gone = np.zeros(len(minutes.minute), np.bool_)
    for session in sessions:
        number = int(minutes.rows_of[dataset.rows[session.date]])
        if number >= 0:
            first, last = int(minutes.offsets[number, 0]), int(minutes.offsets[number, -1])
            gone[first:last] = generator.random(last - first) < share
    return replace(renamed(dataset, place), minutes=_removed(minutes, gone))


def with_halts(dataset: Dataset, halts: Mapping[str, Sequence[tuple[int, int]]], place: Place) -> Dataset:
    """Trading stops in the symbols in these spans (ms UTC), and no bar of theirs is left."""
    minutes = dataset.minutes
    gone = np.zeros(len(minutes.minute), np.bool_)
    for symbol, spans in halts.items():
        for start_ms, end_ms in spans:
            for session in dataset.sessions:
                if session.open_ms <= start_ms < session.close_ms:
                    found = _rows(dataset, session, symbol)
                    if found is not None:
                        starts = (
                            minutes.minute[found[0] : found[1]].astype(np.int64) * MINUTE_MS + session.open_ms
                        )
                        gone[found[0] : found[1]] |= (starts >= start_ms) & (starts < end_ms)
    joined = {
        symbol: tuple(sorted([*dataset.halts.get(symbol, ()), *halts.get(symbol, ())]))
        for symbol in {*dataset.halts, *halts}
    }
    return replace(renamed(dataset, place), minutes=_removed(minutes, gone), halts=joined)


def with_gaps(
    dataset: Dataset, stopped: Sequence[tuple[Trade, str]], place: Place, *, risk_e6: int
) -> Dataset:
    """The minute in which each trade's stop was filled opens beyond that stop, by a share of the trade's risk.

    ``stopped``: trades with the session in which they ended. A stop that a bar's open had filled already stays.
    """
    minutes = dataset.minutes
    columns = (minutes.open_e4, minutes.high_e4, minutes.low_e4)
    opens, highs, lows = (np.array(each, np.int64) for each in columns)
    for trade, date in stopped:
        session = dataset.sessions[dataset.rows[date]]
        found = _rows(dataset, session, trade.symbol)
        if found is None:
            continue
        minute = (trade.exit_at_ms - session.open_ms - 1) // MINUTE_MS
        at = found[0] + int(np.searchsorted(minutes.minute[found[0] : found[1]], minute))
        if at == found[1] or int(minutes.minute[at]) != minute or not lows[at] <= trade.stop_e4 <= highs[at]:
            continue
        away = trade.direction.sign * (trade.risk_per_share_e4 * risk_e6 // RATIO_SCALE)
        opens[at] = max(1, trade.stop_e4 - away)
        lows[at], highs[at] = min(lows[at], opens[at]), max(highs[at], opens[at])
    changed = replace(minutes, open_e4=opens, high_e4=highs, low_e4=lows)
    return replace(renamed(dataset, place), minutes=changed)


def _rows(dataset: Dataset, session: Session, symbol: str) -> tuple[int, int] | None:
    """The rows of a symbol's minute bars in a session; None where it has none."""
    minutes, number = dataset.minutes, dataset.numbers.get(symbol)
    of = int(minutes.rows_of[dataset.rows[session.date]])
    if of < 0 or number is None:
        return None
    first, last = int(minutes.offsets[of, number]), int(minutes.offsets[of, number + 1])
    return (first, last) if first < last else None


def _removed(minutes: MinuteRows, gone: Flags) -> MinuteRows:
    """The bars that are left, and where each symbol's begin now."""
    left = np.concatenate(([0], np.cumsum(~gone)))
    offsets: Ints = left[minutes.offsets]

    def of(column: Ints) -> Ints:
        return np.asarray(column)[~gone]

    return MinuteRows(
        minutes.rows_of,
        offsets,
        of(minutes.minute),
        of(minutes.open_e4),
        of(minutes.high_e4),
        of(minutes.low_e4),
        of(minutes.close_e4),
        of(minutes.volume),
    )
