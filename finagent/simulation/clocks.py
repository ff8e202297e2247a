"""The program's two times over a virtual loop: a clock that a fault may set, and a ticker that nobody can."""

from finagent.runtime.clock import LoopTicker
from finagent.simulation.loop import VirtualLoop


class SimulatedClock:
    """Business time: the true instant, shifted by what the machine's clock is wrong."""

    def __init__(self, loop: VirtualLoop, wrong_ms: int = 0) -> None:
        self._loop = loop
        self.wrong_ms = wrong_ms

    def now_ms(self) -> int:
        """Milliseconds UTC as the program believes them."""
        return self._loop.now_ms + self.wrong_ms


class SimulatedTicker(LoopTicker):
    """Machinery time of one life."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic_ms(self) -> int:
        """Milliseconds since the process began."""
        return round(self._loop.time() * 1000)
