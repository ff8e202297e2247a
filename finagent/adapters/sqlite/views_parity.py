"""A stored session as it was decided: scans, plans, verdicts, answers, orders, fills, trades, and what people did."""

import json
import sqlite3
from dataclasses import dataclass

from finagent.adapters.sqlite.codec import decode
from finagent.domain.kinds import DONE_BY_A_PERSON
from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.domain.plan import Plan
from finagent.domain.positions import Position, Trade
from finagent.domain.risk import RiskDecision
from finagent.domain.scoring import ScoredCandidate

JOURNAL = "SELECT at, kind, ref, data FROM journal WHERE at >= ? AND at < ? ORDER BY seq"
CANDIDATES = (
    "SELECT tick, rank, factors FROM candidate WHERE session = ? AND factors IS NOT NULL ORDER BY tick, rank"
)
PLANS = """
SELECT p.body, p.state, p.reason, d.body, a.state, a.channel, a.answered_at
FROM plan p LEFT JOIN risk_decision d USING (plan_id) LEFT JOIN approval a USING (plan_id)
WHERE p.session = ? ORDER BY p.created_at, p.rank, p.symbol"""
ORDERS = "SELECT body, state, filled, reason FROM broker_order WHERE session = ? ORDER BY created_at, client_order_id"
FILLS = "SELECT body, plan_id, leg, reason FROM fill WHERE session = ? ORDER BY recorded_seq"
TRADES = "SELECT body FROM trade WHERE session = ? ORDER BY exit_at, trade_id"
EARNED = "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session < ?"
STARTED = "SELECT equity FROM day_start WHERE session = ?"
POSITIONS = "SELECT body FROM position WHERE session < ? ORDER BY session DESC LIMIT 200"
CARRIED = """
SELECT p.symbol FROM position p LEFT JOIN trade t USING (plan_id)
WHERE p.session < ?1 AND (t.plan_id IS NULL OR t.exit_session >= ?1) ORDER BY p.symbol"""
SCANS = "SELECT tick, as_of, kind FROM scan WHERE session = ? ORDER BY as_of"
KNOWN = "SELECT DISTINCT session FROM scan ORDER BY session DESC LIMIT 3"


@dataclass(frozen=True, slots=True)
class StoredPlanRow:
    """A plan with its verdict and the answer to its question."""

    plan: Plan
    state: str
    reason: str
    decision: RiskDecision | None
    answer: tuple[str, str, int | None] | None
    """State, channel, instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDay:
    """All of one session; money in 1e-8."""

    journal: list[tuple[int, str, str, dict[str, object]]]
    scans: list[tuple[str, int, str]]
    """Name, instant and kind of each that ran."""
    scored: dict[str, list[tuple[int, ScoredCandidate]]]
    plans: list[StoredPlanRow]
    orders: list[tuple[OrderIntent, str, int, str]]
    fills: list[tuple[BrokerFill, str, str, str | None]]
    trades: list[Trade]
    is_closed: bool
    earned_e8: int
    """Of the sessions before."""
    equity_e8: int | None
    """At the session's start, where a broker outside said it."""
    sold_before: dict[str, int]
    carried: list[str]
    acts: list[tuple[int, str]]


def read_day(conn: sqlite3.Connection, session: str, *, begin_ms: int, end_ms: int) -> StoredDay:
    """One session's rows; its journal is what was written from ``begin_ms`` until before ``end_ms``."""
    journal = [
        (int(at), str(kind), str(ref), _data(data))
        for at, kind, ref, data in conn.execute(JOURNAL, (begin_ms, end_ms))
    ]
    scored: dict[str, list[tuple[int, ScoredCandidate]]] = {}
    for tick, rank, factors in conn.execute(CANDIDATES, (session,)):
        scored.setdefault(str(tick), []).append((int(rank), decode(ScoredCandidate, factors)))
    sold: dict[str, int] = {}
    for (body,) in conn.execute(POSITIONS, (session,)):
        position = decode(Position, body)
        sold[position.session] = sold.get(position.session, 0) + position.sold_e8
    started = conn.execute(STARTED, (session,)).fetchone()
    return StoredDay(
        journal=journal,
        scans=[(str(tick), int(at), str(kind)) for tick, at, kind in conn.execute(SCANS, (session,))],
        scored=scored,
        plans=[_plan(row) for row in conn.execute(PLANS, (session,))],
        orders=[
            (decode(OrderIntent, body), str(state), int(filled), str(reason))
            for body, state, filled, reason in conn.execute(ORDERS, (session,))
        ],
        fills=[
            (decode(BrokerFill, body), str(plan_id), str(leg), reason)
            for body, plan_id, leg, reason in conn.execute(FILLS, (session,))
        ],
        trades=[decode(Trade, body) for (body,) in conn.execute(TRADES, (session,))],
        is_closed=conn.execute("SELECT 1 FROM day WHERE session = ?", (session,)).fetchone() is not None,
        earned_e8=int(conn.execute(EARNED, (session,)).fetchone()[0]),
        equity_e8=None if started is None else int(started[0]),
        sold_before=dict(sorted(sold.items())),
        carried=[str(symbol) for (symbol,) in conn.execute(CARRIED, (session,))],
        acts=[(at, f"{kind} {ref}".strip()) for at, kind, ref, _ in journal if kind in DONE_BY_A_PERSON],
    )


def known_sessions(conn: sqlite3.Connection) -> list[str]:
    """The newest sessions that were scanned."""
    return [str(session) for (session,) in conn.execute(KNOWN)]


def _plan(row: tuple[object, ...]) -> StoredPlanRow:
    body, state, reason, decision, answered, channel, at = row
    answer = None if answered is None else (str(answered), str(channel), at if isinstance(at, int) else None)
    verdict = None if decision is None else decode(RiskDecision, decision)
    return StoredPlanRow(decode(Plan, body), str(state), str(reason), verdict, answer)


def _data(text: object) -> dict[str, object]:
    found = json.loads(str(text))
    return found if isinstance(found, dict) else {}
