"""The desk's tables: tickets and fills, read and written on a given connection."""

import sqlite3
from collections.abc import Sequence

from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, BrokerOrder, OrderIntent, OrderState, OrderType
from finagent.domain.tickets import Ticket

COLUMNS = """
client_order_id, plan_id, session, symbol, leg, generation, side, type, quantity, filled, state, accepted_at,
limit_price, stop_price, parent_id, reason"""
BY_ID = f"SELECT {COLUMNS} FROM manual_ticket WHERE client_order_id = ?"
OF_PLAN = f"SELECT {COLUMNS} FROM manual_ticket WHERE plan_id = ? ORDER BY sequence"
OF_SESSION = f"SELECT {COLUMNS} FROM manual_ticket WHERE session = ? ORDER BY sequence"
WANTED = f"""
SELECT {COLUMNS} FROM manual_ticket
WHERE ended_at IS NULL OR session = ? ORDER BY sequence"""
OPEN_OF_SYMBOL = (
    f"SELECT {COLUMNS} FROM manual_ticket WHERE ended_at IS NULL AND symbol = ? ORDER BY sequence"
)
INSERT = """
INSERT INTO manual_ticket (sequence, client_order_id, session, plan_id, symbol, leg, generation, side, type, quantity,
    limit_price, stop_price, parent_id, state, accepted_at)
VALUES ((SELECT coalesce(max(sequence), 0) + 1 FROM manual_ticket),
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'accepted', ?)"""
END = """
UPDATE manual_ticket SET state = ?, reason = ?, ended_at = ? WHERE client_order_id = ? AND ended_at IS NULL"""
EXPIRE = """
UPDATE manual_ticket SET state = 'expired', reason = 'day_over', ended_at = ?2
WHERE ended_at IS NULL AND leg = 'entry' AND session = ?1"""
EXPIRE_LEGS = """
UPDATE manual_ticket SET state = 'expired', reason = 'day_over', ended_at = ?
WHERE ended_at IS NULL AND parent_id IN
    (SELECT client_order_id FROM manual_ticket WHERE state = 'expired' AND filled = 0)"""
OPEN_SESSIONS = (
    "SELECT DISTINCT session FROM manual_ticket WHERE ended_at IS NULL AND leg = 'entry' ORDER BY 1"
)
FILL = """
UPDATE manual_ticket SET filled = filled + ?1,
    state = CASE WHEN ended_at IS NOT NULL THEN state
                 WHEN filled + ?1 >= quantity THEN 'filled' ELSE 'partially_filled' END,
    ended_at = CASE WHEN ended_at IS NULL AND filled + ?1 >= quantity THEN ?2 ELSE ended_at END
WHERE client_order_id = ?3"""
FILL_COLUMNS = "execution_id, client_order_id, symbol, side, quantity, price, at, fees"
FILLS_OF_SESSION = f"SELECT {FILL_COLUMNS} FROM manual_fill WHERE session = ? ORDER BY sequence"
FILLS_OF_PLAN = f"SELECT {FILL_COLUMNS} FROM manual_fill WHERE plan_id = ? ORDER BY sequence"
FILL_BY_ID = f"SELECT {FILL_COLUMNS} FROM manual_fill WHERE execution_id = ?"
PUT_FILL = """
INSERT INTO manual_fill (execution_id, client_order_id, plan_id, session, symbol, side, quantity, price, at, fees,
    recorded_at, identity)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
POSITIONS = """
SELECT symbol, sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS held
FROM manual_fill GROUP BY symbol HAVING held <> 0 ORDER BY symbol"""
CASH = """
SELECT coalesce(sum(CASE side WHEN 'buy' THEN -1 ELSE 1 END * quantity * price - fees), 0) FROM manual_fill"""


def ticket_by_id(conn: sqlite3.Connection, client_order_id: str) -> Ticket | None:
    """One ticket."""
    row = conn.execute(BY_ID, (client_order_id,)).fetchone()
    return None if row is None else _ticket(row)


def read_plan_tickets(conn: sqlite3.Connection, plan_id: str) -> list[Ticket]:
    """All tickets of a plan, oldest first."""
    return [_ticket(row) for row in conn.execute(OF_PLAN, (plan_id,))]


def tickets_of_session(conn: sqlite3.Connection, session: str) -> list[Ticket]:
    """All tickets of a session, oldest first."""
    return [_ticket(row) for row in conn.execute(OF_SESSION, (session,))]


def read_tickets(conn: sqlite3.Connection, session: str) -> list[Ticket]:
    """Tickets that are open, and all of a session, oldest first."""
    return [_ticket(row) for row in conn.execute(WANTED, (session,))]


def open_tickets(conn: sqlite3.Connection, symbol: str) -> list[Ticket]:
    """Tickets of a symbol that may still fill."""
    return [_ticket(row) for row in conn.execute(OPEN_OF_SYMBOL, (symbol,))]


def put_ticket(conn: sqlite3.Connection, intent: OrderIntent, *, session: str, now_ms: int) -> None:
    """Write a ticket."""
    conn.execute(
        INSERT,
        (
            intent.client_order_id,
            session,
            intent.plan_id,
            intent.symbol,
            intent.leg,
            intent.generation,
            intent.side.value,
            intent.type.value,
            intent.quantity_e4,
            intent.limit_e4,
            intent.stop_e4,
            intent.parent_id,
            now_ms,
        ),
    )


def close_ticket(
    conn: sqlite3.Connection, client_order_id: str, state: OrderState, reason: str, *, now_ms: int
) -> bool:
    """End an open ticket; False when it was none."""
    return conn.execute(END, (state.value, reason, now_ms, client_order_id)).rowcount == 1


def expire_entries(conn: sqlite3.Connection, session: str, *, now_ms: int) -> None:
    """End a session's open entries; the legs of those that did not fill go with them."""
    conn.execute(EXPIRE, (session, now_ms))
    conn.execute(EXPIRE_LEGS, (now_ms,))


def fills_of_session(conn: sqlite3.Connection, session: str) -> list[BrokerFill]:
    """Fills of a session's tickets in the order they were told."""
    return [_fill(row) for row in conn.execute(FILLS_OF_SESSION, (session,))]


def fills_of_plan(conn: sqlite3.Connection, plan_id: str) -> list[BrokerFill]:
    """Fills of a plan in the order they were told."""
    return [_fill(row) for row in conn.execute(FILLS_OF_PLAN, (plan_id,))]


def fill_by_id(conn: sqlite3.Connection, execution_id: str) -> BrokerFill | None:
    """One fill."""
    row = conn.execute(FILL_BY_ID, (execution_id,)).fetchone()
    return None if row is None else _fill(row)


def put_fill(
    conn: sqlite3.Connection, fill: BrokerFill, ticket: Ticket, *, now_ms: int, identity: str
) -> None:
    """Append a fill and add it to its ticket."""
    conn.execute(
        PUT_FILL,
        (
            fill.execution_id,
            fill.client_order_id,
            ticket.plan_id,
            ticket.session,
            fill.symbol,
            fill.side.value,
            fill.quantity_e4,
            fill.price_e4,
            fill.at_ms,
            fill.fees_e8,
            now_ms,
            identity,
        ),
    )
    conn.execute(FILL, (fill.quantity_e4, now_ms, fill.client_order_id))


def seen(ticket: Ticket) -> BrokerOrder:
    """A ticket as the order it stands for."""
    return BrokerOrder(
        client_order_id=ticket.client_order_id,
        symbol=ticket.symbol,
        side=ticket.side,
        type=ticket.type,
        quantity_e4=ticket.quantity_e4,
        filled_e4=ticket.filled_e4,
        state=ticket.state,
        accepted_at_ms=ticket.accepted_at_ms,
        limit_e4=ticket.limit_e4,
        stop_e4=ticket.stop_e4,
        parent_id=ticket.parent_id,
        reason=ticket.reason,
    )


def _ticket(row: Sequence[object]) -> Ticket:
    order_id, plan_id, session, symbol, leg, generation, side, kind, quantity, filled, state, at, *rest = row
    limit, stop, parent, reason = rest
    return Ticket(
        client_order_id=str(order_id),
        plan_id=str(plan_id),
        session=str(session),
        symbol=str(symbol),
        leg=str(leg),
        generation=_int(generation),
        side=Side(str(side)),
        type=OrderType(str(kind)),
        quantity_e4=_int(quantity),
        filled_e4=_int(filled),
        state=OrderState(str(state)),
        accepted_at_ms=_int(at),
        limit_e4=None if limit is None else _int(limit),
        stop_e4=None if stop is None else _int(stop),
        parent_id=None if parent is None else str(parent),
        reason=str(reason),
    )


def _fill(row: Sequence[object]) -> BrokerFill:
    execution_id, order_id, symbol, side, quantity, price, at, fees = row
    return BrokerFill(
        execution_id=str(execution_id),
        client_order_id=str(order_id),
        symbol=str(symbol),
        side=Side(str(side)),
        quantity_e4=_int(quantity),
        price_e4=_int(price),
        at_ms=_int(at),
        fees_e8=_int(fees),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
