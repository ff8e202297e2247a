"""Looks at the broker's books by the clock: is everything that is open protected, was everything closed in time?"""

from collections.abc import Callable
from typing import Protocol

from finagent.domain.market import MINUTE_MS, Session
from finagent.simulation.exchange import Exchange
from finagent.simulation.faults import Faults
from finagent.simulation.loop import Outside
from finagent.simulation.tape import Tape
from finagent.simulation.witness import SHARE_E4

PEACE_MS = 15_000
"""So long without a fault, and the agent up, and it owes what it promises."""
LOOKS, BETWEEN_LOOKS_MS = 3, 5_000
LADDER_MS = 8 * MINUTE_MS


class Alive(Protocol):
    """Since when the agent runs without a break."""

    @property
    def alive_since_ms(self) -> int | None:
        """The instant of its start, None while it is down."""


class Patrol:
    """Plans its looks over a session; a fault, a start or a halt shortly before excuses what it finds."""

    def __init__(
        self,
        outside: Outside,
        exchange: Exchange,
        tape: Tape,
        faults: Faults,
        agent: Alive,
        broken: Callable[[str, str], None],
        awaits_evidence: Callable[[str], bool],
    ) -> None:
        self._outside, self._exchange, self._tape = outside, exchange, tape
        self._faults, self._agent, self._broken = faults, agent, broken
        self._awaits_evidence = awaits_evidence

    def plan(self, session: Session) -> None:
        """A look at the middle of each minute."""
        for at_ms in range(session.open_ms + MINUTE_MS // 2, session.close_ms, MINUTE_MS):
            self._outside.at(at_ms, lambda: self._look({}, LOOKS))

    def had_peace(self, since_ms: int) -> bool:
        """Whether the agent has run without a fault since an instant."""
        started_ms = self._agent.alive_since_ms
        return started_ms is not None and started_ms <= since_ms and self._faults.last_ms < since_ms

    def exempt(self, session: Session) -> list[str]:
        """Symbols that could not trade until the close."""
        return [s for s in self._tape.symbols if self._tape.is_halted(s, session.close_ms - 1)]

    def owes_flat(self, session: Session) -> bool:
        """Whether nothing has kept the agent from closing everything by the close."""
        return self.had_peace(session.close_ms - LADDER_MS - MINUTE_MS)

    def _look(self, seen: dict[str, int], left: int) -> None:
        """Bare in each of several looks: not just between a stop and its successor."""
        if not self.had_peace(self._outside.now_ms - PEACE_MS):
            return
        bare: dict[str, int] = {}
        for symbol, ours_e4 in self._exchange.ours_e4().items():
            bare_e4 = ours_e4 - self._exchange.covered_e4(symbol)
            if bare_e4 > 0 and (left == LOOKS or symbol in seen):
                bare[symbol] = bare_e4
        if not bare:
            return
        if left > 1:
            at_ms = self._outside.now_ms + BETWEEN_LOOKS_MS
            self._outside.at(at_ms, lambda: self._look(bare, left - 1))
            return
        for symbol, bare_e4 in bare.items():
            if not self._tape.is_halted(symbol, self._outside.now_ms) and not self._awaits_evidence(symbol):
                self._broken("protected", f"{symbol}: {bare_e4 // SHARE_E4} shares without a stop")
