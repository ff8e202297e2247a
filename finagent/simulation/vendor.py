"""What the agent sees of the market: the tape, as a feed delivers it, late, twice, wrong or not at all."""

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

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
from finagent.ports import LastPrice, RetryError
from finagent.simulation.faults import Faults
from finagent.simulation.tape import Tape

DAYS_OF_HISTORY = 25
STALE_MS = 5 * MINUTE_MS
_start_ms = attrgetter("start_ms")


class SimulatedFeed:
    """Market data of a tape, every answer cut at ``as_of``."""

    name = "simulated"

    def __init__(self, tape: Tape, faults: Faults, rng: random.Random) -> None:
        self._tape, self._faults, self._rng = tape, faults, rng
        self._instruments = {symbol: Instrument(symbol=symbol) for symbol in tape.symbols}
        self._histories: dict[tuple[str, str], History] = {}
        self._bars: dict[tuple[str, str], tuple[list[Bar], list[int]]] = {}

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        """All symbols; SessionDataMissingError for a session that is not on the tape."""
        self._reach()
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
        self._reach()
        return {symbol: self._history(session, symbol) for symbol in symbols}

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        """The last ended bar's close."""
        self._reach()
        found = {}
        for symbol in symbols:
            bars = self.loaded_minutes(symbol, session, as_of_ms)
            if bars:
                found[symbol] = LastPrice(symbol, bars[-1].close_e4, bars[-1].end_ms)
        return found

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """Ended bars, pre-market ones first."""
        self._reach()
        return self.loaded_minutes(symbol, session, as_of_ms)

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """The same at once."""
        bars, known_ms = self._all(session, symbol)
        seen_ms = self._seen_ms(as_of_ms)
        ended = bisect_right(bars, as_of_ms - MINUTE_MS, key=_start_ms)
        return [bar for bar, known in zip(bars[:ended], known_ms, strict=False) if known <= seen_ms]

    def offers(self, date: str, symbol: str, at_ms: int) -> tuple[bool, int | None]:
        """Whether a symbol is halted at an instant, and when its newest price is of, as the feed had it then.

        For the judge: nothing is counted, nothing is delivered by asking.
        """
        bars, known_ms = self._bars.get((date, symbol), ([], []))
        seen_ms = at_ms - STALE_MS if self._faults.is_under("feed_stale", at_ms) else at_ms
        ends = [
            bar.end_ms
            for bar, known in zip(bars, known_ms, strict=True)
            if bar.end_ms <= at_ms and known <= seen_ms
        ]
        return self._tape.is_halted(symbol, at_ms), max(ends, default=None)

    async def load(self, session: Session) -> None:
        """Everything is in memory, when it can be reached."""
        self._reach()

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        """Bars that end at an instant."""
        found = {}
        seen_ms = self._seen_ms(end_ms)
        for symbol in symbols:
            bars, known_ms = self._all(session, symbol)
            place = bisect_right(bars, end_ms - MINUTE_MS, key=_start_ms) - 1
            if place >= 0 and bars[place].end_ms == end_ms and known_ms[place] <= seen_ms:
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

    def _reach(self) -> None:
        """RetryError while the feed is down."""
        if self._faults.strikes("feed_down"):
            self._faults.happened("feed_down")
            raise RetryError("the feed does not answer")

    def _seen_ms(self, as_of_ms: int) -> int:
        """Up to when the feed has delivered: a stale one stands where it stood."""
        if self._faults.is_under("feed_stale", as_of_ms):
            self._faults.happened("feed_stale")
            return as_of_ms - STALE_MS
        return as_of_ms

    def _all(self, session: Session, symbol: str) -> tuple[list[Bar], list[int]]:
        """Every bar of a session as the feed has it, each with the instant from which it is known."""
        key = (session.date, symbol)
        found = self._bars.get(key)
        if found is None:
            bars: list[Bar] = []
            known_ms: list[int] = []
            for bar in [
                *self._tape.premarket.get(key, []),
                *(m.bar for m in self._tape.minutes.get(key, [])),
            ]:
                self._deliver(bar, bars, known_ms)
            found = self._bars[key] = (bars, known_ms)
        return found

    def _deliver(self, bar: Bar, bars: list[Bar], known_ms: list[int]) -> None:
        faults, rng = self._faults, self._rng
        if faults.strikes("bar_missing") and rng.random() < 0.3:
            faults.happened("bar_missing")
            return
        for kind, price_e4 in (
            ("price_zero", 0),
            ("price_negative", -bar.close_e4),
            ("price_tenfold", bar.close_e4 * 10),
        ):
            if faults.strikes(kind) and rng.random() < 0.1:
                faults.happened(kind)
                bar = replace(
                    bar,
                    close_e4=price_e4,
                    high_e4=max(bar.high_e4, price_e4),
                    low_e4=min(bar.low_e4, price_e4),
                )
        late_ms = 0
        if faults.strikes("bar_late"):
            faults.happened("bar_late")
            late_ms = rng.randrange(500, 90_000)
        elif faults.strikes("bars_shuffled") and rng.random() < 0.3:
            faults.happened("bars_shuffled")
            late_ms = 2 * MINUTE_MS
        bars.append(bar)
        known_ms.append(bar.end_ms + late_ms)
        if faults.strikes("bar_twice") and rng.random() < 0.3:
            faults.happened("bar_twice")
            bars.append(bar)
            known_ms.append(bar.end_ms + late_ms)


def _daily(session: str, close_e4: int) -> DailyBar:
    """A day with a range of 3 % of its close and a volume that passes every filter."""
    half_e4 = close_e4 * 15 // 1_000
    return DailyBar(session, close_e4, close_e4 + half_e4, close_e4 - half_e4, close_e4, 5_000_000)
