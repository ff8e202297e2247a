"""The lost time of a restore in the database: what was taken over, and what of it the session's book counts."""

import sqlite3

from finagent.adapters.sqlite.codec import decode, encode
from finagent.adapters.sqlite.session import WriteSession
from finagent.domain.facts import FillRecovered, OrderRecovered, RecoveryMoved
from finagent.domain.manual import PART
from finagent.domain.orders import BrokerFill
from finagent.domain.recovery import LostTime, RecoveredFill, RecoveryState, remainder

OPEN = "SELECT since, is_settled FROM recovery WHERE id = 1 AND ended_at IS NULL"
ORDERS = "SELECT client_order_id FROM recovered_order ORDER BY client_order_id"
FILLS = f"""
SELECT r.execution_id, r.session, r.body,
    (SELECT coalesce(sum(json_extract(f.body, '$.quantity_e4')), 0) FROM fill f
     WHERE f.execution_id IN (r.execution_id, r.execution_id || '{PART}'))
FROM recovered_fill r ORDER BY r.at, r.execution_id"""
BEGIN = """
INSERT INTO recovery (id, since, is_settled) VALUES (1, ?, 0)
ON CONFLICT (id) DO UPDATE SET since = excluded.since, is_settled = 0, ended_at = NULL"""
SETTLE = "UPDATE recovery SET is_settled = ? WHERE id = 1 AND ended_at IS NULL"
END = "UPDATE recovery SET ended_at = ? WHERE id = 1 AND ended_at IS NULL"
ADOPT = """
INSERT INTO recovered_order (client_order_id, session, symbol, adopted_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (client_order_id) DO NOTHING"""
RECOVER = """
INSERT INTO recovered_fill (execution_id, client_order_id, session, symbol, at, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (execution_id) DO NOTHING"""


def read_lost_time(conn: sqlite3.Connection) -> LostTime:
    """What was taken over so far, as this connection sees it."""
    row = conn.execute(OPEN).fetchone()
    rows = conn.execute(FILLS).fetchall()
    left = [
        (session, remainder(decode(BrokerFill, body), counted_e4)) for _, session, body, counted_e4 in rows
    ]
    return LostTime(
        since_ms=row[0] if row is not None else None,
        is_settled=row is not None and bool(row[1]),
        order_ids=tuple(order_id for (order_id,) in conn.execute(ORDERS).fetchall()),
        executions=tuple(execution_id for execution_id, *_ in rows),
        fills=tuple(RecoveredFill(fill=fill, session=session) for session, fill in left if fill is not None),
    )


def adopt_order(fact: OrderRecovered, session: WriteSession) -> None:
    """Once; what became of it is the broker's to say."""
    order = fact.order
    values = (order.client_order_id, fact.session, order.symbol, session.now_ms, encode(order))
    session.conn.execute(ADOPT, values)


def recover_fill(fact: FillRecovered, session: WriteSession) -> None:
    """An execution counts once, however often it is listed."""
    fill = fact.fill
    values = (
        fill.execution_id,
        fill.client_order_id,
        fact.session,
        fill.symbol,
        fill.at_ms,
        encode(fill),
    )
    session.conn.execute(RECOVER, values)


def move_recovery(fact: RecoveryMoved, session: WriteSession) -> None:
    """A restore begins it, looks settle or unsettle it, a rearm ends it."""
    if fact.to_state is RecoveryState.BEGUN:
        session.conn.execute(BEGIN, (session.now_ms,))
    elif fact.to_state is RecoveryState.ENDED:
        session.conn.execute(END, (session.now_ms,))
    else:
        session.conn.execute(SETTLE, (int(fact.to_state is RecoveryState.SETTLED),))
