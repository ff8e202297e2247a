"""Real time: the feed that ticks the day at its pace, and the gauges that scrapers read."""

import asyncio
import logging
from typing import TYPE_CHECKING

from finagent.adapters.sqlite.day import DayDriver
from finagent.context import Document, Views
from finagent.ports import Clock, Ticker
from finagent.runtime.service import sleep_or_stop

if TYPE_CHECKING:
    from finagent.bootstrap.engine import Engine

LOG = logging.getLogger(__name__)
LONGEST_WAIT_S = 0.5
GAUGE_PERIOD_S = 5.0
PRUNE_SLICE = 200
DAY_MS = 86_400_000


class LiveFeed:
    """Ticks at each next instant once real time has reached it; what is watched may change in between."""

    name = "feed"
    needs = ("processor", "market_data")

    def __init__(self, driver: DayDriver, clock: Clock, ticker: Ticker) -> None:
        self._driver = driver
        self._clock = clock
        self._ticker = ticker

    async def run_once(self) -> bool:
        """Tick if an instant is due; False when there was nothing to do yet."""
        due_ms = await self._driver.next_instant()
        if due_ms is None or due_ms > self._clock.now_ms():
            return False
        await self._driver.tick(due_ms)
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a backlog is worked off without waiting."""
        while not stop.is_set():
            if not await self.run_once():
                await sleep_or_stop(self._ticker, LONGEST_WAIT_S, stop)


class GaugeService:
    """Reads status, jobs and limits every few seconds into the metrics, and prunes old jobs in small slices."""

    name = "gauges"
    needs = ("processor",)

    def __init__(self, engine: "Engine", views: Views) -> None:
        self._engine = engine
        self._views = views

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await self.run_once()
            await sleep_or_stop(self._engine.ticker, GAUGE_PERIOD_S, stop)

    async def run_once(self) -> None:
        """One reading."""
        engine = self._engine
        metrics = engine.metrics
        stats = await engine.queue.stats()
        for job_type, by_status in stats.by_type.items():
            for status, count in by_status.items():
                metrics.jobs.labels(type=job_type, status=status).set(count)
        metrics.wal_bytes.set(engine.database.wal_bytes())
        self._account(await self._views.status())
        keep_ms = engine.settings.queue.retention_days * DAY_MS
        await engine.queue.prune(older_than_ms=engine.clock.now_ms() - keep_ms, limit=PRUNE_SLICE)

    def _account(self, status: Document) -> None:
        metrics = self._engine.metrics
        account, control, counts = (_part(status, name) for name in ("account", "control", "counts"))
        currency = str(account.get("currency"))
        for kind, key in (("realised", "realised"), ("open", "open"), ("total", "day_pnl")):
            value = _number(account.get(key))
            if value is not None:
                metrics.day_pnl.labels(kind=kind, currency=currency).set(value)
        equity = _number(account.get("equity"))
        if equity is not None:
            metrics.equity.labels(currency=currency).set(equity)
        used = _number(account.get("limit_used_ratio"))
        if used is not None:
            metrics.risk_limit_used_ratio.labels(limit="day_loss").set(used)
        metrics.kill_switch_active.set(1 if control.get("killed") else 0)
        positions = _number(counts.get("positions_open"))
        metrics.positions_open.set(positions or 0)


def _part(document: Document, name: str) -> Document:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: object) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None
