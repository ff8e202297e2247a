"""The paper venue behind the broker port: every change is a commit of its own, nothing is kept in memory."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from finagent.adapters.brokers.paper import acceptance, tables
from finagent.adapters.brokers.paper.acceptance import Terms
from finagent.adapters.brokers.paper.rules import Duplicate, Refusal, VenueRules
from finagent.adapters.brokers.paper.tables import VenueOrder
from finagent.domain.market import Instrument, Session
from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
)
from finagent.ports import Clock, DuplicateClientOrderIdError, LastPrice, OrderRejectedError

T = TypeVar("T")


class VenueSession(Protocol):
    """One commit under way: its connection and the business time of the commit."""

    conn: sqlite3.Connection
    now_ms: int


class VenueWriter(Protocol):
    """Runs a function inside the next commit; what it raises rolls it back alone."""

    async def call(self, work: Callable[[VenueSession], T]) -> T: ...


class VenueReader(Protocol):
    """Runs a function on a snapshot of the last commit."""

    async def read_fn(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class VenueMarket(Protocol):
    """What the venue knows of prices; the market data port fits."""

    def instrument(self, symbol: str) -> Instrument | None: ...

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]: ...


class VenueCalendar(Protocol):
    """When the venue trades; the calendar port fits."""

    def session_at(self, at_ms: int) -> Session: ...


class PaperBroker:
    """An order execution port on the venue's tables; the fills come from ``match`` in the market's tick.

    An order accepted at t fills from the first bar that starts at t or later. A crash between a submit and
    its answer leaves either the order or no trace of it: ``find`` tells.
    """

    def __init__(
        self,
        *,
        writer: VenueWriter,
        reader: VenueReader,
        market: VenueMarket,
        calendar: VenueCalendar,
        clock: Clock,
        rules: VenueRules,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._market = market
        self._calendar = calendar
        self._clock = clock
        self._rules = rules

    @property
    def capabilities(self) -> BrokerCapabilities:
        return self._rules.capabilities

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        if not intents:
            raise ValueError("nothing to submit: give the order, then its attached legs")
        body = tuple(intents)
        terms_at = await self._terms(body[0].symbol)
        return _answer(await self._writer.call(lambda s: acceptance.accept(s.conn, body, terms_at(s.now_ms))))

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        found = await self._reader.read_fn(lambda conn: tables.order_by_id(conn, client_order_id))
        return None if found is None else found.seen

    async def cancel(self, client_order_id: str) -> bool:
        return await self._writer.call(lambda s: acceptance.end(s.conn, client_order_id, now_ms=s.now_ms))

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        terms_at = await self._terms(new.symbol)
        return _answer(
            await self._writer.call(
                lambda s: acceptance.change(s.conn, client_order_id, new, terms_at(s.now_ms))
            )
        )

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        return [
            each.seen
            for each in await self._reader.read_fn(lambda conn: tables.orders_of_session(conn, session))
        ]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        return await self._reader.read_fn(lambda conn: tables.fills_of_session(conn, session))

    async def positions(self) -> Sequence[BrokerPosition]:
        return await self._reader.read_fn(tables.positions)

    async def account(self) -> BrokerAccount:
        return await self._reader.read_fn(lambda conn: account_of(conn, self._rules))

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        return ()

    async def _terms(self, symbol: str) -> Callable[[int], Terms]:
        now_ms = self._clock.now_ms()
        session = self._calendar.session_at(now_ms)
        prices = await self._market.last_prices([symbol], session, now_ms)
        instrument, price = self._market.instrument(symbol), prices.get(symbol)

        def at(commit_ms: int) -> Terms:
            return Terms(
                now_ms=commit_ms,
                session=session,
                instrument=instrument,
                price_e4=None if price is None else price.price_e4,
                rules=self._rules,
            )

        return at


def account_of(conn: sqlite3.Connection, rules: VenueRules) -> BrokerAccount:
    """The account's figures on a connection, positions at their newest price."""
    cash_e8 = tables.cash_e8(conn, rules)
    return BrokerAccount(
        currency=rules.currency,
        cash_e8=cash_e8,
        equity_e8=acceptance.equity_of(cash_e8, tables.holdings(conn)),
        buying_power_e8=acceptance.buying_power_e8(conn, rules),
    )


def _answer(result: VenueOrder | Refusal | Duplicate) -> BrokerOrder:
    if isinstance(result, Duplicate):
        raise DuplicateClientOrderIdError(result.client_order_id)
    if isinstance(result, Refusal):
        raise OrderRejectedError(result.reason, result.detail)
    return result.seen
