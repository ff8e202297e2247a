"""The one loop shape: a service has a name, needs, and runs until it is told to stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from finagent.runtime.clock import LoopTicker, Ticker
from finagent.runtime.tasks import wait_first


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContract:
    """What a service declares: its name, the job types it consumes, the names of what it needs."""

    name: str
    consumes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@runtime_checkable
class Service(Protocol):
    """What a supervisor can start: `run` returns soon after `stop` is set, cancellation is not swallowed."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...

    async def run(self, stop: asyncio.Event) -> None: ...


class LoopService:
    """A service made of one step: `run_once` again and again, `period_s` apart, until stopped."""

    def __init__(
        self,
        contract: ServiceContract,
        run_once: Callable[[], Awaitable[object]],
        *,
        period_s: float,
        ticker: Ticker,
    ) -> None:
        self.contract = contract
        self.name = contract.name
        self.needs = contract.needs
        self.run_once = run_once
        self._period_s = period_s
        self._ticker = ticker

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.run_once()
            await sleep_or_stop(self._ticker, self._period_s, stop)


async def sleep_or_stop(ticker: Ticker, seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but no longer than until `stop` is set."""
    if stop.is_set():
        return
    if not isinstance(ticker, LoopTicker):
        await wait_first(ticker.sleep(seconds), _until_set(stop), name="sleep")
        return
    with contextlib.suppress(TimeoutError):  # the same by one timer, without two tasks
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
