"""What the agent sees of the market: the tape, as a feed delivers it, late, twice, wrong or not at all."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from finagent.domain.errors import SessionDataMissingError
from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    DailyBar,
    History,
    Instrument,
    MarketView,
    Session,
    Snapshot,
)
from finagent.ports import LastPrice
from finagent.simulation.tape import Tape

DAYS_OF_HISTORY = 25


class SimulatedFeed:
    """Market data of a tape, every answer cut at ``as_of``."""

    name = "simulated"

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._instruments = {symbol: Instrument(symbol=symbol) for symbol in tape.symbols}
        self._histories: dict[tuple[str, str], History] = {}
        self._bars: dict[tuple[str, str], tuple[list[Bar], list[int]]] = {}

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        """All symbols; SessionDataMissingError for a session that is not on the tape."""
        if (session.date, self._tape.symbols[0]) not in self._tape.minutes:
            raise SessionDataMissingError(f"no bars for session {session.date}")
        return MarketView(
            session=session,
            as_of_ms=as_of_ms,
            snapshots=tuple(self._snapshot(symbol, session, as_of_ms) for symbol in self._tape.symbols),
            has_minutes=True,
            feed=self.name,
        )

    async def history(
        self, symbols: Sequence[str], session: Session, as_of_ms: int, *, sessions: int = 60
    ) -> Mapping[str, History]:
        """Daily bars that stand still at the close before the session."""
        return {symbol: self._history(session, symbol) for symbol in symbols}

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        """The last ended bar's close."""
        found = {}
        for symbol in symbols:
            bars = self.loaded_minutes(symbol, session, as_of_ms)
            if bars:
                found[symbol] = LastPrice(symbol, bars[-1].close_e4, bars[-1].end_ms)
        return found

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """Ended bars, pre-market ones first."""
        return self.loaded_minutes(symbol, session, as_of_ms)

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """The same at once."""
        bars, known_ms = self._all(session, symbol)
        return bars[: bisect_right(known_ms, as_of_ms)]

    async def load(self, session: Session) -> None:
        """Everything is in memory."""

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        """Bars that end at an instant."""
        found = {}
        for symbol in symbols:
            bars, known_ms = self._all(session, symbol)
            place = bisect_right(known_ms, end_ms) - 1
            if place >= 0 and bars[place].end_ms == end_ms:
                found[symbol] = bars[place]
        return found

    def next_bar_end_ms(self, session: Session, after_ms: int) -> int | None:
        """The next minute's end inside the session."""
        following = max(session.open_ms, after_ms // MINUTE_MS * MINUTE_MS) + MINUTE_MS
        return following if following <= session.close_ms else None

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        """Whether trading is halted."""
        return self._tape.is_halted(symbol, at_ms)

    def instrument(self, symbol: str) -> Instrument | None:
        """What is known of a symbol."""
        return self._instruments.get(symbol)

    def _snapshot(self, symbol: str, session: Session, as_of_ms: int) -> Snapshot:
        return Snapshot(
            instrument=self._instruments[symbol],
            previous=_daily(session.previous, self._tape.previous_e4[session.date, symbol]),
            minutes=tuple(self.loaded_minutes(symbol, session, as_of_ms)),
            is_halted=self._tape.is_halted(symbol, as_of_ms),
        )

    def _history(self, session: Session, symbol: str) -> History:
        key = (session.date, symbol)
        if key not in self._histories:
            close_e4 = self._tape.previous_e4[key]
            self._histories[key] = History(
                bars=tuple(_daily(f"2025-01-{day:02d}", close_e4) for day in range(1, DAYS_OF_HISTORY + 1))
            )
        return self._histories[key]

    def _all(self, session: Session, symbol: str) -> tuple[list[Bar], list[int]]:
        """Every bar of a session with the instant from which it is known."""
        key = (session.date, symbol)
        found = self._bars.get(key)
        if found is None:
            bars = [*self._tape.premarket.get(key, []), *(m.bar for m in self._tape.minutes.get(key, []))]
            found = self._bars[key] = (bars, [bar.end_ms for bar in bars])
        return found


def _daily(session: str, close_e4: int) -> DailyBar:
    """A day with a range of 3 % of its close and a volume that passes every filter."""
    half_e4 = close_e4 * 15 // 1_000
    return DailyBar(session, close_e4, close_e4 + half_e4, close_e4 - half_e4, close_e4, 5_000_000)
