"""Real time: the feed that ticks the day at its pace."""

import asyncio

from finagent.adapters.sqlite.day import DayDriver
from finagent.bootstrap.engine import Engine
from finagent.domain.market import MINUTE_MS
from finagent.domain.steps import Step
from finagent.ports import Clock, JsonValue, NewJob, Ticker
from finagent.runtime.service import sleep_or_stop

LONGEST_WAIT_S = 0.5
RECONCILE_PERIOD_S = 30.0


class LiveFeed:
    """Ticks at each next instant once real time has reached it.

    What is watched may change in between, so it looks again after ``longest_wait_s``.
    """

    name = "feed"
    needs = ("processor", "market_data")

    def __init__(
        self, driver: DayDriver, clock: Clock, ticker: Ticker, *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._ticker = ticker
        self._longest_wait_s = longest_wait_s

    async def run_once(self) -> bool:
        """Bring everything that is due into one commit; False when there was nothing to do yet."""
        return await self._driver.catch_up(self._clock.now_ms()) > 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a backlog is worked off without waiting."""
        while not stop.is_set():
            if not await self.run_once():
                await sleep_or_stop(self._ticker, self._wait_s(), stop)

    def _wait_s(self) -> float:
        """No longer than until a minute ends: that is when bars and the schedule's lines are due."""
        return min(self._longest_wait_s, (MINUTE_MS - self._clock.now_ms() % MINUTE_MS) / 1000)


class ReconcileTimer:
    """Leaves a reconcile job every half minute while anything is open or a difference shuts the gate."""

    name = "reconcile_timer"
    needs = ("processor",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await sleep_or_stop(self._engine.ticker, RECONCILE_PERIOD_S, stop)
            if not stop.is_set():
                await self.run_once()

    async def run_once(self) -> bool:
        """Publish the job if there is something to compare."""
        engine = self._engine
        is_shut = (await engine.store.control()).gate_reason == "reconcile"
        if not is_shut and not await engine.store.open_positions() and not await engine.store.live_orders():
            return False
        now_ms = engine.clock.now_ms()
        session = engine.world.calendar.session_at(now_ms)
        payload: dict[str, JsonValue] = {"session": session.date, "reason": "timer"}
        key = f"{session.date}/{engine.queue.epoch}/{now_ms}"
        await engine.queue.publish(NewJob(Step.RECONCILE, payload, idem_key=key))
        return True
