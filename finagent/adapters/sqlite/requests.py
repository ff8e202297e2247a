"""What coroutines ask of the writer: closed requests, what a batch of them needs, and what it gives back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.credits import Credits
from finagent.queue.job import EncodedJob, Job
from finagent.queue.port import OnEnd, Published

Work = Callable[[WriteSession], object]
FINISH_ALONE = ""
"""What completions without effects have in common; no job type has this name."""


class Stage(IntEnum):
    """The order of requests inside a batch."""

    FINISH = 0
    EXTEND = 1
    BUSINESS = 2


@dataclass(slots=True)
class Failed:
    """Marks an outcome that is an exception."""

    error: Exception


@dataclass(slots=True)
class Request:
    """Any work inside the transaction, within a savepoint of its own; the future gets what it returns.

    `frees`: the job type whose handler credit this request gives back.
    """

    stage: Stage
    work: Work
    future: "asyncio.Future[object]"
    frees: str | None = None
    together = None

    def answer(self, outcome: object) -> None:
        """Tell the caller, unless it has been cancelled; the commit stands all the same."""
        if self.future.done():
            return
        if isinstance(outcome, Failed):
            self.future.set_exception(outcome.error)
        else:
            self.future.set_result(outcome)


@dataclass(slots=True)
class Publish:
    """Store new jobs. Neighbours whose jobs are all plain and of one type (`together`) share statements."""

    new: Sequence[EncodedJob]
    future: "asyncio.Future[Sequence[Published]]"
    together: str | None
    stage = Stage.BUSINESS
    frees = None

    def answer(self, outcome: object) -> None:
        """Tell the publisher, unless it has been cancelled; the commit stands all the same."""
        if not self.future.done():
            if isinstance(outcome, Failed):
                self.future.set_exception(outcome.error)
            else:
                self.future.set_result(cast("Sequence[Published]", outcome))


@dataclass(slots=True)
class Finish:
    """Mark jobs of one type done, with their effects if they have any; several can share a statement."""

    jobs: Sequence[Job]
    effects: Work | None
    on_end: OnEnd
    stage = Stage.FINISH

    @property
    def frees(self) -> str:
        return self.jobs[0].type

    @property
    def together(self) -> str | None:
        """Completions without effects share statements."""
        return FINISH_ALONE if self.effects is None else None

    def answer(self, outcome: object) -> None:
        """Tell the owner how it ended."""
        self.on_end(self.jobs, outcome.error if isinstance(outcome, Failed) else None)


AnyRequest = Request | Publish | Finish


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the writer knows after a commit, so that nobody has to guess or ask."""

    next_run_at_ms: int | None = None
    next_deadline_ms: int | None = None
    next_lease_until_ms: int | None = None
    has_ready: bool = True

    @property
    def is_idle(self) -> bool:
        return not self.has_ready and self.next_lease_until_ms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOrder:
    """Everything a batch needs from the loop, taken once."""

    requests: Sequence[AnyRequest]
    now_ms: int
    monotonic_ms: int
    credits: Credits
    alive_until_ms: Mapping[int, int] | None
    is_serial: bool
    is_sweep_due: bool


@dataclass(slots=True)
class BatchResult:
    """Outcomes in the order of the requests (a value or `Failed`), claims, and the state after it."""

    outcomes: list[object]
    claims: list[Job]
    state: QueueState
    committed: bool
    seconds: float
    kinds: Sequence[str] = ()
    """The job types it was about; known only while a failpoint is armed."""
