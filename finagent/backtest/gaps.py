"""Gaps and what became of them, over whole columns of the dataset: filled, half filled, so many R before the stop.

A gap is measured as the scan measures it when the first minute has ended: by the opening print where the session has
minutes, else by the daily open, against the adjusted previous close, in exact integers. What follows is the day.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.market import Flags
from finagent.backtest.running import Bars
from finagent.backtest.source import Ints
from finagent.domain.indicators import adjusted_close
from finagent.domain.market import Session
from finagent.domain.money import RATIO_SCALE

MULTIPLES = (1, 2, 3)
"""The multiples of the risk that are looked for."""
NO, YES, UNDECIDED = 0, 1, 2
"""Whether a multiple came before the stop; a bar that touches both does not tell."""
NEVER = -1
ROWS_AT_ONCE = 256
"""Sessions whose prices are in memory at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapQuestion:
    """Which gaps, and the trade that is looked at: entry at the open, the stop so far from it, both in 1e-6."""

    min_gap_e6: int
    stop_e6: int
    is_fade: bool = False
    """Against the gap instead of with it."""
    bars: Bars = Bars.AUTO
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """One row a gap, by session and symbol; prices in 1e-4.

    The adjusted previous close is ``numerator / denominator``. ``minutes_to_fill`` counts from the open to the end of
    the minute that filled it, ``NEVER`` where none did or no minutes say. ``reached`` has a column a multiple.
    """

    row: Ints
    """The session's row of the dataset."""
    symbol: Ints
    gap_e6: Ints
    """Floor of the exact ratio, signed."""
    open_e4: Ints
    close_e4: Ints
    numerator: Ints
    denominator: Ints
    has_minutes: Flags
    is_filled: Flags
    is_half_filled: Flags
    minutes_to_fill: Ints
    reached: Ints

    def __len__(self) -> int:
        return int(self.row.size)

    @property
    def sign(self) -> Ints:
        """1 for a gap up, -1 for a gap down."""
        sign: Ints = np.sign(self.open_e4 * self.denominator - self.numerator)
        return sign


@dataclass(frozen=True, slots=True, eq=False)
class FoundGaps:
    """The gaps, what was left out by reason, and of each session how many symbols' gaps could be read and were up."""

    gaps: Gaps
    left_out: dict[str, int]
    readable: dict[int, int]
    ups: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Open:
    """One symbol's open of a session that may be a gap."""

    row: int
    symbol: int
    open_e4: int
    numerator: int
    denominator: int


def find_gaps(dataset: Dataset, sessions: Sequence[Session], question: GapQuestion) -> FoundGaps:
    """All gaps of these sessions, which the dataset holds, of at least the size that is asked for."""
    return _Finding(dataset, question).run([dataset.rows[session.date] for session in sessions])


class _Finding:
    """One pass; lives for one call of ``run``."""

    def __init__(self, dataset: Dataset, question: GapQuestion) -> None:
        self._dataset, self._question = dataset, question
        self._wanted = np.ones(len(dataset.symbols), np.bool_)
        if question.symbols is not None:
            self._wanted = np.isin(np.asarray(dataset.symbols), question.symbols)
        self._left_out: Counter[str] = Counter()
        self._readable: Counter[int] = Counter()
        self._ups: Counter[int] = Counter()

    def run(self, rows: Sequence[int]) -> FoundGaps:
        dataset, bars = self._dataset, self._question.bars
        by_minute = [row for row in rows if bars is not Bars.DAILY and dataset.has_minutes(row)]
        by_day = [] if bars is Bars.MINUTE else sorted(set(rows).difference(by_minute))
        parts = [self._daily(by_day[at : at + ROWS_AT_ONCE]) for at in range(0, len(by_day), ROWS_AT_ONCE)]
        parts += [part for row in by_minute for part in self._minute(row)]
        return FoundGaps(
            _joined(parts), dict(sorted(self._left_out.items())), dict(self._readable), dict(self._ups)
        )

    # ---------------------------------------------------------------- daily bars
    def _daily(self, rows: Sequence[int]) -> Gaps:
        """The gaps of sessions on their daily bars; one before which there is no session has none."""
        daily = self._dataset.daily
        at = np.asarray([row for row in rows if row], np.int64)
        open_e4, before = daily.open_e4[at].astype(np.int64), daily.close_e4[at - 1].astype(np.int64)
        has_bar, has_before = daily.volume[at] != ABSENT, daily.volume[at - 1] != ABSENT
        is_sound = (open_e4 > 0) & (before > 0)
        self._leave_out("no_prev_close", has_bar & ~has_before)
        self._leave_out("bad_price", has_bar & has_before & ~is_sound)
        ordinary = has_bar & has_before & is_sound
        special = []
        for place, row in enumerate(at.tolist()):
            for symbol in self._dataset.actions_on.get(self._dataset.sessions[row].date, ()):
                number = self._dataset.numbers[symbol]
                if ordinary[place, number]:
                    ordinary[place, number] = False
                    special += self._adjusted(row, number, int(open_e4[place, number]))
        difference = open_e4 - before
        self._readable.update(dict(zip(at.tolist(), ordinary.sum(axis=1).tolist(), strict=True)))
        ups = (ordinary & (difference > 0)).sum(axis=1)
        self._ups.update(dict(zip(at.tolist(), ups.tolist(), strict=True)))
        is_large = np.abs(difference) * RATIO_SCALE >= self._question.min_gap_e6 * before
        place_of, symbol_of = np.nonzero(ordinary & self._wanted & is_large)
        return self._of_days(
            at[place_of],
            symbol_of,
            open_e4[place_of, symbol_of],
            before[place_of, symbol_of],
            [each for each in special if self._is_gap(each)],
        )

    def _of_days(
        self, row: Ints, symbol: Ints, open_e4: Ints, before_e4: Ints, special: Sequence[_Open]
    ) -> Gaps:
        """What the day's bar says of each gap."""
        more = np.asarray([[getattr(each, f.name) for f in fields(_Open)] for each in special], np.int64)
        more = more.reshape(-1, 5)
        row, symbol = np.concatenate((row, more[:, 0])), np.concatenate((symbol, more[:, 1]))
        open_e4 = np.concatenate((open_e4, more[:, 2]))
        numerator = np.concatenate((before_e4, more[:, 3]))
        denominator = np.concatenate((np.ones(before_e4.size, np.int64), more[:, 4]))
        daily = self._dataset.daily
        high, low = (column[row, symbol].astype(np.int64) for column in (daily.high_e4, daily.low_e4))
        difference = open_e4 * denominator - numerator
        is_up = difference > 0
        nearest = np.where(is_up, low, high) * denominator
        sign = np.where(is_up, 1, -1)
        with_gap = sign * (-1 if self._question.is_fade else 1)
        return Gaps(
            row=row,
            symbol=symbol,
            gap_e6=difference * RATIO_SCALE // numerator,
            open_e4=open_e4,
            close_e4=daily.close_e4[row, symbol].astype(np.int64),
            numerator=numerator,
            denominator=denominator,
            has_minutes=np.zeros(row.size, np.bool_),
            is_filled=sign * nearest <= sign * numerator,
            is_half_filled=sign * 2 * nearest <= sign * (open_e4 * denominator + numerator),
            minutes_to_fill=np.full(row.size, NEVER, np.int64),
            reached=_reached_in_a_day(with_gap, open_e4, high, low, self._question.stop_e6),
        )

    # ---------------------------------------------------------------- minutes
    def _minute(self, row: int) -> Iterator[Gaps]:
        """The gaps of one session on its minutes."""
        dataset = self._dataset
        minutes, daily = dataset.minutes, dataset.daily
        offsets = minutes.offsets[int(minutes.rows_of[row])]
        first, last = int(offsets[0]), int(offsets[-1])
        prints = np.flatnonzero(minutes.minute[first:last] == 0) + first
        owners = np.searchsorted(offsets, prints, side="right") - 1
        trading = np.flatnonzero(np.diff(offsets) > 0)
        self._left_out["no_print"] += int(self._wanted[np.setdiff1d(trading, owners)].sum())
        actions = dataset.actions_on.get(dataset.sessions[row].date, {})
        for at, number in zip(prints.tolist(), owners.tolist(), strict=True):
            if row == 0 or daily.volume[row - 1, number] == ABSENT:
                self._left_out["no_prev_close"] += int(self._wanted[number])
                continue
            price_e4, before_e4 = int(minutes.open_e4[at]), int(daily.close_e4[row - 1, number])
            reason = self._doubt(row, number, price_e4, before_e4)
            if reason:
                self._left_out[reason] += int(self._wanted[number])
                continue
            if dataset.symbols[number] in actions:
                found = self._adjusted(row, number, price_e4)
            else:
                found = [_Open(row, number, price_e4, before_e4, 1)]
                self._readable[row] += 1
                self._ups[row] += price_e4 > before_e4
            yield from (
                self._walk(each, at, int(offsets[number + 1])) for each in found if self._is_gap(each)
            )

    def _doubt(self, row: int, number: int, price_e4: int, before_e4: int) -> str:
        """Why the minutes of a symbol are not believed, empty where they are."""
        daily = self._dataset.daily
        official_e4 = int(daily.open_e4[row, number]) if daily.volume[row, number] != ABSENT else price_e4
        if min(price_e4, before_e4, official_e4) <= 0:
            return "bad_price"
        return "identity_mismatch" if abs(official_e4 - price_e4) * 10 > price_e4 else ""

    def _walk(self, found: _Open, first: int, end: int) -> Gaps:
        """Minute by minute through the regular hours."""
        minutes, session = self._dataset.minutes, self._dataset.sessions[found.row]
        end = first + int(np.searchsorted(minutes.minute[first:end], session.minutes))
        minute = minutes.minute[first:end].astype(np.int64)
        open_e4, high, low = (
            column[first:end].astype(np.int64)
            for column in (minutes.open_e4, minutes.high_e4, minutes.low_e4)
        )
        difference = found.open_e4 * found.denominator - found.numerator
        sign = 1 if difference > 0 else -1
        nearest = (low if sign > 0 else high) * found.denominator
        fills = np.flatnonzero(sign * nearest <= sign * found.numerator)
        half = sign * 2 * nearest <= sign * (found.open_e4 * found.denominator + found.numerator)
        with_gap = -sign if self._question.is_fade else sign
        reached = _reached_by_minute(with_gap, (open_e4, high, low), self._question.stop_e6)
        ints = {
            "row": found.row,
            "symbol": found.symbol,
            "gap_e6": difference * RATIO_SCALE // found.numerator,
            "open_e4": found.open_e4,
            "close_e4": int(minutes.close_e4[end - 1]),
            "numerator": found.numerator,
            "denominator": found.denominator,
            "minutes_to_fill": int(minute[fills[0]]) + 1 if fills.size else NEVER,
        }
        return Gaps(
            **{name: np.asarray([value], np.int64) for name, value in ints.items()},
            has_minutes=np.ones(1, np.bool_),
            is_filled=np.asarray([fills.size > 0]),
            is_half_filled=np.asarray([half.any()]),
            reached=np.asarray([reached], np.int64),
        )

    # ---------------------------------------------------------------- both
    def _adjusted(self, row: int, number: int, open_e4: int) -> list[_Open]:
        """An open on an ex-date; none where the action is doubtful, as the scan has it."""
        dataset = self._dataset
        action = dataset.actions_on[dataset.sessions[row].date][dataset.symbols[number]]
        if action.split_ratio_e6 > 0:
            numerator, denominator = adjusted_close(int(dataset.daily.close_e4[row - 1, number]), action)
            if numerator > 0 and abs(open_e4 * denominator - numerator) * 4 < numerator:
                self._readable[row] += 1
                self._ups[row] += open_e4 * denominator > numerator
                return [_Open(row, number, open_e4, numerator, denominator)]
        self._left_out["bad_action"] += int(self._wanted[number])
        return []

    def _is_gap(self, found: _Open) -> bool:
        difference = found.open_e4 * found.denominator - found.numerator
        is_large = abs(difference) * RATIO_SCALE >= self._question.min_gap_e6 * found.numerator
        return is_large and bool(self._wanted[found.symbol])

    def _leave_out(self, reason: str, which: Flags) -> None:
        self._left_out[reason] += int((which & self._wanted).sum())


def _reached_in_a_day(sign: Ints, open_e4: Ints, high: Ints, low: Ints, stop_e6: int) -> Ints:
    """By multiple whether it came before the stop; a day that saw both does not tell."""
    entry = open_e4 * RATIO_SCALE
    against, towards = np.where(sign > 0, low, high), np.where(sign > 0, high, low)
    is_stopped = sign * against * RATIO_SCALE <= sign * entry - open_e4 * stop_e6
    columns = []
    for multiple in MULTIPLES:
        is_there = sign * towards * RATIO_SCALE >= sign * entry + open_e4 * (multiple * stop_e6)
        columns.append(np.where(is_there, np.where(is_stopped, UNDECIDED, YES), NO))
    return np.stack(columns, axis=1).astype(np.int64)


def _reached_by_minute(sign: int, bars: tuple[Ints, Ints, Ints], stop_e6: int) -> list[int]:
    """The same by which came first; in one minute only its open can tell."""
    open_e4, high, low = bars
    entry_e4 = int(open_e4[0])
    against, towards = (low, high) if sign > 0 else (high, low)
    stop = sign * entry_e4 * RATIO_SCALE - entry_e4 * stop_e6
    stops = np.flatnonzero(sign * against * RATIO_SCALE <= stop)
    stopped = int(stops[0]) if stops.size else len(open_e4)
    found = []
    for multiple in MULTIPLES:
        target = sign * entry_e4 * RATIO_SCALE + entry_e4 * multiple * stop_e6
        hits = np.flatnonzero(sign * towards * RATIO_SCALE >= target)
        reached = int(hits[0]) if hits.size else len(open_e4) + 1
        if reached != stopped:
            found.append(YES if reached < stopped else NO)
        else:
            opened = sign * int(open_e4[reached]) * RATIO_SCALE
            found.append(YES if opened >= target else NO if opened <= stop else UNDECIDED)
    return found


def _joined(parts: Sequence[Gaps]) -> Gaps:
    """All of them by session and symbol."""
    if not parts:
        empty = np.empty(0, np.int64)
        flags = np.empty(0, np.bool_)
        return Gaps(
            empty, empty, empty, empty, empty, empty, empty, flags, flags, flags, empty,
            np.empty((0, len(MULTIPLES)), np.int64),
        )  # fmt: skip
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Gaps)}
    order = np.lexsort((columns["symbol"], columns["row"]))
    return Gaps(**{name: column[order] for name, column in columns.items()})


def chosen(gaps: Gaps, which: Flags | Ints) -> Gaps:
    """Some of the gaps."""
    return Gaps(**{f.name: getattr(gaps, f.name)[which] for f in fields(Gaps)})
