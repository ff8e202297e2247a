"""The built-in market: a seeded vendor of made-up stocks that answers for any session."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import numpy as np

from finagent.adapters.vendors.simulated_days import IDLE, PREMARKET_MINUTES, Days, make_days
from finagent.adapters.vendors.simulated_minutes import (
    MinuteTable,
    make_minutes,
    premarket_start_ms,
    premarket_volume,
    regular_volume,
)
from finagent.adapters.vendors.simulated_noise import Flags, Ints
from finagent.adapters.vendors.simulated_universe import BLOCK, make_universe, weekday_number
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
from finagent.domain.money import RATIO_SCALE
from finagent.ports import CalendarPort, LastPrice

VERSION = "v1"
DEFAULT_SYMBOLS = 200
RVOL_SESSIONS = 20
"""Earlier sessions whose volumes up to the same time of day are answered."""
_KEPT_BLOCKS = 8
_KEPT_SESSIONS = 3
_TICKS_FROM_OPEN_MS = 30 * MINUTE_MS
_EVENING_MS = 5 * MINUTE_MS
_LOTS = 100
_NOTHING_E4 = 1 << 60
_DAILY = tuple(attrgetter(name) for name in ("open_e4", "high_e4", "low_e4", "close_e4", "volume"))
_ACTION = (attrgetter("dividend_e4"), attrgetter("split_ratio"))


class SimulatedVendor:
    """A market of ``symbols`` made-up stocks, SPY and QQQ; a MarketDataPort.

    Every session has 4 to 10 stocks that gap by more than 4 %, up or down: some pass the usual filters, each
    usual filter drops some, and after the open they trend, fade or go nowhere. The same seed gives the same
    market, whatever was asked before. Volumes of earlier days are raw, so those before a split are
    in old shares. Not for several threads.
    """

    def __init__(self, seed: int, calendar: CalendarPort, symbols: int = DEFAULT_SYMBOLS) -> None:
        self._seed = seed
        self._calendar = calendar
        self._universe = make_universe(seed, symbols)
        self._blocks: OrderedDict[int, Days] = OrderedDict()
        self._tables: OrderedDict[str, MinuteTable] = OrderedDict()
        count = "" if symbols == DEFAULT_SYMBOLS else f"-{symbols}"
        self.data_id = f"simulated-{seed}-{VERSION}{count}"

    @property
    def name(self) -> str:
        """The feed's name."""
        return "simulated"

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        return self._universe.symbols

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        """Snapshots of all stocks. SessionDataMissingError for a date that the calendar does not have."""
        table = self._table(session)
        return MarketView(
            session=session,
            as_of_ms=as_of_ms,
            snapshots=tuple(self._snapshots(session, table, as_of_ms)),
            has_minutes=True,
            feed=self.name,
        )

    async def history(
        self, symbols: Sequence[str], session: Session, as_of_ms: int, *, sessions: int = 60
    ) -> Mapping[str, History]:
        """Daily bars and actions of earlier sessions that have closed.

        The volumes are of the last 20 among them: regular and pre-market minutes up to the same time of day.
        """
        known = [earlier for earlier in self._earlier(session, sessions) if earlier[0].close_ms <= as_of_ms]
        rows = {symbol: self._universe.index[symbol] for symbol in symbols if symbol in self._universe.index}
        names = [earlier.date for earlier, _, _ in known]
        columns = [self._column([pick(days)[row] for _, days, row in known]) for pick in (*_DAILY, *_ACTION)]
        ended = (as_of_ms - premarket_start_ms(session)) // MINUTE_MS
        which = np.array(list(rows.values()), dtype=np.int64)
        to_now, early = self._volumes(known[-RVOL_SESSIONS:], which, max(0, ended))
        return {
            symbol: History(
                bars=tuple(map(DailyBar, names, *(column[:, row].tolist() for column in columns[:5]))),
                actions=tuple(_actions(names, columns[5][:, row], columns[6][:, row])),
                volumes_to_now=tuple(to_now[:, place].tolist()),
                premarket_volumes=tuple(early[:, place].tolist()),
            )
            for place, (symbol, row) in enumerate(rows.items())
        }

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        """The newest close of a minute, else the close of the session before."""
        table = self._table(session)
        ended = table.ended(as_of_ms)
        found: dict[str, LastPrice] = {}
        for symbol in symbols:
            row = self._universe.index.get(symbol)
            if row is None:
                continue
            quote = self._quote(session, row, table, as_of_ms)
            minute = table.last_traded(row, ended)
            if minute is not None:
                end_ms = table.start_ms + (minute + 1) * MINUTE_MS
                found[symbol] = LastPrice(symbol, int(table.close_e4[row, minute]), end_ms, quote)
            elif (previous := self._previous(session, row, as_of_ms)) is not None:
                bar, close_ms = previous
                found[symbol] = LastPrice(symbol, bar.close_e4, close_ms, quote)
        return found

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """Ended bars of the session from 04:00 on; none for an unknown symbol."""
        return self.loaded_minutes(symbol, session, as_of_ms)

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """The same at once."""
        row = self._universe.index.get(symbol)
        if row is None:
            return ()
        table = self._table(session)
        return table.bars(row, table.ended(as_of_ms))

    async def load(self, session: Session) -> None:
        """Compute the session's minutes; the last three sessions are kept."""
        self._table(session)

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        """The bars that end at an instant."""
        table = self._table(session)
        minute, rest = divmod(end_ms - table.start_ms, MINUTE_MS)
        if rest or not 1 <= minute <= table.volume.shape[1]:
            return {}
        rows = ((symbol, self._universe.index.get(symbol)) for symbol in symbols)
        bars = ((symbol, table.bar(row, minute - 1)) for symbol, row in rows if row is not None)
        return {symbol: bar for symbol, bar in bars if bar is not None}

    def next_bar_end_ms(self, session: Session, after_ms: int) -> int | None:
        """The next minute's end from 09:00 local to the close: earlier bars wait for nobody."""
        first = session.open_ms - _TICKS_FROM_OPEN_MS
        following = max(first, (after_ms // MINUTE_MS + 1) * MINUTE_MS)
        return following if following <= session.close_ms else None

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        """Whether a pause or a news halt holds the symbol."""
        row = self._universe.index.get(symbol)
        if row is None:
            return False
        days, day = self._day(session)
        minute = (at_ms - session.open_ms) // MINUTE_MS
        return bool(days.halt_from[day, row] <= minute < days.halt_to[day, row])

    def instrument(self, symbol: str) -> Instrument | None:
        """The stock's sector, float and borrow; None for a symbol that was not made up here."""
        row = self._universe.index.get(symbol)
        return None if row is None else self._universe.instruments[row]

    def surprises(self, session: Session) -> Mapping[str, tuple[bool, int]]:
        """The session's gappers: whether up, and the instant (ms) at which the reason is told."""
        days, day = self._day(session)
        before = self._calendar.session(session.previous)
        start_ms = premarket_start_ms(session)
        evening_ms = start_ms if before is None else before.close_ms + _EVENING_MS
        told: dict[str, tuple[bool, int]] = {}
        for row in np.flatnonzero(days.role[day] != IDLE).tolist():
            minute = int(days.news_minute[day, row])
            is_up = bool(days.open_e4[day, row] > days.prior_e4[day, row])
            told[self.symbols[row]] = (is_up, evening_ms if minute < 0 else start_ms + minute * MINUTE_MS)
        return told

    def _snapshots(self, session: Session, table: MinuteTable, as_of_ms: int) -> Iterator[Snapshot]:
        """Every stock; what can be read for all at once is, since a scan waits for it."""
        ended = table.ended(as_of_ms)
        days, day = self._day(session)
        opens_e4 = days.open_e4[day].tolist()
        actions = self._column([days.dividend_e4[day], days.split_ratio[day]])
        has_action = ((actions[0] > 0) | (actions[1] > 1)).tolist()
        minute = (as_of_ms - session.open_ms) // MINUTE_MS
        is_halted = ((days.halt_from[day] <= minute) & (minute < days.halt_to[day])).tolist()
        is_restricted = self._restricted(session, table, ended, as_of_ms).tolist()
        previous, trades = self._all_previous(session, as_of_ms), table.trades(ended)
        for row, instrument in enumerate(self._universe.instruments):
            bars = table.bars(row, ended)
            is_open = bool(bars) and bars[-1].start_ms >= session.open_ms
            yield Snapshot(
                instrument=instrument,
                previous=previous[row],
                action=_actions([session.date], *actions[:, row : row + 1])[0] if has_action[row] else None,
                official_open_e4=opens_e4[row] if is_open else None,
                minutes=bars,
                quote=self._quote(session, row, table, as_of_ms),
                is_halted=is_halted[row],
                premarket_trades=trades[row],
                is_short_restricted=is_restricted[row],
            )

    def _all_previous(self, session: Session, as_of_ms: int) -> Sequence[DailyBar | None]:
        """By row, the daily bar of the session before, once it has closed."""
        before = self._calendar.session(session.previous)
        if before is None or before.close_ms > as_of_ms:
            return [None] * len(self.symbols)
        days, day = self._day(before)
        columns = (pick(days)[day].tolist() for pick in _DAILY)
        return [DailyBar(before.date, *values) for values in zip(*columns, strict=True)]

    def _previous(self, session: Session, row: int, as_of_ms: int) -> tuple[DailyBar, int] | None:
        """The daily bar of the session before and its end, once it has closed."""
        before = self._calendar.session(session.previous)
        if before is None or before.close_ms > as_of_ms:
            return None
        days, day = self._day(before)
        return DailyBar(before.date, *(int(pick(days)[day, row]) for pick in _DAILY)), before.close_ms

    def _quote(self, session: Session, row: int, table: MinuteTable, as_of_ms: int) -> Quote | None:
        """A quote around the newest price, from 04:00 to the close; it stands still while halted."""
        days, day = self._day(session)
        ended = table.ended(as_of_ms)
        if ended == 0:
            return None
        halt_from = PREMARKET_MINUTES + int(days.halt_from[day, row])
        if halt_from < ended <= PREMARKET_MINUTES + int(days.halt_to[day, row]):
            ended = halt_from
        minute = table.last_traded(row, ended)
        price_e4 = int(table.close_e4[row, minute]) if minute is not None else int(days.prior_e4[day, row])
        tick_e4 = self._universe.instruments[row].tick_e4(price_e4)
        price_e4 -= price_e4 % tick_e4
        ticks = max(1, round(float(days.spread_bps[day, row]) * price_e4 / (10_000 * tick_e4)))
        bid_e4 = max(tick_e4, price_e4 - (ticks + ended % 2) // 2 * tick_e4)
        size = max(_LOTS, int(days.volume[day, row]) // 40_000 // _LOTS * _LOTS)
        at_ms = table.start_ms + ended * MINUTE_MS
        return Quote(at_ms, bid_e4, bid_e4 + ticks * tick_e4, size, size + _LOTS * (ended % 3))

    def _restricted(self, session: Session, table: MinuteTable, ended: int, as_of_ms: int) -> Flags:
        """Rule 201: a fall of 10 % restricts shorts for the rest of the day and the day after."""
        days, day = self._day(session)
        regular = slice(PREMARKET_MINUTES, max(PREMARKET_MINUTES, ended))
        lows = np.where(table.volume[:, regular] > 0, table.low_e4[:, regular], _NOTHING_E4)
        restricted: Flags = lows.min(axis=1, initial=_NOTHING_E4) <= days.prior_e4[day] * 0.9
        before = self._calendar.session(session.previous)
        if before is not None and before.close_ms <= as_of_ms:
            earlier, row = self._day(before)
            restricted |= earlier.low_e4[row] <= earlier.prior_e4[row] * 0.9
        return restricted

    def _volumes(
        self, known: Sequence[tuple[Session, Days, int]], which: Ints, ended: int
    ) -> tuple[Ints, Ints]:
        """Volumes of earlier sessions in their first ``ended`` minutes: regular, and before the open.

        Arrays [session, place in ``which``].
        """
        early = np.zeros((len(known), len(which)), dtype=np.int64)
        late = early.copy()
        minute = np.array([[ended]], dtype=np.int64)
        for place, (_, days, row) in enumerate(known):
            early[place] = premarket_volume(self._universe, days, row, minute, which)[:, 0]
            if ended > PREMARKET_MINUTES:
                after = minute - PREMARKET_MINUTES
                late[place] = regular_volume(self._universe, days, row, after, which)[:, 0]
        return late, early

    def _column(self, rows: Sequence[Ints]) -> Ints:
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.symbols))

    def _earlier(self, session: Session, count: int) -> list[tuple[Session, Days, int]]:
        """The last ``count`` sessions before one, oldest first."""
        found: list[tuple[Session, Days, int]] = []
        block = weekday_number(session.date) // BLOCK
        while len(found) < count:
            days = self._block(block)
            before = [(past, days, row) for row, past in enumerate(days.sessions) if past.date < session.date]
            if not days.sessions:
                break
            found = before + found
            block -= 1
        return found[-count:] if count else []

    def _table(self, session: Session) -> MinuteTable:
        table = self._tables.get(session.date)
        if table is None:
            days, _ = self._day(session)
            for earlier in self._tables.values():
                earlier.forget_bars()
            table = make_minutes(self._universe, days, session)
            self._tables[session.date] = table
            if len(self._tables) > _KEPT_SESSIONS:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(session.date)
        return table

    def _day(self, session: Session) -> tuple[Days, int]:
        days = self._block(weekday_number(session.date) // BLOCK)
        row = days.rows.get(session.date)
        if row is None:
            raise SessionDataMissingError(f"no simulated session on {session.date}; choose a trading day")
        return days, row

    def _block(self, block: int) -> Days:
        days = self._blocks.get(block)
        if days is None:
            days = make_days(self._universe, self._calendar, block)
            self._blocks[block] = days
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return days


def _actions(names: Sequence[str], dividends: Ints, ratios: Ints) -> list[CorporateAction]:
    """The sessions among these on which a dividend or a split takes effect."""
    return [
        CorporateAction(
            ex_session=names[place],
            dividend_e4=int(dividends[place]),
            split_ratio_e6=int(ratios[place]) * RATIO_SCALE,
        )
        for place in np.flatnonzero((dividends > 0) | (ratios > 1)).tolist()
    ]
