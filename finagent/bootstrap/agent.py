"""The agent of a home: start in order, trade in real time, stop in stages."""

import asyncio
import contextlib
import logging
import platform
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from finagent import __version__
from finagent.bootstrap import rules
from finagent.bootstrap.access import AccessAudit
from finagent.bootstrap.brokers import Connection, connect, refuse_made_up_prices, vet
from finagent.bootstrap.by_hand import ByHand
from finagent.bootstrap.commands import EngineCommands
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.flags import FlagWatch
from finagent.bootstrap.gauges import GaugeService
from finagent.bootstrap.homes import (
    DATABASE,
    HOME_HINT,
    generation_of,
    home_clock,
    openable,
    prepare_home,
    refuse_empty,
    remember_clock,
    secrets_of,
)
from finagent.bootstrap.journal_guard import JournalGuard
from finagent.bootstrap.last_seen import refuse_older, remember
from finagent.bootstrap.limits import settle_limits
from finagent.bootstrap.live import LiveFeed, ProtectionWatch, ReconcileTimer
from finagent.bootstrap.readers import engine_views
from finagent.bootstrap.recording import in_journal
from finagent.bootstrap.starting import catch_up_and_compare
from finagent.bootstrap.waiting import waits_for
from finagent.bootstrap.world import load_world
from finagent.context import ApplicationContext, Document, SurfaceError
from finagent.domain.orders import Scope
from finagent.runtime.clock import SystemTicker
from finagent.runtime.denials import Denials
from finagent.runtime.logs import SecretKeeper, set_up_logs
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn
from finagent.runtime.tokens import TokenBook
from finagent.runtime.watchdog import LoopWatchdog
from finagent.services.control import ControlService
from finagent.settings import Settings

LOG = logging.getLogger(__name__)


class Agent:
    """A running engine with its context; made by ``start_agent``."""

    def __init__(
        self,
        engine: Engine,
        home: Path,
        *,
        mode: str,
        run_id: str | None = None,
        connection: Connection | None = None,
    ) -> None:
        self.engine = engine
        self._connection = connection
        self.metrics = engine.metrics
        self.denials = Denials(engine.metrics.api_refused_total)
        views = engine_views(engine, home, mode=mode, run_id=run_id, health=self._services)
        control = ControlService(engine.store, engine.queue, engine.world.calendar, engine.clock)
        self.control = in_journal(control)
        commands = EngineCommands(
            engine.approvals,
            self.control,
            engine.queue,
            views,
            engine.options.scope,
            engine.world.symbols,
            lambda: engine.supervisor is not None,
            ByHand(engine) if engine.is_by_hand else None,
            engine.backtests,
            partial(waits_for, engine),
        )
        self.context = ApplicationContext(views=views, commands=commands, home=str(home), version=__version__)
        self.flags = FlagWatch(home, self.control, engine.ticker)
        self._watchdog = LoopWatchdog(metrics=engine.metrics)
        self._running: asyncio.Task[str | None] | None = None
        self._home, self._is_home = home, run_id is None

    def launch(self, *extra: object) -> "asyncio.Task[str | None]":
        """Start the services; the task ends with the reason of a halt, or None."""
        supervisor = self.engine.supervise(*extra)
        self._watchdog.start()
        self._running = spawn(supervisor.run(), "supervisor")
        return self._running

    @property
    def is_failed(self) -> bool:
        """Whether the services have ended by themselves."""
        return self._running is not None and self._running.done()

    @property
    def halt_reason(self) -> str | None:
        """Why the engine halted, if it did."""
        supervisor = self.engine.supervisor
        return supervisor.halt_reason if supervisor is not None else None

    def health(self) -> Document:
        """``{live, ready, halt_reason, loop_lag_s, services: {name: {...}}}`` for the probes."""
        services = self._services()
        is_up = self.engine.supervisor is not None and not self.is_failed
        is_ready = is_up and all(each["state"] == "running" for each in services.values())
        return {
            "live": is_up and not self._watchdog.is_stalled,
            "ready": is_ready,
            "halt_reason": self.halt_reason,
            "loop_lag_s": self._watchdog.lag_s,
            "services": {name: dict(each) for name, each in services.items()},
        }

    async def stop(self) -> None:
        """Stop in stages, commit what is queued, free the lock; positions and their stops stay as they are."""
        if self.engine.supervisor is not None:
            self.engine.supervisor.request_stop()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=self.engine.settings.ops.stop_timeout_s)
        self._watchdog.stop()
        try:
            if self._running is not None and self._is_home:
                await remember(self.engine, self._home)
            await self.engine.close()
        finally:
            if self._connection is not None:
                await self._connection.close()

    def _services(self) -> Mapping[str, Mapping[str, str | int | None]]:
        supervisor = self.engine.supervisor
        if supervisor is None:
            return {}
        found: dict[str, Mapping[str, str | int | None]] = {
            name: {"state": health.state.value, "last_error": health.last_error, "restarts": health.restarts}
            for name, health in supervisor.health().items()
        }
        if supervisor.halt_reason is not None:
            found["engine"] = {"state": "halted", "last_error": supervisor.halt_reason, "restarts": 0}
        return found


async def start_agent(settings: Settings, home: Path, *, at: str | None = None, pace: int = 1) -> Agent:
    """Lock, version gate, integrity, migrate, reconcile, then services; SurfaceError names what stands in the way.

    ``at`` (``YYYY-MM-DDTHH:MM`` exchange time) rehearses on the built-in market: the clock runs ``pace`` times as
    fast from that instant on, and goes on from there after a restart.
    """
    rules.checked(settings)
    refuse_made_up_prices(settings)
    prepare_home(home)
    keeper = secrets_of(home)
    set_up_logs(
        keeper,
        level=settings.ops.log_level.upper(),
        folder=home / "logs",
        stderr=not sys.stderr.isatty(),
    )
    world = await asyncio.to_thread(load_world, settings, home)
    clock, ticker, metrics = home_clock(settings, home, at, pace), SystemTicker(), Metrics()
    connection = connect(settings, world.calendar, clock=clock, ticker=ticker, metrics=metrics, keeper=keeper)
    options = _options(settings, home, connection)
    refuse_empty(options.path, home)
    with openable(home):
        engine = await open_engine(settings, world, options, clock=clock, ticker=ticker, metrics=metrics)
    metrics.set_build(version=__version__, python=platform.python_version(), sqlite=sqlite3.sqlite_version)
    agent = Agent(engine, home, mode=settings.account.mode, connection=connection)
    try:
        if at is not None:
            remember_clock(home, clock)
        await settle_limits(engine, settings)
        await refuse_older(engine, home)
        watches = await vet(engine, connection)
        await catch_up_and_compare(engine)
        compared_ms = clock.now_ms()
        agent.launch(
            LiveFeed(engine.driver, clock, engine.ticker),
            ReconcileTimer(engine),
            ProtectionWatch(engine),
            GaugeService(engine, compared_ms=compared_ms),
            *watches,
            agent.flags,
            JournalGuard(engine),
            AccessAudit(TokenBook(home), agent.denials, engine.queue, engine.ticker),
        )
    except BaseException:
        await agent.stop()
        raise
    LOG.info("agent.started", extra={"home": str(home), "epoch": engine.queue.epoch})
    return agent


def _options(settings: Settings, home: Path, connection: Connection | None) -> EngineOptions:
    return EngineOptions(
        path=home / DATABASE,
        scope=Scope(generation=generation_of(home), account=settings.account.name),
        approval_mode=lambda: settings.account.mode,
        is_virtual=False,
        broker=None if connection is None else connection.broker,
        stream=None if connection is None else connection.stream,
        borrow=None if connection is None else connection.borrow,
    )


@contextlib.asynccontextmanager
async def open_local(settings: Settings, home: Path) -> AsyncIterator[ApplicationContext]:
    """Commands without a running agent: takes the lock, commits, and lets go.

    SurfaceError where the home has no database: a kill in the wrong folder must not say that it killed.
    """
    rules.checked(settings)
    if not (home / DATABASE).exists():
        raise SurfaceError(f"no database at {home / DATABASE}", hint=HOME_HINT, code="no_database")
    prepare_home(home)
    world = await asyncio.to_thread(load_world, settings, home)
    clock, ticker, metrics = home_clock(settings, home, None), SystemTicker(), Metrics()
    connection = connect(
        settings,
        world.calendar,
        clock=clock,
        ticker=ticker,
        metrics=metrics,
        keeper=SecretKeeper(),
        needs_keys=False,
    )
    options = _options(settings, home, connection)
    with openable(home), reading(options.path):
        engine = await open_engine(settings, world, options, clock=clock, ticker=ticker, metrics=metrics)
    agent = Agent(engine, home, mode=settings.account.mode, connection=connection)
    try:
        with reading(options.path):
            yield agent.context
    finally:
        await agent.stop()
