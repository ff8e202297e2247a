"""Writers of the facts about the account at the broker: its binding, differences, holdings that are not ours."""

from finagent.adapters.sqlite.codec import encode
from finagent.adapters.sqlite.session import WriteSession
from finagent.domain.facts import (
    AccountBound,
    AccountSeen,
    DayStarted,
    DifferencesFound,
    ExternalAcknowledged,
    ExternalIntended,
    ExternalOrderMoved,
    ExternalSeen,
)
from finagent.domain.orders import TERMINAL_ORDER_STATES
from finagent.queue.errors import GuardFailedError

BIND = """
INSERT INTO account_binding (id, broker, account_id, endpoint, bound_at) VALUES (1, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING"""
KNOWN_DIFFERENCES = "SELECT kind, ref FROM reconcile_difference"
SETTLE = "DELETE FROM reconcile_difference WHERE kind = ? AND ref = ?"
DIFFER = """
INSERT INTO reconcile_difference (kind, ref, detail, since) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, ref) DO UPDATE SET detail = excluded.detail"""
SEE = """
INSERT INTO external_holding (symbol, quantity, first_seen_at, changed_at) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (symbol) DO UPDATE SET quantity = excluded.quantity, changed_at = excluded.changed_at"""
GONE = "DELETE FROM external_holding WHERE symbol = ?"
ACKNOWLEDGE = """
UPDATE external_holding SET acknowledged = quantity, acknowledged_at = ?, acknowledged_by = ?
WHERE symbol = ? AND quantity = ?"""
INTEND = """
INSERT INTO external_order (client_order_id, session, symbol, generation, state, quantity, created_at, body_hash, body)
VALUES (?, ?, ?, ?, 'intent', ?, ?, ?, ?)"""
MOVE = """
UPDATE external_order SET state = ?, filled = max(filled, ?), reason = ?, ended_at = ?
WHERE client_order_id = ? AND ended_at IS NULL"""
SNAPSHOT = """
INSERT INTO account_snapshot (session, at, fill_seq, equity, own, external, baseline, pnl, fees, flows,
                              external_change, difference, is_tied)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING"""
FLOW = """
INSERT INTO cash_flow (flow_id, session, at, kind, amount, symbol) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (flow_id) DO NOTHING"""

START_DAY = """
INSERT INTO day_start (session, at, equity, base, is_last_close, flows, external, pnl)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING"""


def bind(fact: AccountBound, session: WriteSession) -> None:
    """GuardFailedError when the database is bound already."""
    values = (fact.binding.broker, fact.binding.account_id, fact.binding.endpoint, session.now_ms)
    if session.conn.execute(BIND, values).rowcount != 1:
        raise GuardFailedError("account_binding", expected=0, found=1)


def differ(fact: DifferencesFound, session: WriteSession) -> None:
    """The new set in the place of the old one; what stays keeps since when it has been there."""
    wanted = {(each.kind, each.ref) for each in fact.differences}
    known = {(str(kind), str(ref)) for kind, ref in session.conn.execute(KNOWN_DIFFERENCES).fetchall()}
    session.conn.executemany(SETTLE, sorted(known - wanted))
    rows = [(each.kind, each.ref, each.detail, session.now_ms) for each in fact.differences]
    session.conn.executemany(DIFFER, rows)


def see_external(fact: ExternalSeen, session: WriteSession) -> None:
    """A holding as it is now; what a person has acknowledged of it stays known as long as it is there."""
    if fact.quantity_e4 == 0:
        session.conn.execute(GONE, (fact.symbol,))
    else:
        session.conn.execute(SEE, (fact.symbol, fact.quantity_e4, session.now_ms))


def acknowledge(fact: ExternalAcknowledged, session: WriteSession) -> None:
    """GuardFailedError when the holding is another by now: it must be seen first."""
    values = (session.now_ms, fact.identity, fact.symbol, fact.quantity_e4)
    if session.conn.execute(ACKNOWLEDGE, values).rowcount != 1:
        raise GuardFailedError(f"external {fact.symbol}", expected=1, found=0)


def intend(fact: ExternalIntended, session: WriteSession) -> None:
    """One generation of a symbol and session is one order for ever."""
    i = fact.intent
    values = (
        i.client_order_id,
        fact.session,
        i.symbol,
        i.generation,
        i.quantity_e4,
        session.now_ms,
        fact.body_hash,
        encode(i),
    )
    session.conn.execute(INTEND, values)


def move_external(fact: ExternalOrderMoved, session: WriteSession) -> None:
    """What has ended stays ended."""
    ended = session.now_ms if fact.to_state in TERMINAL_ORDER_STATES else None
    values = (fact.to_state.value, fact.filled_e4, fact.reason, ended, fact.client_order_id)
    session.conn.execute(MOVE, values)


def see_account(fact: AccountSeen, session: WriteSession) -> None:
    """A close is seen once: what comes later belongs to the next one."""
    s, t = fact.snapshot, fact.tie_out
    found = (
        (None, 0, 0, 0, 0, None, None)
        if t is None
        else (
            t.baseline,
            t.pnl_e8,
            t.fees_e8,
            t.flows_e8,
            t.external_change_e8,
            t.difference_e8,
            int(t.is_tied),
        )
    )
    values = (s.session, s.at_ms, s.fill_seq, s.equity_e8, s.own_e8, s.external_e8, *found)
    if session.conn.execute(SNAPSHOT, values).rowcount == 1:
        rows = [(f.flow_id, s.session, f.at_ms, f.kind, f.amount_e8, f.symbol) for f in fact.flows]
        session.conn.executemany(FLOW, rows)


def start_day(fact: DayStarted, session: WriteSession) -> None:
    """A session has one capital: what comes or goes later counts from the next one."""
    s = fact.start
    parts = (s.base_e8, int(s.is_last_close), s.flows_e8, s.external_e8, s.pnl_e8)
    session.conn.execute(START_DAY, (s.session, s.at_ms, s.equity_e8, *parts))
