"""A probe on a running engine: when ticks returned and when jobs were committed, by the wall clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from finagent.bootstrap.engine import Engine
from finagent.domain.facts import IntentRecorded, ScanRecorded
from finagent.domain.steps import Step
from finagent.ports import Job, Tx
from finagent.queue.port import OnEnd


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
        tick, finish = driver.tick, queue.finish

        async def timed_tick(T_ms: int) -> None:
            self.count()
            self._session = self.engine.world.calendar.session_at(T_ms).date
            self._has_scanned = False
            await tick(T_ms)
            self.tick_at_s = time.perf_counter()

        def timed_finish(jobs: Sequence[Job], tx: Tx, on_end: OnEnd) -> None:
            facts = tuple(tx.facts)

            def ended(jobs: Sequence[Job], error: Exception | None) -> None:
                if error is None:
                    self._note(jobs[0], facts)
                on_end(jobs, error)

            finish(jobs, tx, ended)

        setattr(driver, "tick", timed_tick)  # noqa: B010  a method is replaced on purpose
        setattr(queue, "finish", timed_finish)  # noqa: B010

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
