"""Two kinds of time: `Clock` for business (stored, may be virtual), `Ticker` for machinery."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Business time: integer milliseconds since 1970 UTC."""

    def now_ms(self) -> int: ...


class Ticker(Protocol):
    """Machinery time: monotonic milliseconds, for leases, polls, time-outs and watchdogs."""

    def monotonic_ms(self) -> int: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The computer's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class PacedClock:
    """A clock that stood at `at_ms` when the computer's stood at `since_ms`, and runs `pace` times as fast since.

    Several processes that are handed the same three numbers read the same time.
    """

    def __init__(self, *, at_ms: int, since_ms: int, pace: int) -> None:
        if pace < 1:
            raise ValueError(f"a pace of {pace} makes no clock: give 1 (real time) or more")
        self.at_ms, self.since_ms, self.pace = at_ms, since_ms, pace

    def now_ms(self) -> int:
        return self.at_ms + (time.time_ns() // 1_000_000 - self.since_ms) * self.pace


class VirtualClock:
    """A clock that stands still until it is advanced; it never goes backwards."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, to_ms: int) -> None:
        """Move to `to_ms`; raises ValueError when that lies in the past."""
        if to_ms < self._now_ms:
            raise ValueError(
                f"the virtual clock stands at {self._now_ms} ms and cannot go back to {to_ms} ms"
            )
        self._now_ms = to_ms


class LoopTicker:
    """A ticker that sleeps on the event loop's own timers."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemTicker(LoopTicker):
    """The monotonic clock of the computer and the sleep of the event loop."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000
