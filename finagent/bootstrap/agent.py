"""The agent of a home: start in order, trade in real time, stop in stages; and its readers beside it."""

import asyncio
import contextlib
import json
import logging
import os
import platform
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from finagent import __version__
from finagent.adapters.sqlite.database import Database, DatabaseMissingError
from finagent.adapters.sqlite.integrity import damage
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError
from finagent.adapters.sqlite.views import SqliteViews, UnknownRecordError, ViewFacts
from finagent.bootstrap import rules
from finagent.bootstrap.commands import EngineCommands
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.flags import FlagWatch
from finagent.bootstrap.gauges import GaugeService
from finagent.bootstrap.live import LiveFeed, ReconcileTimer
from finagent.bootstrap.runs import run_path
from finagent.bootstrap.world import World, load_world
from finagent.context import EVERY_JOB, ApplicationContext, Commands, Document, ExitCode, SurfaceError, Views
from finagent.domain.facts import ControlChanged
from finagent.domain.market import Session
from finagent.domain.orders import Scope
from finagent.domain.steps import Step
from finagent.ports import JsonValue, NewJob
from finagent.queue.port import Tx
from finagent.queue.query import JobQuery, QueryError
from finagent.runtime.clock import Clock, OffsetClock, SystemClock, SystemTicker, VirtualClock
from finagent.runtime.lock import HomeInUseError
from finagent.runtime.logs import SecretKeeper, set_up_logs
from finagent.runtime.tasks import spawn
from finagent.runtime.watchdog import LoopWatchdog
from finagent.services.control import ControlService
from finagent.services.reconcile import Difference, ReconcileService
from finagent.services.schedule import DaySchedule, local_ms
from finagent.settings import Settings

LOG = logging.getLogger(__name__)
DATABASE = "finagent.db"
CLOCK_SLACK_MS = 60_000
OFFSET_KEY = "clock_offset_ms"
HOME_HINT = "finagent orchestrate makes one; --home names another home, --run last reads a demo or replay"


class SurfaceViews(SqliteViews):
    """Views whose unknown records are errors a surface shows."""

    async def plan(self, plan_id: str) -> Document:
        """One plan by id or unique prefix."""
        with _shown():
            return await super().plan(plan_id)

    async def job(self, job_id: int) -> Document:
        """One job."""
        with _shown():
            return await super().job(job_id)

    async def candidates(self, *, session: str | None = None, tick: str | None = None) -> Document:
        """One scan tick."""
        with _shown():
            return await super().candidates(session=session, tick=tick)

    async def plans(self, *, session: str | None = None, state: str | None = None) -> Document:
        """Plans of a session, in a state."""
        with _shown():
            return await super().plans(session=session, state=state)

    async def jobs(self, query: JobQuery = EVERY_JOB) -> Document:
        """Jobs that match."""
        with _shown():
            return await super().jobs(query)


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except UnknownRecordError as error:
        raise SurfaceError(error.message, hint=error.hint, code="unknown") from None
    except QueryError as error:
        raise SurfaceError(error.message, hint=error.hint, code="usage", exit_code=ExitCode.USAGE) from None


class Agent:
    """A running engine with its context; made by ``start_agent``."""

    def __init__(self, engine: Engine, home: Path, *, mode: str, run_id: str | None = None) -> None:
        self.engine = engine
        self.metrics = engine.metrics
        views = engine_views(engine, home, mode=mode, run_id=run_id, health=self._services)
        self.control = ControlService(engine.store, engine.queue, engine.world.calendar, engine.clock)
        commands = EngineCommands(
            engine.approvals, self.control, engine.queue, views, engine.options.scope, engine.world.symbols
        )
        self.context = ApplicationContext(views=views, commands=commands, home=str(home), version=__version__)
        self.flags = FlagWatch(home, self.control, engine.ticker)
        self._watchdog = LoopWatchdog(metrics=engine.metrics)
        self._running: asyncio.Task[str | None] | None = None

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
        await self.engine.close()

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


async def start_agent(settings: Settings, home: Path, *, at: str | None = None) -> Agent:
    """Lock, version gate, integrity, migrate, reconcile, then services; SurfaceError names what stands in the way.

    ``at`` (``YYYY-MM-DDTHH:MM`` exchange time) rehearses on the built-in market: the clock runs at real pace from
    that instant on, and goes on from there after a restart.
    """
    rules.checked(settings)
    _prepare(home)
    set_up_logs(
        secrets_of(home),
        level=settings.ops.log_level.upper(),
        folder=home / "logs",
        stderr=not sys.stderr.isatty(),
    )
    world = await asyncio.to_thread(load_world, settings, home)
    clock = _clock(settings, home, at)
    scope = Scope(generation=_generation(home), account=settings.account.name)
    options = EngineOptions(
        path=home / DATABASE, scope=scope, approval_mode=lambda: settings.account.mode, is_virtual=False
    )
    _refuse_empty(options.path, home)
    with _openable(home):
        engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    engine.metrics.set_build(
        version=__version__, python=platform.python_version(), sqlite=sqlite3.sqlite_version
    )
    agent = Agent(engine, home, mode=settings.account.mode)
    try:
        if at is not None:
            _remember(home, clock)
        await _refuse_clock_behind(engine)
        await _examine(engine)
        await engine.driver.begin(clock.now_ms() - settings.schedule.misfire_minutes * 60_000)
        await engine.driver.catch_up(clock.now_ms())
        differences = await _compare(engine)
        compared_ms = clock.now_ms()
        agent.launch(
            LiveFeed(engine.driver, clock, engine.ticker),
            ReconcileTimer(engine),
            GaugeService(engine, compared_ms=compared_ms, differences=differences),
            agent.flags,
        )
    except BaseException:
        await agent.stop()
        raise
    LOG.info("agent.started", extra={"home": str(home), "epoch": engine.queue.epoch})
    return agent


def _refuse_empty(path: Path, home: Path) -> None:
    """An emptied database beside its generation would start the day anew under the old ids."""
    if path.exists() and path.stat().st_size == 0:
        raise SurfaceError(
            f"{path} is empty: it was cut or overwritten",
            hint=f"restore a backup, or delete it and {home / 'generation'} to begin a new account",
            code="damaged",
        )


async def _refuse_clock_behind(engine: Engine) -> None:
    """Time that runs back would date exits before their entries."""
    stored_ms, now_ms = await engine.database.clock_ms(), engine.clock.now_ms()
    if now_ms < stored_ms - CLOCK_SLACK_MS:
        behind_s = (stored_ms - now_ms) // 1000
        raise SurfaceError(
            f"the clock is {behind_s} s behind the last commit of this home",
            hint="set the system's clock (or the rehearsal's --at), or wait until it has passed",
            code="clock_behind",
        )


async def _examine(engine: Engine) -> None:
    """Damage shuts the entry gate for good; exits stay possible."""
    found = await engine.database.read_fn(damage)
    if found is not None:
        await _shut(engine, "damage")
        await engine.queue.note("damage", {"detail": found})
        LOG.critical("start.damage", extra={"detail": found})


async def _compare(engine: Engine) -> list[Difference]:
    """Differences with the broker (given back) shut the entry gate until a reconcile job finds none."""
    session = engine.world.calendar.session_at(engine.clock.now_ms())
    reconcile = ReconcileService(engine.store, engine.broker, engine.world.calendar, engine.clock)
    differences = await reconcile.differences(session.date)
    if differences:
        await engine.queue.note("reconcile", {"differences": [f"{d.kind} {d.ref}" for d in differences]})
        if (await engine.store.control()).gate_reason is None:
            await _shut(engine, "reconcile")
    payload: dict[str, JsonValue] = {"session": session.date, "reason": "start"}
    await engine.queue.publish(
        NewJob(Step.RECONCILE, payload, idem_key=f"{session.date}/boot-{engine.queue.epoch}")
    )
    return differences


async def _shut(engine: Engine, reason: str) -> None:
    tx = Tx()
    tx.put(ControlChanged(gate_reason=reason))
    await engine.queue.commit(tx)


@contextlib.asynccontextmanager
async def open_reader(
    settings: Settings, home: Path, run: str | None = None
) -> AsyncIterator[ApplicationContext]:
    """Views over a home's database, or a run's (an id, a prefix, ``last``); beside a running agent or without."""
    path = database_path(home, run)
    database = await open_stored(home, path, run)
    try:
        with reading(path):
            views = await _reader_views(settings, home, database, run=run)
            yield ApplicationContext(views=views, commands=None, home=str(home), version=__version__)
    finally:
        await database.close()


def database_path(home: Path, run: str | None) -> Path:
    """The database of a home or of one of its runs."""
    return home / DATABASE if run is None else _run_file(home, run)


async def open_stored(home: Path, path: Path, run: str | None) -> Database:
    """A database for reading; SurfaceError with how to get one where it is missing or cannot be read."""
    with _openable(home), reading(path):
        try:
            return await Database.open_readonly(path)
        except DatabaseMissingError:
            hint = "finagent replay or finagent demo" if run else HOME_HINT
            raise SurfaceError(f"no database at {path}", hint=hint, code="no_database") from None


@contextlib.asynccontextmanager
async def open_local(settings: Settings, home: Path) -> AsyncIterator[ApplicationContext]:
    """Commands without a running agent: takes the lock, commits, and lets go.

    SurfaceError where the home has no database: a kill in the wrong folder must not say that it killed.
    """
    rules.checked(settings)
    if not (home / DATABASE).exists():
        raise SurfaceError(f"no database at {home / DATABASE}", hint=HOME_HINT, code="no_database")
    _prepare(home)
    world = await asyncio.to_thread(load_world, settings, home)
    clock = _clock(settings, home, None)
    scope = Scope(generation=_generation(home), account=settings.account.name)
    options = EngineOptions(
        path=home / DATABASE, scope=scope, approval_mode=lambda: settings.account.mode, is_virtual=False
    )
    with _openable(home), reading(options.path):
        engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    try:
        with reading(options.path):
            yield Agent(engine, home, mode=settings.account.mode).context
    finally:
        await engine.close()


def engine_views(
    engine: Engine, home: Path, *, mode: str, run_id: str | None, health: object = None
) -> SurfaceViews:
    """Views of a live engine: health from its supervisor, marks from its market."""
    market, schedule = engine.world.market, engine.schedule

    async def marks(symbols: Sequence[str], session: Session, at_ms: int) -> Mapping[str, int]:
        prices = await market.last_prices(symbols, session, at_ms)
        return {symbol: price.price_e4 for symbol, price in prices.items()}

    def next_ticks(after_ms: int, count: int) -> list[tuple[str, int]]:
        return schedule.upcoming(after_ms, count)

    facts = ViewFacts(
        home=str(home),
        version=__version__,
        currency=engine.settings.account.currency,
        mode=mode,
        broker=engine.settings.broker.name,
        clock=engine.clock,
        calendar=engine.world.calendar,
        profile=engine.profile,
        start_equity_e8=engine.start_equity_e8,
        run_id=run_id,
        marks=marks,
        health=health,  # type: ignore[arg-type]
        next_ticks=next_ticks,
    )
    return SurfaceViews(engine.database, facts)


async def _reader_views(settings: Settings, home: Path, database: Database, *, run: str | None) -> Views:
    from finagent.adapters.vendors.calendar import load_calendar

    calendar = load_calendar(home)
    clock = await stored_clock(home, database, run)
    facts = ViewFacts(
        home=str(home),
        version=__version__,
        currency=settings.account.currency,
        mode=settings.account.mode if run is None else "replay",
        broker=settings.broker.name,
        clock=clock,
        calendar=calendar,
        profile=rules.risk_profile(settings),
        start_equity_e8=rules.start_equity_e8(settings),
        run_id=run,
        marks=None,
        health=None,
        next_ticks=None
        if run is not None
        else DaySchedule(calendar, rules.schedule_rules(settings)).upcoming,
    )
    return SurfaceViews(database, facts)


async def stored_clock(home: Path, database: Database, run: str | None) -> Clock:
    """The clock that the stored instants belong to: a run's stands where its last commit left it."""
    if run is not None:
        return VirtualClock(await database.clock_ms())
    offset = _stored_offset(home)
    return SystemClock() if offset is None else OffsetClock(offset)


def _run_file(home: Path, run: str) -> Path:
    if run == "last":
        pointer = home / "runs" / "last"
        if not pointer.exists():
            raise SurfaceError(
                "there is no run yet", hint="finagent demo or finagent replay --from D", code="no_run"
            )
        run = pointer.read_text(encoding="utf-8").strip()
    found = sorted((home / "runs").glob(f"{run}*/finagent.db")) if run.isalnum() else []
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise SurfaceError(
            f"{what} with id {run!r} in {home / 'runs'}", hint="--run last, or a full id", code="no_run"
        )
    return run_path(home, found[0].parent.name)


@contextlib.contextmanager
def _openable(home: Path) -> Iterator[None]:
    """Errors of opening a database, as one line with the mend."""
    try:
        yield
    except HomeInUseError as error:
        raise SurfaceError(str(error), code="home_in_use") from None
    except DatabaseTooNewError as error:
        raise SurfaceError(str(error), code="database_too_new") from None
    except ForeignDatabaseError as error:
        raise SurfaceError(str(error), code="foreign_database") from None
    except (OSError, sqlite3.OperationalError) as error:
        raise SurfaceError(
            f"{home} cannot be used: {error}", hint="give --home a folder you may write", code="home"
        ) from None


def _prepare(home: Path) -> None:
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurfaceError(
            f"{home} cannot be made: {error.strerror}", hint="give --home a folder you may write", code="home"
        ) from None


def _generation(home: Path) -> str:
    """The database's random generation, made with it: ids of another database can never be minted here."""
    path = home / "generation"
    if not path.exists():
        with _openable(home):
            path.write_text(os.urandom(8).hex() + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def secrets_of(home: Path) -> SecretKeeper:
    """What must never appear in a log line: the home's local token."""
    keeper = SecretKeeper()
    token = home / "token"
    if token.exists():
        keeper.register(token.read_text(encoding="utf-8").strip())
    return keeper


def _clock(settings: Settings, home: Path, at: str | None) -> Clock:
    """Real time, or real pace from a rehearsed instant that a restart remembers."""
    if at is None:
        offset = _stored_offset(home)
        return SystemClock() if offset is None else OffsetClock(offset)
    if settings.data.vendor != "simulated":
        raise SurfaceError(
            "--at rehearses on the built-in market only", hint="set data.vendor: simulated", code="usage"
        )
    date, _, time = at.partition("T")
    try:
        wanted_ms = local_ms(date, time, settings.schedule.zone)
    except ValueError:
        raise SurfaceError(f"--at {at} is no instant", hint="write 2026-11-20T09:20", code="usage") from None
    return OffsetClock(wanted_ms - SystemClock().now_ms())


def _remember(home: Path, clock: Clock) -> None:
    """Keep a rehearsed clock for a restart; only the holder of the lock may: it is the clock of every command."""
    offset = clock.now_ms() - SystemClock().now_ms()
    with _openable(home):
        (home / "clock.json").write_text(json.dumps({OFFSET_KEY: offset}), encoding="utf-8")


def _stored_offset(home: Path) -> int | None:
    path = home / "clock.json"
    if not path.exists():
        return None
    try:
        offset = json.loads(path.read_text(encoding="utf-8"))[OFFSET_KEY]
    except (OSError, ValueError, KeyError):
        raise SurfaceError(
            f"{path} is damaged", hint="delete it to go on in real time", code="home"
        ) from None
    return offset if isinstance(offset, int) else None


__all__ = ["Agent", "Commands", "World", "open_local", "open_reader", "start_agent"]
