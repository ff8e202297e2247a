"""A scripted outside world: a few sessions, bars written by hand, no news; every answer cut at ``as_of``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from finagent.domain.errors import SessionDataMissingError
from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    DailyBar,
    Earnings,
    Headline,
    History,
    Instrument,
    MarketView,
    Quote,
    Session,
    Snapshot,
)
from finagent.ports import LastPrice

NEW_YORK = ZoneInfo("America/New_York")
Prices = tuple[float, float, float, float]


def local(date: str, time: str) -> int:
    """The instant of an exchange date and ``HH:MM`` (or ``HH:MM:SS``), in ms UTC."""
    return round(datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=NEW_YORK).timestamp() * 1000)


class ScriptedCalendar:
    """The sessions it is given, in order; ``half`` ones close at 13:00."""

    def __init__(self, *dates: str, half: Sequence[str] = ()) -> None:
        before = ["2018-02-16", *dates]
        self._sessions = [
            Session(
                date=date,
                open_ms=local(date, "09:30"),
                close_ms=local(date, "13:00" if date in half else "16:00"),
                previous=previous,
                is_half_day=date in half,
            )
            for previous, date in zip(before, dates, strict=False)
        ]

    def session(self, date: str) -> Session | None:
        return next((each for each in self._sessions if each.date == date), None)

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        return [each for each in self._sessions if first <= each.date <= last]

    def session_at(self, at_ms: int) -> Session:
        date = datetime.fromtimestamp(at_ms / 1000, NEW_YORK).date().isoformat()
        return next((each for each in self._sessions if each.date >= date), self._sessions[-1])

    def after(self, date: str) -> Session:
        return next(each for each in self._sessions if each.date > date)


@dataclass
class ScriptedMarket:
    """Bars by (session, symbol); what was not scripted stands still at the price before it."""

    calendar: ScriptedCalendar
    name: str = "scripted"
    bars: dict[tuple[str, str], list[Bar]] = field(default_factory=dict)
    previous_e4: dict[tuple[str, str], int] = field(default_factory=dict)
    halts: list[tuple[str, int, int]] = field(default_factory=list)
    quotes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    is_short_restricted: bool | None = None
    instruments: dict[str, Instrument] = field(default_factory=dict)
    """What is known of a symbol beyond its name."""

    def day(
        self,
        symbol: str,
        date: str,
        script: Mapping[str, Prices] | None = None,
        *,
        open_at: float = 100.0,
        previous: float = 95.0,
        volume: int = 1_000_000,
        volumes: Mapping[str, int] | None = None,
        silent_from: str | None = None,
    ) -> None:
        """A session's minutes: ``script`` gives single ones by their start, all others are flat."""
        session = self.calendar.session(date)
        assert session is not None
        wanted = {local(date, time): prices for time, prices in (script or {}).items()}
        amounts = {local(date, time): amount for time, amount in (volumes or {}).items()}
        end_ms = session.close_ms if silent_from is None else local(date, silent_from)
        last, made = open_at, []
        for start_ms in range(session.open_ms, end_ms, MINUTE_MS):
            prices = wanted.pop(start_ms, (last, last, last, last))
            made.append(Bar(start_ms, *(round(p * 10_000) for p in prices), amounts.get(start_ms, volume)))
            last = prices[3]
        assert not wanted, f"minutes outside the session: {sorted(wanted)}"
        self.bars[date, symbol] = made
        self.previous_e4[date, symbol] = round(previous * 10_000)

    def premarket(self, symbol: str, date: str, *, high: float, low: float, close: float) -> None:
        """Ten minutes until 09:29 that reach ``high`` and ``low`` and end at ``close``; call after ``day``."""
        first = local(date, "09:20")
        prices = [round(price * 10_000) for price in (close, high, low, close)]
        made = [Bar(first + minute * MINUTE_MS, *prices, 50_000) for minute in range(10)]
        self.bars[date, symbol] = made + self.bars[date, symbol]

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        symbols = sorted(symbol for date, symbol in self.bars if date == session.date)
        if not symbols:
            raise SessionDataMissingError(f"no bars for session {session.date}")
        return MarketView(
            session=session,
            as_of_ms=as_of_ms,
            snapshots=tuple(
                Snapshot(
                    instrument=self.instruments.get(symbol, Instrument(symbol=symbol)),
                    previous=_daily(session.previous, self.previous_e4[session.date, symbol]),
                    minutes=tuple(self.loaded_minutes(symbol, session, as_of_ms)),
                    is_short_restricted=self.is_short_restricted,
                )
                for symbol in symbols
            ),
            has_minutes=True,
            feed=self.name,
        )

    async def history(
        self, symbols: Sequence[str], session: Session, as_of_ms: int, *, sessions: int = 60
    ) -> Mapping[str, History]:
        return {
            symbol: History(
                bars=tuple(
                    _daily(f"2018-01-{day:02d}", self.previous_e4[session.date, symbol])
                    for day in range(1, 26)
                )
            )
            for symbol in symbols
        }

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        found = {}
        for symbol in symbols:
            ended = self.loaded_minutes(symbol, session, as_of_ms)
            if ended:
                spread = self.quotes.get((session.date, symbol))
                quote = None if spread is None else Quote(ended[-1].end_ms, *spread, 100, 100)
                found[symbol] = LastPrice(symbol, ended[-1].close_e4, ended[-1].end_ms, quote)
        return found

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        return self.loaded_minutes(symbol, session, as_of_ms)

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        return [bar for bar in self.bars.get((session.date, symbol), []) if bar.end_ms <= as_of_ms]

    async def load(self, session: Session) -> None:
        return

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        return {
            symbol: bar
            for symbol in symbols
            for bar in self.bars.get((session.date, symbol), [])
            if bar.end_ms == end_ms
        }

    def next_bar_end_ms(self, session: Session, after_ms: int) -> int | None:
        following = max(session.open_ms, after_ms // MINUTE_MS * MINUTE_MS) + MINUTE_MS
        return following if following <= session.close_ms else None

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        return any(name == symbol and start <= at_ms < end for name, start, end in self.halts)

    def instrument(self, symbol: str) -> Instrument | None:
        is_known = any(symbol == name for _, name in self.bars)
        return self.instruments.get(symbol, Instrument(symbol=symbol)) if is_known else None


class ScriptedNews:
    """Headlines by symbol, known when published; no earnings."""

    def __init__(self, *headlines: Headline) -> None:
        self._headlines = headlines

    async def headlines(
        self, symbols: Sequence[str], since_ms: int, as_of_ms: int
    ) -> Mapping[str, Sequence[Headline]]:
        known = [each for each in self._headlines if since_ms < each.known_at_ms <= as_of_ms]
        return {s: [each for each in known if each.symbol == s] for s in symbols}

    async def earnings(
        self, symbols: Sequence[str], first: str, last: str
    ) -> Mapping[str, Sequence[Earnings]]:
        return {}


def _daily(session: str, close_e4: int) -> DailyBar:
    """A daily bar with a range of 3 dollars, so that ATR is 3 and the percentage stop is the tighter one."""
    return DailyBar(session, close_e4, close_e4 + 15_000, close_e4 - 15_000, close_e4, 5_000_000)
