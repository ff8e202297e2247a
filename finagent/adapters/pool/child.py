"""The program of a worker: takes tasks from its channel, one at a time, and never outlives its parent.

The channel carries lines of JSON, nothing is pickled. The import of this file stays light: a worker knows
neither settings nor pandas unless its function asks for them.
"""

import contextlib
import ctypes
import importlib
import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from finagent.queue.compute import (
    ENCODER,
    ComputeEncodingError,
    ComputeFunction,
    ComputeStopError,
    encoded,
)
from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError, RetryError

REPORT_EVERY_S = 0.1
MAX_TEXT_CHARS = 200
MAX_MESSAGE_CHARS = 2_000
MAX_TRACEBACK_CHARS = 20_000
CHECKPOINT = "checkpoint.json"
PR_SET_PDEATHSIG = 1
Message = Mapping[str, JsonValue]


class Channel:
    """Sends whole lines; a function may report from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message."""
        line = memoryview(f"{ENCODER.encode(message)}\n".encode("ascii"))
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


class TaskContext:
    """What a running function gets; see ComputeContext."""

    def __init__(self, number: int, channel: Channel, *, attempt: int, scratch: Path | None) -> None:
        self.number = number
        self.attempt = attempt
        self._scratch = scratch
        self._stop = threading.Event()
        self._channel = channel
        self._report_at_s = -math.inf

    @property
    def scratch(self) -> Path | None:
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Let the next `progress` raise."""
        self._stop.set()

    def progress(self, fraction: float, text: str = "") -> None:
        if self._stop.is_set():
            raise ComputeStopError("the task is to end")
        now_s = time.monotonic()
        if now_s < self._report_at_s:
            return
        if math.isnan(fraction):
            raise ValueError("the progress is nan: give a fraction from 0 to 1")
        self._report_at_s = now_s + REPORT_EVERY_S
        within = min(1.0, max(0.0, float(fraction)))
        self._channel.send(
            {"task": self.number, "kind": "progress", "fraction": within, "text": str(text)[:MAX_TEXT_CHARS]}
        )

    def save(self, checkpoint: JsonValue) -> None:
        """Write beside the old one, sync, then put it in its place: a kill leaves one of the two whole."""
        folder = self.scratch
        if folder is None:
            raise GiveUpError("there is no scratch folder for a checkpoint: give the task one")
        draft = folder / f"{CHECKPOINT}.new"
        with draft.open("w", encoding="ascii") as file:
            json.dump(checkpoint, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / CHECKPOINT)

    def saved(self) -> JsonValue:
        if self._scratch is None:
            return None
        try:
            return cast(JsonValue, json.loads((self._scratch / CHECKPOINT).read_text(encoding="ascii")))
        except FileNotFoundError:
            return None


class Worker:
    """Runs tasks on the main thread while another thread listens for `stop` and for the parent's end."""

    def __init__(self, descriptor: int) -> None:
        self._input: BinaryIO = os.fdopen(os.dup(descriptor), "rb")
        self._channel = Channel(descriptor)
        self._tasks: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._context: TaskContext | None = None

    def run(self) -> None:
        """Serve until the channel is closed."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        while (task := self._tasks.get()) is not None:
            ended = answer(task, cast(TaskContext, self._context))
            self._context = None
            self._channel.send(ended)

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._input:  # a function may have closed what is not its own
            for line in self._input:
                self._heard(json.loads(line))
        if self._context is not None:
            os._exit(1)  # the parent is gone: nobody waits for the result
        self._tasks.put(None)

    def _heard(self, message: Message) -> None:
        context = self._context
        if "stop" not in message:
            # Known before the main thread has it, so that a stop right behind the task finds it.
            self._context = self._context_of(message)
            self._tasks.put(message)
        elif context is not None and context.number == message["stop"]:
            context.stop()

    def _context_of(self, task: Message) -> TaskContext:
        scratch = cast("str | None", task["scratch"])
        return TaskContext(
            cast(int, task["task"]),
            self._channel,
            attempt=cast(int, task["attempt"]),
            scratch=None if scratch is None else Path(scratch),
        )


def answer(task: Message, context: TaskContext) -> Message:
    """Run the task's function and say how it ended; nothing that a function raises gets past this."""
    number, what = context.number, str(task["function"])
    try:
        sys.path[:] = cast("list[str]", task["path"])
        function = found(what)
        result = function(cast(Message, task["arguments"]), context)
        encoded(result, what=f"the result of {what}")
        return {"task": number, "kind": "result", "result": result}
    except ComputeEncodingError as error:
        return {"task": number, "kind": "unsendable", "message": str(error)[:MAX_MESSAGE_CHARS]}
    except ComputeStopError:
        return {"task": number, "kind": "stopped"}
    except BaseException as error:
        return failure(number, error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a function may have closed or replaced it
                stream.flush()


def found(path: str) -> ComputeFunction:
    """The function of a "module:name" path; ComputeEncodingError where there is none, else what its import raises."""
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, one that it needs is not
        raise ComputeEncodingError(f"there is no module {error.name} for {path}") from None
    if not callable(function):
        raise ComputeEncodingError(f"there is no function {name} in {module}")
    return cast(ComputeFunction, function)


def failure(number: int, error: BaseException) -> Message:
    """An exception as a message; its reaction class is kept."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be read)"
    text = "".join(traceback.format_exception(error, limit=-50))
    reaction = (
        "give_up" if isinstance(error, GiveUpError) else "retry" if isinstance(error, RetryError) else ""
    )
    return {
        "task": number,
        "kind": "failed",
        "type": type(error).__name__,
        "message": message[:MAX_MESSAGE_CHARS],
        "traceback": text[-MAX_TRACEBACK_CHARS:],
        "reaction": reaction,
        "retry_after_s": error.retry_after_s if isinstance(error, RetryError) else None,
    }


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; where it cannot, the closed channel does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(descriptor: int, parent: int, niceness: int) -> None:
    """Be a worker on an inherited channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent)
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(OSError):
        os.nice(niceness)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what a function prints must not get into a command's output
    try:
        Worker(descriptor).run()
    except OSError:
        os._exit(1)  # the channel is gone
    # The listening thread may hold its file, which an orderly end of the interpreter could trip over.
    os._exit(0)
