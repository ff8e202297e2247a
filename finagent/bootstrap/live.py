"""Real time: the feed that ticks the day at its pace."""

import asyncio

from finagent.adapters.sqlite.day import DayDriver
from finagent.ports import Clock, Ticker
from finagent.runtime.service import sleep_or_stop

LONGEST_WAIT_S = 0.5


class LiveFeed:
    """Ticks at each next instant once real time has reached it; what is watched may change in between."""

    name = "feed"
    needs = ("processor", "market_data")

    def __init__(self, driver: DayDriver, clock: Clock, ticker: Ticker) -> None:
        self._driver = driver
        self._clock = clock
        self._ticker = ticker

    async def run_once(self) -> bool:
        """Tick if an instant is due; False when there was nothing to do yet."""
        due_ms = await self._driver.next_instant()
        if due_ms is None or due_ms > self._clock.now_ms():
            return False
        await self._driver.tick(due_ms)
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a backlog is worked off without waiting."""
        while not stop.is_set():
            if not await self.run_once():
                await sleep_or_stop(self._ticker, LONGEST_WAIT_S, stop)
