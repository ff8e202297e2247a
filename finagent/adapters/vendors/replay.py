"""Replays the bar store as a market data feed that knows only what was known at the instant asked."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from finagent.domain.errors import SessionDataMissingError
from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    CorporateAction,
    DailyBar,
    History,
    Instrument,
    MarketView,
    Quote,
    Session,
    Snapshot,
)
from finagent.ports import CalendarPort, LastPrice

FEED = "replay"
UNIVERSE_SESSIONS = 10
"""A symbol belongs to the universe when it has a daily bar in so many sessions before."""
VOLUME_SESSIONS = 20


class BarArchive(Protocol):
    """What a replay reads; the bar store provides it. It may hold what is later than the instant asked."""

    @property
    def data_id(self) -> str:
        """Hash over the contents."""

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol that has bars."""

    @property
    def minute_sessions(self) -> Sequence[str]:
        """Dates of the sessions with minute bars, in order."""

    @property
    def stored_range(self) -> tuple[str, str] | None:
        """First and last date of any bar."""

    def daily_on(self, date: str) -> Mapping[str, DailyBar]:
        """All daily bars of a date, by symbol."""

    def daily_symbols_on(self, date: str) -> Sequence[str]:
        """Symbols with a daily bar on a date."""

    def daily_of(self, symbols: Sequence[str], dates: Sequence[str]) -> Mapping[str, tuple[DailyBar, ...]]:
        """Each symbol's daily bars on these dates."""

    def actions_of(self, symbol: str, first: str, last: str) -> tuple[CorporateAction, ...]:
        """A symbol's actions with first <= ex-date <= last."""

    def actions_on(self, date: str) -> Mapping[str, CorporateAction]:
        """The actions of an ex-date, by symbol."""

    def minute_symbols(self, date: str) -> Sequence[str]:
        """Symbols with minute bars in a session."""

    def bars(self, date: str, symbol: str, first_ms: int, before_ms: int) -> tuple[Bar, ...]:
        """Minute bars that start in [first, before)."""

    def bar_at(self, date: str, symbol: str, start_ms: int) -> Bar | None:
        """The minute bar that starts at an instant."""

    def last_bar(self, date: str, symbol: str, before_ms: int) -> Bar | None:
        """The last minute bar that starts before an instant."""

    def bar_ends(self, date: str) -> Sequence[int]:
        """The ends of all minute bars of a session, each once, in order."""

    def volume(self, date: str, symbol: str, first_ms: int, before_ms: int) -> int:
        """Shares in the minute bars that start in [first, before)."""

    def has_bars(self, date: str, symbol: str) -> bool:
        """Whether a symbol has any minute bar in a session."""

    def last_quote(self, date: str, symbol: str, ended_ms: int) -> Quote | None:
        """The newest quote known at an instant of the session."""


@dataclass(frozen=True, slots=True)
class _Day:
    """What is known of a session before it begins, and its opening prints for later."""

    date: str
    universe: tuple[str, ...]
    previous: Mapping[str, DailyBar]
    actions: Mapping[str, CorporateAction]
    opens_e4: Mapping[str, int]
    has_minutes: bool


class ReplayVendor:
    """Market data of past sessions from an archive of bars, a MarketDataPort.

    Bars count from their end, the official open from a minute after the open, nothing else of a session's
    daily bar ever. Which sessions have minute bars at all is a property of the archive, known from the start.
    """

    def __init__(self, archive: BarArchive, calendar: CalendarPort) -> None:
        self._archive = archive
        self._calendar = calendar
        self._instruments: dict[str, Instrument] = {}
        self._minute_sessions = frozenset(archive.minute_sessions)
        self._day: _Day | None = None

    @property
    def name(self) -> str:
        """The feed's name."""
        return FEED

    @property
    def data_id(self) -> str:
        """Hash over the archive's contents, a part of a replay's identity."""
        return self._archive.data_id

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        """Snapshots of every symbol with a daily bar in the ten sessions before, or a minute bar of today."""
        day = self._known_day(session)
        archive, date = self._archive, session.date
        trading = {
            symbol: bars
            for symbol in archive.minute_symbols(date)
            if (bars := archive.bars(date, symbol, 0, as_of_ms - MINUTE_MS + 1))
        }
        is_open_known = as_of_ms >= session.open_ms + MINUTE_MS
        snapshots = tuple(
            Snapshot(
                instrument=self._instrument(symbol),
                previous=day.previous.get(symbol),
                action=day.actions.get(symbol),
                official_open_e4=day.opens_e4.get(symbol) if is_open_known else None,
                minutes=trading.get(symbol, ()),
                quote=archive.last_quote(date, symbol, as_of_ms),
            )
            for symbol in sorted(trading.keys() | set(day.universe))
        )
        return MarketView(
            session=session, as_of_ms=as_of_ms, snapshots=snapshots, has_minutes=day.has_minutes, feed=FEED
        )

    async def history(
        self, symbols: Sequence[str], session: Session, as_of_ms: int, *, sessions: int = 60
    ) -> Mapping[str, History]:
        """Raw daily bars of the last ``sessions`` sessions before one, with actions up to its own ex-date.

        Volumes for RVOL come from those of the last 20 sessions with minute bars in which the symbol has
        some; pre-market volumes only from those in which it has bars outside the regular hours.
        """
        earlier = self._before(session, sessions)
        dates = [day.date for day in earlier]
        first = dates[0] if dates else session.date
        measured = [day for day in earlier if day.date in self._minute_sessions][-VOLUME_SESSIONS:]
        daily = self._archive.daily_of(symbols, dates)
        since_open_ms = as_of_ms - session.open_ms
        return {
            symbol: History(
                bars=daily[symbol],
                actions=self._archive.actions_of(symbol, first, session.date),
                volumes_to_now=self._volumes(symbol, measured, since_open_ms),
                premarket_volumes=self._premarket_volumes(symbol, measured, since_open_ms),
            )
            for symbol in symbols
        }

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        """Close of each symbol's last ended bar of the session; symbols without one are absent."""
        found = {}
        for symbol in symbols:
            bar = self._archive.last_bar(session.date, symbol, as_of_ms - MINUTE_MS + 1)
            if bar is not None:
                quote = self._archive.last_quote(session.date, symbol, as_of_ms)
                found[symbol] = LastPrice(symbol, bar.close_e4, bar.end_ms, quote)
        return found

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """A symbol's ended minute bars of the session, pre-market and after-hours included."""
        return self.loaded_minutes(symbol, session, as_of_ms)

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """The same at once."""
        return self._archive.bars(session.date, symbol, 0, as_of_ms - MINUTE_MS + 1)

    async def load(self, session: Session) -> None:
        """Bring a session's minute bars into memory; without it the first question does."""
        self._archive.bar_ends(session.date)

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        """The bars that end at an instant, for those of the symbols that traded."""
        start_ms = end_ms - MINUTE_MS
        found = ((symbol, self._archive.bar_at(session.date, symbol, start_ms)) for symbol in symbols)
        return {symbol: bar for symbol, bar in found if bar is not None}

    def next_bar_end_ms(self, session: Session, after_ms: int) -> int | None:
        """End of the first bar of any symbol that ends after an instant; None behind the last one."""
        ends = self._archive.bar_ends(session.date)
        index = bisect_right(ends, after_ms)
        return ends[index] if index < len(ends) else None

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        """Never: the archive holds no halts."""
        return False

    def instrument(self, symbol: str) -> Instrument | None:
        """The symbol as a whole-share instrument; None where the archive has no bar of it."""
        return self._instrument(symbol) if symbol in self._archive.symbols else None

    def _instrument(self, symbol: str) -> Instrument:
        found = self._instruments.get(symbol)
        if found is None:
            found = self._instruments[symbol] = Instrument(symbol=symbol)
        return found

    def _known_day(self, session: Session) -> _Day:
        if self._day is None or self._day.date != session.date:
            self._day = self._read_day(session)
        return self._day

    def _read_day(self, session: Session) -> _Day:
        today = self._archive.daily_on(session.date)
        has_minutes = session.date in self._minute_sessions
        if not today and not has_minutes:
            raise SessionDataMissingError(self._missing(session.date))
        recent: set[str] = set()
        for earlier in self._before(session, UNIVERSE_SESSIONS):
            recent.update(self._archive.daily_symbols_on(earlier.date))
        return _Day(
            date=session.date,
            universe=tuple(sorted(recent)),
            previous=self._archive.daily_on(session.previous),
            actions=self._archive.actions_on(session.date),
            opens_e4={symbol: bar.open_e4 for symbol, bar in today.items()},
            has_minutes=has_minutes,
        )

    def _missing(self, date: str) -> str:
        stored = self._archive.stored_range
        holds = f"the store holds {stored[0]} to {stored[1]}" if stored else "the store is empty"
        return f"no bars for session {date}: {holds}; import them with `finagent data import DIR`"

    def _before(self, session: Session, count: int) -> Sequence[Session]:
        """The last ``count`` sessions before one, oldest first; fewer where the calendar begins."""
        found: list[Session] = []
        date = session.previous
        while len(found) < count:
            earlier = self._calendar.session(date)
            if earlier is None:
                break
            found.append(earlier)
            date = earlier.previous
        return found[::-1]

    def _volumes(self, symbol: str, measured: Sequence[Session], since_open_ms: int) -> tuple[int, ...]:
        if since_open_ms <= 0:
            return ()
        return tuple(
            self._archive.volume(
                day.date, symbol, day.open_ms, min(day.open_ms + since_open_ms - MINUTE_MS + 1, day.close_ms)
            )
            for day in measured
            if self._archive.has_bars(day.date, symbol)
        )

    def _premarket_volumes(
        self, symbol: str, measured: Sequence[Session], since_open_ms: int
    ) -> tuple[int, ...]:
        volumes = []
        for day in measured:
            before_ms = min(day.open_ms + since_open_ms - MINUTE_MS + 1, day.open_ms)
            if self._is_extended(day, symbol):
                volumes.append(self._archive.volume(day.date, symbol, 0, before_ms))
        return tuple(volumes)

    def _is_extended(self, day: Session, symbol: str) -> bool:
        """Whether the archive has bars of the symbol outside the regular hours of an earlier session."""
        first = self._archive.bar_ends(day.date)
        if not first or (first[0] > day.open_ms and first[-1] <= day.close_ms):
            return False
        last = self._archive.last_bar(day.date, symbol, 1 << 62)
        is_late = last is not None and last.start_ms >= day.close_ms
        early = self._archive.last_bar(day.date, symbol, day.open_ms)
        return is_late or early is not None
