"""SqliteViews: what surfaces read, each document from one snapshot of the database."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from finagent.adapters.sqlite import (
    views_account,
    views_external,
    views_jobs,
    views_journal,
    views_orders,
    views_plans,
    views_scan,
    views_status,
)
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.views_account import Ledger, MarkedLedger
from finagent.adapters.sqlite.views_orders import trade_document
from finagent.adapters.sqlite.views_scan import explain_document, scan_document
from finagent.adapters.sqlite.views_status import Scene
from finagent.adapters.sqlite.views_values import Document, Json, UnknownRecordError, instant
from finagent.domain.market import Session
from finagent.domain.risk import RiskProfile
from finagent.ports import CalendarPort, Clock
from finagent.queue.query import JobQuery
from finagent.runtime.clock import SystemClock

__all__ = [
    "Document",
    "Json",
    "SqliteViews",
    "UnknownRecordError",
    "ViewFacts",
    "explain_document",
    "scan_document",
    "trade_document",
]

EVERY_JOB = JobQuery()
Marks = Callable[[Sequence[str], Session, int], Awaitable[Mapping[str, int]]]
HealthReport = Callable[[], Mapping[str, Mapping[str, Json]]]
NextTicks = Callable[[int, int], Sequence[tuple[str, int]]]
StandingLimits = Callable[[], Awaitable[Document]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFacts:
    """What the database does not know; money in 1e-8.

    ``mode`` is alert, approve, auto, replay or demo. ``marks(symbols, session, now_ms)`` gives last prices in
    1e-4 of those symbols that have one; ``health()`` gives state, last_error and restarts by service and is
    None where no agent runs in this process; ``next_ticks(after_ms, count)`` gives names and instants of the
    next schedule lines; ``limits()`` gives ``{raised_limits, waiting_limits}`` and is None for a run.
    """

    home: str
    version: str
    currency: str
    mode: str
    broker: str
    clock: Clock
    calendar: CalendarPort
    profile: RiskProfile
    start_equity_e8: int
    is_outside: bool = False
    """The account is at a broker outside: a session's capital is what was read there."""
    run_id: str | None = None
    marks: Marks | None = None
    health: HealthReport | None = None
    next_ticks: NextTicks | None = None
    limits: StandingLimits | None = None


class SqliteViews:
    """The documents of one database; UnknownRecordError where a record is asked for that is not there."""

    def __init__(self, database: Database, facts: ViewFacts) -> None:
        self._database = database
        self._facts = facts

    async def status(self) -> Document:
        """Mode, clock, session, account, control, services, counts, problems (worst first), next jobs."""
        facts, now_ms = self._facts, self._facts.clock.now_ms()
        session = facts.calendar.session_at(now_ms)

        def look(conn: sqlite3.Connection) -> tuple[Ledger, Scene]:
            return self._ledger(conn, session, now_ms), views_status.read_scene(conn, session.date)

        ledger, scene = await self._database.read_fn(look)
        found = await self._marked(ledger, session, now_ms)
        services = facts.health() if facts.health is not None else None
        standing = await self._standing()
        ticks = facts.next_ticks(now_ms, views_status.NEXT_SHOWN) if facts.next_ticks is not None else ()
        return {
            "mode": facts.mode,
            "broker": facts.broker,
            "version": facts.version,
            "home": facts.home,
            "run_id": facts.run_id,
            "now": instant(now_ms),
            "clock": {
                "kind": "system" if isinstance(facts.clock, SystemClock) else "virtual",
                "now": instant(now_ms),
                "zone": "America/New_York",
            },
            "engine_state": views_status.engine_state(scene, services),
            "session": views_status.session_document(session, now_ms),
            "account": views_account.account_document(found, facts.currency),
            "control": views_account.control_document(found),
            "services": views_status.services_document(services),
            "counts": views_status.counts_document(found, scene),
            **standing,
            "problems": views_status.problems(
                found,
                scene,
                services,
                session=session,
                now_ms=now_ms,
                needs_agent=facts.run_id is None,
                broker=facts.broker,
                standing=standing,
            ),
            "next_jobs": views_status.next_jobs(scene, ticks),
            "journal_head": scene.journal_head,
        }

    async def scans(self, *, session: str | None = None) -> Document:
        """Stored scans, newest first, without their candidates."""
        return await self._database.read_fn(lambda conn: views_scan.read_scans(conn, session))

    async def candidates(self, *, session: str | None = None, tick: str | None = None) -> Document:
        """One stored scan (by default the newest) in the shape of ``scan``, with ``why`` the others left."""
        return await self._database.read_fn(lambda conn: views_scan.read_candidates(conn, session, tick))

    async def plans(self, *, session: str | None = None, state: str | None = None) -> Document:
        """Plans, newest session first, best rank first; UnknownRecordError for a state that is none."""
        now_ms = self._facts.clock.now_ms()
        return await self._database.read_fn(
            lambda conn: views_plans.read_plans(conn, session, state, now_ms=now_ms)
        )

    async def plan(self, plan_id: str) -> Document:
        """One plan by id or unique prefix, with risk decision, orders, fills, trade and journal."""
        now_ms = self._facts.clock.now_ms()
        return await self._database.read_fn(lambda conn: views_plans.read_plan(conn, plan_id, now_ms=now_ms))

    async def plan_id(self, wanted: str) -> str:
        """The id of the plan meant by an id, unique prefix or symbol; UnknownRecordError."""
        return await self._database.read_fn(lambda conn: views_plans.resolve_plan(conn, wanted))

    async def orders(self, *, session: str | None = None, open_only: bool = False) -> Document:
        """Orders in order of creation."""
        return await self._database.read_fn(
            lambda conn: views_orders.read_orders(conn, session, open_only=open_only)
        )

    async def positions(self) -> Document:
        """Open positions by symbol with protection, mark and the way to stop and target."""
        found = await self._account()
        return views_orders.positions_document(found.ledger.guarded, found.marks_e4)

    async def trades(self, *, session: str | None = None) -> Document:
        """Closed trades in the order they ended."""
        return await self._database.read_fn(lambda conn: views_orders.read_trades(conn, session))

    async def pnl(self) -> Document:
        """Result by session, oldest first, and totals."""
        start_e8 = self._facts.start_equity_e8
        return await self._database.read_fn(
            lambda conn: views_orders.read_pnl(conn, start_equity_e8=start_e8)
        )

    async def journal(
        self, *, after_seq: int = 0, limit: int = 200, kind: str | None = None, ref: str | None = None
    ) -> Document:
        """A page of entries, in order; QueryError for a kind that is none."""
        return await self._database.read_fn(
            lambda conn: views_journal.read_journal(
                conn, after_seq=after_seq, limit=limit, kind=kind, ref=ref
            )
        )

    async def external(self) -> Document:
        """Holdings of the account that finagent did not open, by symbol."""
        return await self._database.read_fn(views_external.read_external)

    async def risk(self) -> Document:
        """Profile, limits with the part used, loss tier, open breakers, raised limits, reservations, locks."""
        found = views_account.risk_document(await self._account(), self._facts.currency)
        return {**found, **await self._standing()}

    async def jobs(self, query: JobQuery = EVERY_JOB) -> Document:
        """Jobs that match, newest first, and how many do; QueryError for a filter that is none."""
        now_ms = self._facts.clock.now_ms()
        return await self._database.read_fn(lambda conn: views_jobs.read_jobs(conn, query, now_ms=now_ms))

    async def job(self, job_id: int) -> Document:
        """One job with payload, lease, kin and attempts."""
        now_ms = self._facts.clock.now_ms()
        return await self._database.read_fn(lambda conn: views_jobs.read_job(conn, job_id, now_ms=now_ms))

    async def jobs_stats(self) -> Document:
        """Counts by state and type, the oldest that waits, what is dead."""
        now_ms = self._facts.clock.now_ms()
        return await self._database.read_fn(lambda conn: views_jobs.read_jobs_stats(conn, now_ms=now_ms))

    # ------------------------------------------------------------ inside
    async def _standing(self) -> Document:
        """``{raised_limits, waiting_limits}``; nothing is raised in a run, which has the limits of the settings."""
        if self._facts.limits is None:
            return {"raised_limits": [], "waiting_limits": []}
        return await self._facts.limits()

    async def _account(self) -> MarkedLedger:
        now_ms = self._facts.clock.now_ms()
        session = self._facts.calendar.session_at(now_ms)
        ledger = await self._database.read_fn(lambda conn: self._ledger(conn, session, now_ms))
        return await self._marked(ledger, session, now_ms)

    def _ledger(self, conn: sqlite3.Connection, session: Session, now_ms: int) -> Ledger:
        return views_account.read_ledger(
            conn,
            session.date,
            start_equity_e8=self._facts.start_equity_e8,
            is_outside=self._facts.is_outside,
            now_ms=now_ms,
        )

    async def _marked(self, ledger: Ledger, session: Session, now_ms: int) -> MarkedLedger:
        facts, symbols = self._facts, ledger.held_symbols
        marks = await facts.marks(symbols, session, now_ms) if facts.marks is not None and symbols else {}
        return views_account.mark(ledger, marks, facts.profile)
