"""The parts of the status: session, services, counts, problems worst first, what comes next."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.adapters.sqlite.views_account import MarkedLedger
from finagent.adapters.sqlite.views_external import DIFFERENCES, difference_words
from finagent.adapters.sqlite.views_journal import journal_head
from finagent.adapters.sqlite.views_orders import LIVE, Guarded
from finagent.adapters.sqlite.views_values import Document, Json, instant, listed, loads, maybe_instant
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import price_text, quantity_number
from finagent.domain.risk import limits_used, loss_tier
from finagent.queue.job import Job
from finagent.runtime.lock import is_alive

PREMARKET_MS = 330 * MINUTE_MS
"""04:00 is that long before the open."""
CLOSING_MS = 15 * MINUTE_MS
EXPIRES_SOON_MS = 120_000
NEXT_SHOWN = 8
LIMIT_WARNING_E6 = 800_000
MOST_PROBLEMS = 5
GATE_MENDS = {"older_database": "stop the agent, then finagent db restore FILE brings a backup back in order"}
"""Of one kind; the rest are summed up."""
RANK = {"critical": 0, "warning": 1, "info": 2}

UNKNOWN_ORDERS = f"""
SELECT client_order_id, symbol, leg, created_at FROM broker_order WHERE {LIVE} AND state = 'unknown'
ORDER BY created_at, client_order_id LIMIT 50"""
DEAD = f"SELECT {COLUMNS} FROM job_queue WHERE status = 'dead' ORDER BY type, id DESC LIMIT 50"
SCHEDULED = (
    f"SELECT {COLUMNS} FROM job_queue WHERE status = 'scheduled' ORDER BY run_at, id LIMIT {NEXT_SHOWN}"
)
WAITING = """
SELECT p.plan_id, p.symbol, a.created_at, a.expires_at FROM approval a JOIN plan p USING (plan_id)
WHERE a.state = 'pending' AND p.state = 'pending' ORDER BY a.expires_at, p.plan_id"""
WAITS_FOR_ENTRY = """
EXISTS (SELECT 1 FROM broker_order e WHERE e.plan_id = o.plan_id AND e.leg = 'entry'
        AND e.state IN ('intent', 'accepted', 'unknown') AND e.filled = 0)"""
"""An exit that does nothing until its entry fills."""
COUNTS = f"""
SELECT (SELECT count(*) FROM broker_order WHERE {LIVE}),
       (SELECT count(*) FROM broker_order WHERE {LIVE} AND leg = 'entry'),
       (SELECT count(*) FROM broker_order o WHERE {LIVE} AND leg <> 'entry' AND NOT {WAITS_FOR_ENTRY}),
       (SELECT count(*) FROM broker_order o WHERE {LIVE} AND leg <> 'entry' AND {WAITS_FOR_ENTRY}),
       (SELECT count(*) FROM trade WHERE session = ?),
       (SELECT count(*) FROM job_queue WHERE status = 'ready')
           + (SELECT count(*) FROM job_queue WHERE status = 'leased'),
       (SELECT count(*) FROM job_queue WHERE status = 'dead')"""
AT_WORK = ("entries_working", "exits_working", "exits_attached")
COUNT_NAMES = ("orders_open", *AT_WORK, "trades_today", "jobs_waiting", "jobs_dead")
SKIPPED = """
SELECT at, data FROM journal WHERE kind = 'scan_skipped' AND ref >= ?1 || '/' AND ref < ?1 || '0'
ORDER BY seq DESC LIMIT 3"""
LATE = """
SELECT p.symbol, max(j.at) FROM position p JOIN journal j ON j.kind = 'flatten_late' AND j.ref = p.plan_id
WHERE p.quantity <> 0 GROUP BY p.plan_id ORDER BY p.symbol"""
BOOT = "SELECT pid, stopped_at FROM boot ORDER BY epoch DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one snapshot says beside the account."""

    unknown_orders: Sequence[tuple[str, str, str, int]]
    dead: Sequence[Job]
    scheduled: Sequence[Job]
    waiting: Sequence[tuple[str, str, int, int]]
    skipped: Sequence[tuple[int, str]]
    differences: Sequence[tuple[str, str, str, int]]
    counts: Mapping[str, int]
    boot: tuple[int, int | None] | None
    journal_head: str | None
    late: Sequence[tuple[str, int]]
    """Symbols that the last rung of the flatten ladder found open and that are open yet, each with when."""


@dataclass(slots=True)
class _Problems:
    """Problems as they are found, at most a few of each kind."""

    rows: list[Document] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)

    def add(
        self, severity: str, code: str, words: str, *, mend: str = "", since_ms: int | None = None
    ) -> None:
        self.kinds[code] = self.kinds.get(code, 0) + 1
        if self.kinds[code] > MOST_PROBLEMS:
            return
        self.rows.append(
            {
                "severity": severity,
                "code": code,
                "text": words,
                "message": words,
                "mend": mend or None,
                "since": maybe_instant(since_ms),
            }
        )

    def worst_first(self) -> list[Json]:
        for code, count in self.kinds.items():
            if count > MOST_PROBLEMS:
                self._sum_up(code, count - MOST_PROBLEMS)
        return listed(sorted(self.rows, key=lambda row: RANK[str(row["severity"])]))

    def _sum_up(self, code: str, count: int) -> None:
        place = max(index for index, row in enumerate(self.rows) if row["code"] == code)
        words = f"and {count} more like it"
        more: Document = {**self.rows[place], "text": words, "message": words, "mend": None, "since": None}
        self.rows.insert(place + 1, more)


def read_scene(conn: sqlite3.Connection, session: str) -> Scene:
    """The parts of the status that need no price."""
    waiting = conn.execute(WAITING).fetchall()
    counted = conn.execute(COUNTS, (session,)).fetchone()
    counts = {"plans_pending": len(waiting), **dict(zip(COUNT_NAMES, counted, strict=True))}
    return Scene(
        unknown_orders=conn.execute(UNKNOWN_ORDERS).fetchall(),
        dead=[job_from_row(row) for row in conn.execute(DEAD).fetchall()],
        scheduled=[job_from_row(row) for row in conn.execute(SCHEDULED).fetchall()],
        waiting=waiting,
        skipped=[(at, str(_reason(data))) for at, data in conn.execute(SKIPPED, (session,)).fetchall()],
        differences=conn.execute(DIFFERENCES).fetchall(),
        counts=counts,
        boot=conn.execute(BOOT).fetchone(),
        journal_head=journal_head(conn),
        late=conn.execute(LATE).fetchall(),
    )


def _reason(data: str) -> Json:
    value = loads(data)
    return value.get("reason", "") if isinstance(value, dict) else ""


def phase(session: Session, now_ms: int) -> str:
    """``closed``, ``premarket``, ``open`` or, in the last minutes, ``closing``."""
    if now_ms < session.open_ms - PREMARKET_MS or now_ms >= session.close_ms:
        return "closed"
    if now_ms < session.open_ms:
        return "premarket"
    return "closing" if now_ms >= session.close_ms - CLOSING_MS else "open"


def session_document(session: Session, now_ms: int) -> Document:
    """The session of the day, else the next one."""
    return {
        "date": session.date,
        "open": instant(session.open_ms),
        "close": instant(session.close_ms),
        "is_half_day": session.is_half_day,
        "phase": phase(session, now_ms),
    }


def engine_state(scene: Scene, services: Mapping[str, Mapping[str, Json]] | None) -> str:
    """``halted`` where a service says so; else whether an agent runs, here or as the last boot's process."""
    if services is not None:
        return "halted" if any(each.get("state") == "halted" for each in services.values()) else "running"
    if scene.boot is None:
        return "stopped"
    pid, stopped_at_ms = scene.boot
    return "running" if stopped_at_ms is None and pid != os.getpid() and is_alive(pid) else "stopped"


def services_document(services: Mapping[str, Mapping[str, Json]] | None) -> list[Json]:
    """State, last error and restarts by name; empty where no agent runs in this process."""
    return [
        {
            "name": name,
            "state": each.get("state"),
            "last_error": each.get("last_error"),
            "detail": each.get("last_error"),
            "restarts": each.get("restarts"),
        }
        for name, each in sorted((services or {}).items())
    ]


def counts_document(found: MarkedLedger, scene: Scene) -> Document:
    """How much of what there is; orders that are open are entries or exits that work, or exits that wait for a fill."""
    guarded = found.ledger.guarded
    return {
        "positions_open": len(guarded),
        "positions_unprotected": sum(1 for each in guarded if not each.is_protected),
        **scene.counts,
        "orders_unknown": len(scene.unknown_orders),
        "flatten_late": len(scene.late),
    }


def next_jobs(scene: Scene, ticks: Sequence[tuple[str, int]]) -> list[Json]:
    """Scheduled jobs and the next lines of the schedule, soonest first."""
    jobs = [(job.run_at_ms, job.type, job.idem_key) for job in scene.scheduled]
    lines = [(at_ms, "schedule", name) for name, at_ms in ticks]
    return [
        {"type": kind, "name": f"{kind} {name}" if kind != "schedule" else name, "at": instant(at_ms)}
        for at_ms, kind, name in sorted(jobs + lines)[:NEXT_SHOWN]
    ]


def problems(
    found: MarkedLedger,
    scene: Scene,
    services: Mapping[str, Mapping[str, Json]] | None,
    *,
    session: Session,
    now_ms: int,
    needs_agent: bool,
    broker: str,
    standing: Document,
) -> list[Json]:
    """What is wrong, worst first; ``needs_agent``: the day is the agent's own, not a run that was played.

    ``standing`` has the ``raised_limits`` in force and the ``waiting_limits`` that nobody accepted.
    """
    problems = _Problems()
    if needs_agent and engine_state(scene, services) == "stopped":
        _no_agent(found, scene, problems)
    _halts(found, problems)
    for kind, ref, detail, since_ms in scene.differences:
        words, mend = difference_words(kind, ref, detail)
        problems.add("critical", f"differs_{kind}", words, mend=mend, since_ms=since_ms)
    _orders(scene, problems)
    for symbol, at_ms in scene.late:
        words, mend = f"{symbol} is still open after the last rung of the flatten ladder", "finagent orders"
        problems.add("critical", "flatten_late", words, mend=mend, since_ms=at_ms)
    for guarded in found.ledger.guarded:
        _position(guarded, session, problems)
    _services(services, problems)
    _limits(found, problems)
    _queue(scene, problems)
    control = found.ledger.book.control
    if control.is_paused and not control.is_killed:
        why = f": {control.pause_reason}" if control.pause_reason else ""
        by = f" by {control.paused_by}" if control.paused_by else ""
        at_ms = found.ledger.control_at_ms
        mend = "finagent rearm" if control.needs_rearm else "finagent resume"
        if control.paused_by == "risk" and not control.needs_rearm:
            mend = "They open again with the next session"
        problems.add("warning", "paused", f"Entries are paused{by}{why}", mend=mend, since_ms=at_ms)
    _plans(scene, problems, now_ms)
    _standing(standing, problems)
    for symbol in found.unmarked:
        problems.add("warning", "no_price", f"No price of {symbol} is known: it counts at its stop")
    if broker == "manual" and needs_agent:
        words = "Orders are typed by hand: nothing is promised of them (G2 to G6 do not apply)"
        problems.add("info", "by_hand", words, mend="finagent tickets")
    for at_ms, reason in scene.skipped:
        problems.add("info", "scan_skipped", f"A scan was skipped: {reason}", since_ms=at_ms)
    return problems.worst_first()


def _no_agent(found: MarkedLedger, scene: Scene, problems: _Problems) -> None:
    """Nobody scans, sends or watches; where something is open that is critical."""
    entries, *exits = (scene.counts[name] for name in AT_WORK)
    open_now = (
        (len(found.ledger.guarded), "position", "positions"),
        (entries, "entry", "entries"),
        (sum(exits), "exit", "exits"),
    )
    told = ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in open_now if count)
    is_open = told != ""
    words = (
        f"No agent runs, and open are {told}"
        if is_open
        else "No agent runs: nothing is scanned, asked or sent"
    )
    stopped_ms = scene.boot[1] if scene.boot is not None else None
    mend = "finagent orchestrate starts one"
    problems.add("critical" if is_open else "warning", "no_agent", words, mend=mend, since_ms=stopped_ms)


def _halts(found: MarkedLedger, problems: _Problems) -> None:
    control, at_ms = found.ledger.book.control, found.ledger.control_at_ms
    if control.is_killed:
        problems.add("critical", "killed", "Trading was killed", mend="finagent rearm", since_ms=at_ms)
    elif control.needs_rearm:
        words = "Entries stay closed until somebody opens them again"
        problems.add("critical", "needs_rearm", words, mend="finagent rearm", since_ms=at_ms)
    gate = found.account.entry_gate_reason
    if gate is not None and gate not in ("rearm_needed", "unknown_orders"):
        mend = next((mend for reason, mend in GATE_MENDS.items() if reason in gate), "")
        problems.add("critical", "gate", f"Entries are closed: {gate}", mend=mend, since_ms=at_ms)


def _orders(scene: Scene, problems: _Problems) -> None:
    for order_id, symbol, leg, created in scene.unknown_orders:
        words = f"Nobody knows whether the broker has the {leg} order of {symbol} ({order_id})"
        problems.add("critical", "unknown_order", words, since_ms=created)


def _position(guarded: Guarded, session: Session, problems: _Problems) -> None:
    plan, position = guarded.held.plan, guarded.held.position
    since_ms, mend = position.opened_at_ms, f"finagent flatten {plan.symbol}"
    if plan.session < session.date:
        words = f"{plan.symbol} is held over from {plan.session}"
        problems.add("critical", "held_over", words, mend=mend, since_ms=since_ms)
    if guarded.is_protected:
        return
    if guarded.is_exiting:
        words = f"{plan.symbol} is being closed and has no resting stop"
        problems.add("warning", "closing_unprotected", words, since_ms=since_ms)
        return
    shares = quantity_number(abs(position.quantity_e4) - guarded.protected_e4)
    planned = price_text(guarded.held.stop_e4)
    words = f"{plan.symbol} has no resting stop for {shares} shares (planned at {planned})"
    problems.add("critical", "unprotected", words, mend=mend, since_ms=since_ms)


def _services(services: Mapping[str, Mapping[str, Json]] | None, problems: _Problems) -> None:
    for name, each in sorted((services or {}).items()):
        state = each.get("state")
        if state not in ("failed", "halted", "degraded"):
            continue
        severity = "warning" if state == "degraded" else "critical"
        words = f"Service {name} is {state}: {each.get('last_error') or 'no error was given'}"
        problems.add(severity, "service", words, mend="See the log; finagent doctor")


def _limits(found: MarkedLedger, problems: _Problems) -> None:
    """The limit that is reached, or the first one ahead that is nearly used."""
    tier, used = loss_tier(found.account, found.profile), limits_used(found.account, found.profile)
    used_e6 = used.get("daily_loss_pause", used.get("daily_loss_flatten", 0))
    if tier is not None:
        severity = "critical" if tier == "flatten" else "warning"
        problems.add(severity, f"loss_{tier}", f"The day's loss has reached the {tier} limit")
    elif used_e6 >= LIMIT_WARNING_E6:
        problems.add("warning", "loss_near", f"{used_e6 // 10_000} % of the day's loss limit is used")


def _standing(standing: Document, problems: _Problems) -> None:
    """Limits that were raised: those that wait to be accepted, and those in force above the profile's own."""
    for row in _rows(standing, "waiting_limits"):
        words = f"{row['limit']} is raised from {row['accepted']} to {row['wanted']} and not in force"
        mend = "finagent limits accept, while no agent runs"
        problems.add("warning", "waiting_limit", words, mend=mend)
    for row in _rows(standing, "raised_limits"):
        words = f"{row['limit']} is {row['in_force']}, above the profile's {row['profile']}"
        problems.add("info", "raised_limit", words)


def _rows(document: Document, name: str) -> list[dict[str, Json]]:
    found = document.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _queue(scene: Scene, problems: _Problems) -> None:
    for job in scene.dead:
        words = f"Job {job.id} ({job.type}) is dead after {job.attempts} tries: {job.error}"
        mend = f"finagent jobs retry {job.id}"
        problems.add("warning", "dead_job", words, mend=mend, since_ms=job.finished_at_ms)


def _plans(scene: Scene, problems: _Problems, now_ms: int) -> None:
    for plan_id, symbol, created, expires in scene.waiting:
        left_s = (expires - now_ms) // 1000
        if expires - now_ms > EXPIRES_SOON_MS:
            continue
        words = f"Plan {symbol} waits for an answer, {max(0, left_s)} s left"
        problems.add(
            "warning", "plan_expires", words, mend=f"finagent approve {plan_id[:11]}", since_ms=created
        )
