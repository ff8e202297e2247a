"""Deaths at a named point about one job type, struck one after another on one home until each has struck."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from finagent.queue.job import Job
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.failpoints import hit

BEFORE_DELIVER = "consumer.before_deliver"
POINTS = (
    "writer.after_begin",
    "writer.before_commit",
    "writer.after_commit",
    BEFORE_DELIVER,
    "processor.after_effect",
    "processor.before_done",
)
Home = TypeVar("Home")
Result = TypeVar("Result")


def watch_deliveries() -> None:
    """Make BEFORE_DELIVER a point of this process: the claims are on disk, and nobody has been told of them."""
    deliver = EventLoopProcessor.deliver

    def watched(processor: EventLoopProcessor, jobs: Sequence[Job]) -> None:
        hit(BEFORE_DELIVER, [job.type for job in jobs])
        deliver(processor, jobs)

    EventLoopProcessor.deliver = watched  # type: ignore[method-assign]


class NeverReachedError(AssertionError):
    """A run that nobody had killed before passed its end without this point: it proves nothing."""


@dataclass(frozen=True, slots=True)
class Death:
    """SIGKILL at the ``at``-th pass of a point that is about one job type."""

    point: str
    kind: str
    at: int = 1

    def __str__(self) -> str:
        return f"{self.point}[{self.kind}]@{self.at}=kill"


@dataclass(frozen=True, slots=True)
class Chain(Generic[Home, Result]):
    """How to make a home, to run in it until death (None) or the end, and to judge a run that has ended."""

    new_home: Callable[[], Home]
    start: Callable[[Home, str], Result | None]
    check: Callable[[Result, Sequence[Death]], None]

    def survive(self, deaths: Sequence[Death]) -> list[Death]:
        """Strike all deaths, several on one home where they are reached; the list of those that struck."""
        struck: list[Death] = []
        waiting = list(deaths)
        while waiting:
            here = self._one_home(waiting)
            waiting = [death for death in waiting if death not in here]
            struck += here
            if not here:  # the first one was armed in a fresh home from the start
                if waiting[0].at == 1:
                    raise NeverReachedError(f"{waiting[0]} was never reached, with no kill before it")
                waiting[0] = replace(waiting[0], at=1)
        return struck

    def _one_home(self, waiting: Sequence[Death]) -> list[Death]:
        home, here = self.new_home(), list[Death]()
        for death in waiting:
            result = self.start(home, str(death))
            if result is not None:
                self.check(result, here)
                return here
            here.append(death)
        result = self.start(home, "")
        assert result is not None, "killed, though no point was armed"
        self.check(result, here)
        return here
