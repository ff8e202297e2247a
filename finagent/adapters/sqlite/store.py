"""The read side of the store: committed facts as domain values, each question one short snapshot."""

import json
import sqlite3
from collections.abc import Sequence

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.recovered import read_lost_time
from finagent.domain.binding import AccountBinding
from finagent.domain.book import (
    Book,
    Control,
    OpenPosition,
    Reservation,
    StoredApproval,
    StoredFill,
    StoredOrder,
    StoredPlan,
)
from finagent.domain.external import ExternalHolding, ExternalOrder
from finagent.domain.gap import Candidate
from finagent.domain.orders import BrokerFill, OrderIntent, OrderState
from finagent.domain.plan import Plan, PlanState
from finagent.domain.positions import ExitReason, Position, Trade
from finagent.domain.reconcile import Difference
from finagent.domain.recovery import LostTime, recovered_day
from finagent.domain.scoring import ScoredCandidate
from finagent.domain.tie_out import AccountSnapshot

PLAN = "SELECT body, state, plan_hash, reason FROM plan"
ORDER = "SELECT body, session, state, filled, accepted_at, reason, body_hash, unwanted FROM broker_order"
POSITION = "SELECT p.body, plan.body, p.stop FROM position p JOIN plan USING (plan_id)"
# Keys of a send begin with the order's id; further tries carry a suffix behind a slash ("0" follows "/").
WAS_SENT = """
SELECT EXISTS (
    SELECT 1 FROM job_queue WHERE type IN ('send', 'send_exit', 'replace') AND attempts > 0
    AND (idem_key = ?1 OR (idem_key > ?2 AND idem_key < substr(?2, 1, length(?2) - 1) || '0')))"""
IS_EXITING = """
SELECT EXISTS (
    SELECT 1 FROM job_queue WHERE type = 'exit' AND key = ? AND status IN ('ready', 'scheduled', 'leased'))"""
EXTERNAL = "SELECT symbol, quantity, acknowledged FROM external_holding ORDER BY symbol"
EXTERNAL_ORDERS = """
SELECT body, session, state, filled, reason FROM external_order ORDER BY created_at, client_order_id"""
ACCOUNT_BEFORE = """
SELECT session, at, fill_seq, equity, own, external FROM account_snapshot WHERE session < ?
ORDER BY session DESC LIMIT 1"""
FILLS_AFTER = "SELECT recorded_seq, body FROM fill WHERE recorded_seq > ? ORDER BY recorded_seq"
COUNTED_FLOWS = "SELECT flow_id FROM cash_flow WHERE flow_id IN (SELECT value FROM json_each(?))"
RECORDED = "SELECT execution_id FROM fill WHERE execution_id IN (SELECT value FROM json_each(?))"
# SQLite takes a partial index only where its whole condition stands in the statement, word by word.
LIVE_ORDER = "state IN ('intent', 'accepted', 'partially_filled', 'unknown')"
LIVE_PLAN = "plan.state IN ('planned', 'pending', 'approved', 'armed', 'entering', 'open')"
ENTERED = "('pending', 'approved', 'armed', 'entering', 'open', 'closed')"


class SqliteStore:
    """Store over one database; ``start_equity_e8`` is what the account held before its first session.

    ``is_outside``: the account is at a broker outside, where only what was read there is a session's capital.
    """

    def __init__(self, database: Database, *, start_equity_e8: int, is_outside: bool = False) -> None:
        self._database = database
        self._start_equity_e8, self._is_outside = start_equity_e8, is_outside

    async def candidates(self, session: str, tick: str) -> Sequence[Candidate]:
        rows = await self._database.read(
            "SELECT body FROM candidate WHERE session = ? AND tick = ? ORDER BY place", (session, tick)
        )
        return [decode(Candidate, body) for (body,) in rows]

    async def scored(self, session: str, tick: str) -> Sequence[tuple[int, ScoredCandidate]]:
        rows = await self._database.read(
            "SELECT rank, factors FROM candidate WHERE session = ? AND tick = ? AND is_selected = 1 ORDER BY rank",
            (session, tick),
        )
        return [(_int(rank), decode(ScoredCandidate, factors)) for rank, factors in rows]

    async def plan(self, plan_id: str) -> StoredPlan | None:
        rows = await self._database.read(f"{PLAN} WHERE plan_id = ?", (plan_id,))
        return _plan(rows[0]) if rows else None

    async def plans(self, session: str, *, states: Sequence[PlanState] = ()) -> Sequence[StoredPlan]:
        rows = await self._database.read(
            f"{PLAN} WHERE session = ? ORDER BY created_at, rank, symbol, plan_id", (session,)
        )
        return [plan for plan in map(_plan, rows) if not states or plan.state in states]

    async def approval(self, plan_id: str) -> StoredApproval | None:
        rows = await self._database.read(
            "SELECT plan_id, plan_hash, nonce, state, created_at, expires_at, answered_at, channel, identity"
            " FROM approval WHERE plan_id = ?",
            (plan_id,),
        )
        return _approval(rows[0]) if rows else None

    async def order(self, client_order_id: str) -> StoredOrder | None:
        rows = await self._database.read(f"{ORDER} WHERE client_order_id = ?", (client_order_id,))
        return _order(rows[0]) if rows else None

    async def orders_of(self, plan_id: str) -> Sequence[StoredOrder]:
        return await self._database.read_fn(lambda conn: read_orders_of(conn, plan_id))

    async def was_sent(self, client_order_id: str) -> bool:
        rows = await self._database.read(WAS_SENT, (client_order_id, f"{client_order_id}/"))
        return bool(rows[0][0])

    async def is_exiting(self, plan_id: str) -> bool:
        rows = await self._database.read(IS_EXITING, (plan_id,))
        return bool(rows[0][0])

    async def live_orders(self) -> Sequence[StoredOrder]:
        rows = await self._database.read(f"{ORDER} WHERE {LIVE_ORDER} ORDER BY created_at, client_order_id")
        return [_order(row) for row in rows]

    async def fills_of(self, plan_id: str) -> Sequence[StoredFill]:
        rows = await self._database.read(
            "SELECT body, leg, reason FROM fill WHERE plan_id = ? ORDER BY recorded_seq", (plan_id,)
        )
        return [
            StoredFill(
                fill=decode(BrokerFill, body),
                leg=str(leg),
                reason=ExitReason(str(reason)) if reason else None,
            )
            for body, leg, reason in rows
        ]

    async def position(self, plan_id: str) -> OpenPosition | None:
        rows = await self._database.read(f"{POSITION} WHERE p.plan_id = ?", (plan_id,))
        return _position(rows[0]) if rows else None

    async def open_positions(self) -> Sequence[OpenPosition]:
        return await self._database.read_fn(read_open_positions)

    async def trades(self, session: str) -> Sequence[Trade]:
        rows = await self._database.read(
            "SELECT body FROM trade WHERE exit_session = ? ORDER BY exit_at, symbol, trade_id", (session,)
        )
        return [decode(Trade, body) for (body,) in rows]

    async def control(self) -> Control:
        return await self._database.read_fn(_control)

    async def binding(self) -> AccountBinding | None:
        rows = await self._database.read("SELECT broker, account_id, endpoint FROM account_binding")
        if not rows:
            return None
        broker, account_id, endpoint = (str(value) for value in rows[0])
        return AccountBinding(broker=broker, account_id=account_id, endpoint=endpoint)

    async def external(self) -> Sequence[ExternalHolding]:
        rows = await self._database.read(EXTERNAL)
        return [
            ExternalHolding(symbol=str(s), quantity_e4=_int(q), acknowledged_e4=_int(a)) for s, q, a in rows
        ]

    async def external_orders(self) -> Sequence[ExternalOrder]:
        rows = await self._database.read(EXTERNAL_ORDERS)
        return [
            ExternalOrder(
                intent=decode(OrderIntent, body),
                session=str(session),
                state=OrderState(str(state)),
                filled_e4=_int(filled),
                reason=str(reason),
            )
            for body, session, state, filled, reason in rows
        ]

    async def lost_time(self) -> LostTime:
        return await self._database.read_fn(read_lost_time)

    async def account_before(self, session: str) -> AccountSnapshot | None:
        rows = await self._database.read(ACCOUNT_BEFORE, (session,))
        if not rows:
            return None
        date, *numbers = rows[0]
        at_ms, fill_seq, equity_e8, own_e8, external_e8 = map(_int, numbers)
        return AccountSnapshot(
            session=str(date),
            at_ms=at_ms,
            fill_seq=fill_seq,
            equity_e8=equity_e8,
            own_e8=own_e8,
            external_e8=external_e8,
        )

    async def fills_after(self, seq: int) -> tuple[Sequence[BrokerFill], int]:
        rows = await self._database.read(FILLS_AFTER, (seq,))
        return [decode(BrokerFill, body) for _, body in rows], _int(rows[-1][0]) if rows else seq

    async def counted_flows(self, flow_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._database.read(COUNTED_FLOWS, (json.dumps(list(flow_ids)),))
        return frozenset(str(flow_id) for (flow_id,) in rows)

    async def differences(self) -> Sequence[Difference]:
        rows = await self._database.read(
            "SELECT kind, ref, detail FROM reconcile_difference ORDER BY kind, ref"
        )
        return [Difference(str(kind), str(ref), str(detail)) for kind, ref, detail in rows]

    async def recorded(self, execution_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._database.read(RECORDED, (json.dumps(list(execution_ids)),))
        return frozenset(str(execution_id) for (execution_id,) in rows)

    async def live_account(self) -> str | None:
        newest = "SELECT account_id, is_allowed FROM live_consent ORDER BY seq DESC LIMIT 1"
        rows = await self._database.read(newest)
        return str(rows[0][0]) if rows and rows[0][1] else None

    async def book(self, session: str, *, now_ms: int, unsettled_from: str | None = None) -> Book:
        return await self._database.read_fn(
            lambda conn: read_book(
                conn,
                session,
                start_equity_e8=self._start_equity_e8,
                is_outside=self._is_outside,
                now_ms=now_ms,
                unsettled_from=unsettled_from,
            )
        )


def _control(conn: sqlite3.Connection) -> Control:
    row = conn.execute(
        "SELECT is_paused, pause_reason, paused_by, is_killed, needs_rearm, gate_reason FROM control WHERE id = 1"
    ).fetchone()
    locked = conn.execute("SELECT symbol FROM symbol_lock ORDER BY symbol").fetchall()
    return Control(
        is_paused=bool(row[0]),
        pause_reason=row[1],
        paused_by=row[2],
        is_killed=bool(row[3]),
        needs_rearm=bool(row[4]),
        gate_reason=row[5],
        locked_symbols=tuple(symbol for (symbol,) in locked),
    )


EARLIER = "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session >= ? AND exit_session < ?"
DAY_START = "SELECT session, equity FROM day_start WHERE session <= ? ORDER BY session DESC LIMIT 1"
TODAY = "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session = ?"
# A plan whose position was closed is under way until its trade is booked.
CLOSED_NOT_BOOKED = f"""
SELECT p.body FROM plan CROSS JOIN position p USING (plan_id) LEFT JOIN trade t USING (plan_id)
WHERE {LIVE_PLAN} AND p.quantity = 0 AND t.plan_id IS NULL"""
HELD_SINCE = "SELECT body FROM position WHERE session BETWEEN ? AND ? ORDER BY plan_id"
RESERVED = """
SELECT r.plan_id, r.symbol, r.notional, r.worst_case, json_extract(plan.body, '$.sector')
FROM reservation r JOIN plan USING (plan_id) WHERE r.released_at IS NULL ORDER BY +r.plan_id"""
SYMBOLS = f"SELECT DISTINCT symbol FROM plan WHERE session = ? AND state IN {ENTERED} ORDER BY symbol"
TRADES = f"SELECT count(*) FROM plan WHERE session = ? AND state IN {ENTERED}"
REARMED_AT = "SELECT coalesce(max(at), 0) FROM journal WHERE kind = 'rearm'"
# Counted from the last one that went well, or from the last rearm, to now.
REJECTED_IN_A_ROW = """
SELECT count(*) FROM broker_order WHERE session = ?1 AND leg = 'entry' AND state = 'rejected' AND ended_at > max(?2,
    (SELECT coalesce(max(accepted_at), 0) FROM broker_order WHERE session = ?1 AND leg = 'entry'
     AND state <> 'rejected'))"""
LOSSES_IN_A_ROW = """
SELECT count(*) FROM trade WHERE exit_session = ?1 AND pnl < 0 AND exit_at > max(?2,
    (SELECT coalesce(max(exit_at), 0) FROM trade WHERE exit_session = ?1 AND pnl >= 0))"""
ORDERS_OUT = "SELECT count(*) FROM journal WHERE kind = 'orders_out' AND at > ?"
RECENT = "SELECT count(*) FROM broker_order WHERE session = ? AND leg = 'entry' AND created_at > ?"
IN_DOUBT = f"FROM broker_order WHERE {LIVE_ORDER} AND state = 'unknown'"
OLD_UNKNOWN = f"SELECT EXISTS (SELECT 1 {IN_DOUBT} AND created_at < ?)"
UNKNOWN = f"SELECT DISTINCT symbol {IN_DOUBT} ORDER BY symbol"


def read_orders_of(conn: sqlite3.Connection, plan_id: str) -> list[StoredOrder]:
    """A plan's orders by creation, leg and generation, as this connection sees them."""
    sql = f"{ORDER} WHERE plan_id = ? ORDER BY created_at, leg, generation"
    return [_order(row) for row in conn.execute(sql, (plan_id,)).fetchall()]


def read_open_positions(conn: sqlite3.Connection) -> list[OpenPosition]:
    """Positions that are not flat, by symbol, as this connection sees them."""
    rows = conn.execute(f"{POSITION} WHERE p.quantity <> 0 ORDER BY p.symbol, p.plan_id").fetchall()
    return [_position(row) for row in rows]


def read_day_start(
    conn: sqlite3.Connection, session: str, *, start_equity_e8: int, is_outside: bool
) -> tuple[int, bool]:
    """A session's capital in 1e-8, and whether it is known: closed trades on top of the newest figure there is.

    At a broker outside only one of the session itself is known; an older one values what is open already.
    """
    row = conn.execute(DAY_START, (session,)).fetchone() if is_outside else None
    since, equity_e8 = row if row is not None else ("", start_equity_e8)
    earned_e8 = conn.execute(EARLIER, (since, session)).fetchone()[0]
    return equity_e8 + earned_e8, since == session or not is_outside


def read_book(
    conn: sqlite3.Connection,
    session: str,
    *,
    start_equity_e8: int,
    is_outside: bool,
    now_ms: int,
    unsettled_from: str | None = None,
) -> Book:
    """A session's account as this connection sees it; sales since ``unsettled_from`` have not settled."""
    day_start_e8, has_day_start = read_day_start(
        conn, session, start_equity_e8=start_equity_e8, is_outside=is_outside
    )
    realised = conn.execute(TODAY, (session,)).fetchone()[0]
    for (body,) in conn.execute(CLOSED_NOT_BOOKED):
        held = decode(Position, body)
        realised += held.sold_e8 - held.bought_e8 - held.fees_e8
    held_since = conn.execute(HELD_SINCE, (unsettled_from or session, session)).fetchall()
    dealt = [decode(Position, body) for (body,) in held_since]
    lost = recovered_day(read_lost_time(conn).fills, session)
    rearmed_at_ms = conn.execute(REARMED_AT).fetchone()[0]
    since = (session, rearmed_at_ms)
    return Book(
        session=session,
        day_start_equity_e8=day_start_e8,
        has_day_start=has_day_start,
        positions=tuple(read_open_positions(conn)),
        reservations=tuple(
            Reservation(plan_id=p, symbol=s, notional_e8=n, worst_case_e8=w, sector=sector)
            for p, s, n, w, sector in conn.execute(RESERVED).fetchall()
        ),
        realised_e8=realised + lost.realised_e8,
        entered_symbols=tuple(s for (s,) in conn.execute(SYMBOLS, (session,)).fetchall()),
        trades=conn.execute(TRADES, (session,)).fetchone()[0],
        orders_last_minute=conn.execute(RECENT, (session, now_ms - 60_000)).fetchone()[0],
        rejected_in_a_row=conn.execute(REJECTED_IN_A_ROW, since).fetchone()[0],
        losses_in_a_row=conn.execute(LOSSES_IN_A_ROW, since).fetchone()[0],
        orders_out=conn.execute(ORDERS_OUT, (rearmed_at_ms,)).fetchone()[0],
        rearmed_at_ms=rearmed_at_ms,
        unknown_symbols=tuple(s for (s,) in conn.execute(UNKNOWN).fetchall()),
        external_symbols=tuple(s for (s, _, _) in conn.execute(EXTERNAL).fetchall()),
        control=_control(conn),
        spent_e8=sum(each.bought_e8 for each in dealt if each.session == session) + lost.spent_e8,
        recovered_symbols=lost.symbols,
        unsettled_e8=sum(each.sold_e8 for each in dealt if each.session < session),
        has_old_unknown=bool(conn.execute(OLD_UNKNOWN, (now_ms - 60_000,)).fetchone()[0]),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _plan(row: Sequence[object]) -> StoredPlan:
    body, state, plan_hash, reason = row
    return StoredPlan(
        plan=decode(Plan, body), state=PlanState(str(state)), plan_hash=str(plan_hash), reason=str(reason)
    )


def _order(row: Sequence[object]) -> StoredOrder:
    body, session, state, filled, accepted_at, reason, body_hash, unwanted = row
    return StoredOrder(
        intent=decode(OrderIntent, body),
        session=str(session),
        state=OrderState(str(state)),
        filled_e4=_int(filled),
        accepted_at_ms=None if accepted_at is None else _int(accepted_at),
        reason=str(reason),
        body_hash=str(body_hash),
        unwanted=str(unwanted),
    )


def _position(row: Sequence[object]) -> OpenPosition:
    body, plan, stop = row
    return OpenPosition(position=decode(Position, body), plan=decode(Plan, plan), stop_e4=_int(stop))


def _approval(row: Sequence[object]) -> StoredApproval:
    plan_id, plan_hash, nonce, state, created, expires, answered, channel, identity = row
    return StoredApproval(
        plan_id=str(plan_id),
        plan_hash=str(plan_hash),
        nonce=str(nonce),
        state=str(state),
        created_at_ms=_int(created),
        expires_at_ms=_int(expires),
        answered_at_ms=None if answered is None else _int(answered),
        channel=str(channel),
        identity=str(identity),
    )
