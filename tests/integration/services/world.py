"""One engine on a real SQLite file, a scripted market, a virtual clock, and hands to act in the middle of a day."""

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.recording import in_journal
from finagent.bootstrap.world import World
from finagent.domain.approvals import Verdict
from finagent.domain.book import OpenPosition, StoredOrder, StoredPlan
from finagent.domain.orders import BrokerOrder, OrderIntent, Scope
from finagent.ports import NewJob, OrderExecutionPort
from finagent.queue.handler import JobHandler
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import spawn
from finagent.services.approval import Outcome, Reply
from finagent.services.control import ControlService
from finagent.services.journal import JournalService
from finagent.services.reconcile import ReconcileService
from finagent.settings import Settings
from tests.integration.services.invariants import forged, violations
from tests.integration.services.market import NEW_YORK, ScriptedCalendar, ScriptedMarket, ScriptedNews, local

DAY, NEXT = "2018-02-20", "2018-02-21"
PATIENCE_S = 30
FREE: Mapping[str, Any] = {
    "execution": {"slippage_bps": 0, "regulatory_fees": False, "close_penalty_bps": 50},
    "schedule": {"scans": [{"name": "open", "at": "09:31", "kind": "plan"}]},
}
"""Fills without costs and one scan, so that a test can say its prices."""


def settings_with(changes: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The defaults, ``FREE``, then a test's own changes, section by section."""
    sections: dict[str, dict[str, Any]] = {name: dict(keys) for name, keys in FREE.items()}
    for name, keys in (changes or {}).items():
        sections[name] = {**sections.get(name, {}), **keys}
    return Settings(**sections)  # type: ignore[arg-type]


class Stage:
    """A day that a test drives; leaving it runs nothing more and checks every invariant that holds at any time."""

    def __init__(
        self,
        path: Path,
        *,
        dates: Sequence[str] = (DAY,),
        half: Sequence[str] = (),
        mode: str = "policy",
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        market: ScriptedMarket | None = None,
        news: ScriptedNews | None = None,
        broker: Callable[[OrderExecutionPort], OrderExecutionPort] | None = None,
        is_live: bool = False,
        is_checked: bool = True,
    ) -> None:
        self.path = path / "finagent.db"
        self.settings = settings_with(settings)
        self.calendar = ScriptedCalendar(*dates, half=half) if market is None else market.calendar
        self.market = market if market is not None else ScriptedMarket(self.calendar)
        self.news = news or ScriptedNews()
        self.mode = mode
        self.scope = Scope()
        self._dates, self._wrap, self._is_live, self._is_checked = dates, broker, is_live, is_checked
        self.engine: Engine
        self._running: asyncio.Task[str | None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None and self._is_checked:
            found = violations(self.path)
            assert found == [], found

    async def start(self) -> None:
        """Open the file where its last commit left it and start all services."""
        begin_ms = local(self._dates[0], "00:00")
        self.clock = VirtualClock(max(begin_ms, _stored_ms(self.path)))
        options = EngineOptions(
            path=self.path,
            scope=self.scope,
            approval_mode=lambda: self.mode,
            is_virtual=True,
            last_session=self._dates[-1],
            broker=self.outside(),
        )
        world = World(calendar=self.calendar, market=self.market, news=self.news, data_id="scripted")
        self.engine = await open_engine(
            self.settings, world, options, clock=self.clock, ticker=SystemTicker()
        )
        if self._wrap is not None:
            self.engine.broker = self._wrap(self.engine.broker)
        await self.engine.driver.begin(begin_ms)
        if self._is_live:
            _never_rearms(self.engine)
        supervisor = self.engine.supervise()
        self._running = spawn(supervisor.run(), "supervisor")
        control = ControlService(self.engine.store, self.engine.queue, self.calendar, self.engine.clock)
        self.control = in_journal(control)

    def outside(self) -> OrderExecutionPort | None:
        """The broker outside the database, None for the paper venue."""
        return None

    async def stop(self) -> None:
        """Stop in order; what is on disk is all that is left."""
        assert self.engine.supervisor is not None
        assert self._running is not None
        self.engine.supervisor.request_stop()
        assert await asyncio.wait_for(self._running, PATIENCE_S) is None
        await self.engine.close()

    async def forge(self, *statements: str) -> None:
        """Change rows behind the journal's back, as no program of ours does; the journal tells another story then."""
        forged(self.path).touch()
        for sql in statements:
            await self.engine.queue.call(lambda ws, sql=sql: ws.conn.execute(sql).rowcount)  # type: ignore[misc]

    async def restart(self) -> None:
        """Stop and open again."""
        await self.stop()
        await self.start()

    # ------------------------------------------------------------ time
    async def until(self, time: str, date: str | None = None) -> None:
        """Let time pass to a local time of the session under way (or of ``date``), everything done by then."""
        day = date or datetime.fromtimestamp(self.clock.now_ms() / 1000, NEW_YORK).date().isoformat()
        await self._run_to(local(day, time))
        if self.clock.now_ms() < local(day, time):
            await self.engine.driver.tick(local(day, time))
        await self.quiet()

    async def finish(self) -> None:
        """Let time pass to its end."""
        await self._run_to(None)

    async def quiet(self) -> None:
        """Everything that is due now is done."""
        await asyncio.wait_for(self.engine.driver.wait_quiescent(), PATIENCE_S)

    async def _run_to(self, limit_ms: int | None) -> None:
        driver = self.engine.driver
        while True:
            await self.quiet()
            at_ms = await driver.next_instant()
            if at_ms is None or (limit_ms is not None and at_ms > limit_ms):
                return
            await driver.tick(at_ms)

    # ------------------------------------------------------------ hands
    async def publish(self, job: NewJob) -> None:
        """A job from outside, as the stream reader of a broker leaves it."""
        await self.engine.queue.publish(job)
        await self.quiet()

    async def answer(self, plan_id: str, verdict: Verdict = Verdict.APPROVE, **more: Any) -> Outcome:
        """A person's answer, and what follows from it at this instant."""
        reply = Reply(verdict=verdict, **{"channel": "cli", "identity": "ann", **more})
        outcome = await self.engine.approvals.answer(plan_id, reply)
        await self.quiet()
        return outcome

    def reconcile(self) -> ReconcileService:
        """The service that compares, to be asked directly."""
        return self.engine.reconciler()

    # ------------------------------------------------------------ eyes
    async def plans(self, date: str = DAY) -> Sequence[StoredPlan]:
        return await self.engine.store.plans(date)

    async def plan(self, symbol: str = "AAA", date: str = DAY) -> StoredPlan:
        """The newest plan of a symbol."""
        return [each for each in await self.plans(date) if each.plan.symbol == symbol][-1]

    async def states(self, date: str = DAY) -> dict[str, str]:
        """Symbol -> state and reason of its newest plan."""
        return {p.plan.symbol: f"{p.state} {p.reason}".strip() for p in await self.plans(date)}

    async def orders(self, symbol: str = "AAA") -> dict[str, StoredOrder]:
        """``leg-generation`` -> order."""
        found: dict[str, StoredOrder] = {}
        rows = await self.engine.database.read(
            "SELECT client_order_id FROM broker_order WHERE symbol = ? ORDER BY created_at, leg", (symbol,)
        )
        for (order_id,) in rows:
            order = await self.engine.store.order(str(order_id))
            assert order is not None
            found[f"{order.intent.leg}-{order.intent.generation}"] = order
        return found

    async def order_states(self, symbol: str = "AAA") -> dict[str, str]:
        return {name: order.state.value for name, order in (await self.orders(symbol)).items()}

    async def venue_states(self, symbol: str = "AAA") -> dict[str, str]:
        """The same as the broker has it."""
        rows = await self.engine.database.read(
            "SELECT leg, client_order_id, state FROM venue_order WHERE symbol = ? ORDER BY sequence",
            (symbol,),
        )
        return {f"{leg}-{str(order_id).split('-')[-2]}": str(state) for leg, order_id, state in rows}

    async def held(self, symbol: str = "AAA") -> OpenPosition | None:
        return next((h for h in await self.engine.store.open_positions() if h.plan.symbol == symbol), None)

    async def journal(self, kind: str) -> list[tuple[str, str]]:
        """(ref, data) of the rows of one kind."""
        rows = await self.engine.database.read(
            "SELECT ref, data FROM journal WHERE kind = ? ORDER BY seq", (kind,)
        )
        return [(str(ref), str(data)) for ref, data in rows]

    async def reserved(self) -> list[str]:
        """Symbols that take from the limits without being held."""
        rows = await self.engine.database.read(
            "SELECT symbol FROM reservation WHERE released_at IS NULL ORDER BY symbol"
        )
        return [str(symbol) for (symbol,) in rows]

    async def value(self, sql: str, *params: Any) -> Any:
        """One value."""
        return (await self.engine.database.read(sql, params))[0][0]


def _never_rearms(engine: Engine) -> None:
    """The journal service as a live agent has it, on virtual time."""
    build = engine._services

    def services() -> list[tuple[ServiceContract, JobHandler]]:
        return [
            (
                contract,
                replace(handler, is_simulated=False) if isinstance(handler, JournalService) else handler,
            )
            for contract, handler in build()
        ]

    engine._services = services  # type: ignore[method-assign]


def _stored_ms(path: Path) -> int:
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT now_ms FROM clock WHERE id = 1").fetchone()[0])


class Broker:
    """The real broker behind a line that misbehaves when a test says so; a stand-in of the outside world."""

    def __init__(self, inner: OrderExecutionPort) -> None:
        self.inner = inner
        self.submitted: list[str] = []
        self.looked_up: list[str] = []
        self.before_submit: list[Callable[[], None]] = []
        self.after_submit: list[Callable[[], None]] = []
        self.lost: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        self.submitted.append(intents[0].client_order_id)
        if self.before_submit:
            self.before_submit.pop(0)()
        accepted = await self.inner.submit(intents)
        if self.after_submit:
            self.after_submit.pop(0)()
        return accepted

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        self.submitted.append(new.client_order_id)
        if self.before_submit:
            self.before_submit.pop(0)()
        accepted = await self.inner.replace(client_order_id, new=new)
        if self.after_submit:
            self.after_submit.pop(0)()
        return accepted

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        self.looked_up.append(client_order_id)
        return None if client_order_id in self.lost else await self.inner.find(client_order_id)


def fails(error: Exception) -> Callable[[], None]:
    """A step that raises."""

    def step() -> None:
        raise error

    return step


def passes() -> None:
    """A step that does nothing: one call goes through."""


def memory_folder(fallback: Path) -> Path:
    """A folder in memory where there is one: these tests prove decisions, the queue's own prove the disk."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="finagent-", dir=shared)) if os.access(shared, os.W_OK) else fallback
