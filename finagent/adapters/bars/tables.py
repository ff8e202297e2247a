"""Files of the store in memory: compact integer columns with an index by symbol and by date."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from finagent.adapters.bars.files import read_part
from finagent.domain.market import MINUTE_MS, Bar, DailyBar, Quote

Ints = npt.NDArray[np.int64]
OHLCV = ("open_e4", "high_e4", "low_e4", "close_e4", "volume")
QUOTE = ("bid_close_e4", "ask_close_e4", "bid_size", "ask_size")


@dataclass(slots=True, eq=False)
class SymbolTable:
    """Rows sorted by symbol and time; ``spans`` holds each symbol's first row and the row behind its last."""

    spans: dict[str, tuple[int, int]]
    time: Ints
    columns: tuple[Ints, ...]

    def span(self, symbol: str, first: int, before: int) -> tuple[int, int]:
        """The symbol's rows with first <= time < before."""
        start, end = self.spans.get(symbol, (0, 0))
        if start == end:
            return 0, 0
        low, high = np.searchsorted(self.time[start:end], (first, before))
        return start + int(low), start + int(high)

    def rows(self, start: int, end: int) -> list[tuple[int, ...]]:
        """Time and columns of some rows as plain integers."""
        parts = [self.time[start:end].tolist(), *(column[start:end].tolist() for column in self.columns)]
        return list(zip(*parts, strict=True))


@dataclass(slots=True, eq=False)
class MinuteTable(SymbolTable):
    """A session's minute bars; time is the start in ms UTC.

    Bars that were asked for are kept, because each scan asks again for all of the day so far.
    """

    ends_ms: list[int] = field(default_factory=list)
    kept: dict[str, list[Bar]] = field(default_factory=dict)
    """By symbol, its bars from the first on as far as they were asked for."""

    def bars(self, symbol: str, first_ms: int, before_ms: int) -> tuple[Bar, ...]:
        """The symbol's bars that start in [first, before)."""
        low, high = self.span(symbol, first_ms, before_ms)
        if low == high:
            return ()
        start, _ = self.spans[symbol]
        kept = self.kept.setdefault(symbol, [])
        if start + len(kept) < high:
            kept.extend(Bar(*row) for row in self.rows(start + len(kept), high))
        return tuple(kept[low - start : high - start])

    def bar_at(self, symbol: str, start_ms: int) -> Bar | None:
        """The symbol's bar that starts at an instant."""
        start, end = self.spans.get(symbol, (0, 0))
        row = start + int(np.searchsorted(self.time[start:end], start_ms)) if end > start else end
        if row >= end or self.time[row] != start_ms:
            return None
        return Bar(start_ms, *(int(column[row]) for column in self.columns))

    def last_bar(self, symbol: str, before_ms: int) -> Bar | None:
        """The symbol's last bar that starts before an instant."""
        start, end = self.span(symbol, 0, before_ms)
        return None if start == end else Bar(*self.rows(end - 1, end)[0])

    def volume(self, symbol: str, first_ms: int, before_ms: int) -> int:
        """Shares traded in the symbol's bars that start in [first, before)."""
        start, end = self.span(symbol, first_ms, before_ms)
        return int(self.columns[-1][start:end].sum())


@dataclass(slots=True, eq=False)
class QuoteTable(SymbolTable):
    """A session's quotes by minute; time is the start in ms UTC, the quote is the one at the minute's end."""

    def last(self, symbol: str, ended_ms: int) -> Quote | None:
        """The symbol's newest quote of a minute that ended at or before an instant."""
        start, end = self.span(symbol, 0, ended_ms - MINUTE_MS + 1)
        if start == end:
            return None
        start_ms, bid_e4, ask_e4, bid_size, ask_size = self.rows(end - 1, end)[0]
        return Quote(start_ms + MINUTE_MS, bid_e4, ask_e4, bid_size, ask_size)


@dataclass(slots=True, eq=False)
class DailyTable(SymbolTable):
    """A year's daily bars; time is the day number since 1970."""

    symbols: tuple[str, ...] = ()
    codes: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    by_day: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    days: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def on(self, date: str) -> dict[str, DailyBar]:
        """All bars of a date, by symbol in order."""
        day = day_number(date)
        low, high = np.searchsorted(self.days, (day, day + 1))
        rows = self.by_day[int(low) : int(high)]
        names = (self.symbols[code] for code in self.codes[rows].tolist())
        values = zip(*(column[rows].tolist() for column in self.columns), strict=True)
        return {name: DailyBar(date, *row) for name, row in zip(names, values, strict=True)}

    def symbols_on(self, date: str) -> list[str]:
        """The symbols that have a bar on a date."""
        day = day_number(date)
        low, high = np.searchsorted(self.days, (day, day + 1))
        return [self.symbols[code] for code in self.codes[self.by_day[int(low) : int(high)]].tolist()]

    def bars(self, symbol: str, first: int, before: int, dates: dict[int, str]) -> list[DailyBar]:
        """The symbol's bars with first <= day < before, on the days that ``dates`` names."""
        rows = self.rows(*self.span(symbol, first, before))
        return [DailyBar(dates[row[0]], *row[1:]) for row in rows if row[0] in dates]


def day_number(date: str) -> int:
    """Days since 1970 of an ISO date."""
    return int(np.datetime64(date, "D").astype(np.int64))


def load_minutes(path: Path) -> MinuteTable:
    """A session's minute bars from its file."""
    table = read_part(path)
    start_ms = _ints(table, "start_ms")
    ends = (np.unique(start_ms) + MINUTE_MS).tolist()
    return MinuteTable(_spans(table)[0], start_ms, tuple(_ints(table, name) for name in OHLCV), ends)


def load_quotes(path: Path) -> QuoteTable:
    """A session's quotes from its file."""
    table = read_part(path)
    return QuoteTable(_spans(table)[0], _ints(table, "start_ms"), tuple(_ints(table, name) for name in QUOTE))


def load_daily(path: Path) -> DailyTable:
    """A year's daily bars from its file."""
    table = read_part(path)
    spans, codes = _spans(table)
    day = _ints(table, "date")
    by_day = np.asarray(np.argsort(day, kind="stable"), np.int64)
    columns = tuple(_ints(table, name) for name in OHLCV)
    return DailyTable(spans, day, columns, tuple(spans), codes, by_day, day[by_day])


def whole_numbers(array: pa.Array) -> Ints:
    """An array of integers or days without gaps as int64.

    By its buffer, because ``to_numpy`` of pyarrow imports pandas: more than a second and 60 MB.
    """
    if not len(array):
        return np.empty(0, np.int64)
    kind = np.int64 if array.type.bit_width == 64 else np.int32
    values = np.frombuffer(array.buffers()[1], kind, count=len(array) + array.offset)
    return np.ascontiguousarray(values[array.offset :], np.int64)


def iso_days(array: pa.Array) -> list[str]:
    """An array of days as ISO dates."""
    days: list[str] = whole_numbers(array).astype("datetime64[D]").astype(str).tolist()
    return days


def _ints(table: pa.Table, name: str) -> Ints:
    return whole_numbers(table[name].combine_chunks())


def _spans(table: pa.Table) -> tuple[dict[str, tuple[int, int]], Ints]:
    """Each symbol's rows in a table sorted by symbol, and each row's symbol by number."""
    encoded = table["symbol"].combine_chunks().dictionary_encode()
    codes = whole_numbers(encoded.indices)
    ends = np.cumsum(np.bincount(codes)).tolist()
    starts = [0, *ends[:-1]]
    names = encoded.dictionary.to_pylist()
    return dict(zip(names, zip(starts, ends, strict=True), strict=True)), codes
