"""Stream: hears what the broker tells by itself, holds it against listings, connects again when it falls silent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from finagent.domain.orders import BrokerUpdate
from finagent.ports import (
    BrokerStreamPort,
    JobQueue,
    NewJob,
    RetryError,
    Store,
    StreamLostError,
    Ticker,
)
from finagent.runtime.service import sleep_or_stop
from finagent.runtime.tasks import wait_first

LOG = logging.getLogger(__name__)
Missing = Callable[[], Awaitable[Sequence[NewJob]]]
Told = Callable[[BrokerUpdate], Awaitable[Sequence[NewJob]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """How patient the reader is, in seconds."""

    look_s: float = 5.0
    """Between two listings while anything is open."""
    silent_s: float = 10.0
    """What a listing shows and the stream has not told for so long makes the stream silent."""
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0


@dataclass(slots=True)
class StreamService:
    """Turns a broker's updates into jobs.

    A stream gives no snapshot: after each connection the listings are worked through before it is trusted. While
    anything is open it is held against the listings: connected, alive and saying nothing is as good as lost. A job's
    key is the execution, or the order and its end, so that twice, shuffled and late are once.
    """

    stream: BrokerStreamPort
    missing: Missing
    told: Told
    store: Store
    queue: JobQueue
    ticker: Ticker
    times: StreamTimes = field(default_factory=StreamTimes)
    name: str = "stream"
    needs: tuple[str, ...] = ("processor", "broker")
    trusted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the stream is connected and everything before it was caught up."""
    _failures: int = 0
    _seen_ms: dict[str, int] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped: listen, and after a loss wait a little longer each time."""
        while not stop.is_set():
            try:
                await wait_first(self._listen(), self._watch(), stop.wait(), name="stream")
            except (StreamLostError, RetryError) as error:
                self._lost(error)
            self.trusted.clear()
            self._seen_ms.clear()
            if not stop.is_set():
                await sleep_or_stop(self.ticker, self._backoff_s(), stop)

    def _lost(self, error: Exception) -> None:
        self._failures += 1
        if self.trusted.is_set() or self._failures == 1:
            LOG.warning("stream.lost", extra={"error": str(error), "failures": self._failures})

    def _backoff_s(self) -> float:
        doubled = 1 << min(max(self._failures - 1, 0), 16)
        return min(self.times.backoff_cap_s, self.times.backoff_base_s * doubled)

    async def _listen(self) -> None:
        updates = self.stream.updates()
        try:
            async for update in updates:
                if update is not None:
                    await self.queue.publish_many(await self.told(update))
                elif not self.trusted.is_set():
                    await self._caught_up()
        finally:
            close = getattr(updates, "aclose", None)
            if close is not None:
                await close()
        raise StreamLostError("the broker ended the stream")

    async def _caught_up(self) -> None:
        """Work through the listings; only what comes after them is taken on trust."""
        missing = await self.missing()
        published = await self.queue.publish_many(missing)
        found = sum(each.created for each in published)
        LOG.info("stream.listening", extra={"caught_up": found, "failures": self._failures})
        self._failures = 0
        self.trusted.set()

    async def _watch(self) -> None:
        while True:
            await self.ticker.sleep(self.times.look_s)
            if self.trusted.is_set():
                await self.look()

    async def look(self) -> None:
        """Hold the stream against a listing; StreamLostError when it kept something to itself for too long."""
        if not await self.store.live_orders():
            self._seen_ms.clear()
            return
        now_ms = self.ticker.monotonic_ms()
        missing = {job.idem_key.partition("@")[0]: job for job in await self.missing()}
        self._seen_ms = {key: self._seen_ms.get(key, now_ms) for key in missing}
        limit_ms = now_ms - round(self.times.silent_s * 1000)
        overdue = [job for key, job in missing.items() if self._seen_ms[key] <= limit_ms]
        published = await self.queue.publish_many(overdue)
        untold = [job.idem_key for job, each in zip(overdue, published, strict=True) if each.created]
        if untold:
            raise StreamLostError(
                f"silent: {untold[0]} and {len(untold) - 1} more were listed and never told"
            )


@dataclass(slots=True)
class PollingService:
    """For a broker that tells nothing by itself: its listings, worked through while anything is open."""

    missing: Missing
    store: Store
    queue: JobQueue
    ticker: Ticker
    period_s: float = 2.0
    name: str = "polling"
    needs: tuple[str, ...] = ("processor", "broker")

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            try:
                await self.run_once()
            except RetryError as error:
                LOG.warning("polling.failed", extra={"error": str(error)})
            await sleep_or_stop(self.ticker, self.period_s, stop)

    async def run_once(self) -> int:
        """One look; gives the number of things that were new."""
        if not await self.store.live_orders() and not await self.store.open_positions():
            return 0
        published = await self.queue.publish_many(await self.missing())
        return sum(each.created for each in published)
