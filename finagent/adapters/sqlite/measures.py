"""Measures: what one snapshot says to a scraper, as plain totals and as the events since the last look."""

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from finagent.adapters.sqlite.codec import decode
from finagent.domain.market import Side
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill
from finagent.domain.plan import TERMINAL_PLAN_STATES, PlanState

Pair = tuple[str, str]
CHANNELS = ("cli", "clock", "dashboard", "http", "policy", "telegram")
"""Channels that are a label of their own; a caller may name any, so all others are one."""
OTHER, NONE = "other", "none"
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PLAN_ENDS = tuple(state.value for state in TERMINAL_PLAN_STATES)
_ORDER_ENDS = tuple(state.value for state in TERMINAL_ORDER_STATES)

PLANS = f"SELECT state, reason, count(*) FROM plan WHERE state IN {_PLAN_ENDS} GROUP BY state, reason"
APPROVED = """
SELECT json_extract(data, '$.channel'), count(*) FROM journal WHERE kind = 'approved' GROUP BY 1"""
ANSWERED = """
SELECT channel, state, count(*) FROM approval WHERE state IN ('rejected', 'expired', 'superseded') GROUP BY 1, 2"""
REFUSED_ANSWERS = """
SELECT json_extract(data, '$.channel'), json_extract(data, '$.reason'), count(*)
FROM journal WHERE kind = 'answer_refused' GROUP BY 1, 2"""
"""An answer that ended its plan (``superseded``) is counted once more, by the reason why it was refused."""
ORDERS = f"""
SELECT json_extract(body, '$.side'), json_extract(body, '$.type'), state, count(*)
FROM broker_order WHERE state IN {_ORDER_ENDS} GROUP BY 1, 2, 3"""
LIVE = """
SELECT state, count(*) FROM broker_order
WHERE state IN ('intent', 'accepted', 'partially_filled', 'unknown') GROUP BY state"""
JOBS = "SELECT type, status, count(*) FROM job_queue GROUP BY type, status"
LAST_SCAN = """
SELECT candidates FROM scan WHERE session = (SELECT max(session) FROM scan) ORDER BY as_of DESC, tick LIMIT 1"""
PEAK = """
SELECT max(total) FROM (SELECT sum(pnl) OVER (ORDER BY exit_at, symbol, trade_id) AS total FROM trade)"""
EARNED = "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session < ?"
LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM journal"
ANSWER_WAITS = """
SELECT a.answered_at - a.created_at FROM journal j JOIN approval a ON a.plan_id = j.ref
WHERE j.seq > ?1 AND j.seq <= ?2 AND a.answered_at IS NOT NULL AND (
    (j.kind = 'approved' AND a.state = 'approved'
        AND NOT EXISTS (SELECT 1 FROM journal r WHERE r.ref = j.ref AND r.kind = 'plan_revised'))
    OR (j.kind = 'plan_ended' AND a.state IN ('rejected', 'superseded')))
ORDER BY j.seq"""
"""A revised plan is asked and answered in one commit: its wait is that of the version it replaces."""
ACKS = """
SELECT j.at - o.created_at FROM journal j JOIN broker_order o ON o.client_order_id = j.ref
WHERE j.kind = 'accepted' AND j.seq > ?1 AND j.seq <= ?2 ORDER BY j.seq"""
FILLS = "SELECT recorded_seq, body FROM fill WHERE recorded_seq > ? ORDER BY recorded_seq"
LINES = "SELECT DISTINCT name FROM cron_fire ORDER BY name"
DONE = """
SELECT max(finished_at) FROM (
    SELECT finished_at FROM job_queue WHERE type = ?1 AND idem_key GLOB ?2 AND status = 'done'
    UNION ALL SELECT finished_at FROM job_key WHERE type = ?1 AND idem_key GLOB ?2 AND status = 'done')"""
A_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
"""Jobs of a whole session are keyed by it; those about one order or symbol are not."""
TIE_OUT = """
SELECT CASE is_tied WHEN 0 THEN difference ELSE 0 END FROM account_snapshot ORDER BY session DESC LIMIT 1"""
LATE = """
SELECT count(*) FROM position WHERE quantity <> 0 AND EXISTS (
    SELECT 1 FROM journal WHERE kind = 'flatten_late' AND ref = position.plan_id)"""
DIFFERENCES = "SELECT kind, count(*) FROM reconcile_difference GROUP BY kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far events have been read: the last journal row and the last fill."""

    journal_seq: int = 0
    fill_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Totals only ever grow: the rows they count never leave their state, and journal rows never go."""

    cursor: Cursor
    plans: Mapping[Pair, int]
    """(state, first word of the reason) of ended plans."""
    rejections: Mapping[str, int]
    """Every rule that refused a plan."""
    approvals: Mapping[Pair, int]
    """(channel, outcome) of answers."""
    orders: Mapping[tuple[str, str, str], int]
    """(side, type, state) of ended orders."""
    orders_by_state: Mapping[str, int]
    """Orders that still live."""
    jobs: Mapping[Pair, int]
    scan_candidates: int
    peak_pnl_e8: int
    """The highest the closed result has ever been, never below 0."""
    line_done_ms: Mapping[str, int]
    """When the last job of a schedule line was done."""
    reconciled_ms: int | None
    tie_out_e8: int
    """What nothing explains of the last close's change of equity; 0 within the tolerance."""
    differences: Mapping[str, int]
    """By kind, as the newest comparison left them."""
    flatten_late: int
    """Open positions that the last rung of a ladder found open."""
    answer_waits_ms: tuple[int, ...]
    acks_ms: tuple[int, ...]
    slippages_bps: tuple[float, ...]
    """Of fills whose reference price is known; above 0 is against us."""


def read_earned_e8(conn: sqlite3.Connection, session: str) -> int:
    """What all trades that ended before a session added up to."""
    return int(conn.execute(EARNED, (session,)).fetchone()[0])


def read_measures(conn: sqlite3.Connection, since: Cursor) -> Measures:
    """All totals, and the events after ``since``, of this connection's snapshot."""
    journal_seq = conn.execute(LAST_SEQ).fetchone()[0]
    window = (since.journal_seq, journal_seq)
    fills = conn.execute(FILLS, (since.fill_seq,)).fetchall()
    plans, rejections = _plans(conn)
    scanned = conn.execute(LAST_SCAN).fetchone()
    return Measures(
        cursor=Cursor(journal_seq=journal_seq, fill_seq=fills[-1][0] if fills else since.fill_seq),
        plans=plans,
        rejections=rejections,
        approvals=_approvals(conn),
        orders={(side, kind, state): count for side, kind, state, count in conn.execute(ORDERS)},
        orders_by_state=dict(conn.execute(LIVE).fetchall()),
        jobs={(kind, status): count for kind, status, count in conn.execute(JOBS)},
        scan_candidates=scanned[0] if scanned is not None else 0,
        peak_pnl_e8=max(0, conn.execute(PEAK).fetchone()[0] or 0),
        line_done_ms=_lines(conn),
        reconciled_ms=_done_ms(conn, "reconcile", A_DATE),
        tie_out_e8=(conn.execute(TIE_OUT).fetchone() or (0,))[0],
        differences=dict(conn.execute(DIFFERENCES).fetchall()),
        flatten_late=conn.execute(LATE).fetchone()[0],
        answer_waits_ms=tuple(max(0, wait) for (wait,) in conn.execute(ANSWER_WAITS, window)),
        acks_ms=tuple(max(0, wait) for (wait,) in conn.execute(ACKS, window)),
        slippages_bps=tuple(
            found for _, body in fills if (found := _slippage_bps(decode(BrokerFill, body))) is not None
        ),
    )


def label_word(text: str) -> str:
    """The first word of a reason as a label; free text is ``other``, so that labels stay few."""
    first = re.split(r"[:,\s]", text.strip(), maxsplit=1)[0]
    if not first:
        return NONE
    return first if _WORD.fullmatch(first) else OTHER


def label_channel(channel: str | None) -> str:
    """A channel as a label."""
    if not channel:
        return NONE
    return channel if channel in CHANNELS else OTHER


def _plans(conn: sqlite3.Connection) -> tuple[dict[Pair, int], dict[str, int]]:
    plans: dict[Pair, int] = {}
    rejections: dict[str, int] = {}
    for state, reason, count in conn.execute(PLANS).fetchall():
        # A person who rejects may write anything as the reason.
        word = state if state == PlanState.REJECTED else label_word(reason)
        plans[state, word] = plans.get((state, word), 0) + count
        if state == PlanState.REFUSED:
            for rule in sorted({label_word(part) for part in reason.split(",")}):
                rejections[rule] = rejections.get(rule, 0) + count
    return plans, rejections


def _approvals(conn: sqlite3.Connection) -> dict[Pair, int]:
    approved = [(channel, "approved", count) for channel, count in conn.execute(APPROVED)]
    found: dict[Pair, int] = {}
    refused = [
        (channel, label_word(str(reason)), count)
        for channel, reason, count in conn.execute(REFUSED_ANSWERS).fetchall()
    ]
    for channel, outcome, count in [*approved, *refused, *conn.execute(ANSWERED).fetchall()]:
        key = (label_channel(channel), outcome)
        found[key] = found.get(key, 0) + count
    return found


def _lines(conn: sqlite3.Connection) -> dict[str, int]:
    """By schedule line, whose jobs are found by how ``DaySchedule`` names them."""
    done: dict[str, int] = {}
    for (name,) in conn.execute(LINES).fetchall():
        kind, _, line = name.partition(":")
        keys = {"scan": f"*/{line}", "flatten": f"*/ladder-{line}", "day_open": "*/open"}
        job_type = "reconcile" if kind == "day_open" else kind
        at_ms = _done_ms(conn, job_type, keys.get(kind, A_DATE))
        if at_ms is not None:
            done[name] = at_ms
    return done


def _done_ms(conn: sqlite3.Connection, kind: str, key: str) -> int | None:
    found: int | None = conn.execute(DONE, (kind, key)).fetchone()[0]
    return found


def _slippage_bps(fill: BrokerFill) -> float | None:
    if not fill.reference_e4:
        return None
    sign = 1 if fill.side is Side.BUY else -1
    return sign * (fill.price_e4 - fill.reference_e4) * 10_000 / fill.reference_e4
