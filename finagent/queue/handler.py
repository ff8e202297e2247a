"""What a service does with jobs, and what each kind of error it raises means for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from finagent.queue.errors import LeaseLostError, QueueClosedError, QueueError
from finagent.queue.job import Job
from finagent.queue.port import FailOutcome, Tx
from finagent.runtime.errors import CancelJobError, GiveUpError, HaltError, RetryError, ReturnJobError

MAX_ERROR_CHARS = 500


@runtime_checkable
class JobHandler(Protocol):
    """What a service does with one job: read, decide, fill the buffer. Must be safe to run twice."""

    async def handle(self, job: Job, tx: Tx) -> None: ...


@runtime_checkable
class BatchHandler(Protocol):
    """The same for up to `JobPolicy.batch` jobs of one type, decided and committed together.

    When that fails, each job is handed over again alone, so that one bad job fails alone.
    """

    async def handle_many(self, jobs: Sequence[Job], tx: Tx) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What becomes of a job. `outcome` None: nothing is recorded, it is out of these hands already."""

    outcome: FailOutcome | None
    label: str
    text: str
    retry_after_s: float | None = None
    halts: bool = False
    is_surprise: bool = False


def is_printable(error: BaseException) -> bool:
    """Whether a log can hold the error's traceback."""
    try:
        str(error).encode()
    except Exception:
        return False
    return True


def told(error: BaseException) -> str:
    """What an error says, as text that can be stored whatever it is."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return "its text cannot be read"


def react(error: BaseException) -> Reaction:
    """One branch per reaction."""
    said = told(error)
    text = f"{type(error).__name__}: {said}"[:MAX_ERROR_CHARS]
    match error:
        case LeaseLostError():
            return Reaction(outcome=None, label="lost", text=text)
        case QueueClosedError():
            return Reaction(outcome=None, label="closed", text=text)
        case ReturnJobError():
            return Reaction(outcome="return", label="return", text=text)
        case RetryError():
            return Reaction(outcome="retry", label="retry", text=text, retry_after_s=error.retry_after_s)
        case CancelJobError():
            return Reaction(outcome="cancelled", label="cancelled", text=said[:MAX_ERROR_CHARS])
        case HaltError():
            return Reaction(outcome="return", label="halt", text=text, halts=True)
        case GiveUpError() | QueueError():
            return Reaction(outcome="dead", label="dead", text=text)
    return Reaction(outcome="retry", label="retry", text=text, is_surprise=True)
