"""One life of the agent: the real engine with its services on a virtual loop, from its start to its end."""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Protocol

from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.live import LiveFeed, ProtectionWatch, ReconcileTimer
from finagent.bootstrap.starting import catch_up_and_compare
from finagent.bootstrap.world import NoNews, World
from finagent.context import SurfaceError
from finagent.domain.orders import OrderIntent, Scope
from finagent.ports import MarketDataPort, NewJob
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn
from finagent.services.approval import Outcome, Reply
from finagent.services.control import ControlService
from finagent.services.stream import StreamTimes
from finagent.simulation.broker import SimulatedBroker
from finagent.simulation.clocks import SimulatedClock, SimulatedTicker
from finagent.simulation.exchange import Exchange
from finagent.simulation.faults import Faults
from finagent.simulation.loop import CrashError, Outside, StuckError, VirtualLoop
from finagent.simulation.memory import WRITER, Disk, MemoryStorage
from finagent.simulation.power import Death
from finagent.simulation.scenario import Scenario

METRICS = Metrics()
"""One for all lives: nothing that is measured is decided upon."""


class Onlooker(Protocol):
    """Who watches a life."""

    def committed(self) -> None:
        """Something was committed."""

    def sends(self, intents: Sequence[OrderIntent]) -> None:
        """A body leaves for the broker."""

    def looked_up(self, client_order_id: str) -> None:
        """An id was asked for at the broker."""


class Process:
    """An agent that was started; ``run`` returns when it has stopped, failed or died."""

    def __init__(
        self,
        scenario: Scenario,
        outside: Outside,
        disk: Disk,
        exchange: Exchange,
        market: MarketDataPort,
        faults: Faults,
        rng: random.Random,
        onlooker: Onlooker,
        *,
        death: Death | None,
    ) -> None:
        self.scenario, self.outside, self.disk = scenario, outside, disk
        self.loop = VirtualLoop(
            outside, rng, mixing=scenario.mixing, crash_at=None if death is None else death.step
        )
        self.death = death
        self.clock = SimulatedClock(self.loop)
        self.engine: Engine | None = None
        self.control: ControlService | None = None
        self.halt_reason: str | None = None
        self._market, self._faults, self._rng, self._onlooker = market, faults, rng, onlooker
        self._broker = SimulatedBroker(exchange, outside, faults, rng, self)
        self._changes = disk.connection.total_changes

    def run(self) -> str:
        """Live: ``stopped``, ``crashed``, ``halted``, ``failed`` or ``stuck``, with the reason behind a colon."""
        try:
            self.loop.run_until_complete(self._live())
        except CrashError:
            return "crashed"
        except SurfaceError as error:
            return f"failed: {error.code}"
        except StuckError as error:
            return f"stuck: {error}"
        except Exception as error:
            return f"failed: {type(error).__name__}: {error}"
        return "stopped" if self.halt_reason is None else f"halted: {self.halt_reason}"

    def request_stop(self) -> None:
        """SIGTERM; a process that is still starting dies of it."""
        if self.engine is not None and self.engine.supervisor is not None:
            self.engine.supervisor.request_stop()
        else:
            self.loop.crash()

    def answer(self, plan_id: str, reply: Reply) -> Awaitable[Outcome] | None:
        """A person's answer; None where nobody serves yet."""
        if self.engine is None or self.control is None:
            return None
        return self.engine.approvals.answer(plan_id, reply)

    def publish(self, jobs: Sequence[NewJob]) -> None:
        """Jobs from outside, while the agent runs."""
        if self.engine is not None and self.control is not None:
            spawn(self.engine.queue.publish_many(jobs), "outside")

    async def _live(self) -> None:
        scenario, ticker = self.scenario, SimulatedTicker(self.loop)
        world = World(
            calendar=scenario.calendar,
            market=self._market,
            news=NoNews(),
            data_id="simulated",
            symbols=lambda: scenario.tape.symbols,
        )
        options = EngineOptions(
            path=Path("simulated.db"),
            scope=Scope(generation="sim", account="sim"),
            approval_mode=lambda: scenario.mode,
            is_virtual=False,
            broker=self._broker,
            stream=self._broker,
            stream_times=StreamTimes(look_s=scenario.look_s, silent_s=2 * scenario.look_s),
            storage=MemoryStorage(self.disk, self),
        )
        engine = await open_engine(
            scenario.settings, world, options, clock=self.clock, ticker=ticker, metrics=METRICS
        )
        self.engine = engine
        try:
            await catch_up_and_compare(engine)
            self.control = ControlService(engine.store, engine.queue, scenario.calendar, self.clock)
            supervisor = engine.supervise(
                LiveFeed(engine.driver, self.clock, ticker, longest_wait_s=scenario.feed_wait_s),
                ReconcileTimer(engine, period_s=scenario.reconcile_s),
                ProtectionWatch(engine, period_s=scenario.look_s),
            )
            self.halt_reason = await spawn(supervisor.run(), "supervisor")
        finally:
            self.control = None
            await engine.close()

    # ------------------------------------------------------------ trouble at the database and on the line
    async def before(self, door: str) -> bool:
        """One hop, as a thread would cost; longer on a slow disk, for nothing while another program has the lock."""
        is_writer = door == WRITER
        if is_writer or self._rng.random() < self.scenario.read_hops:
            await asyncio.sleep(0)
        if self._faults.is_under("disk_slow") and self._rng.random() < 0.2:
            self._faults.happened("disk_slow")
            await asyncio.sleep(self._rng.randrange(1, 1_500) / 1000)
        if is_writer:
            if self._dies("commit.before"):
                return False
            if self._faults.is_under("database_busy"):
                self._faults.happened("database_busy")
                raise _busy()
        return True

    def after(self, door: str) -> bool:
        """Look at every commit."""
        changes = self.disk.connection.total_changes
        if changes == self._changes:
            return True
        self._changes = changes
        self._onlooker.committed()
        return not self._dies("commit.after")

    async def calls(self, moment: str) -> None:
        """A moment of a call to the broker, in which the process may die."""
        if self._dies(moment):
            await asyncio.get_running_loop().create_future()

    def sends(self, intents: Sequence[OrderIntent]) -> None:
        """A body leaves for the broker."""
        self._onlooker.sends(intents)

    def looked_up(self, client_order_id: str) -> None:
        """An id was asked for at the broker."""
        self._onlooker.looked_up(client_order_id)

    def _dies(self, moment: str) -> bool:
        if self.death is not None and self.death.is_now(moment):
            self.loop.crash()
            return True
        return False


def _busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error
