"""A handler with a stopwatch: wraps one service so that its wall seconds are observed."""

from collections.abc import Callable
from dataclasses import dataclass

from finagent.ports import Job, Ticker, Tx
from finagent.queue.handler import JobHandler


@dataclass(frozen=True, slots=True)
class TimedHandler:
    """A handler whose wall seconds are observed, however it ends."""

    handler: JobHandler
    ticker: Ticker
    observe: Callable[[float], None]

    async def handle(self, job: Job, tx: Tx) -> None:
        """As the handler's own."""
        started_ms = self.ticker.monotonic_ms()
        try:
            await self.handler.handle(job, tx)
        finally:
            self.observe((self.ticker.monotonic_ms() - started_ms) / 1000)
