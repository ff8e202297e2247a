"""Reads the bar store as domain values; files stay in memory while they are used."""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

from finagent.adapters.bars.files import Manifest, bars_dir, describe_part, read_manifest, read_part
from finagent.adapters.bars.tables import (
    DailyTable,
    MinuteTable,
    QuoteTable,
    day_number,
    iso_days,
    load_daily,
    load_minutes,
    load_quotes,
)
from finagent.domain.market import Bar, CorporateAction, DailyBar, Earnings, Headline, Quote
from finagent.domain.money import RATIO_SCALE, div_half_even

MINUTE_SESSIONS_KEPT = 40
QUOTE_SESSIONS_KEPT = 4
YEARS_KEPT = 4

T = TypeVar("T")


class _Kept(Generic[T]):
    """The last few loaded files of a folder; None for a file that the store does not have."""

    def __init__(
        self, root: Path, manifest: Manifest, folder: str, load: Callable[[Path], T], size: int
    ) -> None:
        self._root = root
        self._folder = folder
        self._load = load
        self._size = size
        self._files: OrderedDict[str, T] = OrderedDict()
        self.names = [Path(name).stem for name in manifest.of_kind(folder)]
        self._known = frozenset(self.names)

    def get(self, name: str) -> T | None:
        if name in self._files:
            self._files.move_to_end(name)
            return self._files[name]
        if name not in self._known:
            return None
        loaded = self._load(self._root / self._folder / f"{name}.parquet")
        self._files[name] = loaded
        if len(self._files) > self._size:
            self._files.popitem(last=False)
        return loaded


class BarStore:
    """The bar store under a home as it was when opened; answers are values of the domain.

    A file that cannot be read raises StoreCorruptError; the next BarStore sees an import that runs meanwhile.
    """

    def __init__(self, home: Path) -> None:
        self._root = bars_dir(home)
        self._manifest = read_manifest(self._root)
        self._daily: _Kept[DailyTable] = self._kept("daily", load_daily, YEARS_KEPT)
        self._minutes: _Kept[MinuteTable] = self._kept("minute", load_minutes, MINUTE_SESSIONS_KEPT)
        self._scanned: MinuteTable | None = None
        self._quotes: _Kept[QuoteTable] = self._kept("quotes", load_quotes, QUOTE_SESSIONS_KEPT)

    @cached_property
    def data_id(self) -> str:
        """Hash over the contents of the store, the same for the same data however it was imported."""
        parts = dict(self._manifest.parts)
        for name, part in parts.items():
            path = self._root / name
            if path.exists() and path.stat().st_size != part.size_bytes:
                parts[name] = describe_part(read_part(path), path)
        return Manifest(parts=parts).data_id

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Every symbol that has daily or minute bars."""
        names = self._manifest.symbols
        return frozenset(names.get("daily", ())) | frozenset(names.get("minute", ()))

    @property
    def minute_sessions(self) -> Sequence[str]:
        """Dates of the sessions that have minute bars, in order."""
        return self._minutes.names

    @cached_property
    def stored_range(self) -> tuple[str, str] | None:
        """First and last date of any bar."""
        parts = [*self._manifest.of_kind("daily").values(), *self._manifest.of_kind("minute").values()]
        if not parts:
            return None
        return min(part.first for part in parts), max(part.last for part in parts)

    def daily_on(self, date: str) -> Mapping[str, DailyBar]:
        """All daily bars of a date, by symbol in order."""
        year = self._daily.get(date[:4])
        return year.on(date) if year is not None else {}

    def daily_symbols_on(self, date: str) -> Sequence[str]:
        """The symbols that have a daily bar on a date, in order."""
        year = self._daily.get(date[:4])
        return year.symbols_on(date) if year is not None else []

    def daily_of(self, symbols: Sequence[str], dates: Sequence[str]) -> Mapping[str, tuple[DailyBar, ...]]:
        """Each symbol's daily bars on these dates, which are in order."""
        found: dict[str, list[DailyBar]] = {symbol: [] for symbol in symbols}
        if not dates:
            return dict.fromkeys(symbols, ())
        names = {day_number(date): date for date in dates}
        first, before = day_number(dates[0]), day_number(dates[-1]) + 1
        for year in sorted({date[:4] for date in dates}):
            table = self._daily.get(year)
            if table is not None:
                for symbol in symbols:
                    found[symbol].extend(table.bars(symbol, first, before, names))
        return {symbol: tuple(bars) for symbol, bars in found.items()}

    def actions_of(self, symbol: str, first: str, last: str) -> tuple[CorporateAction, ...]:
        """The symbol's corporate actions with first <= ex-date <= last, one a date, in order."""
        actions = self._actions.get(symbol, [])
        low = bisect_left(actions, first, key=_ex_session)
        return tuple(actions[low : bisect_right(actions, last, key=_ex_session)])

    def actions_on(self, date: str) -> Mapping[str, CorporateAction]:
        """The corporate actions whose ex-date is a date, by symbol."""
        return self._actions_by_date.get(date, {})

    def minute_symbols(self, date: str) -> Sequence[str]:
        """The symbols that have minute bars in a session, in order."""
        table = self._minutes.get(date)
        return list(table.spans) if table is not None else []

    def bars(self, date: str, symbol: str, first_ms: int, before_ms: int) -> tuple[Bar, ...]:
        """The symbol's minute bars of a session that start in [first, before)."""
        table = self._minutes.get(date)
        if table is not self._scanned and self._scanned is not None:
            self._scanned.kept.clear()  # one session's bars at a time: some 10 MB each
        self._scanned = table
        return table.bars(symbol, first_ms, before_ms) if table is not None else ()

    def bar_at(self, date: str, symbol: str, start_ms: int) -> Bar | None:
        """The symbol's minute bar that starts at an instant."""
        table = self._minutes.get(date)
        return table.bar_at(symbol, start_ms) if table is not None else None

    def last_bar(self, date: str, symbol: str, before_ms: int) -> Bar | None:
        """The symbol's last minute bar of a session that starts before an instant."""
        table = self._minutes.get(date)
        return table.last_bar(symbol, before_ms) if table is not None else None

    def bar_ends(self, date: str) -> Sequence[int]:
        """The ends of all minute bars of a session, each once, in order."""
        table = self._minutes.get(date)
        return table.ends_ms if table is not None else ()

    def volume(self, date: str, symbol: str, first_ms: int, before_ms: int) -> int:
        """Shares traded in the symbol's minute bars that start in [first, before)."""
        table = self._minutes.get(date)
        return table.volume(symbol, first_ms, before_ms) if table is not None else 0

    def has_bars(self, date: str, symbol: str) -> bool:
        """Whether a symbol has any minute bar in a session."""
        table = self._minutes.get(date)
        return table is not None and symbol in table.spans

    def last_quote(self, date: str, symbol: str, ended_ms: int) -> Quote | None:
        """The symbol's newest quote of a minute of the session that ended at or before an instant."""
        table = self._quotes.get(date)
        return table.last(symbol, ended_ms) if table is not None else None

    def earnings(self) -> Sequence[Earnings]:
        """All earnings dates by symbol and date."""
        table = self._small("earnings.parquet")
        if table is None:
            return []
        dates = iso_days(table["date"].combine_chunks())
        rows = zip(table["symbol"].to_pylist(), dates, table["timing"].to_pylist(), strict=True)
        return [Earnings(symbol=symbol, session=date, timing=timing) for symbol, date, timing in rows]

    def headlines(self) -> Sequence[Headline]:
        """All headlines, and all messages that are English and no repost, by symbol and time."""
        found = []
        for name in self._manifest.of_kind("headlines"):
            table = read_part(self._root / name)
            columns = ("symbol", "published_ms", "known_ms", "text", "source", "lang", "is_retweet", "kind")
            for row in zip(*(table[column].to_pylist() for column in columns), strict=True):
                symbol, published_ms, known_ms, text, source, lang, is_retweet, kind = row
                if kind == "headline" or (lang == "en" and not is_retweet):
                    found.append(
                        Headline(
                            symbol=symbol,
                            published_ms=published_ms,
                            known_at_ms=known_ms,
                            text=text,
                            source=source,
                        )
                    )
        return sorted(found, key=lambda headline: (headline.symbol, headline.known_at_ms, headline.text))

    @cached_property
    def _actions(self) -> dict[str, list[CorporateAction]]:
        table = self._small("actions.parquet")
        if table is None:
            return {}
        dates = iso_days(table["ex_date"].combine_chunks())
        values = (table[name].to_pylist() for name in ("dividend_e4", "split_ratio_e6"))
        by_day: dict[tuple[str, str], tuple[int, int]] = {}
        for symbol, date, dividend_e4, ratio_e6 in zip(
            table["symbol"].to_pylist(), dates, *values, strict=True
        ):
            key = (symbol, date)
            before_e4, before_e6 = by_day.get(key, (0, RATIO_SCALE))
            by_day[key] = (before_e4 + dividend_e4, div_half_even(before_e6 * ratio_e6, RATIO_SCALE))
        found: dict[str, list[CorporateAction]] = {}
        for (symbol, date), (dividend_e4, ratio_e6) in sorted(by_day.items()):
            action = CorporateAction(ex_session=date, dividend_e4=dividend_e4, split_ratio_e6=ratio_e6)
            found.setdefault(symbol, []).append(action)
        return found

    @cached_property
    def _actions_by_date(self) -> dict[str, dict[str, CorporateAction]]:
        found: dict[str, dict[str, CorporateAction]] = {}
        for symbol, actions in self._actions.items():
            for action in actions:
                found.setdefault(action.ex_session, {})[symbol] = action
        return found

    def _small(self, name: str) -> pa.Table | None:
        return read_part(self._root / name) if name in self._manifest.parts else None

    def _kept(self, folder: str, load: Callable[[Path], T], size: int) -> _Kept[T]:
        return _Kept(self._root, self._manifest, folder, load, size)


def _ex_session(action: CorporateAction) -> str:
    return action.ex_session
