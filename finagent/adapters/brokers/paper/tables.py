"""The venue's tables: orders, fills, positions and cash, read and written on a given connection."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from finagent.adapters.brokers.paper.rules import VenueRules
from finagent.domain.fills import ModelFill
from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, BrokerOrder, BrokerPosition, OrderIntent, OrderState, OrderType
from finagent.domain.working_orders import WorkingOrder

ORDER_COLUMNS = """
client_order_id, sequence, session, plan_id, symbol, leg, side, type, quantity, filled, armed, limit_price,
stop_price, reference, parent_id, is_exit, ignores_participation, is_triggered, state, reason, accepted_at,
asked,
(SELECT coalesce(sum(quantity * price), 0) FROM venue_fill WHERE client_order_id = venue_order.client_order_id)"""
FILL_COLUMNS = """
execution_id, client_order_id, symbol, side, quantity, price, reference, at, fees, is_ambiguous,
best, worst, is_forced_close"""

OPEN_ACCOUNT = "INSERT OR IGNORE INTO venue_account (id, currency, start_equity, cash) VALUES (1, ?, ?, ?)"
READ_CASH = "SELECT cash FROM venue_account WHERE id = 1"
MOVE_CASH = "UPDATE venue_account SET cash = cash + ? WHERE id = 1"
NEXT_SEQUENCE = """
UPDATE venue_account SET next_sequence = next_sequence + 1 WHERE id = 1 RETURNING next_sequence - 1"""

ORDER_BY_ID = f"SELECT {ORDER_COLUMNS} FROM venue_order WHERE client_order_id = ?"
OPEN_ORDERS = f"SELECT {ORDER_COLUMNS} FROM venue_order WHERE ended_at IS NULL ORDER BY symbol, sequence"
OPEN_ORDERS_OF = f"""
SELECT {ORDER_COLUMNS} FROM venue_order WHERE ended_at IS NULL AND symbol = ? ORDER BY sequence"""
ORDERS_OF_SESSION = f"SELECT {ORDER_COLUMNS} FROM venue_order WHERE session = ? ORDER BY sequence"
UNREPORTED = f"""
SELECT {ORDER_COLUMNS} FROM venue_order
WHERE ended_at IS NOT NULL AND is_reported = 0 ORDER BY symbol, sequence"""
SET_REPORTED = "UPDATE venue_order SET is_reported = 1 WHERE client_order_id = ?"
INSERT_ORDER = """
INSERT INTO venue_order (client_order_id, sequence, session, plan_id, symbol, leg, side, type, quantity,
    armed, limit_price, stop_price, reference, parent_id, is_exit, ignores_participation, state,
    accepted_at, asked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'accepted', ?, ?)"""
UPDATE_ORDER = """
UPDATE venue_order
SET quantity = ?, filled = ?, armed = ?, is_triggered = ?, state = ?, reason = ?, ended_at = ?
WHERE client_order_id = ?"""
EXITED = "SELECT coalesce(sum(filled), 0) FROM venue_order WHERE parent_id = ?"

COUNT_FILLS = "SELECT count(*) FROM venue_fill WHERE client_order_id = ?"
INSERT_FILL = f"""
INSERT INTO venue_fill (session, {FILL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
FILLS_OF_SESSION = f"SELECT {FILL_COLUMNS} FROM venue_fill WHERE session = ? ORDER BY sequence"

MOVE_POSITION = """
INSERT INTO venue_position (symbol, quantity, mark, mark_at) VALUES (?, ?, ?, ?)
ON CONFLICT (symbol) DO UPDATE SET quantity = quantity + excluded.quantity"""
SET_MARK = """
INSERT INTO venue_position (symbol, quantity, mark, mark_at) VALUES (?, 0, ?, ?)
ON CONFLICT (symbol) DO UPDATE SET mark = excluded.mark, mark_at = excluded.mark_at"""
READ_MARKS = "SELECT symbol, quantity, mark, mark_at FROM venue_position ORDER BY symbol"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """A row of the order table; ``reference_e4`` is the price its buying power was reckoned with.

    ``asked_e4`` is the quantity it was sent with; the order's own is less where a sibling's fill has cut it.
    """

    order: WorkingOrder
    session: str
    plan_id: str
    leg: str
    reference_e4: int | None
    asked_e4: int

    @property
    def seen(self) -> BrokerOrder:
        """The order as the broker shows it."""
        order = self.order
        return BrokerOrder(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            quantity_e4=order.quantity_e4,
            filled_e4=order.filled_e4,
            state=order.state,
            accepted_at_ms=order.accepted_at_ms,
            limit_e4=order.limit_e4,
            stop_e4=order.stop_e4,
            parent_id=order.parent_id,
            reason=order.reason,
        )


@dataclass(frozen=True, slots=True)
class Holding:
    """A symbol's signed quantity and its newest price, both in 1e-4."""

    symbol: str
    quantity_e4: int
    mark_e4: int
    mark_at_ms: int


def open_account(conn: sqlite3.Connection, rules: VenueRules) -> None:
    """Fund the account the first time it is touched; later starts keep what is there."""
    conn.execute(OPEN_ACCOUNT, (rules.currency, rules.start_equity_e8, rules.start_equity_e8))


def cash_e8(conn: sqlite3.Connection, rules: VenueRules) -> int:
    """Cash in 1e-8; the start equity as long as the account was never touched."""
    row = conn.execute(READ_CASH).fetchone()
    return rules.start_equity_e8 if row is None else int(row[0])


def order_by_id(conn: sqlite3.Connection, client_order_id: str) -> VenueOrder | None:
    """One order."""
    row = conn.execute(ORDER_BY_ID, (client_order_id,)).fetchone()
    return None if row is None else _order(row)


def open_orders(conn: sqlite3.Connection, symbol: str | None = None) -> list[VenueOrder]:
    """Orders that can still fill, by symbol and acceptance."""
    rows = conn.execute(OPEN_ORDERS) if symbol is None else conn.execute(OPEN_ORDERS_OF, (symbol,))
    return [_order(row) for row in rows]


def orders_of_session(conn: sqlite3.Connection, session: str) -> list[VenueOrder]:
    """All orders accepted for a session, by acceptance."""
    return [_order(row) for row in conn.execute(ORDERS_OF_SESSION, (session,))]


def take_unreported(conn: sqlite3.Connection) -> list[VenueOrder]:
    """Orders that ended since the last call, by symbol and acceptance; they count as reported from now on."""
    ended = [_order(row) for row in conn.execute(UNREPORTED).fetchall()]
    conn.executemany(SET_REPORTED, [(each.order.client_order_id,) for each in ended])
    return ended


def exited_e4(conn: sqlite3.Connection, parent_id: str) -> int:
    """What all exit legs of an entry have filled together."""
    return int(conn.execute(EXITED, (parent_id,)).fetchone()[0])


def insert_order(
    conn: sqlite3.Connection,
    intent: OrderIntent,
    *,
    session: str,
    now_ms: int,
    is_exit: bool,
    armed_e4: int,
    reference_e4: int | None,
) -> None:
    """Accept an order now."""
    sequence = int(conn.execute(NEXT_SEQUENCE).fetchone()[0])
    conn.execute(
        INSERT_ORDER,
        (
            intent.client_order_id,
            sequence,
            session,
            intent.plan_id,
            intent.symbol,
            intent.leg,
            str(intent.side),
            str(intent.type),
            intent.quantity_e4,
            armed_e4,
            intent.limit_e4,
            intent.stop_e4,
            reference_e4,
            intent.parent_id,
            int(is_exit),
            int(intent.ignores_participation),
            now_ms,
            intent.quantity_e4,
        ),
    )


def save_orders(conn: sqlite3.Connection, orders: Sequence[WorkingOrder], *, now_ms: int) -> None:
    """Write what changed on the orders given."""
    conn.executemany(
        UPDATE_ORDER,
        [
            (
                order.quantity_e4,
                order.filled_e4,
                order.armed_e4,
                int(order.is_triggered),
                str(order.state),
                order.reason,
                None if order.is_open else now_ms,
                order.client_order_id,
            )
            for order in orders
        ],
    )


def insert_fill(conn: sqlite3.Connection, fill: ModelFill, *, session: str) -> BrokerFill:
    """Book a fill: its row, the position and the cash."""
    count = int(conn.execute(COUNT_FILLS, (fill.client_order_id,)).fetchone()[0])
    execution_id = f"{fill.client_order_id}:{count + 1}"
    conn.execute(
        INSERT_FILL,
        (
            session,
            execution_id,
            fill.client_order_id,
            fill.symbol,
            str(fill.side),
            fill.quantity_e4,
            fill.price_e4,
            fill.reference_e4,
            fill.at_ms,
            fill.fees_e8,
            int(fill.is_ambiguous),
            fill.best_e4,
            fill.worst_e4,
            int(fill.is_forced_close),
        ),
    )
    signed_e4 = fill.side.sign * fill.quantity_e4
    conn.execute(MOVE_POSITION, (fill.symbol, signed_e4, fill.price_e4, fill.at_ms))
    conn.execute(MOVE_CASH, (-signed_e4 * fill.price_e4 - fill.fees_e8,))
    return BrokerFill(
        execution_id=execution_id,
        client_order_id=fill.client_order_id,
        symbol=fill.symbol,
        side=fill.side,
        quantity_e4=fill.quantity_e4,
        price_e4=fill.price_e4,
        at_ms=fill.at_ms,
        fees_e8=fill.fees_e8,
        reference_e4=fill.reference_e4,
        is_ambiguous=fill.is_ambiguous,
        best_e4=fill.best_e4,
        worst_e4=fill.worst_e4,
        is_forced_close=fill.is_forced_close,
    )


def fills_of_session(conn: sqlite3.Connection, session: str) -> list[BrokerFill]:
    """All fills of a session in the order they were booked."""
    return [_fill(row) for row in conn.execute(FILLS_OF_SESSION, (session,))]


def set_mark(conn: sqlite3.Connection, symbol: str, *, price_e4: int, at_ms: int) -> None:
    """Remember a symbol's newest price."""
    conn.execute(SET_MARK, (symbol, price_e4, at_ms))


def holdings(conn: sqlite3.Connection) -> list[Holding]:
    """Every symbol the venue has a price of, by symbol; the quantity may be 0."""
    return [Holding(str(s), int(q), int(m), int(at)) for s, q, m, at in conn.execute(READ_MARKS)]


def positions(conn: sqlite3.Connection) -> list[BrokerPosition]:
    """Positions that are not flat, by symbol."""
    return [
        BrokerPosition(symbol=held.symbol, quantity_e4=held.quantity_e4, mark_e4=held.mark_e4)
        for held in holdings(conn)
        if held.quantity_e4
    ]


def _order(row: sqlite3.Row | tuple[object, ...]) -> VenueOrder:
    (
        client_order_id,
        sequence,
        session,
        plan_id,
        symbol,
        leg,
        side,
        order_type,
        quantity,
        filled,
        armed,
        limit_price,
        stop_price,
        reference,
        parent_id,
        is_exit,
        ignores_participation,
        is_triggered,
        state,
        reason,
        accepted_at,
        asked,
        filled_notional,
    ) = row
    return VenueOrder(
        order=WorkingOrder(
            client_order_id=_text(client_order_id),
            symbol=_text(symbol),
            side=Side(_text(side)),
            type=OrderType(_text(order_type)),
            quantity_e4=_int(quantity),
            accepted_at_ms=_int(accepted_at),
            sequence=_int(sequence),
            filled_e4=_int(filled),
            filled_e8=_int(filled_notional),
            limit_e4=_int_or_none(limit_price),
            stop_e4=_int_or_none(stop_price),
            parent_id=None if parent_id is None else _text(parent_id),
            armed_e4=_int(armed),
            is_exit=bool(is_exit),
            ignores_participation=bool(ignores_participation),
            is_triggered=bool(is_triggered),
            state=OrderState(_text(state)),
            reason=_text(reason),
        ),
        session=_text(session),
        plan_id=_text(plan_id),
        leg=_text(leg),
        reference_e4=_int_or_none(reference),
        asked_e4=_int(asked),
    )


def _fill(row: sqlite3.Row | tuple[object, ...]) -> BrokerFill:
    (
        execution_id,
        client_order_id,
        symbol,
        side,
        quantity,
        price,
        reference,
        at,
        fees,
        is_ambiguous,
        best,
        worst,
        is_forced,
    ) = row
    return BrokerFill(
        execution_id=_text(execution_id),
        client_order_id=_text(client_order_id),
        symbol=_text(symbol),
        side=Side(_text(side)),
        quantity_e4=_int(quantity),
        price_e4=_int(price),
        at_ms=_int(at),
        fees_e8=_int(fees),
        reference_e4=_int(reference),
        is_ambiguous=bool(is_ambiguous),
        best_e4=_int_or_none(best),
        worst_e4=_int_or_none(worst),
        is_forced_close=bool(is_forced),
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the venue's tables hold {value!r} where an integer belongs: restore a backup")
    return value


def _int_or_none(value: object) -> int | None:
    return None if value is None else _int(value)


def _text(value: object) -> str:
    return str(value)
