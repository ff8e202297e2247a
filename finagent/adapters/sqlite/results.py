"""The result of a run, read from its file: per session, totals, and the hash of what came out."""

import json
import sqlite3
from collections.abc import Sequence

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.views_journal import journal_head
from finagent.adapters.sqlite.views_orders import trade_document
from finagent.adapters.sqlite.views_plans import read_plans
from finagent.adapters.sqlite.views_scan import read_candidates
from finagent.adapters.sqlite.views_values import Document, Json
from finagent.domain.journal import outcome_hash
from finagent.domain.money import money_text
from finagent.domain.positions import Trade

JOURNAL = "SELECT at, kind, ref, data FROM journal ORDER BY seq"
ORDERS = """
SELECT client_order_id, state, quantity, filled, created_at, accepted_at, ended_at, reason, body_hash
FROM broker_order ORDER BY client_order_id"""
FILLS = "SELECT body FROM fill ORDER BY execution_id"
TRADES = "SELECT body FROM trade ORDER BY session, exit_at, symbol, trade_id"
COUNTS = """
SELECT (SELECT count(DISTINCT symbol) FROM candidate WHERE session = ?1),
       (SELECT count(*) FROM plan WHERE session = ?1),
       (SELECT count(*) FROM plan WHERE session = ?1 AND state IN ('approved', 'armed', 'entering', 'open', 'closed',
            'not_filled', 'cancelled', 'expired')
            AND plan_id IN (SELECT ref FROM journal WHERE kind = 'approved')),
       (SELECT count(*) FROM broker_order WHERE session = ?1),
       (SELECT count(*) FROM fill WHERE session = ?1)"""
SKIPPED = "SELECT DISTINCT data FROM journal WHERE kind = 'scan_skipped' AND ref LIKE ? ORDER BY data"
DAY = "SELECT is_flat, pnl, trades, held_over FROM day WHERE session = ?"
JOBS = """
SELECT count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'dead'),
       count(*) FILTER (WHERE status IN ('scheduled', 'ready', 'leased')),
       count(*) FILTER (WHERE status = 'cancelled') FROM job_queue"""


def run_document(conn: sqlite3.Connection, sessions: Sequence[str]) -> Document:
    """Sessions, trades, totals and jobs of a run, with its ``outcome_hash``."""
    trades = [decode(Trade, body) for (body,) in conn.execute(TRADES)]
    done, dead, live, cancelled = conn.execute(JOBS).fetchone()
    return {
        "outcome_hash": outcome_of(conn),
        "sessions": [_session(conn, date) for date in sessions],
        "trades": [trade_document(trade) for trade in trades],
        "totals": _totals(trades),
        "jobs": {"done": done, "dead": dead, "live": live, "cancelled": cancelled},
        "journal_head": journal_head(conn),
        "without_minutes": _without_minutes(conn, sessions),
    }


DAILY_ALONE = """
SELECT DISTINCT symbol FROM candidate WHERE session = ? AND outcome GLOB 'no_minutes*' ORDER BY symbol"""


def _without_minutes(conn: sqlite3.Connection, sessions: Sequence[str]) -> list[Json]:
    """``[{session, symbols}]``: chosen candidates that got no plan because only their daily bars are stored."""
    found = {date: [symbol for (symbol,) in conn.execute(DAILY_ALONE, (date,))] for date in sessions}
    return [{"session": date, "symbols": [*symbols]} for date, symbols in found.items() if symbols]


CHOSEN = """
SELECT tick FROM candidate WHERE session = ? AND is_selected = 1
GROUP BY tick ORDER BY (SELECT as_of FROM scan WHERE scan.session = candidate.session AND scan.tick = candidate.tick)
LIMIT 1"""
NO_PLAN = """
SELECT symbol, outcome FROM candidate WHERE session = ? AND outcome <> '' ORDER BY tick, symbol"""
PLANS = "SELECT body, state, reason FROM plan WHERE session = ? ORDER BY created_at, rank, symbol"


def day_document(conn: sqlite3.Connection, date: str) -> Document:
    """One session for its report: candidates of its ticks, plans, why no plan, trades, totals."""
    trades = [decode(Trade, body) for (body,) in conn.execute(TRADES) if decode(Trade, body).session == date]
    summary = _session(conn, date)
    day = summary if isinstance(summary, dict) else {}
    refused: list[Json] = []
    for symbol, outcome in conn.execute(NO_PLAN, (date,)):
        reason, _, detail = str(outcome).partition(": ")
        refused.append({"symbol": symbol, "reason": reason, "detail": detail})
    return {
        "session": date,
        "market": None,
        "scan": _chosen_scan(conn, date),
        **read_plans(conn, date, None, now_ms=0),
        "no_plan": refused,
        "trades": [trade_document(trade) for trade in trades],
        "totals": _totals(trades),
        "flat": day.get("flat"),
        "held_over": day.get("held_over"),
        "outcome_hash": outcome_of(conn),
        "journal_head": journal_head(conn),
    }


def _chosen_scan(conn: sqlite3.Connection, date: str) -> Json:
    """The first scan of the day from which candidates were chosen, else the newest."""
    row = conn.execute(CHOSEN, (date,)).fetchone()
    return read_candidates(conn, date, row[0] if row else None)


def outcome_of(conn: sqlite3.Connection) -> str:
    """The hash over journal decisions, orders, fills and trades; never over jobs, attempts or wall time."""
    journal = [json.dumps(list(row)) for row in conn.execute(JOURNAL)]
    orders = [json.dumps(list(row)) for row in conn.execute(ORDERS)]
    fills = [body for (body,) in conn.execute(FILLS)]
    trades = [body for (body,) in conn.execute(TRADES)]
    return outcome_hash(journal, orders, fills, trades)


def _session(conn: sqlite3.Connection, date: str) -> Json:
    candidates, plans, approved, orders, fills = conn.execute(COUNTS, (date,)).fetchone()
    day = conn.execute(DAY, (date,)).fetchone()
    skipped: list[Json] = [json.loads(data)["reason"] for (data,) in conn.execute(SKIPPED, (f"{date}/%",))]
    return {
        "session": date,
        "skipped": skipped,
        "candidates": candidates,
        "plans": plans,
        "approved": approved,
        "orders": orders,
        "fills": fills,
        "trades": day[2] if day else None,
        "pnl": money_text(day[1]) if day else None,
        "flat": bool(day[0]) if day else None,
        "held_over": json.loads(day[3]) if day else [],
    }


def _totals(trades: Sequence[Trade]) -> Json:
    pnl_e8 = sum(trade.pnl_e8 for trade in trades)
    wins = sum(trade.pnl_e8 > 0 for trade in trades)
    return {
        "trades": len(trades),
        "pnl": money_text(pnl_e8),
        "fees": money_text(sum(trade.fees_e8 for trade in trades)),
        "win_rate": wins / len(trades) if trades else None,
        "max_drawdown": money_text(_drawdown_e8(trades)),
        "ambiguous": sum(trade.is_ambiguous for trade in trades),
    }


def _drawdown_e8(trades: Sequence[Trade]) -> int:
    """The deepest fall of summed profit from its highest point, over trades in order of exit."""
    peak = level = deepest = 0
    for trade in trades:
        level += trade.pnl_e8
        peak = max(peak, level)
        deepest = max(deepest, peak - level)
    return deepest
