"""Gauges: every few seconds the tables become metrics, and old jobs go while nothing else is to be done."""

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import Counter

from finagent.adapters.sqlite.measures import Cursor, Measures, read_earned_e8, read_measures
from finagent.adapters.sqlite.views_account import Ledger, MarkedLedger, mark, read_ledger
from finagent.bootstrap.safekeeping import last_backup_ms
from finagent.domain.account import AccountState
from finagent.domain.market import Session
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE
from finagent.domain.orders import OrderState
from finagent.domain.reconcile import DifferenceKind
from finagent.domain.risk import limits_used
from finagent.runtime.service import sleep_or_stop
from finagent.runtime.supervisor import ServiceState

if TYPE_CHECKING:
    from finagent.bootstrap.engine import Engine

GAUGE_PERIOD_S = 5.0
ENGINE_STATES = ("starting", "running", "degraded", "halted", "stopped")
DIFFERENCE_KINDS = tuple(kind.value for kind in DifferenceKind)


class Totals:
    """Counters that follow totals of tables: each grows by what its total has grown, and never falls."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Counter, tuple[str, ...]], int] = {}

    def follow(self, counter: Counter, labels: tuple[str, ...], total: int) -> None:
        """Bring one counter to its total; the first time from 0, so a restart is no step for a scraper."""
        key = (counter, labels)
        seen = self._seen.get(key, 0)
        if total > seen or key not in self._seen:
            counter.labels(*labels).inc(max(0, total - seen))
            self._seen[key] = max(total, seen)


class GaugeService:
    """Reads one snapshot every few seconds into the metrics, and prunes old jobs in small slices when idle.

    ``compared_ms``: when the start compared broker and journal.
    """

    name = "gauges"
    needs = ("processor",)

    def __init__(self, engine: "Engine", *, compared_ms: int | None = None) -> None:
        self._engine = engine
        self._compared_ms = compared_ms
        self._cursor = Cursor()
        self._totals = Totals()
        self._jobs: set[tuple[str, str]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await self.run_once()
            await sleep_or_stop(self._engine.ticker, GAUGE_PERIOD_S, stop)

    async def run_once(self) -> None:
        """One reading."""
        engine = self._engine
        now_ms = engine.clock.now_ms()
        session = engine.world.calendar.session_at(now_ms)

        def look(conn: sqlite3.Connection) -> tuple[Measures, Ledger, int]:
            start_e8 = engine.start_equity_e8
            ledger = read_ledger(
                conn, session.date, start_equity_e8=start_e8, is_outside=engine.is_outside, now_ms=now_ms
            )
            return read_measures(conn, self._cursor), ledger, read_earned_e8(conn, session.date)

        found, ledger, earned_e8 = await engine.database.read_fn(look)
        marked = mark(ledger, await self._marks(ledger, session, now_ms), engine.profile)
        self._count(found)
        self._observe(found)
        self._machine(found)
        self._day(found, marked)
        over = [each for each in ledger.guarded if _is_over(each.held.plan.session, session, now_ms)]
        self._engine.metrics.positions_held_over.set(len(over))
        self._account(found, marked, earned_e8)

    async def _marks(self, ledger: Ledger, session: Session, now_ms: int) -> Mapping[str, int]:
        symbols = ledger.held_symbols
        if not symbols:
            return {}
        prices = await self._engine.world.market.last_prices(symbols, session, now_ms)
        return {symbol: price.price_e4 for symbol, price in prices.items()}

    def _count(self, found: Measures) -> None:
        metrics, follow = self._engine.metrics, self._totals.follow
        for plan, total in found.plans.items():
            follow(metrics.plans_total, plan, total)
        for answer, total in found.approvals.items():
            follow(metrics.approvals_total, answer, total)
        for order, total in found.orders.items():
            follow(metrics.orders_total, order, total)
        for rule, total in found.rejections.items():
            follow(metrics.risk_rejections_total, (rule,), total)

    def _observe(self, found: Measures) -> None:
        """Events since the last reading; the cursor moves with them, so none is observed twice."""
        metrics = self._engine.metrics
        for wait_ms in found.answer_waits_ms:
            metrics.approval_latency_seconds.observe(wait_ms / 1000)
        for ack_ms in found.acks_ms:
            metrics.order_ack_latency_seconds.observe(ack_ms / 1000)
        for bps in found.slippages_bps:
            metrics.slippage_bps.observe(bps)
        self._cursor = found.cursor

    def _machine(self, found: Measures) -> None:
        metrics = self._engine.metrics
        vanished = self._jobs - found.jobs.keys()
        self._jobs |= found.jobs.keys()
        for job_type, status in sorted(vanished):
            metrics.jobs.labels(type=job_type, status=status).set(0)
        for (job_type, status), count in found.jobs.items():
            metrics.jobs.labels(type=job_type, status=status).set(count)
        metrics.wal_bytes.set(self._engine.database.wal_bytes())
        backed_up_ms = last_backup_ms(self._engine.options.path.parent)
        if backed_up_ms is not None:
            metrics.backup_last_success_timestamp_seconds.set(backed_up_ms / 1000)
        present = self._state()
        for state in ENGINE_STATES:
            metrics.engine_state.labels(state=state).set(1 if state == present else 0)

    def _state(self) -> str:
        supervisor = self._engine.supervisor
        if supervisor is None:
            return "stopped"
        if supervisor.halt_reason is not None:
            return "halted"
        states = {health.state for health in supervisor.health().values()}
        if states & {ServiceState.FAILED, ServiceState.DEGRADED}:
            return "degraded"
        if ServiceState.STARTING in states:
            return "starting"
        return "running" if ServiceState.RUNNING in states else "stopped"

    def _day(self, found: Measures, marked: MarkedLedger) -> None:
        metrics = self._engine.metrics
        metrics.scan_candidates.set(found.scan_candidates)
        for line, done_ms in found.line_done_ms.items():
            metrics.schedule_last_success_timestamp_seconds.labels(job=line).set(done_ms / 1000)
        metrics.orders_inflight.set(found.orders_by_state.get(OrderState.INTENT.value, 0))
        metrics.orders_ambiguous.set(found.orders_by_state.get(OrderState.UNKNOWN.value, 0))
        guarded = marked.ledger.guarded
        metrics.positions_open.set(len(guarded))
        metrics.unprotected_positions.set(
            sum(1 for each in guarded if not each.is_protected and not each.is_exiting)
        )
        metrics.flatten_late.set(found.flatten_late)
        compared = [at_ms for at_ms in (self._compared_ms, found.reconciled_ms) if at_ms is not None]
        if compared:
            metrics.reconcile_last_success_timestamp_seconds.set(max(compared) / 1000)
        for kind in DIFFERENCE_KINDS:
            metrics.reconcile_differences.labels(kind=kind).set(found.differences.get(kind, 0))

    def _account(self, found: Measures, marked: MarkedLedger, earned_e8: int) -> None:
        engine, metrics, account = self._engine, self._engine.metrics, marked.account
        currency = engine.settings.account.currency
        metrics.tie_out_difference.labels(currency=currency).set(found.tie_out_e8 / MONEY_SCALE)
        metrics.equity.labels(currency=currency).set(account.equity_e8 / MONEY_SCALE)
        results = (
            ("realised", account.realised_pnl_e8),
            ("open", account.open_pnl_e8),
            ("total", account.day_pnl_e8),
        )
        for kind, pnl_e8 in results:
            metrics.day_pnl.labels(kind=kind, currency=currency).set(pnl_e8 / MONEY_SCALE)
        metrics.drawdown_ratio.set(drawdown_ratio(account, found.peak_pnl_e8, earned_e8=earned_e8))
        for limit, used_e6 in limits_used(account, marked.profile).items():
            metrics.risk_limit_used_ratio.labels(limit=limit).set(used_e6 / RATIO_SCALE)
        metrics.kill_switch_active.set(int(account.is_killed))


def drawdown_ratio(account: AccountState, peak_pnl_e8: int, *, earned_e8: int) -> float:
    """The fall from the highest result ever, as a share of what the account would be worth there, 0 to 1.

    ``earned_e8``: all results before the session. Deposits, withdrawals and the capital of a first day are no result.
    """
    fall_e8 = max(0, peak_pnl_e8 - earned_e8 - account.day_pnl_e8)
    peak_e8 = account.equity_e8 + fall_e8
    return min(1.0, fall_e8 / peak_e8) if peak_e8 > 0 else 0.0


def _is_over(date: str, session: Session, now_ms: int) -> bool:
    """Whether the session of a date has closed."""
    return date < session.date or (date == session.date and now_ms >= session.close_ms)
