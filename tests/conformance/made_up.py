"""A market made of a few rows, for cases that a person can reckon by hand: prices in dollars, bars by minute."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from finagent.backtest.building import find_or_build
from finagent.backtest.dataset import Dataset
from finagent.backtest.source import DailyColumns, Halt, MinuteColumns, QuoteColumns
from finagent.domain.market import MINUTE_MS, CorporateAction, Earnings, Headline, Session

ZONE = ZoneInfo("America/New_York")
Price = str | int
Row = tuple[Price, Price, Price, Price, int]
"""Open, high, low, close in dollars, volume in shares."""


def e4(price: Price) -> int:
    """A price in dollars as 1e-4."""
    return int(Decimal(price) * 10_000)


def ms(day: str, at: str) -> int:
    """An instant of exchange time."""
    return round(datetime.fromisoformat(f"{day}T{at}:00").replace(tzinfo=ZONE).timestamp() * 1000)


def weekdays(first: str, count: int) -> list[str]:
    """So many weekdays from a date on."""
    days, day = [], date.fromisoformat(first)
    while len(days) < count:
        if day.weekday() < 5:
            days.append(day.isoformat())
        day += timedelta(days=1)
    return days


class MadeUpCalendar:
    """Weekdays are sessions, some of them half days that close at 13:00."""

    def __init__(self, first: str, count: int, *, half_days: Collection[str] = ()) -> None:
        days = weekdays(first, count + 1)
        self.all = [
            Session(
                date=day,
                open_ms=ms(day, "09:30"),
                close_ms=ms(day, "13:00" if day in half_days else "16:00"),
                previous=before,
                is_half_day=day in half_days,
            )
            for before, day in pairwise(days)
        ]

    def session(self, date: str) -> Session | None:
        return next((each for each in self.all if each.date == date), None)

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        return [each for each in self.all if first <= each.date <= last]

    def session_at(self, at_ms: int) -> Session:
        day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZONE).date().isoformat()
        return next(each for each in self.all if each.date >= day)

    def after(self, date: str) -> Session:
        return next(each for each in self.all if each.date > date)


@dataclass
class MadeUp:
    """What is stored: add bars, then ``dataset``."""

    calendar: MadeUpCalendar
    days: dict[tuple[str, str], Row] = field(default_factory=dict)
    bars: dict[tuple[str, str, int], Row] = field(default_factory=dict)
    quoted: dict[tuple[str, str, int], tuple[Price, Price]] = field(default_factory=dict)
    splits: dict[str, list[CorporateAction]] = field(default_factory=dict)
    texts: list[Headline] = field(default_factory=list)
    dates: list[Earnings] = field(default_factory=list)
    halted: list[Halt] = field(default_factory=list)

    def daily_bar(self, day: str, symbol: str, *row: Price) -> None:
        """A daily bar: open, high, low, close, volume."""
        self.days[day, symbol] = (row[0], row[1], row[2], row[3], int(row[4]))

    def quiet_days(self, symbol: str, close: Price, *, before: str, volume: int = 2_000_000) -> None:
        """Every session before a date at one price, a dollar wide."""
        high, low = str(Decimal(close) + Decimal("0.5")), str(Decimal(close) - Decimal("0.5"))
        for session in self.calendar.all:
            if session.date < before:
                self.days[session.date, symbol] = (close, high, low, close, volume)

    def minute_bar(self, day: str, symbol: str, at: str, *row: Price) -> None:
        """The minute bar that starts at a time of day: open, high, low, close, volume."""
        self.bars[day, symbol, ms(day, at)] = (row[0], row[1], row[2], row[3], int(row[4]))

    def flat_minutes(
        self, day: str, symbol: str, price: Price, *, first: str, last: str, volume: int = 100_000
    ) -> None:
        """A bar at one price for every minute from first to last inclusive, where none is yet."""
        for start in range(ms(day, first), ms(day, last) + MINUTE_MS, MINUTE_MS):
            self.bars.setdefault((day, symbol, start), (price, price, price, price, volume))

    def quote(self, day: str, symbol: str, at: str, bid: Price, ask: Price) -> None:
        """The quote at the end of the minute that starts at a time of day."""
        self.quoted[day, symbol, ms(day, at)] = (bid, ask)

    def action(self, symbol: str, day: str, *, dividend: Price = 0, split: str = "1") -> None:
        """A corporate action on its ex-date."""
        action = CorporateAction(
            ex_session=day, dividend_e4=e4(dividend), split_ratio_e6=int(Decimal(split) * 1_000_000)
        )
        self.splits.setdefault(symbol, []).append(action)

    def dataset(self, root: Path) -> Dataset:
        """The dataset of all this."""
        return find_or_build(self, self.calendar, root)

    @property
    def data_id(self) -> str:
        stored = [
            sorted((*key, *map(str, row)) for key, row in table.items())
            for table in (self.days, self.bars, self.quoted)
        ]
        text = json.dumps([stored, repr(self.splits), repr(self.texts), repr(self.dates)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def stored_range(self) -> tuple[str, str] | None:
        dates = [day for day, _ in self.days] + [day for day, _, _ in self.bars]
        return (min(dates), max(dates)) if dates else None

    @property
    def symbols(self) -> Collection[str]:
        return {symbol for _, symbol in self.days} | {symbol for _, symbol, _ in self.bars}

    def daily(self) -> Iterator[DailyColumns]:
        if self.days:
            rows = sorted((symbol, day, *row) for (day, symbol), row in self.days.items())
            names = tuple(sorted({row[0] for row in rows}))
            yield DailyColumns(
                names,
                np.array([names.index(row[0]) for row in rows], np.int64),
                np.array([row[1] for row in rows], "datetime64[D]").astype(np.int64),
                *(np.array([e4(row[place]) for row in rows], np.int64) for place in range(2, 6)),
                np.array([row[6] for row in rows], np.int64),
            )

    def minutes(self) -> Iterator[MinuteColumns]:
        by_day: defaultdict[str, list[tuple[str, int, Row]]] = defaultdict(list)
        for (day, symbol, start), row in self.bars.items():
            by_day[day].append((symbol, start, row))
        for day, found in sorted(by_day.items()):
            found.sort(key=lambda each: each[:2])
            names = tuple(sorted({each[0] for each in found}))
            yield MinuteColumns(
                day,
                names,
                np.array([names.index(each[0]) for each in found], np.int64),
                np.array([each[1] for each in found], np.int64),
                *(np.array([e4(each[2][place]) for each in found], np.int64) for place in range(4)),
                np.array([each[2][4] for each in found], np.int64),
            )

    def quotes(self) -> Iterator[QuoteColumns]:
        for day in sorted({day for day, _, _ in self.quoted}):
            found = sorted(
                (symbol, start, bid, ask)
                for (of, symbol, start), (bid, ask) in self.quoted.items()
                if of == day
            )
            names = tuple(sorted({each[0] for each in found}))
            yield QuoteColumns(
                day,
                names,
                np.array([names.index(each[0]) for each in found], np.int64),
                np.array([each[1] for each in found], np.int64),
                np.array([e4(each[2]) for each in found], np.int64),
                np.array([e4(each[3]) for each in found], np.int64),
                np.full(len(found), 100, np.int64),
                np.full(len(found), 100, np.int64),
            )

    def actions(self) -> Mapping[str, Sequence[CorporateAction]]:
        return self.splits

    def headlines(self) -> Sequence[Headline]:
        return sorted(self.texts, key=lambda text: (text.symbol, text.known_at_ms))

    def earnings(self) -> Sequence[Earnings]:
        return self.dates

    def halts(self) -> Sequence[Halt]:
        return self.halted
