"""A day on a broker outside: the engine is real, time is the test's, and the broker tells when the test listens."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from finagent.bootstrap.engine import EngineOptions, open_engine
from finagent.bootstrap.world import World
from finagent.domain.orders import Scope
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.tasks import spawn
from finagent.services.control import ControlService
from tests.integration.races.external import ExternalBroker
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, PATIENCE_S, Stage, _stored_ms

PATIENT: dict[str, Any] = {"planning": {"time_stop_minutes": None}}


class SignalTicker:
    """Machinery time that the test moves, and that says when somebody waits for it."""

    def __init__(self) -> None:
        self._now_ms = 1_000
        self._moved, self._sleeps = asyncio.Event(), asyncio.Event()

    def monotonic_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        end_ms = self._now_ms + round(seconds * 1000)
        while self._now_ms < end_ms:
            self._sleeps.set()
            await self._moved.wait()

    async def passes(self, seconds: float) -> None:
        """Time passes for whoever waits; returns when somebody waits again."""
        await asyncio.wait_for(self._sleeps.wait(), PATIENCE_S)
        self._now_ms += round(seconds * 1000)
        moved, self._moved = self._moved, asyncio.Event()
        self._sleeps.clear()
        moved.set()
        await asyncio.wait_for(self._sleeps.wait(), PATIENCE_S)


class OutsideStage(Stage):
    """One gap in AAA, entered at 09:31 by a market order at 100 with its stop at 97 and its target at 109."""

    broker: ExternalBroker
    borrow: Callable[[str], Awaitable[bool | None]] | None = None

    def __init__(self, path: Path, *, has_opposite_orders: bool = True, **more: Any) -> None:
        super().__init__(path, **{"settings": PATIENT, **more})
        self.clock = VirtualClock(local(DAY, "00:00"))
        self.broker = ExternalBroker(self.clock, DAY, has_opposite_orders=has_opposite_orders)

    async def start(self) -> None:
        """Open what is there; the broker lives on."""
        begin_ms = local(self._dates[0], "00:00")
        self.clock.advance(max(begin_ms, _stored_ms(self.path), self.clock.now_ms()))
        options = EngineOptions(
            path=self.path,
            scope=Scope(),
            approval_mode=lambda: self.mode,
            is_virtual=True,
            last_session=self._dates[-1],
            broker=self.broker,
            borrow=self.borrow,
        )
        world = World(calendar=self.calendar, market=self.market, news=self.news, data_id="scripted")
        self.engine = await open_engine(
            self.settings, world, options, clock=self.clock, ticker=SystemTicker()
        )
        await self.engine.driver.begin(begin_ms)
        self._running = spawn(self.engine.supervise().run(), "supervisor")
        self.control = ControlService(self.engine.store, self.engine.queue, self.calendar, self.clock)

    async def hear(self) -> int:
        """Catch up with the broker's listings until they tell nothing new; gives how much was new."""
        total = 0
        while True:
            await self.quiet()
            jobs = await self.engine.catch_up().missing()
            published = await self.engine.queue.publish_many(jobs)
            new = sum(each.created for each in published)
            await self.quiet()
            total += new
            if not new:
                return total

    async def wait(self, seconds: int) -> None:
        """Let business time pass, with every job that falls due in it."""
        end_ms = self.clock.now_ms() + seconds * 1000
        await self._run_to(end_ms)
        if self.clock.now_ms() < end_ms:
            await self.engine.driver.tick(end_ms)
        await self.quiet()

    async def entered(self, quantity_e4: int | None = None) -> None:
        """The entry is at the broker and filled (in part), and its stop rests."""
        self.market.day("AAA", DAY)
        await self.until("09:31")
        self.broker.fill(self.broker.the("entry"), quantity_e4)
        await self.hear()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None and self._is_checked:
            found = self.broken()
            assert found == [], found

    def broken(self, *, is_day_over: bool = False) -> list[str]:
        """Every broken promise of the journal, and of this broker in the paper venue's place."""
        found = [
            text
            for text in violations(self.path, is_day_over=is_day_over)
            if not text.startswith("journal holds")
        ]
        posts = self.broker.posts
        bodies = {(body.client_order_id, body) for body in self.broker.bodies}
        if len(bodies) != len(set(posts)):
            found.append("an id was sent with two bodies")
        for order_id, order in self.broker.book.items():
            if order.is_open and order.intent.leg != "entry" and self.broker.claimed_e4(order.intent) > 0:
                free = -order.intent.side.sign * self.broker.held_e4(order.intent.symbol)
                if self.broker.claimed_e4(order.intent) > max(0, free):
                    found.append(f"{order_id}: open exits are more than is held")
        return found
