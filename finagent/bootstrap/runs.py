"""Runs: past or made-up sessions through the whole durable path, in a file of their own, resumed where they ended."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finagent import __version__
from finagent.adapters.sqlite.database import Database, DatabaseMissingError
from finagent.adapters.sqlite.results import run_document
from finagent.bootstrap import rules
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import World, load_world
from finagent.context import Document, SurfaceError
from finagent.domain.market import Session
from finagent.domain.orders import Scope
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.lock import FileLock
from finagent.runtime.tasks import spawn, wait_first
from finagent.runtime.timeline import ImmediatePacer, Pacer, Timeline
from finagent.services.schedule import local_ms
from finagent.settings import Settings

CLAIM_POLICY = "serial"
IDENTITY_SECTIONS = (
    "account", "universe", "scan", "scoring", "planning", "risk", "approval", "execution", "schedule", "news",
)  # fmt: skip
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Which sessions run, and where."""

    sessions: tuple[Session, ...]
    result_id: str
    path: Path


def result_id(settings: Settings, *, data_id: str, first: str, last: str, at: str | None) -> str:
    """16 hex digits over code version, data, parameters, seed and claim policy."""
    document = settings.model_dump(mode="json", include=set(IDENTITY_SECTIONS))
    schedule = rules.schedule_rules(settings)
    document["no_trade_days"] = list(schedule.no_trade_days)
    document["no_trade_windows"] = [list(window) for window in schedule.no_trade_windows]
    parts = [__version__, data_id, document, first, last, at, CLAIM_POLICY]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def run_path(home: Path, identity: str) -> Path:
    """The database of a run."""
    return home / "runs" / identity / "finagent.db"


async def run_replay(
    settings: Settings,
    home: Path,
    *,
    first: str,
    last: str,
    at: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Document:
    """Replay past sessions; an unfinished run goes on, a finished one is told again, ``fresh`` starts over."""
    started_ms = SystemTicker().monotonic_ms()
    world = load_world(settings, home, vendor="replay")
    sessions = chosen_sessions(world.calendar, first, last)
    await _check_data(world, sessions)
    identity = result_id(settings, data_id=world.data_id, first=first, last=last, at=at)
    path = run_path(home, identity)
    if fresh:
        await forget(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plan = RunPlan(sessions=sessions, result_id=identity, path=path)
    with reading(path, hint="Add --fresh: it starts this replay over"):
        await play(settings, world, plan, ImmediatePacer(), at=at, progress=progress)
        (home / "runs" / "last").write_text(identity + "\n", encoding="utf-8")
        elapsed_ms = SystemTicker().monotonic_ms() - started_ms
        return await read_result(plan, elapsed_ms=elapsed_ms)


async def read_result(plan: RunPlan, *, elapsed_ms: int) -> Document:
    """The result document of a run's file."""
    database = await Database.open_readonly(plan.path)
    try:
        dates = [session.date for session in plan.sessions]
        document = await database.read_fn(lambda conn: run_document(conn, dates))
    finally:
        await database.close()
    return {
        "result_id": plan.result_id,
        "outcome_hash": document.pop("outcome_hash"),
        "from": dates[0],
        "to": dates[-1],
        **document,
        "elapsed_ms": elapsed_ms,
    }


async def play(
    settings: Settings,
    world: World,
    plan: RunPlan,
    pacer: Pacer,
    *,
    at: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the sessions of a plan to their end by policy, from wherever the file stands."""
    engine = await open_run(settings, world, plan, approval_mode=lambda: "policy", at=at)
    try:
        await drive(engine, plan, pacer, progress=progress)
    finally:
        await engine.close()


async def open_run(
    settings: Settings,
    world: World,
    plan: RunPlan,
    *,
    approval_mode: Callable[[], str],
    at: str | None = None,
    is_every_bar: bool = False,
) -> Engine:
    """An engine over a run's own file, its virtual clock where the last commit left it."""
    options = EngineOptions(
        path=plan.path,
        scope=Scope(),
        approval_mode=approval_mode,
        is_virtual=True,
        last_session=plan.sessions[-1].date,
        is_every_bar=is_every_bar,
        at=at,
    )
    begin_ms = local_ms(plan.sessions[0].date, "00:00", settings.schedule.zone)
    clock = VirtualClock(await _stored_clock_ms(plan.path, begin_ms))
    engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    await engine.driver.begin(begin_ms)
    return engine


async def drive(
    engine: Engine, plan: RunPlan, pacer: Pacer, *, progress: Progress | None, beside: Sequence[object] = ()
) -> None:
    """Services (and those ``beside``) and the timeline, until time ends; a halt is a SurfaceError."""
    supervisor = engine.supervise(*beside)
    running = spawn(supervisor.run(), "supervisor")
    stop = asyncio.Event()
    timeline = Timeline(_Told(engine, plan, progress), pacer)
    try:
        await wait_first(timeline.run(stop), _ended(running), name="run")
    finally:
        stop.set()
        supervisor.request_stop()
        reason = await running
    if reason is not None:
        raise SurfaceError(
            f"the run stopped: {reason}", hint="run it again: it goes on where it stopped", code="halted"
        )


class _Told:
    """The driver's steps, telling each session as it begins."""

    def __init__(self, engine: Engine, plan: RunPlan, progress: Progress | None) -> None:
        self._driver = engine.driver
        self._calendar = engine.world.calendar
        self._numbers = {session.date: number for number, session in enumerate(plan.sessions, 1)}
        self._progress = progress
        self._told = ""

    async def wait_quiescent(self) -> None:
        await self._driver.wait_quiescent()

    async def next_instant(self) -> int | None:
        return await self._driver.next_instant()

    async def tick(self, T_ms: int) -> None:
        date = self._calendar.session_at(T_ms).date
        if self._progress is not None and date != self._told and date in self._numbers:
            self._told = date
            self._progress(date, self._numbers[date], len(self._numbers))
        await self._driver.tick(T_ms)


async def _ended(task: "asyncio.Task[str | None]") -> None:
    await asyncio.wait([task])


async def _stored_clock_ms(path: Path, begin_ms: int) -> int:
    try:
        database = await Database.open_readonly(path)
    except DatabaseMissingError:
        return begin_ms
    try:
        rows = await _rows(database, "clock", "SELECT now_ms FROM clock WHERE id = 1")
    finally:
        await database.close()
    found = rows[0][0] if rows else 0
    return max(begin_ms, found) if isinstance(found, int) else begin_ms


async def forget(path: Path, *, only_finished: bool = False) -> None:
    """Delete a run; HomeInUseError for one that another process is running.

    ``only_finished`` leaves a run whose day was not closed, so that it can go on.
    """
    if not path.parent.exists() or (only_finished and not await _is_finished(path)):
        return
    lock = FileLock(path)
    lock.acquire()
    lock.release()
    shutil.rmtree(path.parent)


async def _is_finished(path: Path) -> bool:
    try:
        database = await Database.open_readonly(path)
    except DatabaseMissingError:
        return True
    try:
        return bool(await _rows(database, "day", "SELECT 1 FROM day LIMIT 1"))
    finally:
        await database.close()


async def _rows(database: Database, table: str, sql: str) -> list[tuple[object, ...]]:
    """None where the run was killed before its first migration: it has a file and no tables."""
    known = await database.read("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,))
    return await database.read(sql) if known else []


async def _check_data(world: World, sessions: tuple[Session, ...]) -> None:
    """SurfaceError when no session of the range has any data."""
    from finagent.domain.errors import SessionDataMissingError

    reason = ""
    for session in (sessions[0], sessions[-1]):
        try:
            await world.market.view(session, session.close_ms)
        except SessionDataMissingError as error:
            reason = str(error)
        else:
            return
    raise SurfaceError(reason, code="no_data")
