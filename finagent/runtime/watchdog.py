"""A thread that measures how late the event loop answers, and says so while the loop itself cannot."""

import asyncio
import threading
import time
from collections.abc import Callable

from finagent.runtime.metrics import Metrics


class LoopWatchdog:
    """Asks the loop for a sign each `period_s` and measures how long it takes.

    A loop that is stuck cannot report itself, so the thread does: `on_stall(lag_s)` is called from the thread
    once per stall, when an answer is later than `stall_s`. `lag_s` is the last lag, growing while stuck.
    """

    def __init__(
        self,
        *,
        metrics: Metrics | None = None,
        on_stall: Callable[[float], None] | None = None,
        period_s: float = 0.25,
        stall_s: float = 2.0,
    ) -> None:
        self._metrics = metrics
        self._on_stall = on_stall
        self._period_s = period_s
        self._stall_s = stall_s
        self._lag_s = 0.0
        self._asked_at: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lag_s(self) -> float:
        """Seconds the loop was last late, or is late by now."""
        asked_at = self._asked_at
        return self._lag_s if asked_at is None else max(self._lag_s, time.monotonic() - asked_at)

    @property
    def is_stalled(self) -> bool:
        return self.lag_s > self._stall_s

    def start(self) -> None:
        """Watch the running loop; call from it."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, args=(loop,), name="loop-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.wait(self._period_s):
            answered = threading.Event()
            asked_at = self._asked_at = time.monotonic()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if not answered.wait(self._stall_s) and not self._stop.is_set() and self._on_stall is not None:
                self._on_stall(time.monotonic() - asked_at)
            while not answered.wait(self._period_s):
                if self._stop.is_set():
                    return
            self._lag_s, self._asked_at = time.monotonic() - asked_at, None
            if self._metrics is not None:
                self._metrics.event_loop_lag_seconds.observe(self._lag_s)
