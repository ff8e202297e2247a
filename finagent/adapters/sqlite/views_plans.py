"""Plans as documents: what each would do, the question put to a person, and what risk said."""

import sqlite3
from collections.abc import Sequence

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.views_journal import read_entries_of
from finagent.adapters.sqlite.views_orders import (
    fill_document,
    integer,
    optional,
    read_fills,
    read_plan_orders,
    trade_document,
)
from finagent.adapters.sqlite.views_values import (
    Document,
    Json,
    UnknownRecordError,
    basis_points,
    instant,
    listed,
    maybe_instant,
    maybe_money,
    maybe_price,
    percent,
    quotient,
    ratio,
    texts,
)
from finagent.domain.money import money_text, price_text, quantity_number
from finagent.domain.plan import TERMINAL_PLAN_STATES, Plan, PlanState
from finagent.domain.positions import Trade
from finagent.domain.risk import RiskDecision
from finagent.domain.shorts import overnight_fee_e8

MAX_PLANS = 500
MAX_SESSIONS = 120
OLDEST = f"""SELECT coalesce(min(session), '')
FROM (SELECT DISTINCT session FROM plan ORDER BY session DESC LIMIT {MAX_SESSIONS})"""
COLUMNS = """
SELECT p.body, p.state, p.plan_hash, p.reason, p.created_at, p.updated_at, d.body, d.at,
       a.nonce, a.state, a.created_at, a.expires_at, a.answered_at, a.channel, a.identity, t.pnl, p.plan_id
FROM plan p LEFT JOIN risk_decision d USING (plan_id) LEFT JOIN approval a USING (plan_id)
LEFT JOIN trade t USING (plan_id)"""
PLANS = f"""{COLUMNS} WHERE p.session BETWEEN coalesce(?1, ({OLDEST})) AND coalesce(?1, '~')
AND (?2 IS NULL OR p.state = ?2)
ORDER BY p.session DESC, p.rank, p.created_at, p.symbol, p.plan_id LIMIT {MAX_PLANS}"""
ONE = f"{COLUMNS} WHERE p.plan_id = ?"
MATCHES = """
SELECT plan_id, symbol, state FROM plan WHERE plan_id >= ?1 AND plan_id < ?1 || 'zzzz'
ORDER BY plan_id LIMIT 9"""
OF_SYMBOL = """
SELECT plan_id, symbol, state FROM plan
WHERE symbol = upper(?1) AND session = (SELECT max(session) FROM plan WHERE symbol = upper(?1))
ORDER BY plan_id"""
TRADE = "SELECT body FROM trade WHERE plan_id = ?"


def read_plans(conn: sqlite3.Connection, session: str | None, state: str | None, *, now_ms: int) -> Document:
    """Plans, newest session first, best rank first in each."""
    if state is not None and state not in set(PlanState):
        known = ", ".join(PlanState)
        raise UnknownRecordError(f"a plan is never {state!r}", f"Use one of: {known}")
    rows = conn.execute(PLANS, (session, state)).fetchall()
    return {"plans": listed(_document(row, now_ms) for row in rows)}


def read_plan(conn: sqlite3.Connection, plan_id: str, *, now_ms: int) -> Document:
    """One plan by id, unique prefix or symbol, with its orders, fills, trade and journal."""
    row = conn.execute(ONE, (resolve_plan(conn, plan_id),)).fetchone()
    plan_id = row[-1]
    orders = read_plan_orders(conn, plan_id)
    trade = conn.execute(TRADE, (plan_id,)).fetchone()
    refs = [plan_id, *(str(order["client_order_id"]) for order in orders)]
    booked = decode(Trade, trade[0]) if trade else None
    if booked is not None:
        refs.append(booked.trade_id)
    return {
        **_document(row, now_ms),
        "orders": listed(orders),
        "fills": listed(fill_document(found) for found in read_fills(conn, [plan_id])),
        "trade": trade_document(booked) if booked is not None else None,
        "journal": listed(read_entries_of(conn, refs)),
    }


def resolve_plan(conn: sqlite3.Connection, wanted: str) -> str:
    """The plan meant by an id, the first letters of one, or a symbol: only where exactly one fits.

    Of a symbol's plans one that waits for its answer goes before one under way, and that before those that are over.
    UnknownRecordError where none or several do.
    """
    begun = conn.execute(MATCHES, (wanted,)).fetchall() if wanted else []
    if begun and begun[0][0] == wanted:
        return str(begun[0][0])
    of_symbol = conn.execute(OF_SYMBOL, (wanted,)).fetchall()
    waiting = [row for row in of_symbol if row[2] == PlanState.PENDING]
    alive = [row for row in of_symbol if row[2] not in TERMINAL_PLAN_STATES]
    found = sorted({*begun, *(waiting or alive or of_symbol)})
    if len(found) == 1:
        return str(found[0][0])
    if not found:
        raise UnknownRecordError(f"there is no plan {wanted!r}", "See ids and symbols with: finagent plans")
    shown = ", ".join(f"{plan_id} ({symbol}, {state})" for plan_id, symbol, state in found[:8])
    more = " and more" if len(found) > 8 else ""
    how = "is the symbol of" if not begun else "may mean" if of_symbol else "begins"
    raise UnknownRecordError(
        f"{wanted!r} {how} several plans: {shown}{more}", "Give more letters of the id of the one you mean"
    )


def _document(row: Sequence[object], now_ms: int) -> Document:
    body, state, plan_hash, reason, created, updated, decided, decided_at, *asked, pnl, _ = row
    plan = decode(Plan, body)
    decision = decode(RiskDecision, decided) if decided is not None else None
    approval = _approval(asked, now_ms) if asked[0] is not None else None
    is_waiting = state == PlanState.PENDING and approval is not None
    return {
        **_terms(plan),
        "state": str(state),
        "plan_hash": str(plan_hash) or None,
        "reasons": texts(_reasons(str(reason), decision)),
        "created_at": instant(integer(created)),
        "updated_at": instant(integer(updated)),
        "expires_at": approval["expires_at"] if approval is not None else None,
        "seconds_left": approval["seconds_left"] if approval is not None and is_waiting else None,
        "nonce": approval["nonce"] if approval is not None and is_waiting else None,
        "approval": approval,
        "risk_decision": _decision(decision, optional(decided_at)),
        "pnl": maybe_money(optional(pnl)),
    }


def _terms(plan: Plan) -> Document:
    """What the plan would do; quantity, risk and notional are null until risk has sized it."""
    risk_e4, sized_e4 = plan.risk_per_share_e4, plan.quantity_e4
    targets = [_target(plan, leg.leg, leg.share_e6, leg.price_e4) for leg in plan.targets]
    managed = plan.management
    return {
        "plan_id": plan.plan_id,
        "version": plan.version,
        "session": plan.session,
        "scan_tick": plan.scan_tick,
        "symbol": plan.symbol,
        "rank": plan.rank,
        "preset": plan.preset,
        "setup": plan.setup.value,
        "direction": plan.direction.value,
        "score": ratio(plan.score_e6),
        "entry": price_text(plan.reference_e4),
        "trigger": maybe_price(plan.trigger_e4),
        "limit": maybe_price(plan.limit_e4),
        "stop": price_text(plan.stop_e4),
        "target": targets[0]["price"] if targets else None,
        "target_r": targets[0]["r"] if targets else None,
        "targets": listed(targets),
        "quantity": quantity_number(sized_e4) if sized_e4 else None,
        "risk_per_share": price_text(risk_e4),
        "risk": money_text(sized_e4 * risk_e4) if sized_e4 else None,
        "notional": money_text(sized_e4 * plan.reference_e4) if sized_e4 else None,
        "decided_at": instant(plan.decided_at_ms),
        "entry_from": instant(plan.entry_from_ms),
        "entry_until": instant(plan.entry_until_ms),
        "spread_bps": basis_points(plan.spread_e6),
        "adv_shares": plan.adv_shares,
        "management": {
            "break_even_after_r": ratio(managed.break_even_after_r_e6),
            "trail_after_r": ratio(managed.trail_after_r_e6),
            "trail_distance": maybe_price(managed.trail_distance_e4),
            "time_stop_minutes": managed.time_stop_minutes,
            "time_stop_min_r": ratio(managed.time_stop_min_r_e6),
        },
        "notes": texts(plan.notes),
        "sector": plan.sector,
        "short": _short(plan),
    }


def _short(plan: Plan) -> Document | None:
    """What a short was planned under, and what its borrow costs should it be held over one night."""
    terms = plan.short
    if terms is None:
        return None
    notional_e8 = plan.quantity_e4 * plan.reference_e4
    fee_e8 = overnight_fee_e8(notional_e8, terms.borrow_fee_e6)
    return {
        "restricted": terms.is_restricted,
        "restricted_at": price_text(terms.restricted_at_e4),
        "borrow": "assumed" if terms.is_borrow_assumed else "easy",
        "borrow_fee_pct": percent(terms.borrow_fee_e6),
        "overnight_fee": money_text(fee_e8) if plan.quantity_e4 else None,
    }


def _target(plan: Plan, leg: str, share_e6: int, price_e4: int) -> Document:
    reward_e4 = plan.direction.sign * (price_e4 - plan.reference_e4)
    return {
        "leg": leg,
        "share": ratio(share_e6),
        "price": price_text(price_e4),
        "r": quotient(reward_e4, plan.risk_per_share_e4),
    }


def _approval(row: Sequence[object], now_ms: int) -> Document:
    nonce, state, created, expires, answered, channel, identity = row
    left_ms = integer(expires) - now_ms
    return {
        "state": str(state),
        "nonce": str(nonce),
        "asked_at": instant(integer(created)),
        "expires_at": instant(integer(expires)),
        "seconds_left": max(0, left_ms // 1000) if state == "pending" else None,
        "answered_at": maybe_instant(optional(answered)),
        "channel": str(channel) or None,
        "identity": str(identity) or None,
    }


def _reasons(reason: str, decision: RiskDecision | None) -> Sequence[str]:
    if decision is not None and decision.reasons:
        return decision.reasons
    return [reason] if reason else []


def _decision(decision: RiskDecision | None, at_ms: int | None) -> Json:
    if decision is None:
        return None
    return {
        "is_approved": decision.is_approved,
        "at": maybe_instant(at_ms),
        "quantity": quantity_number(decision.quantity_e4) if decision.is_approved else None,
        "notional": money_text(decision.notional_e8) if decision.is_approved else None,
        "worst_case": money_text(decision.worst_case_e8) if decision.is_approved else None,
        "reasons": texts(decision.reasons),
        "binding_cap": decision.binding_cap,
        "caps": {name: quantity_number(quantity_e4) for name, quantity_e4 in decision.caps},
    }
