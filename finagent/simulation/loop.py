"""The virtual loop: time that jumps, the next ready step chosen by seed, and a process that can die between two."""

import asyncio
import contextlib
import heapq
import random
from asyncio.events import Handle, TimerHandle
from collections.abc import Callable

from finagent.runtime.tasks import forget_tasks

MOST_STEPS_AT_ONCE = 20_000
"""So many steps in one instant of virtual time are a loop that never waits."""


class CrashError(Exception):
    """The simulated process was killed: nothing of it runs any more, not its ``finally`` either."""


class StuckError(Exception):
    """The program waits for something that can never come, or never waits at all."""


class Outside:
    """What happens outside the process, by time and then by the order in which it was asked for.

    It outlives the process: what a broker or a person does goes on while the agent is down.
    """

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, at_ms: int, happen: Callable[[], None]) -> None:
        """Let something happen at an instant, at once where that has passed."""
        self._count += 1
        heapq.heappush(self._events, (max(at_ms, self.now_ms), self._count, happen))

    @property
    def next_ms(self) -> int | None:
        """When the next thing happens."""
        return self._events[0][0] if self._events else None

    def happen(self) -> None:
        """Let the next thing happen now."""
        at_ms, _, happen = heapq.heappop(self._events)
        self.now_ms = max(self.now_ms, at_ms)
        happen()

    def run_until(self, at_ms: int) -> None:
        """Let time pass with no process alive."""
        while self._events and self._events[0][0] <= at_ms:
            self.happen()
        self.now_ms = max(self.now_ms, at_ms)


class VirtualLoop(asyncio.BaseEventLoop):
    """One life of the agent's process: no selector, no thread, no real time.

    Loop time starts at 0 with the epoch as an integer offset: near 1.7e9 a float cannot hold a millisecond.
    When nothing is ready it jumps to the next timer or outside event. ``mixing`` is the share of steps that are
    picked at random among those that are ready; the others run in their order. ``crash_at`` names the step before
    which the process dies.
    """

    def __init__(
        self, outside: Outside, rng: random.Random, *, mixing: float, crash_at: int | None = None
    ) -> None:
        super().__init__()
        self.outside = outside
        self.base_ms = outside.now_ms
        self.steps = 0
        self.crash_at = crash_at
        self.is_crashed = False
        self._now_s = 0.0
        self._random = rng.random
        self._mixing = mixing
        self._steps_at_once = 0
        self._queue: list[Handle] = []
        self._ready = self._queue
        self._timers: list[TimerHandle] = []
        self._scheduled = self._timers

    def time(self) -> float:
        """Seconds of this life."""
        return self._now_s

    @property
    def now_ms(self) -> int:
        """The true instant, whatever any clock of the program says."""
        return self.base_ms + round(self._now_s * 1000)

    def crash(self) -> None:
        """Die after the step under way."""
        self.is_crashed = True

    def bury(self) -> None:
        """End what a killed process left, once nobody can see any more what its ``finally`` blocks still try."""
        left = asyncio.all_tasks(self)
        self._queue.clear()
        self._timers.clear()
        self.close()
        forget_tasks(self)
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()

    def _run_once(self) -> None:
        """Steps of the program and of the world outside, until the loop is to stop."""
        queue, timers, pick = self._queue, self._timers, self._random
        mixing, crash_at = self._mixing, self.crash_at
        while not self._stopping:  # type: ignore[attr-defined]
            if self.is_crashed or self.steps == crash_at:
                raise CrashError
            if not queue:
                self._let_time_pass()
                while timers and timers[0]._when <= self._now_s:  # type: ignore[attr-defined]
                    timer = heapq.heappop(timers)
                    timer._scheduled = False  # type: ignore[attr-defined]
                    if not timer._cancelled:
                        queue.append(timer)
                continue
            self._steps_at_once += 1
            if self._steps_at_once > MOST_STEPS_AT_ONCE:
                raise StuckError(f"{MOST_STEPS_AT_ONCE} steps and no time has passed")
            place = 0
            if mixing and (count := len(queue)) > 1 and pick() < mixing:
                place = int(pick() * count)
            handle = queue.pop(place)
            if not handle._cancelled:
                self.steps += 1
                handle._run()

    def _let_time_pass(self) -> None:
        """Jump to the next timer; what happens outside until then happens first, one thing a step."""
        timers = self._timers
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        due_s: float | None = timers[0]._when if timers else None  # type: ignore[attr-defined]
        outside_ms = self.outside.next_ms
        self._steps_at_once = 0
        if outside_ms is not None:
            outside_s = (outside_ms - self.base_ms) / 1000
            if due_s is None or outside_s <= due_s:
                self._now_s = max(self._now_s, outside_s)
                self.outside.happen()
                return
        if due_s is None:
            raise StuckError("nothing is ready, no timer runs, nothing will happen outside")
        self._now_s = max(self._now_s, due_s)
        self.outside.now_ms = self.now_ms

    # ------------------------------------------------------------ what a loop without I/O has to answer
    def _process_events(self, event_list: object) -> None:
        """There is no selector whose events could come."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    def run_in_executor(self, executor: object, func: object, *args: object) -> "asyncio.Future[object]":  # type: ignore[override]
        """Threads would bring real time in."""
        raise RuntimeError(f"{func!r} wants a thread: give it a seam")
