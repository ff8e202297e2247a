"""The one driver of virtual time: wait until all is quiet, find the next instant, commit one tick."""

import asyncio
from typing import Protocol

from finagent.runtime.clock import Ticker
from finagent.runtime.tasks import wait_first

PACER_SLICE_S = 0.05


class TimelineSteps(Protocol):
    """What a timeline drives; bootstrap supplies it."""

    async def wait_quiescent(self) -> None:
        """Return when nothing is left to do at the present instant."""

    async def next_instant(self) -> int | None:
        """The next instant at which something happens, in business milliseconds; None at the end."""

    async def tick(self, T_ms: int) -> None:
        """Move the clock to `T_ms` and commit what happens there."""


class Pacer(Protocol):
    """Decides how long real time waits before a virtual instant."""

    async def until(self, T_ms: int) -> None: ...


class ImmediatePacer:
    """No waiting: virtual time runs as fast as the machine."""

    async def until(self, T_ms: int) -> None:
        return


class ScaledPacer:
    """Virtual time runs `speed` times real time; it can be held and released.

    A single wait is at most `max_wait_s` of real time, so that a night does not pass at session speed.
    """

    def __init__(self, speed: float, ticker: Ticker, *, max_wait_s: float = 2.0) -> None:
        if speed <= 0:
            raise ValueError(f"the speed of the demo is {speed}: give a number above 0")
        self._speed = speed
        self._ticker = ticker
        self._max_wait_ms = max_wait_s * 1000
        self._released = asyncio.Event()
        self._released.set()
        self._virtual_ms: int | None = None
        self._real_ms = 0.0

    @property
    def is_held(self) -> bool:
        return not self._released.is_set()

    def hold(self) -> None:
        """Stop virtual time before its next instant."""
        self._released.clear()

    def release(self) -> None:
        """Let virtual time go on; the time held does not have to be caught up."""
        self._released.set()

    async def until(self, T_ms: int) -> None:
        if self._virtual_ms is None:
            self._virtual_ms, self._real_ms = T_ms, float(self._ticker.monotonic_ms())
        target_ms = self._real_ms + min((T_ms - self._virtual_ms) / self._speed, self._max_wait_ms)
        while True:
            before_ms = self._ticker.monotonic_ms()
            if self.is_held:
                await self._released.wait()
                target_ms += self._ticker.monotonic_ms() - before_ms
                continue
            left_s = (target_ms - before_ms) / 1000
            if left_s <= 0:
                break
            await self._ticker.sleep(min(left_s, PACER_SLICE_S))
        now_ms = float(self._ticker.monotonic_ms())
        # A little lag is caught up, a long stall is not: virtual time must not race after it.
        self._real_ms = target_ms if now_ms - target_ms < 1000 else now_ms
        self._virtual_ms = T_ms


class Timeline:
    """Runs virtual time to its end: quiescence, next instant, pacer, tick, and again."""

    name = "timeline"
    needs: tuple[str, ...] = ()

    def __init__(self, steps: TimelineSteps, pacer: Pacer) -> None:
        self._steps = steps
        self._pacer = pacer
        self.ticks = 0

    async def run_once(self) -> bool:
        """One step of time; False when nothing is left to come."""
        await self._steps.wait_quiescent()
        T_ms = await self._steps.next_instant()
        if T_ms is None:
            return False
        await self._pacer.until(T_ms)
        await self._steps.tick(T_ms)
        self.ticks += 1
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Loop until time ends or `stop` is set; a tick under way then is on disk whole or not at all."""

        async def steps() -> None:
            while not stop.is_set() and await self.run_once():
                pass

        await wait_first(steps(), _set(stop), name="timeline")


async def _set(event: asyncio.Event) -> None:
    await event.wait()
