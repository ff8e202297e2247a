"""A person at the manual desk: types every ticket at once and tells what filled at a price."""

import sqlite3
from collections.abc import Callable
from importlib import resources
from typing import TypeVar

from finagent.adapters.brokers.manual import ManualBroker, Said, read_tickets, record_fill
from finagent.domain.market import Session
from finagent.domain.money import MONEY_SCALE
from finagent.domain.orders import OrderType
from finagent.domain.tickets import SaidFill, Ticket, held_e4
from finagent.runtime.clock import VirtualClock
from tests.integration.paper.venue import NEXT, SESSION, T0, Market, PlainSession

T = TypeVar("T")
SCHEMA = resources.files("finagent.adapters.sqlite.migrations").joinpath("0009_manual.sql")


class Desk:
    """One connection; every call is a transaction of its own."""

    def __init__(self, clock: VirtualClock) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        self.conn.execute("PRAGMA foreign_keys = ON")
        self.conn.executescript(SCHEMA.read_text())
        self._clock = clock

    async def call(self, work: Callable[[PlainSession], T]) -> T:
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


class Calendar:
    """Two sessions."""

    def session(self, date: str) -> Session | None:
        return {SESSION.date: SESSION, NEXT.date: NEXT}.get(date)

    def session_at(self, at_ms: int) -> Session:
        return SESSION if at_ms < SESSION.close_ms + 3_600_000 else NEXT


class Person:
    """A desk and whoever sits at it."""

    def __init__(self) -> None:
        self.clock = VirtualClock(T0)
        self.desk = Desk(self.clock)
        self.broker = ManualBroker(
            writer=self.desk,
            reader=self.desk,
            market=Market(),
            calendar=Calendar(),
            clock=self.clock,
            currency="USD",
            start_equity_e8=100_000 * MONEY_SCALE,
            allow_shorts=False,
        )

    def say(
        self, leg: str, shares_e4: int, price_e4: int, *, name: str | None = None, **more: bool
    ) -> object:
        """Tell a fill of the plan's leg."""
        now_ms = self.clock.now_ms()
        said = SaidFill(
            leg=leg, quantity_e4=shares_e4, price_e4=price_e4, at_ms=now_ms, reference_e4=price_e4, **more
        )
        with self.desk.conn:
            return record_fill(self.desk.conn, "pl_1", said, name=name, identity="me", now_ms=now_ms)

    async def trade(self, price: float) -> None:
        """A minute at a price: whatever would fill there is told."""
        price_e4 = round(price * 10_000)
        self.clock.advance(self.clock.now_ms() + 60_000)
        for ticket in read_tickets(self.desk.conn, SESSION.date):
            held = abs(held_e4(read_tickets(self.desk.conn, SESSION.date)))
            most_e4 = ticket.remaining_e4 if ticket.leg == "entry" else min(ticket.remaining_e4, held)
            if ticket.is_open and most_e4 and _fills(ticket, price_e4):
                told = self.say(ticket.leg, most_e4, price_e4, is_again=True, is_average=True)
                assert isinstance(told, Said), told


def _fills(ticket: Ticket, price_e4: int) -> bool:
    is_buy = ticket.side.sign > 0
    if ticket.type is OrderType.MARKET:
        return True
    if ticket.type is OrderType.LIMIT:
        assert ticket.limit_e4 is not None
        return price_e4 <= ticket.limit_e4 if is_buy else price_e4 >= ticket.limit_e4
    assert ticket.stop_e4 is not None
    return price_e4 >= ticket.stop_e4 if is_buy else price_e4 <= ticket.stop_e4
