"""Readers of a home: views over its database or a run's, beside a running agent or without one."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from finagent import __version__
from finagent.adapters.brokers.manual import read_plan_tickets, read_tickets
from finagent.adapters.sqlite.database import Database, DatabaseMissingError
from finagent.adapters.sqlite.views import SqliteViews, UnknownRecordError, ViewFacts
from finagent.bootstrap import rules
from finagent.bootstrap.backtest_jobs import with_progress
from finagent.bootstrap.backtest_store import list_results, load_result
from finagent.bootstrap.by_hand import tickets_document
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.homes import HOME_HINT, database_path, openable, stored_clock
from finagent.bootstrap.risk_rules import accepted_limits, profile_in_force, standing_limits
from finagent.context import EVERY_JOB, ApplicationContext, Document, ExitCode, SurfaceError, Views
from finagent.domain.market import Session
from finagent.domain.tickets import Ticket
from finagent.queue.query import JobQuery, QueryError
from finagent.services.schedule import DaySchedule
from finagent.settings import Settings


class SurfaceViews(SqliteViews):
    """Views whose unknown records are errors a surface shows."""

    def __init__(self, database: Database, facts: ViewFacts) -> None:
        super().__init__(database, facts)
        self._verifying = asyncio.Lock()

    async def plan(self, plan_id: str) -> Document:
        """One plan by id or unique prefix."""
        with _shown():
            return await super().plan(plan_id)

    async def plan_id(self, wanted: str) -> str:
        """The plan that is meant."""
        with _shown():
            return await super().plan_id(wanted)

    async def tickets(self, *, every: bool = False) -> Document:
        """Orders to type by hand and to take back; ``every``: the session's others too."""
        now_ms = self._facts.clock.now_ms()
        session = self._facts.calendar.session_at(now_ms).date

        def look(conn: sqlite3.Connection) -> tuple[list[Ticket], dict[str, list[Ticket]]]:
            found = read_tickets(conn, session)
            return found, {each.plan_id: read_plan_tickets(conn, each.plan_id) for each in found}

        found, of_plans = await self._database.read_fn(look)
        return tickets_document(found, of_plans, broker=self._facts.broker, every=every)

    async def job(self, job_id: int) -> Document:
        """One job, with how far it is where it computes."""
        with _shown():
            return with_progress(Path(self._facts.home))(await super().job(job_id))

    async def backtests(self, *, limit: int = 50) -> Document:
        """Stored results."""
        return await asyncio.to_thread(list_results, Path(self._facts.home), limit=limit)

    async def backtest(self, result_id: str) -> Document:
        """One of them."""
        return await asyncio.to_thread(load_result, Path(self._facts.home), result_id)

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

    async def journal(
        self, *, after_seq: int = 0, limit: int = 200, kind: str | None = None, ref: str | None = None
    ) -> Document:
        """A page of the journal."""
        with _shown():
            return await super().journal(after_seq=after_seq, limit=limit, kind=kind, ref=ref)

    async def verify_journal(self) -> Document:
        """The same as ``journal verify``, one at a time and beside the day: a thread reads, with rests."""
        from finagent.bootstrap.journal_proof import resting, verify_journal

        path = self._database.path
        assert path is not None, "a surface's views are of a file"
        async with self._verifying:
            return await asyncio.to_thread(verify_journal, path, progress=resting())


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except UnknownRecordError as error:
        raise SurfaceError(error.message, hint=error.hint, code="unknown") from None
    except QueryError as error:
        raise SurfaceError(error.message, hint=error.hint, code="usage", exit_code=ExitCode.USAGE) from None


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


async def open_stored(home: Path, path: Path, run: str | None) -> Database:
    """A database for reading; SurfaceError with how to get one where it is missing or cannot be read."""
    with openable(home), reading(path):
        try:
            return await Database.open_readonly(path)
        except DatabaseMissingError:
            hint = "finagent replay or finagent demo" if run else HOME_HINT
            raise SurfaceError(f"no database at {path}", hint=hint, code="no_database") from None


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
        is_outside=engine.is_outside,
        run_id=run_id,
        marks=marks,
        health=health,  # type: ignore[arg-type]
        next_ticks=next_ticks,
        limits=None if run_id is not None else _standing(engine.settings, engine.database),
    )
    return SurfaceViews(engine.database, facts)


def _standing(settings: Settings, database: Database) -> Callable[[], Awaitable[Document]]:
    """What was raised, asked anew each time."""

    async def limits() -> Document:
        return standing_limits(settings, await accepted_limits(database))

    return limits


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
        profile=rules.risk_profile(settings, is_run=True)
        if run is not None
        else profile_in_force(settings, await accepted_limits(database)),
        start_equity_e8=rules.start_equity_e8(settings),
        is_outside=run is None and settings.broker.is_outside,
        run_id=run,
        marks=None,
        health=None,
        next_ticks=None
        if run is not None
        else DaySchedule(calendar, rules.schedule_rules(settings)).upcoming,
        limits=None if run is not None else _standing(settings, database),
    )
    return SurfaceViews(database, facts)
