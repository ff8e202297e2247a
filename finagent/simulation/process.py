"""One life of the agent: the real engine with its services on a virtual loop, from its start to its end."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.live import LiveFeed, ReconcileTimer
from finagent.bootstrap.starting import catch_up_and_compare
from finagent.bootstrap.world import NoNews, World
from finagent.context import SurfaceError
from finagent.domain.orders import Scope
from finagent.ports import MarketDataPort
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn
from finagent.services.control import ControlService
from finagent.simulation.clocks import SimulatedClock, SimulatedTicker
from finagent.simulation.loop import CrashError, Outside, StuckError, VirtualLoop
from finagent.simulation.memory import Disk, MemoryStorage
from finagent.simulation.scenario import Scenario

METRICS = Metrics()
"""One for all lives: nothing that is measured is decided upon."""


class Process:
    """An agent that was started; ``run`` returns when it has stopped, failed or died."""

    def __init__(
        self,
        scenario: Scenario,
        outside: Outside,
        disk: Disk,
        market: MarketDataPort,
        rng: random.Random,
        *,
        crash_at: int | None,
        on_commit: Callable[[], None],
    ) -> None:
        self.scenario, self.outside, self.disk = scenario, outside, disk
        self.loop = VirtualLoop(outside, rng, mixing=scenario.mixing, crash_at=crash_at)
        self.clock = SimulatedClock(self.loop)
        self.engine: Engine | None = None
        self.control: ControlService | None = None
        self.halt_reason: str | None = None
        self._market = market
        self._on_commit = on_commit
        self._changes = disk.connection.total_changes
        self._main: asyncio.Task[None] | None = None

    def run(self) -> str:
        """Live: ``stopped``, ``crashed``, or ``failed: why``."""
        try:
            self.loop.run_until_complete(self._live())
        except CrashError:
            return "crashed"
        except SurfaceError as error:
            return f"failed: {error.code}"
        except StuckError as error:
            return f"stuck: {error}"
        return "stopped" if self.halt_reason is None else f"halted: {self.halt_reason}"

    def request_stop(self) -> None:
        """SIGTERM."""
        if self.engine is not None and self.engine.supervisor is not None:
            self.engine.supervisor.request_stop()
        else:
            self.loop.crash()

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
                ReconcileTimer(engine),
            )
            self.halt_reason = await spawn(supervisor.run(), "supervisor")
        finally:
            self.control = None
            await engine.close()

    # ------------------------------------------------------------ trouble at the database
    async def before(self, door: str) -> bool:
        """One hop, as a thread would cost."""
        await asyncio.sleep(0)
        return True

    def after(self, door: str) -> bool:
        """Look at every commit."""
        changes = self.disk.connection.total_changes
        if changes != self._changes:
            self._changes = changes
            self._on_commit()
        return True
