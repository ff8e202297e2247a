"""One session of the dataset as of any instant in it: nothing here answers with what was not known yet."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.source import Ints
from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    CorporateAction,
    DailyBar,
    DailyBars,
    History,
    Instrument,
    Quote,
    Session,
    Snapshot,
    new_bar,
    new_daily_bar,
    new_daily_bars,
    new_history,
    new_snapshot,
)
from finagent.domain.money import SHARE_E4
from finagent.domain.rows import maker, quick, replace

_ex_session = attrgetter("ex_session")
FEED = "replay"
"""The same name as the replay's feed: a candidate carries it."""
UNIVERSE_SESSIONS = 10
"""A symbol belongs to the universe when it has a daily bar in so many sessions before."""
HISTORY_SESSIONS = 60
VOLUME_SESSIONS = 20
NO_HISTORY = History()

Flags = npt.NDArray[np.bool_]


@lru_cache(maxsize=16_384)
def instrument_of(symbol: str, lot_e4: int = SHARE_E4) -> Instrument:
    """What a backtest knows of a symbol beside its prices."""
    return Instrument(symbol=symbol, lot_e4=lot_e4)


@quick
@dataclass(frozen=True, slots=True)
class LastPrice:
    """Close of the last ended bar, its end, and the newest quote."""

    price_e4: int
    at_ms: int
    quote: Quote | None = None


new_last_price = maker(LastPrice)


@dataclass(slots=True, eq=False)
class SymbolDay:
    """A symbol's minute bars of one session, whole; ask only through an instant."""

    starts: list[int]
    columns: tuple[Ints, ...]
    """Open, high, low, close and volume of each bar."""
    _made: list[Bar] = field(default_factory=list)
    """The first bars, as far as they were asked for."""

    def bars_until(self, as_of_ms: int, *, after: int = 0) -> list[Bar]:
        """The bars that had ended at an instant, without so many of the first."""
        ended = bisect_right(self.starts, as_of_ms - MINUTE_MS)
        return self._first(ended)[after:ended]

    def whole(self) -> list[Bar]:
        """Every bar of the session."""
        return self._first(len(self.starts))[:]

    def last_until(self, as_of_ms: int) -> Bar | None:
        """The newest of them."""
        ended = bisect_right(self.starts, as_of_ms - MINUTE_MS)
        return self._first(ended)[ended - 1] if ended else None

    def bar_ending(self, end_ms: int) -> Bar | None:
        """The bar that ends at an instant."""
        place = bisect_left(self.starts, end_ms - MINUTE_MS)
        if place < len(self.starts) and self.starts[place] == end_ms - MINUTE_MS:
            return self._first(place + 1)[place]
        return None

    def _first(self, count: int) -> list[Bar]:
        """At least so many bars; most symbols of a scan are never looked at again, and need only their first ones."""
        made = self._made
        if len(made) < count:
            span = slice(len(made), max(count, 4 * len(made)))
            made += map(new_bar, self.starts[span], *(column[span].tolist() for column in self.columns))
        return made


@dataclass(slots=True, eq=False)
class SessionMarket:
    """A session's prices; ``has_minutes`` is False where only its daily bars are to be used."""

    dataset: Dataset
    row: int
    session: Session
    has_minutes: bool
    quote_row: int
    """The session's number among those with quotes, -1 without."""
    universe: Flags
    """Symbols with a daily bar in the ten sessions before."""
    first_row: int = field(init=False)
    """The first of the 60 sessions before."""
    oldest_date: str = field(init=False)
    """Actions before it are not looked at."""
    _days: dict[str, SymbolDay] = field(default_factory=dict)
    _ends: list[int] | None = None
    _measured: list[int] | None = None

    def __post_init__(self) -> None:
        self.first_row = max(0, self.row - HISTORY_SESSIONS)
        is_cut = self.row >= HISTORY_SESSIONS
        self.oldest_date = self.dataset.sessions[self.first_row].date if is_cut else ""

    @property
    def minute_row(self) -> int:
        """The session's number among those with minutes."""
        return int(self.dataset.minutes.rows_of[self.row])

    @property
    def has_quotes(self) -> bool:
        """Whether any quote of the session is known."""
        return self.quote_row >= 0

    def day(self, symbol: str) -> SymbolDay:
        """The symbol's minute bars; none where it has none or only daily bars count."""
        found = self._days.get(symbol)
        if found is None:
            found = self._days[symbol] = self._read(symbol)
        return found

    def bars(self, symbol: str, as_of_ms: int) -> tuple[Bar, ...]:
        """The symbol's bars that had ended, pre-market included, in time order."""
        return tuple(self.day(symbol).bars_until(as_of_ms))

    def last_price(self, symbol: str, as_of_ms: int) -> LastPrice | None:
        """Close of the last ended bar, with the newest quote; None before the first bar."""
        bar = self.day(symbol).last_until(as_of_ms)
        if bar is None:
            return None
        return new_last_price(bar.close_e4, bar.end_ms, self.quote(symbol, as_of_ms))

    def quote(self, symbol: str, as_of_ms: int) -> Quote | None:
        """The symbol's newest quote of a minute that had ended."""
        quotes, number = self.dataset.quotes, self.quote_row
        if number < 0:
            return None
        start, end = self._span(quotes.offsets[number], symbol)
        limit = (as_of_ms - MINUTE_MS - self.session.open_ms) // MINUTE_MS
        at = start + int(np.searchsorted(quotes.minute[start:end], limit, side="right")) - 1
        if at < start:
            return None
        return Quote(
            self.session.open_ms + (int(quotes.minute[at]) + 1) * MINUTE_MS,
            int(quotes.bid_e4[at]),
            int(quotes.ask_e4[at]),
            int(quotes.bid_size[at]),
            int(quotes.ask_size[at]),
        )

    def next_bar_end_ms(self, after_ms: int) -> int | None:
        """End of the first bar of any symbol that ends after an instant."""
        ends = self._bar_ends()
        place = bisect_right(ends, after_ms)
        return ends[place] if place < len(ends) else None

    def action(self, symbol: str) -> CorporateAction | None:
        """The corporate action whose ex-date is the session."""
        return self.dataset.actions_on.get(self.session.date, {}).get(symbol)

    def daily_bars(self, symbols: Sequence[str], row: int) -> list[DailyBar | None]:
        """The raw daily bars of some symbols in a row, read at once; None where there is none."""
        if row < 0 or not symbols:
            return [None] * len(symbols)
        daily, date = self.dataset.daily, self.dataset.sessions[row].date
        columns = (daily.open_e4, daily.high_e4, daily.low_e4, daily.close_e4, daily.volume)
        rows = zip(*self._values(columns, row, symbols), strict=True)
        return [None if values[-1] == ABSENT else new_daily_bar(date, *values) for values in rows]

    def _values(self, columns: Iterable[Ints], row: int, symbols: Sequence[str]) -> list[list[int]]:
        numbers = np.array([self.dataset.numbers[symbol] for symbol in symbols])
        return [column[row, numbers].tolist() for column in columns]

    def snapshot(self, symbol: str, as_of_ms: int) -> Snapshot:
        """What is known of a symbol, enough to measure its gap."""
        return self.snapshots([symbol], as_of_ms)[0]

    def snapshots(self, symbols: Sequence[str], as_of_ms: int) -> list[Snapshot]:
        """The same of several symbols, in their order."""
        daily = self.dataset.daily
        opens: list[int | None] = [None] * len(symbols)
        if symbols and as_of_ms >= self.session.open_ms + MINUTE_MS:
            rows = zip(*self._values((daily.open_e4, daily.volume), self.row, symbols), strict=True)
            opens = [None if volume == ABSENT else open_e4 for open_e4, volume in rows]
        actions = self.dataset.actions_on.get(self.session.date, {})
        halted = self.dataset.halted(symbols, as_of_ms)
        return [
            new_snapshot(
                instrument=instrument_of(symbol),
                previous=previous,
                action=actions.get(symbol),
                official_open_e4=open_e4,
                minutes=self.bars(symbol, as_of_ms) if self.has_minutes else (),
                quote=self.quote(symbol, as_of_ms) if self.quote_row >= 0 else None,
                is_halted=symbol in halted,
            )
            for symbol, previous, open_e4 in zip(
                symbols, self.daily_bars(symbols, self.row - 1), opens, strict=True
            )
        ]

    def history(self, symbol: str, as_of_ms: int, *, most_bars: int) -> History:
        """The symbol's newest daily bars of the 60 sessions before, with actions and volumes for RVOL."""
        (columns,) = self.past_bars([symbol], most_bars)
        return replace(
            self.past_volumes(symbol, as_of_ms),
            bars=tuple(columns[place] for place in range(len(columns))),
            actions=self.past_actions(symbol),
        )

    def past_actions(self, symbol: str) -> tuple[CorporateAction, ...]:
        """The symbol's actions of the 60 sessions before and of this one, in order, one a date."""
        actions = self.dataset.actions.get(symbol, ())
        start = bisect_left(actions, self.oldest_date, key=_ex_session)
        return actions[start : bisect_right(actions, self.session.date, start, key=_ex_session)]

    def past_volumes(self, symbol: str, as_of_ms: int) -> History:
        """A history of volumes alone: of the 60 sessions before, up to the same time of day, for RVOL."""
        measured = self._measured_rows()
        if not measured:
            return NO_HISTORY
        number, since_open_ms = self.dataset.numbers[symbol], as_of_ms - self.session.open_ms
        return new_history(
            volumes_to_now=self._volumes(number, measured, since_open_ms),
            premarket_volumes=self._premarket_volumes(number, measured, since_open_ms),
        )

    def past_bars(self, symbols: Sequence[str], most_bars: int) -> list[DailyBars]:
        """The newest bars of each symbol; those of the newest rows do where none is missing among them."""
        daily, sessions, first = self.dataset.daily, self.dataset.sessions, self.first_row
        numbers = [self.dataset.numbers[symbol] for symbol in symbols]
        columns = (daily.open_e4, daily.high_e4, daily.low_e4, daily.close_e4, daily.volume)
        newest = max(first, self.row - most_bars)
        dates = [session.date for session in sessions[newest : self.row]]
        blocks = zip(*(column[newest : self.row, numbers].T.tolist() for column in columns), strict=True)
        found = []
        for number, block in zip(numbers, blocks, strict=True):
            if ABSENT not in block[-1]:
                found.append(new_daily_bars(dates, *block))
                continue
            present = np.flatnonzero(daily.volume[first : self.row, number] != ABSENT)
            rows = (present[-most_bars:] + first).tolist()
            own = (column[rows, number].tolist() for column in columns)
            found.append(new_daily_bars([sessions[row].date for row in rows], *own))
        return found

    def _measured_rows(self) -> list[int]:
        """The last 20 earlier sessions with minute bars among the 60, oldest first."""
        if not self.has_minutes:  # without minutes of today there is no volume to compare with
            return []
        if self._measured is None:
            rows_of = self.dataset.minutes.rows_of[self.first_row : self.row]
            self._measured = (np.flatnonzero(rows_of >= 0)[-VOLUME_SESSIONS:] + self.first_row).tolist()
        return self._measured

    def _volumes(self, number: int, measured: list[int], since_open_ms: int) -> tuple[int, ...]:
        """Shares traded from the open to the same time of day."""
        if since_open_ms <= 0:
            return ()
        ended = (since_open_ms - MINUTE_MS) // MINUTE_MS + 1
        found = []
        for row in measured:
            start, end = self._rows(row, number)
            if start < end:
                before = min(ended, self.dataset.sessions[row].minutes)
                found.append(self._volume(start, end, 0, before))
        return tuple(found)

    def _premarket_volumes(self, number: int, measured: list[int], since_open_ms: int) -> tuple[int, ...]:
        """Shares traded before the open up to the same time, of sessions with bars outside regular hours."""
        minutes = self.dataset.minutes
        before = min((since_open_ms - MINUTE_MS) // MINUTE_MS + 1, 0)
        found = []
        for row in measured:
            start, end = self._rows(row, number)
            regular = self.dataset.sessions[row].minutes
            if start < end and (minutes.minute[start] < 0 or minutes.minute[end - 1] >= regular):
                found.append(self._volume(start, end, -(1 << 14), before))
        return tuple(found)

    def _rows(self, row: int, number: int) -> tuple[int, int]:
        offsets = self.dataset.minutes.offsets[int(self.dataset.minutes.rows_of[row])]
        return int(offsets[number]), int(offsets[number + 1])

    def _volume(self, start: int, end: int, first: int, before: int) -> int:
        minutes = self.dataset.minutes
        low, high = np.searchsorted(minutes.minute[start:end], (first, before)).tolist()
        return int(minutes.volume[start + low : start + high].sum())

    def _span(self, offsets: npt.NDArray[np.int64], symbol: str) -> tuple[int, int]:
        number = self.dataset.numbers.get(symbol)
        return (0, 0) if number is None else (int(offsets[number]), int(offsets[number + 1]))

    def _read(self, symbol: str) -> SymbolDay:
        minutes = self.dataset.minutes
        if not self.has_minutes:
            return SymbolDay([], ())
        start, end = self._span(minutes.offsets[self.minute_row], symbol)
        starts = (minutes.minute[start:end].astype(np.int64) * MINUTE_MS + self.session.open_ms).tolist()
        columns = (minutes.open_e4, minutes.high_e4, minutes.low_e4, minutes.close_e4, minutes.volume)
        return SymbolDay(starts, tuple(column[start:end] for column in columns))

    def _bar_ends(self) -> list[int]:
        if self._ends is None:
            self._ends = []
            if self.has_minutes:
                offsets = self.dataset.minutes.offsets[self.minute_row]
                minute = self.dataset.minutes.minute[int(offsets[0]) : int(offsets[-1])]
                ends = (np.unique(minute).astype(np.int64) + 1) * MINUTE_MS + self.session.open_ms
                self._ends = ends.tolist()
        return self._ends


def open_session(dataset: Dataset, session: Session, *, use_minutes: bool = True) -> SessionMarket:
    """The market of one session; ``use_minutes`` False looks at daily bars alone."""
    row = dataset.rows[session.date]
    earlier = dataset.daily.volume[max(0, row - UNIVERSE_SESSIONS) : row]
    has_minutes = use_minutes and dataset.has_minutes(row)
    return SessionMarket(
        dataset=dataset,
        row=row,
        session=session,
        has_minutes=has_minutes,
        quote_row=int(dataset.quotes.rows_of[row]) if has_minutes else -1,
        universe=(earlier != ABSENT).any(axis=0),
    )
