"""A probe on a running engine: when ticks returned and when jobs were committed, by the wall clock."""

import time
from dataclasses import dataclass, field

from finagent.bootstrap.engine import Engine
from finagent.domain.facts import IntentRecorded, ScanRecorded
from finagent.domain.steps import Step
from finagent.ports import Job, Tx


@dataclass(slots=True)
class Probe:
    """Listens at two seams of the engine, the tick and the completion of a job, and changes nothing."""

    engine: Engine
    tick_at_s: float = 0.0
    scan_to_intent_ms: list[float] = field(default_factory=list)
    trigger_to_intent_ms: list[float] = field(default_factory=list)
    committed_at_s: dict[str, float] = field(default_factory=dict)
    universe: int = 0
    candidates: int = 0
    commits: dict[str, int] = field(default_factory=dict)
    _counted: int = 0
    _session: str = ""
    _has_scanned: bool = False

    def attach(self) -> None:
        """Stand between the engine and its driver and queue."""
        driver, queue = self.engine.driver, self.engine.queue
        tick, complete = driver.tick, queue.complete

        async def timed_tick(T_ms: int) -> None:
            self.count()
            self._session = self.engine.world.calendar.session_at(T_ms).date
            self._has_scanned = False
            await tick(T_ms)
            self.tick_at_s = time.perf_counter()

        async def timed_complete(job: Job, tx: Tx) -> None:
            facts = tuple(tx.facts)
            await complete(job, tx)
            self._note(job, facts)

        setattr(driver, "tick", timed_tick)  # noqa: B010  a method is replaced on purpose
        setattr(queue, "complete", timed_complete)  # noqa: B010

    def count(self) -> None:
        """Credit the commits since the last count to the session of the last tick."""
        now = self.engine.queue.counters.commits
        self.commits[self._session] = self.commits.get(self._session, 0) + now - self._counted
        self._counted = now

    def _note(self, job: Job, facts: tuple[object, ...]) -> None:
        now_s = time.perf_counter()
        self.committed_at_s[f"{job.type}:{job.idem_key}"] = now_s
        for fact in facts:
            if isinstance(fact, ScanRecorded):
                self._has_scanned = True
                self.universe, self.candidates = fact.scan.universe, len(fact.scan.candidates)
        if job.type == Step.EXECUTE and any(isinstance(fact, IntentRecorded) for fact in facts):
            samples = self.scan_to_intent_ms if self._has_scanned else self.trigger_to_intent_ms
            samples.append((now_s - self.tick_at_s) * 1000)
