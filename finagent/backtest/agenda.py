"""The agenda: what is to be done at an instant, in the order in which the agent's queue would do it."""

from dataclasses import dataclass
from heapq import heappop, heappush

from finagent.backtest.venue import VenueEvent
from finagent.domain.rows import maker, quick
from finagent.domain.steps import PRIORITY, Step


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step: ``of`` is the plan, order or session it is about; the rest as the step needs it."""

    step: Step
    of: str = ""
    reason: str = ""
    stop_e4: int = 0
    old: str = ""
    tick: str = ""
    kind: str = ""
    as_of_ms: int = 0
    names: tuple[str, ...] = ()
    version: int = 1
    event: VenueEvent | None = None


new_task = maker(Task)


class Agenda:
    """Tasks by priority, instant and order of arrival; one of a step and key is taken once for ever."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, int, int, Task]] = []
        self._later: list[tuple[int, int, int, Task]] = []
        self._seen: set[tuple[Step, str]] = set()
        self._count = 0

    def add(
        self, task: Task, key: str, *, now_ms: int, run_at_ms: int | None = None, priority: int | None = None
    ) -> None:
        """Do it now, or at an instant."""
        identity = (task.step, key)
        if identity in self._seen:
            return
        self._seen.add(identity)
        self._count += 1
        at_ms = now_ms if run_at_ms is None else run_at_ms
        rank = PRIORITY[task.step] if priority is None else priority
        if at_ms > now_ms:
            heappush(self._later, (at_ms, self._count, rank, task))
        else:
            heappush(self._ready, (rank, at_ms, self._count, task))

    def next_ms(self) -> int | None:
        """When the next task that waits is due."""
        return self._later[0][0] if self._later else None

    def promote(self, now_ms: int) -> None:
        """What is due by now may be done."""
        while self._later and self._later[0][0] <= now_ms:
            at_ms, number, rank, task = heappop(self._later)
            heappush(self._ready, (rank, at_ms, number, task))

    def take(self) -> Task | None:
        """The next task to do at this instant."""
        return heappop(self._ready)[3] if self._ready else None
