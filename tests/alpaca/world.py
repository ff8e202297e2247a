"""Alpaca's adapter over the local server, at an instant of a session that stands still."""

import contextlib
from collections.abc import AsyncIterator

from finagent.adapters.brokers.alpaca import (
    AlpacaBroker,
    AlpacaHttp,
    AlpacaStream,
    Keys,
    Patience,
    endpoint,
)
from finagent.domain.market import Session, Side
from finagent.domain.orders import OrderIntent, OrderType
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.metrics import Metrics
from finagent.simulation.alpaca import KEY, SECRET, AlpacaServer
from tests.integration.paper.venue import NEXT, SESSION, SHARE, T0, buy, intent

__all__ = ["NEXT", "SESSION", "SHARE", "T0", "Side", "World", "buy", "intent", "sell_stop", "world"]
QUICK = Patience(write_s=1.0, read_s=5.0, attempts=3)
SYMBOLS = {"XYZ": "100", "ABC": "50", "HARD": "10"}


class Calendar:
    """Two sessions and the one before them."""

    def __init__(self) -> None:
        before = Session(
            date=SESSION.previous,
            open_ms=SESSION.open_ms - 4 * 86_400_000,
            close_ms=SESSION.close_ms - 4 * 86_400_000,
            previous="2018-02-15",
        )
        self._days = {day.date: day for day in (before, SESSION, NEXT)}

    def session(self, date: str) -> Session | None:
        return self._days.get(date)


class NoPauses:
    """Machinery time that never waits, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._real = SystemTicker()

    def monotonic_ms(self) -> int:
        return self._real.monotonic_ms()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


class World:
    """A broker under test and the server behind it."""

    def __init__(
        self, server: AlpacaServer, *, key: str = KEY, secret: str = SECRET, patience: Patience = QUICK
    ) -> None:
        self.server = server
        self.clock, self.ticker, self.metrics = VirtualClock(T0), NoPauses(), Metrics()
        self.http = AlpacaHttp(
            endpoint(server.url),
            Keys(key, secret),
            clock=self.clock,
            ticker=self.ticker,
            metrics=self.metrics,
            patience=patience,
        )
        self.broker = AlpacaBroker(self.http, calendar=Calendar())
        self.stream = AlpacaStream(
            endpoint(server.url), Keys(key, secret), self.broker.name_of, ping_after_s=0.1, pong_within_s=0.2
        )

    def tell(self, name: str, **order: object) -> object:
        """A command to the server's control."""
        return self.server.control.run(name, order)

    def fault(self, on: str, action: str, **more: object) -> None:
        """The next request of a kind goes wrong."""
        self.tell("fault", on=on, action=action, **more)

    @property
    def posts(self) -> int:
        """How many orders were sent."""
        return self.server.requests.count(("POST", "/v2/orders"))

    async def trade(self, price: float, symbol: str = "XYZ") -> None:
        self.tell("trade", symbol=symbol, price=str(price))


def sell_stop(order_id: str, shares: float, price: float, **more: object) -> OrderIntent:
    """A protective stop."""
    return intent(order_id, Side.SELL, OrderType.STOP, shares, price, **more)


@contextlib.asynccontextmanager
async def world(*, patience: Patience = QUICK, **more: object) -> AsyncIterator[World]:
    """The server with its stocks, its clock at half an hour past the open."""
    server = AlpacaServer(**more)  # type: ignore[arg-type]
    server.control.run("clock", {"at_ms": T0})
    for symbol, price in SYMBOLS.items():
        server.add_asset(symbol, price, easy_to_borrow=symbol != "HARD", fractionable=symbol == "XYZ")
    async with server:
        found = World(server, patience=patience)
        try:
            yield found
        finally:
            await found.broker.close()
