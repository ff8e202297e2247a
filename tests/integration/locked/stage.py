"""A live engine with a broker outside, an open position, and a database that another process locks."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from finagent.bootstrap.engine import EngineOptions, open_engine
from finagent.bootstrap.world import World
from finagent.domain.broker_event import fill_payload
from finagent.domain.orders import Scope
from finagent.ports import NewJob
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.tasks import spawn
from finagent.services.control import ControlService
from tests.integration.locked.outside import OutsideBroker
from tests.integration.services.market import local
from tests.integration.services.world import DAY, PATIENCE_S, Stage, _stored_ms

SETTINGS = {"planning": {"time_stop_minutes": None}}
BUSY_MS = 20


class JumpTicker:
    """Machinery time that passes by itself and jumps when a test says so."""

    def __init__(self) -> None:
        self._ticker = SystemTicker()
        self.jumped_ms = 0

    def monotonic_ms(self) -> int:
        return self._ticker.monotonic_ms() + self.jumped_ms

    async def sleep(self, seconds: float) -> None:
        await self._ticker.sleep(min(seconds, 0.05))


class LockedStage(Stage):
    """A day on a broker whose state is its own; the engine is a live one on a clock the test moves."""

    broker: OutsideBroker
    ticker: JumpTicker
    heard_s: float
    _heard: asyncio.Event
    _waiting: "asyncio.Task[None] | None"
    _before_ms: int

    async def start(self) -> None:
        """Open what is there; the broker's file outlives every process."""
        self._holders: list[Holder] = []
        self.heard_s, self._heard, self._waiting = 0.0, asyncio.Event(), None
        begin_ms = local(self._dates[0], "00:00")
        self.clock = VirtualClock(max(begin_ms, _stored_ms(self.path)))
        self.ticker = JumpTicker()
        self.broker = OutsideBroker(self.path.with_name("broker.json"), self.clock)
        options = EngineOptions(
            path=self.path,
            scope=Scope(),
            approval_mode=lambda: self.mode,
            is_virtual=False,
            last_session=self._dates[-1],
            broker=self.broker,
        )
        world = World(calendar=self.calendar, market=self.market, news=self.news, data_id="scripted")
        self.engine = await open_engine(self.settings, world, options, clock=self.clock, ticker=self.ticker)
        self._listen()
        pragma = f"PRAGMA busy_timeout = {BUSY_MS}"
        await self.engine.database.write_fn(lambda connection: connection.execute(pragma).fetchone())
        await self.engine.driver.begin(begin_ms)
        self._running = spawn(self.engine.supervise().run(), "supervisor")
        self.control = ControlService(self.engine.store, self.engine.queue, self.calendar, self.clock)

    async def told(self) -> None:
        """The broker's stream: every execution as the job it leaves, and what follows from it."""
        for fill in await self.broker.fills(session=DAY):
            order = await self.engine.store.order(fill.client_order_id)
            assert order is not None
            key, plan_id = fill.execution_id, order.intent.plan_id
            await self.publish(NewJob("broker_event", fill_payload(fill), idem_key=key, key=plan_id))

    async def open_position(self) -> None:
        """Bought at 09:32 with its stop resting at the broker, held until 15:44."""
        self.market.day("AAA", DAY)
        await self.until("09:32")
        await self.told()
        held = await self.held()
        assert held is not None
        self.clock.advance(local(DAY, "15:44"))
        await self.engine.driver.catch_up(local(DAY, "15:44"))
        await self.quiet()

    async def flat(self) -> None:
        """Everything that is due is done, and the position is closed."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.held() is not None:
                await self.quiet()
                await asyncio.sleep(0)
        await self.quiet()

    async def waited(self, seconds: float) -> None:
        """The writer says that its batch has waited so long for the lock (0: no longer), and the desk has looked."""
        desk = self.engine.emergency
        assert desk is not None
        if seconds and self._waiting is None:
            self._waiting = spawn(self.engine.queue.note("test", {}), "note")  # something to commit
            await self._until_heard(lambda heard_s: heard_s > 0)
            self._before_ms = self.ticker.jumped_ms
        if seconds:
            self.ticker.jumped_ms = self._before_ms + round(seconds * 1000)
            await self._until_heard(lambda heard_s: heard_s >= seconds)
        elif self._waiting is not None:
            await self._waiting
            self._waiting = None
            await self._until_heard(lambda heard_s: heard_s == 0)
        if desk._working is not None:
            await asyncio.wait_for(asyncio.wait([desk._working]), PATIENCE_S)

    async def _until_heard(self, is_it: Callable[[float], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_it(self.heard_s):
                self._heard.clear()
                await self._heard.wait()

    def _listen(self) -> None:
        """Hear what the writer tells the desk."""
        desk = self.engine.emergency
        assert desk is not None
        tell = desk.on_busy

        def heard(waited_s: float) -> None:
            tell(waited_s)
            self.heard_s = waited_s
            self._heard.set()

        desk.on_busy = heard  # type: ignore[method-assign]

    def hold(self) -> "Holder":
        """Let another process lock the database, until it is told or the stage stops."""
        self._holders.append(Holder(self.path))
        return self._holders[-1]

    async def stop(self) -> None:
        """A lock that a failed test left would keep the last commit waiting for ever."""
        for holder in self._holders:
            holder.__exit__()
        await super().stop()

    def at(self, time: str) -> "asyncio.Task[None]":
        """The clock reaches a time of the day, and the tick of it waits for the lock."""
        tick = spawn(self.engine.driver.tick(local(DAY, time)), "tick")
        self.clock.advance(local(DAY, time))
        return tick


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("free", flush=True)
"""


class Holder:
    """Another process with the database's write lock."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._told() == "locked"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.unlock()

    def unlock(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._told() == "free"
        self._process.communicate(timeout=PATIENCE_S)

    def _told(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
