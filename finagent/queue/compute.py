"""CPU work outside the event loop: the port, what a task is, what its function gets, and how it can fail."""

import json
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError, RetryError, ReturnJobError

MAX_MESSAGE_BYTES = 1 << 20
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class ComputeContext(Protocol):
    """What a function in a worker gets beside its arguments."""

    @property
    def attempt(self) -> int:
        """1 for the first try; more: an earlier one was killed or failed and may have left a checkpoint."""

    @property
    def scratch(self) -> Path | None:
        """A folder that is the same for every try of this work, made when asked for; None: none was given."""

    @property
    def is_stopped(self) -> bool:
        """Whether the task is to end; `progress` raises then."""

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the work is (0 to 1). Call it often, it costs nothing: few reports are really sent.

        Raises ComputeStopError when the task is to end; ValueError when `fraction` is no number.
        """

    def save(self, checkpoint: JsonValue) -> None:
        """Keep what a later try needs to go on; whole or not at all, also when killed. Needs `scratch`."""

    def saved(self) -> JsonValue:
        """The newest checkpoint of this or an earlier try, None when there is none."""


ComputeFunction = Callable[[Mapping[str, JsonValue], ComputeContext], JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeTask:
    """One call of a module-level function in a worker.

    `function` is "package.module:name". `arguments` are JSON; data goes by path, at most 1 MiB in all.
    `key` names the task: two of one key never run at the same time, and `cancel` finds it by its key.
    `timeout_s`: real seconds from its start in a worker until it is stopped; None: no limit.
    """

    function: str
    arguments: Mapping[str, JsonValue]
    key: str
    attempt: int = 1
    scratch: Path | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class ComputeProgress:
    """How far a task is: 0 to 1, and in words."""

    fraction: float
    text: str


def unheard(progress: ComputeProgress) -> None:
    """Nobody listens."""


class ComputePool(Protocol):
    """Where functions burn CPU without holding up the event loop."""

    async def run(
        self, task: ComputeTask, *, on_progress: Callable[[ComputeProgress], None] = unheard
    ) -> JsonValue:
        """Run the task and give its result; waits for a free worker. Cancelling this call ends the task.

        `on_progress` is called on the loop, also while waiting for a worker. Raises ComputeEncodingError,
        ComputeKilledError, ComputeTimeoutError, ComputeCancelledError, ComputeClosedError, ComputeFailedError.
        """

    def cancel(self, key: str, reason: str) -> bool:
        """End the task of that key: its `run` raises ComputeCancelledError. False when there is none."""


class ComputeStopError(BaseException):
    """Raised by `progress` within a function that is to end: let it pass."""


class ComputeEncodingError(GiveUpError):
    """A task or a result that cannot be sent: no JSON, too large, or not the name of a function."""


class ComputeKilledError(RetryError):
    """The worker died under the task: out of memory, a crash in native code, a kill. Other tasks go on.

    `exit_code` is negative for a signal, as `subprocess` has it.
    """

    def __init__(self, function: str, *, pid: int, exit_code: int | None) -> None:
        super().__init__(f"worker {pid} {died_of(exit_code)} while it ran {function}")
        self.pid = pid
        self.exit_code = exit_code


class ComputeTimeoutError(RetryError):
    """The task took longer than its `timeout_s` and was stopped."""

    def __init__(self, function: str, *, timeout_s: float) -> None:
        super().__init__(f"{function} was stopped after {timeout_s:g} s: give it longer, or less to do")
        self.timeout_s = timeout_s


class ComputeCancelledError(Exception):
    """Somebody cancelled the task."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ComputeClosedError(ReturnJobError):
    """The pool is closed: the task did not fail, it is to run again when there is a pool."""

    def __init__(self, message: str = "the compute pool is closed: start it before running a task") -> None:
        super().__init__(message)


class ComputeFailedError(Exception):
    """The function raised; `type` and `traceback_text` are those of the worker."""

    def __init__(self, function: str, *, type: str, message: str, traceback_text: str) -> None:
        super().__init__(f"{function} raised {type}: {message}" if message else f"{function} raised {type}")
        self.type = type
        self.message = message
        self.traceback_text = traceback_text
        self.add_note(f"In the worker:\n{traceback_text}")  # a log of this error shows it, its text does not


def died_of(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None:
        return "was lost"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


def path_of(function: ComputeFunction) -> str:
    """The "module:name" of a module-level function; raises ComputeEncodingError for one no worker can find."""
    name, module = function.__qualname__, function.__module__
    if "." in name or "<" in name or module == "__main__":
        raise ComputeEncodingError(
            f"{module}.{name} cannot run in a worker: move it to the top level of an importable module"
        )
    return f"{module}:{name}"


def encoded(value: JsonValue | Mapping[str, JsonValue], *, what: str) -> str:
    """One line of JSON; raises ComputeEncodingError naming `what`."""
    try:
        text = ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ComputeEncodingError(f"{what} is no JSON: {error}") from None
    # The text is ASCII (json escapes the rest), so characters are bytes.
    if len(text) > MAX_MESSAGE_BYTES:
        raise ComputeEncodingError(
            f"{what} has {len(text)} bytes, the limit is {MAX_MESSAGE_BYTES}: write the data to a file and"
            " pass its path"
        )
    return text


def check_function(path: str) -> str:
    """The path itself; raises ComputeEncodingError when it is no "package.module:name"."""
    if not FUNCTION.fullmatch(path):
        raise ComputeEncodingError(f"{path!r} names no function: write package.module:name")
    return path
