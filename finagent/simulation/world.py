"""One seed: a market, a broker, people and a process that dies and starts again, until all must be at rest."""

import gc
import random
import sys
from dataclasses import dataclass, field

from finagent.domain.market import MINUTE_MS, Session
from finagent.simulation.loop import Outside
from finagent.simulation.memory import Disk
from finagent.simulation.power import Power
from finagent.simulation.process import Process
from finagent.simulation.scenario import FAULTY_SESSIONS, Scenario, make_scenario
from finagent.simulation.silence import ErrorKeeper
from finagent.simulation.trace import Trace
from finagent.simulation.vendor import SimulatedFeed

EARLY_MS = 10 * MINUTE_MS
LATE_MS = 25 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken."""

    seed: int
    invariant: str
    step: int
    detail: str


@dataclass(slots=True, kw_only=True)
class SeedResult:
    """What a seed showed."""

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    lives: int = 0
    steps: int = 0
    commits: int = 0
    virtual_ms: int = 0
    lines: list[str] = field(default_factory=list)


class SimulatedWorld:
    """Runs one seed."""

    def __init__(self, seed: int, *, keeper: ErrorKeeper, keep_trace: bool = False) -> None:
        self._rng = random.Random(f"finagent sim {seed}")
        self.scenario: Scenario = make_scenario(seed, self._rng)
        self.trace = Trace(keep=keep_trace)
        self.result = SeedResult(seed=seed)
        self.sessions = self.scenario.calendar.sessions("", "9")[: FAULTY_SESSIONS + 1]
        self.outside = Outside(self.sessions[0].open_ms - EARLY_MS)
        self.disk = Disk()
        self.power = Power.of(self._rng)
        self.feed = SimulatedFeed(self.scenario.tape)
        self.process: Process | None = None
        self._keeper = keeper
        self._journal_seq = 0
        self._grave: list[Process] = []

    def run(self) -> SeedResult:
        """The whole seed."""
        began_ms = self.outside.now_ms
        try:
            for session in self.sessions:
                self._day(session)
        finally:
            self.result.virtual_ms = self.outside.now_ms - began_ms
            self.result.digest = self.trace.digest()
            self.result.lines = self.trace.lines
            self._bury()
            self.disk.close()
        return self.result

    def _day(self, session: Session) -> None:
        """From before the open until everything after the close is done; the process is down over night."""
        self.outside.run_until(session.open_ms - EARLY_MS)
        if session is self.sessions[-1]:
            self.power.stop()
        end_ms = session.close_ms + LATE_MS
        self.outside.at(end_ms, self._stop)
        while self.outside.now_ms < end_ms:
            ending = self._live()
            if ending == "crashed":
                self.result.crashes += 1
            self.outside.run_until(min(end_ms, self.outside.now_ms + self.power.down_ms()))

    def _stop(self) -> None:
        if self.process is not None:
            self.process.request_stop()

    def _live(self) -> str:
        self.process = process = Process(
            self.scenario,
            self.outside,
            self.disk,
            self.feed,
            self._rng,
            crash_at=self.power.crash_at(),
            on_commit=self._committed,
        )
        self._grave.append(process)
        self.result.lives += 1
        self.trace.say(self.outside.now_ms, "process", "starts")
        ending = process.run()
        self.outside.now_ms = max(self.outside.now_ms, process.loop.now_ms)
        self.result.steps += process.loop.steps
        self.process = None
        self.trace.say(self.outside.now_ms, "process", f"{ending} after {process.loop.steps} steps")
        if ending not in ("stopped", "crashed"):
            self.break_promise("process", ending)
        for error in self._keeper.found:
            self.break_promise("surprise", error)
        self._keeper.found.clear()
        return ending

    def break_promise(self, invariant: str, detail: str) -> None:
        """Record a violation."""
        self.trace.say(self.now_ms, "BROKEN", f"{invariant}: {detail}")
        self.result.violations.append(
            Violation(seed=self.result.seed, invariant=invariant, step=self.steps, detail=detail)
        )

    @property
    def now_ms(self) -> int:
        """The true instant."""
        return self.outside.now_ms if self.process is None else self.process.loop.now_ms

    @property
    def steps(self) -> int:
        """Steps of all lives so far."""
        return self.result.steps + (0 if self.process is None else self.process.loop.steps)

    def _committed(self) -> None:
        self.result.commits += 1
        rows = self.disk.connection.execute(
            "SELECT seq, at, kind, ref, data FROM journal WHERE seq > ? ORDER BY seq", (self._journal_seq,)
        ).fetchall()
        for seq, _, kind, ref, data in rows:
            self._journal_seq = seq
            self.trace.say(self.now_ms, "journal", f"{kind} {ref} {data}")

    def _bury(self) -> None:
        """Collect what died, with nobody listening to what its coroutines complain about."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for process in self._grave:
                process.loop.bury()
            self._grave.clear()
            gc.collect(1)
        finally:
            sys.unraisablehook = hook
