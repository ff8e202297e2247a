"""The market of a drill: the same made-up prices that the agent sees, told to the broker as time goes by."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from finagent.adapters.vendors.calendar import load_calendar
from finagent.adapters.vendors.simulated import SimulatedVendor
from finagent.runtime.clock import PacedClock
from finagent.simulation.drill.scenes import SYMBOLS
from finagent.simulation.drill.venue import Venue

LOOK_S = 0.1


class Feeder:
    """Tells the broker each minute's last prices once the minute has ended."""

    def __init__(self, venue: Venue, seed: int, clock: Callable[[], PacedClock], home: Path) -> None:
        self._venue, self._seed, self._clock, self._home = venue, seed, clock, home
        self._told_ms = 0

    async def run(self) -> None:
        """Until cancelled."""
        calendar = await asyncio.to_thread(load_calendar, self._home)
        vendor = SimulatedVendor(self._seed, calendar, SYMBOLS)
        while True:
            now_ms = self._clock().now_ms()
            minute_ms = now_ms - now_ms % 60_000
            if minute_ms != self._told_ms and self._clock().at_ms > 0:
                session = calendar.session_at(minute_ms)
                prices = await vendor.last_prices(vendor.symbols, session, minute_ms)
                await self._venue.set_prices({symbol: last.price_e4 for symbol, last in prices.items()})
                self._told_ms = minute_ms
            await asyncio.sleep(LOOK_S)
