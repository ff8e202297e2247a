"""The manual desk behind the broker port: what is sent becomes tickets, what a person tells becomes fills."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from finagent.adapters.brokers.manual import tables
from finagent.domain.market import Instrument, Session
from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
    OrderState,
)
from finagent.domain.tickets import held_e4
from finagent.ports import Clock, DuplicateClientOrderIdError, LastPrice, OrderRejectedError

T = TypeVar("T")


class DeskSession(Protocol):
    """One commit under way: its connection and the business time of the commit."""

    conn: sqlite3.Connection
    now_ms: int


class DeskWriter(Protocol):
    """Runs a function inside the next commit; what it raises rolls it back alone."""

    async def call(self, work: Callable[[DeskSession], T]) -> T: ...


class DeskReader(Protocol):
    """Runs a function on a snapshot of the last commit."""

    async def read_fn(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class DeskMarket(Protocol):
    """What the desk knows of prices; the market data port fits."""

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]: ...


class DeskCalendar(Protocol):
    """When the exchange trades; the calendar port fits."""

    def session(self, date: str) -> Session | None: ...

    def session_at(self, at_ms: int) -> Session: ...


class ManualBroker:
    """An order execution port on the desk's tables. Nothing happens by itself but that entries end with their session.

    What it says of orders and positions is what the person said: nobody else can know better.
    """

    def __init__(
        self,
        *,
        writer: DeskWriter,
        reader: DeskReader,
        market: DeskMarket,
        calendar: DeskCalendar,
        clock: Clock,
        currency: str,
        start_equity_e8: int,
        allow_shorts: bool,
    ) -> None:
        self._writer, self._reader, self._market = writer, reader, market
        self._calendar, self._clock = calendar, clock
        self._currency, self._start_equity_e8, self._allow_shorts = currency, start_equity_e8, allow_shorts

    @property
    def capabilities(self) -> BrokerCapabilities:
        return BrokerCapabilities(
            name="manual", has_attached_exits=True, has_fractions=True, has_shorts=self._allow_shorts
        )

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        if not intents:
            raise ValueError("nothing to submit: give the order, then its attached legs")
        return await self._write(tuple(intents), replaces=None)

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        await self._expire()
        found = await self._reader.read_fn(lambda conn: tables.ticket_by_id(conn, client_order_id))
        return None if found is None else tables.seen(found)

    async def cancel(self, client_order_id: str) -> bool:
        """Take a ticket back; with an entry that has not filled go the legs attached to it."""

        def work(desk: DeskSession) -> bool:
            end = partial(
                tables.close_ticket, state=OrderState.CANCELLED, reason="cancelled", now_ms=desk.now_ms
            )
            is_done = end(desk.conn, client_order_id)
            ticket = tables.ticket_by_id(desk.conn, client_order_id)
            if is_done and ticket is not None and ticket.filled_e4 == 0:
                for leg in tables.read_plan_tickets(desk.conn, ticket.plan_id):
                    if leg.parent_id == client_order_id:
                        end(desk.conn, leg.client_order_id)
            return is_done

        return await self._writer.call(work)

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        return await self._write((new,), replaces=client_order_id)

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        await self._expire()
        found = await self._reader.read_fn(lambda conn: tables.tickets_of_session(conn, session))
        return [tables.seen(ticket) for ticket in found]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        return await self._reader.read_fn(lambda conn: tables.fills_of_session(conn, session))

    async def positions(self) -> Sequence[BrokerPosition]:
        rows = await self._reader.read_fn(lambda conn: conn.execute(tables.POSITIONS).fetchall())
        return [BrokerPosition(symbol=str(symbol), quantity_e4=int(held)) for symbol, held in rows]

    async def account(self) -> BrokerAccount:
        """Cash as the fills left it; equity at the last prices, at cost where there is none."""
        moved = await self._reader.read_fn(lambda conn: int(conn.execute(tables.CASH).fetchone()[0]))
        held = {each.symbol: each.quantity_e4 for each in await self.positions()}
        now_ms = self._clock.now_ms()
        session = self._calendar.session_at(now_ms)
        prices = await self._market.last_prices(sorted(held), session, now_ms) if held else {}
        cash_e8 = self._start_equity_e8 + moved
        value_e8 = sum(held[symbol] * price.price_e4 for symbol, price in prices.items())
        return BrokerAccount(
            currency=self._currency,
            cash_e8=cash_e8,
            equity_e8=cash_e8 + value_e8,
            buying_power_e8=max(0, cash_e8),
        )

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        return ()

    async def _write(self, intents: tuple[OrderIntent, ...], *, replaces: str | None) -> BrokerOrder:
        """Refuse what is no order, else write the tickets in one commit."""
        session = self._calendar.session_at(self._clock.now_ms()).date

        def work(desk: DeskSession) -> BrokerOrder | Exception:
            refused = _refused(desk.conn, intents, replaces)
            if refused is not None:
                return refused
            if replaces is not None:
                tables.close_ticket(desk.conn, replaces, OrderState.CANCELLED, "replaced", now_ms=desk.now_ms)
            for intent in intents:
                tables.put_ticket(desk.conn, intent, session=session, now_ms=desk.now_ms)
            written = tables.ticket_by_id(desk.conn, intents[0].client_order_id)
            assert written is not None
            return tables.seen(written)

        result = await self._writer.call(work)
        if isinstance(result, Exception):
            raise result
        return result

    async def _expire(self) -> None:
        """Entries are DAY orders: with their session's close nobody types them any more."""
        now_ms = self._clock.now_ms()
        rows = await self._reader.read_fn(lambda conn: conn.execute(tables.OPEN_SESSIONS).fetchall())
        for (date,) in rows:
            session = self._calendar.session(str(date))
            if session is None or now_ms >= session.close_ms:
                await self._end_entries(str(date))

    async def _end_entries(self, date: str) -> None:
        await self._writer.call(lambda s: tables.expire_entries(s.conn, date, now_ms=s.now_ms))


def _refused(
    conn: sqlite3.Connection, intents: tuple[OrderIntent, ...], replaces: str | None
) -> Exception | None:
    """A ticket that no broker would take, or that this desk has."""
    first = intents[0]
    if any(tables.ticket_by_id(conn, intent.client_order_id) is not None for intent in intents):
        return DuplicateClientOrderIdError(first.client_order_id)
    if replaces is not None:
        old = tables.ticket_by_id(conn, replaces)
        if old is None or not old.is_open:
            return OrderRejectedError("not_open", f"{replaces} is not open")
    grid = Instrument(symbol=first.symbol)
    for intent in intents:
        for price_e4 in (intent.limit_e4, intent.stop_e4):
            if price_e4 is not None and (price_e4 <= 0 or price_e4 % grid.tick_e4(price_e4)):
                return OrderRejectedError("price_grid", f"{price_e4} (1e-4) is off the grid")
    if first.parent_id is None and first.leg != "entry" and replaces is None:
        return _unfree(conn, first)
    return None


def _unfree(conn: sqlite3.Connection, exit_: OrderIntent) -> OrderRejectedError | None:
    """Two exits for the same shares would sell them twice."""
    held = abs(held_e4(tables.read_plan_tickets(conn, exit_.plan_id)))
    claimed = sum(
        ticket.remaining_e4
        for ticket in tables.open_tickets(conn, exit_.symbol)
        if ticket.side is exit_.side and ticket.leg != "entry" and ticket.plan_id == exit_.plan_id
    )
    if exit_.quantity_e4 <= held - claimed:
        return None
    return OrderRejectedError("insufficient_quantity", f"{held - claimed} (1e-4 shares) are free")
