"""A worker as its pool sees it: a process of its own, its channel, and its end by steps."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import finagent
from finagent.queue.compute import (
    MAX_MESSAGE_BYTES,
    ComputeEncodingError,
    ComputeFailedError,
    ComputeKilledError,
    ComputeProgress,
    ComputeStopError,
    ComputeTask,
    check_function,
    encoded,
)
from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError, RetryError

ROOT = Path(finagent.__file__).resolve().parent.parent
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from finagent.adapters.pool.child import main; main(*map(int, sys.argv[2:]))"
)
LINE_LIMIT = MAX_MESSAGE_BYTES + (1 << 18)
LOOK_EVERY_S = 0.5
REAP_EVERY_S = 0.01
CLOSED_WITHIN_S = 1.0
REAPED_WITHIN_S = 5.0
KILLED_WITHIN_S = 0.5
Message = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a task may go on after it was told to end, and its process after a SIGTERM; then SIGKILL."""

    grace_s: float = 1.0
    term_s: float = 1.0


DEFAULT_PATIENCE = Patience()


class DiedError(Exception):
    """The process ended, or closed its channel and was ended."""


class Worker:
    """One process that runs one task at a time. `busy_with` is the task it has not answered yet."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        patience: Patience,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._patience = patience
        self._last_number = 0
        self.busy_with: str | None = None

    @classmethod
    async def start(cls, *, niceness: int, patience: Patience) -> "Worker":
        """A fresh interpreter on one end of a socket pair; nothing is inherited but that socket."""
        ours, theirs = socket.socketpair()
        try:
            process = _spawned(theirs.fileno(), niceness)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            ours.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        except BaseException:
            process.kill()
            process.wait()
            ours.close()
            raise
        return cls(process, reader, writer, patience)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it lives and has nothing to do."""
        return self.busy_with is None and self._process.poll() is None and not self._reader.at_eof()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def run(
        self, task: ComputeTask, line: str, on_progress: Callable[[ComputeProgress], None]
    ) -> JsonValue:
        """Run one task; raises as ComputePool.run. However it ends, call `stop` before the next."""
        self._last_number += 1
        self.busy_with = task.function
        try:
            self._send(f'{{"task":{self._last_number},{line[1:]}')
            while (message := await self._receive())["kind"] == "progress":
                if message["task"] == self._last_number:  # a thread left by an earlier task may still report
                    on_progress(ComputeProgress(cast(float, message["fraction"]), str(message["text"])))
        except DiedError:
            self.busy_with = None
            raise ComputeKilledError(task.function, pid=self.pid, exit_code=self._process.poll()) from None
        self.busy_with = None
        return result_of(task.function, message)

    async def stop(self) -> None:
        """End the running task: asked, then SIGTERM, then SIGKILL. Cancelled meanwhile, SIGKILL at once."""
        if self.busy_with is None:
            return
        try:
            if await self._answers_within(self._patience.grace_s):
                return
            self._signal(signal.SIGTERM)
            await self._ends_within(self._patience.term_s)
        finally:
            if self.busy_with is not None:
                self._signal(signal.SIGKILL)
        await self._ends_within(REAPED_WITHIN_S)

    async def end(self) -> None:
        """End the process and collect it; one without a task goes by itself when its channel closes."""
        try:
            await self.stop()
            self._writer.close()
            if not await self._ends_within(self._patience.term_s):
                self._signal(signal.SIGTERM)
                await self._ends_within(self._patience.term_s)
        finally:
            self.kill()
        await self._ends_within(REAPED_WITHIN_S)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def kill(self) -> None:
        """End the process now, for somebody who can wait no longer; a kill takes the kernel a moment."""
        self._signal(signal.SIGKILL)
        self._writer.transport.abort()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILLED_WITHIN_S)

    async def _answers_within(self, seconds: float) -> bool:
        """Ask the task to end and wait for its answer, whatever it is."""
        try:
            async with asyncio.timeout(seconds):
                self._send(f'{{"stop":{self._last_number}}}')
                while (await self._receive())["kind"] == "progress":
                    pass
        except TimeoutError:
            return False
        except DiedError:
            pass
        self.busy_with = None
        return True

    async def _ends_within(self, seconds: float) -> bool:
        """Whether the process is gone by then, and collected."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._process.poll() is None:  # noqa: ASYNC110  a process has no event to wait for
                    await asyncio.sleep(REAP_EVERY_S)
        return self._process.poll() is not None

    def _send(self, line: str) -> None:
        # Not drained: a worker has at most one task and one stop before it, both bounded.
        self._writer.write(f"{line}\n".encode("ascii"))

    async def _receive(self) -> Message:
        """The next message. Looks at the process too: a grandchild may hold the channel of a dead worker open."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    line = await self._reader.readline()
            except TimeoutError:
                if self._process.poll() is None:
                    continue
                line = b""
            except (ConnectionError, ValueError):
                line = b""
            with contextlib.suppress(ValueError):
                message = json.loads(line) if line.endswith(b"\n") else None
                if isinstance(message, dict) and "kind" in message and "task" in message:
                    return message
            is_nonsense = line.endswith(b"\n")
            if not await self._ends_within(0.0 if is_nonsense else CLOSED_WITHIN_S):
                self._signal(signal.SIGKILL)
                await self._ends_within(REAPED_WITHIN_S)
            raise DiedError

    def _signal(self, number: signal.Signals) -> None:
        """Signal this process alone; `subprocess` knows when its id is no longer ours."""
        self._process.send_signal(number)


def line_of(task: ComputeTask) -> str:
    """The task as a line for any worker; raises ComputeEncodingError."""
    check_function(task.function)
    what = f"the arguments of {task.function} ({task.key})"
    arguments = encoded(task.arguments, what=what)
    rest = encoded(
        {
            "function": task.function,
            "attempt": task.attempt,
            "scratch": None if task.scratch is None else str(task.scratch),
            "path": [os.path.abspath(entry) for entry in sys.path],
        },
        what=f"the task {task.key}",
    )
    return f'{rest[:-1]},"arguments":{arguments}}}'


def result_of(function: str, message: Message) -> JsonValue:
    """What a final message says: the result, or the error it stands for."""
    text = str(message.get("message"))
    match message["kind"]:
        case "result":
            return message["result"]
        case "unsendable":
            raise ComputeEncodingError(text)
        case "stopped":
            raise ComputeFailedError(
                function,
                type=ComputeStopError.__name__,
                message="it stopped though nobody asked it to",
                traceback_text="",
            )
    error = ComputeFailedError(
        function, type=str(message["type"]), message=text, traceback_text=str(message["traceback"])
    )
    if message["reaction"] == "give_up":
        raise GiveUpError(text) from error
    if message["reaction"] == "retry":
        raise RetryError(text, cast("float | None", message["retry_after_s"])) from error
    raise error


def _spawned(descriptor: int, niceness: int) -> subprocess.Popen[bytes]:
    """Start the program of a worker; a group of its own keeps a terminal's Ctrl-C from it.

    Not `multiprocessing`: its spawn runs the parent's main module again in the child, and pickles.
    """
    program = [
        sys.executable,
        "-P",
        "-c",
        PROGRAM,
        str(ROOT),
        str(descriptor),
        str(os.getpid()),
        str(niceness),
    ]
    return subprocess.Popen(
        program, stdin=subprocess.DEVNULL, pass_fds=(descriptor,), process_group=0, close_fds=True
    )
