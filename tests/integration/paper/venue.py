"""The paper venue on a plain SQLite file, with a market and a calendar of a few lines, for the tests."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

from finagent.adapters.brokers.paper import PaperBroker, VenueEvent, VenueRules, match
from finagent.domain.costs import NO_COSTS
from finagent.domain.market import MINUTE_MS, Bar, Instrument, Session, Side
from finagent.domain.orders import OrderIntent, OrderType
from finagent.ports import LastPrice
from finagent.runtime.clock import VirtualClock

T = TypeVar("T")
SHARE = 10_000
DOLLAR = 100_000_000
OPEN_MS = 1_519_137_000_000
SESSION = Session(
    date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * MINUTE_MS, previous="2018-02-16"
)
NEXT = Session(
    date="2018-02-21",
    open_ms=OPEN_MS + 86_400_000,
    close_ms=OPEN_MS + 86_400_000 + 390 * MINUTE_MS,
    previous="2018-02-20",
)
T0 = OPEN_MS + 30 * MINUTE_MS
SCHEMA = resources.files("finagent.adapters.sqlite.migrations").joinpath("0003_venue.sql")


@dataclass
class PlainSession:
    """One transaction."""

    conn: sqlite3.Connection
    now_ms: int


class PlainDatabase:
    """One connection; every call is a transaction of its own."""

    def __init__(self, path: Path | str, clock: VirtualClock) -> None:
        self.conn = sqlite3.connect(path, isolation_level=None)
        self.conn.execute("PRAGMA foreign_keys = ON")
        self._clock = clock
        if not self.conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 'venue_order'").fetchone():
            self.conn.executescript(SCHEMA.read_text())

    async def call(self, work: Callable[[PlainSession], T]) -> T:
        return self.write(work)

    def write(self, work: Callable[[PlainSession], T]) -> T:
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(PlainSession(self.conn, self._clock.now_ms()))
        except BaseException:
            self.conn.execute("ROLLBACK")
            raise
        self.conn.execute("COMMIT")
        return result

    async def read_fn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self.conn)


class Market:
    """Symbols and their last prices."""

    def __init__(self) -> None:
        self.prices_e4: dict[str, int] = {"XYZ": 1_000_000, "ABC": 500_000, "PENNY": 5_000, "HARD": 100_000}

    def instrument(self, symbol: str) -> Instrument | None:
        known = {*self.prices_e4, "NEW"}
        return Instrument(symbol=symbol, shortable=symbol != "HARD") if symbol in known else None

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        return {s: LastPrice(s, self.prices_e4[s], as_of_ms) for s in symbols if s in self.prices_e4}


class Calendar:
    """Two sessions."""

    def session_at(self, at_ms: int) -> Session:
        return SESSION if at_ms < SESSION.close_ms + 3_600_000 else NEXT


class Venue:
    """A broker, its tick, and what a test wants to see of it."""

    def __init__(self, path: Path | str = ":memory:", *, now_ms: int = T0, **rules: object) -> None:
        self.clock = VirtualClock(now_ms)
        self.rules = VenueRules(**{"costs": NO_COSTS, **rules})  # type: ignore[arg-type]
        self.database = PlainDatabase(path, self.clock)
        self.market = Market()
        self.broker = PaperBroker(
            writer=self.database,
            reader=self.database,
            market=self.market,
            calendar=Calendar(),
            clock=self.clock,
            rules=self.rules,
        )

    def tick(
        self,
        bars: Mapping[str, tuple[float, float, float, float]],
        *,
        volume: int = 1_000_000,
        **more: object,
    ) -> list[VenueEvent]:
        """Move the clock a minute and match the bars that end there."""
        start_ms = self.clock.now_ms()
        self.clock.advance(start_ms + MINUTE_MS)
        made = {
            symbol: Bar(start_ms, *(round(price * 10_000) for price in prices), volume)
            for symbol, prices in bars.items()
        }
        self.market.prices_e4 |= {symbol: bar.close_e4 for symbol, bar in made.items()}
        session = more.pop("session", SESSION)
        return self.database.write(
            lambda s: match(s.conn, rules=self.rules, bars=made, now_ms=s.now_ms, session=session, **more)  # type: ignore[arg-type]
        )


def intent(
    order_id: str, side: Side, kind: OrderType, shares: float = 100, price: float | None = None, **more
) -> OrderIntent:
    """An intent whose leg is the last word of its id, minus the generation."""
    price_e4 = None if price is None else round(price * 10_000)
    values = {
        "client_order_id": order_id,
        "plan_id": "pl_1",
        "symbol": "XYZ",
        "leg": order_id.partition(":")[0],
        "generation": 1,
        "side": side,
        "type": kind,
        "quantity_e4": round(shares * SHARE),
        "limit_e4": price_e4 if kind is OrderType.LIMIT else None,
        "stop_e4": price_e4 if kind is OrderType.STOP else None,
    }
    return OrderIntent(**(values | more))


def buy(order_id: str = "entry", shares: float = 100, **more) -> OrderIntent:
    """A market entry."""
    return intent(order_id, Side.BUY, OrderType.MARKET, shares, **more)


def bracket(
    shares: float = 100, *, parent: str = "entry", stop: float = 98, target: float = 104
) -> list[OrderIntent]:
    """A market entry with its stop and target."""
    return [
        buy(parent, shares),
        intent("stop", Side.SELL, OrderType.STOP, shares, stop, parent_id=parent),
        intent("target-1", Side.SELL, OrderType.LIMIT, shares, target, parent_id=parent),
    ]


def told(events: Sequence[VenueEvent]) -> list[tuple[str, str, float | None]]:
    """Each event as (order, state, fill price)."""
    return [
        (e.order.client_order_id, e.order.state.value, None if e.fill is None else e.fill.price_e4 / 10_000)
        for e in events
    ]
