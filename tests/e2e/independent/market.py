"""The raw market data read a second time, with pandas and fractions, sharing nothing with the program."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime, time, timedelta
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

NEW_YORK = ZoneInfo("America/New_York")
DAILY_FILES = ("equities_daily.parquet", "equities_daily_lean.parquet")
"""In name order: of equal bars the first wins."""
MINUTE_FILES = ("equities_minute_2018.parquet", "equities_minute_extended.parquet")
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Minute:
    """A one-minute bar; ``start`` in ms UTC, prices in 1e-4."""

    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int

    @property
    def end(self) -> int:
        """When it is known."""
        return self.start + MINUTE_MS


@dataclass(frozen=True)
class Day:
    """A daily bar, prices in 1e-4."""

    open: int
    high: int
    low: int
    close: int
    volume: int


@dataclass(frozen=True)
class Found:
    """What a scan of one session must find: exact gaps, and what contradicts itself."""

    gaps: dict[str, Fraction]
    issues: dict[str, str]

    def at_least(self, threshold: Fraction) -> dict[str, Fraction]:
        """The gaps of this size or more, either way."""
        return {symbol: gap for symbol, gap in self.gaps.items() if abs(gap) >= threshold}


def in_e4(dollars: float) -> int:
    """A raw float of four decimals as the integer it was made from."""
    return round(dollars * 10_000)


def clock_ms(session: str, hour_minute: str) -> int:
    """A New York time of a session in ms UTC."""
    hour, minute = map(int, hour_minute.split(":"))
    local = datetime.combine(Date.fromisoformat(session), time(hour, minute), NEW_YORK)
    return int(local.timestamp()) * 1000


class RawMarket:
    """The Parquet files of the data folder; each is read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _holidays(self) -> frozenset[Date]:
        hours = json.loads((self._folder / "us_equity_market_hours.json").read_text())
        return frozenset(datetime.strptime(day, "%m/%d/%Y").date() for day in hours["holidays"])

    def is_session(self, day: Date) -> bool:
        """Whether the exchange trades on a date."""
        return day.weekday() < 5 and day not in self._holidays

    def sessions(self, first: str, last: str) -> Iterator[str]:
        """All sessions from first to last."""
        day, end = Date.fromisoformat(first), Date.fromisoformat(last)
        while day <= end:
            if self.is_session(day):
                yield day.isoformat()
            day += timedelta(days=1)

    def before(self, session: str, count: int = 1) -> list[str]:
        """The last ``count`` sessions before one, oldest first."""
        found: list[str] = []
        day = Date.fromisoformat(session)
        while len(found) < count:
            day -= timedelta(days=1)
            if self.is_session(day):
                found.append(day.isoformat())
        return found[::-1]

    @cached_property
    def _daily_rows(self) -> list[tuple[pd.DataFrame, dict[object, list[int]]]]:
        """Each daily file with its row numbers by date."""
        frames = [pd.read_parquet(self._folder / name) for name in DAILY_FILES]
        return [(frame, frame.groupby("date", sort=False).indices) for frame in frames]

    @cache  # noqa: B019  # one market lives as long as the test session
    def daily(self, session: str) -> dict[str, Day]:
        """The daily bars of a session, by symbol."""
        found: dict[str, Day] = {}
        for frame, rows in self._daily_rows:
            part = frame.iloc[rows.get(Date.fromisoformat(session), [])]
            columns = [part[c].tolist() for c in ("symbol", "open", "high", "low", "close", "volume")]
            for symbol, *prices, volume in zip(*columns, strict=True):
                found.setdefault(symbol, Day(*(in_e4(price) for price in prices), volume))
        return found

    @cached_property
    def _actions(self) -> dict[tuple[str, str], tuple[int, Fraction]]:
        frame = pd.read_parquet(self._folder / "corporate_actions.parquet")
        found: dict[tuple[str, str], tuple[int, Fraction]] = {}
        columns = (frame[name] for name in ("symbol", "ex_date", "dividend", "split_ratio"))
        for symbol, date, dividend, ratio in zip(*columns, strict=True):
            exact = Fraction(round(ratio * 1_000_000), 1_000_000)
            before, split = found.get((symbol, str(date)), (0, Fraction(1)))
            found[symbol, str(date)] = (before + in_e4(dividend), split * exact)
        return found

    def action(self, symbol: str, ex_date: str) -> tuple[int, Fraction] | None:
        """Dividend in 1e-4 and split ratio of an ex-date."""
        return self._actions.get((symbol, ex_date))

    @cached_property
    def _minute_rows(self) -> list[tuple[pd.DataFrame, dict[object, list[int]]]]:
        """Each minute file with its row numbers by New York date."""
        frames = [pd.read_parquet(self._folder / name) for name in MINUTE_FILES]
        return [
            (frame, frame.groupby(frame["ts"].dt.tz_convert(NEW_YORK).dt.date, sort=False).indices)
            for frame in frames
        ]

    @cache  # noqa: B019
    def _minutes(self, session: str) -> dict[str, list[Minute]]:
        """All bars of a New York date by symbol, in time order; of equal starts the first wins."""
        found: dict[str, dict[int, Minute]] = {}
        for frame, rows in self._minute_rows:
            part = frame.iloc[rows.get(Date.fromisoformat(session), [])]
            starts = (part["ts"].dt.tz_convert(None) - pd.Timestamp(0)) // pd.Timedelta(milliseconds=1)
            columns = [part[c].tolist() for c in ("symbol", "open", "high", "low", "close", "volume")]
            for start, symbol, *prices, volume in zip(starts.tolist(), *columns, strict=True):
                bar = Minute(start, *(in_e4(price) for price in prices), volume)
                found.setdefault(symbol, {}).setdefault(start, bar)
        return {symbol: [bars[start] for start in sorted(bars)] for symbol, bars in found.items()}

    def minutes(self, session: str, symbol: str) -> list[Minute]:
        """All minute bars of a symbol on a New York date."""
        return self._minutes(session).get(symbol, [])

    def regular(self, session: str, symbol: str) -> list[Minute]:
        """Its bars of the regular hours of a full session."""
        opened, closed = clock_ms(session, "09:30"), clock_ms(session, "16:00")
        return [bar for bar in self.minutes(session, symbol) if opened <= bar.start < closed]

    def minute_symbols(self, session: str) -> list[str]:
        """The symbols with minute bars on a date."""
        return sorted(self._minutes(session))

    def adjusted_close(self, symbol: str, session: str) -> Fraction | None:
        """(previous close - dividend) / split ratio in 1e-4, exactly; None without a previous close."""
        previous = self.daily(self.before(session)[0]).get(symbol)
        if previous is None:
            return None
        dividend, split = self.action(symbol, session) or (0, Fraction(1))
        return Fraction(previous.close - dividend) / split

    def opening_gaps(self, session: str) -> Found:
        """What is to be found at 09:31: by the 09:30 bar where the session has minutes, else by daily opens."""
        opened = clock_ms(session, "09:30")
        has_minutes = bool(self.minute_symbols(session))
        official = self.daily(session)
        gaps: dict[str, Fraction] = {}
        issues: dict[str, str] = {}
        for symbol in self.minute_symbols(session) if has_minutes else sorted(official):
            adjusted = self.adjusted_close(symbol, session)
            if has_minutes:
                first = next((b for b in self.minutes(session, symbol) if b.start == opened), None)
                price = first.open if first is not None else None
            else:
                price = official[symbol].open
            if adjusted is None or price is None:
                continue
            if symbol in official and abs(Fraction(official[symbol].open, price) - 1) > Fraction(1, 10):
                issues[symbol] = "identity_mismatch"
            elif adjusted <= 0:
                issues[symbol] = "bad_action"
            else:
                gap = Fraction(price) / adjusted - 1
                if self.action(symbol, session) is not None and abs(gap) >= Fraction(1, 4):
                    issues[symbol] = "bad_action"
                else:
                    gaps[symbol] = gap
        return Found(gaps, issues)

    def average_true_range(self, symbol: str, session: str, count: int = 14) -> Fraction | None:
        """Mean true range in 1e-4 of the last ``count`` daily bars before a session, on its split basis.

        None below count + 1 bars in the 60 sessions before; ex-dates adjust the close before them.
        """
        dates = [d for d in self.before(session, 60) if symbol in self.daily(d)]
        if len(dates) < count + 1:
            return None
        total = Fraction(0)
        for before, date in zip(dates[-count - 1 : -1], dates[-count:], strict=True):
            bar, reference = self.daily(date)[symbol], Fraction(self.daily(before)[symbol].close)
            for (_, ex_date), (dividend, split) in self._actions_of(symbol):
                if before < ex_date <= date:
                    reference = (reference - dividend) / split
            ranges = [Fraction(bar.high - bar.low)]
            if reference > 0:
                ranges += [abs(bar.high - reference), abs(bar.low - reference)]
            basis = Fraction(1)
            for (_, ex_date), (_, split) in self._actions_of(symbol):
                if date < ex_date <= session:
                    basis *= split
            total += max(ranges) / basis
        return total / count

    def _actions_of(self, symbol: str) -> list[tuple[tuple[str, str], tuple[int, Fraction]]]:
        return self._by_symbol.get(symbol, [])

    @cached_property
    def _by_symbol(self) -> dict[str, list[tuple[tuple[str, str], tuple[int, Fraction]]]]:
        found: dict[str, list[tuple[tuple[str, str], tuple[int, Fraction]]]] = {}
        for key in sorted(self._actions):
            found.setdefault(key[0], []).append((key, self._actions[key]))
        return found
