"""The program of a worker, run here: what it answers, what it keeps, and when it ends."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from finagent.adapters.pool.child import Channel, Message, TaskContext, Worker, answer
from finagent.adapters.pool.worker import PROGRAM, ROOT, line_of
from finagent.queue.compute import ComputeStopError, ComputeTask
from finagent.queue.job import JsonValue
from finagent.runtime.errors import GiveUpError
from tests.integration.compute.functions import path_to


class Wire:
    """Both ends of a channel."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(10)
        self.lines = self.ours.makefile("rb")

    def send(self, text: str) -> None:
        self.ours.sendall(f"{text}\n".encode())

    def next(self) -> dict[str, JsonValue]:
        return cast("dict[str, JsonValue]", json.loads(self.lines.readline()))

    def close(self) -> None:
        """The parent is gone."""
        self.lines.close()
        self.ours.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()
    wire.theirs.close()


def context_on(wire: Wire, scratch: Path | None = None, attempt: int = 1) -> TaskContext:
    return TaskContext(7, Channel(wire.theirs.fileno()), attempt=attempt, scratch=scratch)


def message(name: str, number: int = 7, **arguments: JsonValue) -> str:
    line = line_of(ComputeTask(function=path_to(name), arguments=arguments, key="a"))
    return f'{{"task":{number},{line[1:]}'


def answered(wire: Wire, name: str, **arguments: JsonValue) -> Message:
    before = list(sys.path)
    try:
        return answer(json.loads(message(name, **arguments)), context_on(wire))
    finally:
        sys.path[:] = before


def test_answer_is_the_result_or_the_kind_of_failure(wire: Wire) -> None:
    assert answered(wire, "add", a=1, b=2) == {"task": 7, "kind": "result", "result": 3}
    assert answered(wire, "give_object")["kind"] == "unsendable"
    assert answered(wire, "stop_uninvited")["kind"] == "stopped"
    failed = answered(wire, "raise_error")
    assert (failed["kind"], failed["type"], failed["reaction"]) == ("failed", "ValueError", "")
    assert answered(wire, "raise_unreadable")["message"] == "(its message cannot be read)"
    assert answered(wire, "give_up")["reaction"] == "give_up"
    assert (
        answered(wire, "ask_for_retry")["reaction"],
        answered(wire, "ask_for_retry")["retry_after_s"],
    ) == (
        "retry",
        7.0,
    )
    assert answered(wire, "exit_politely")["type"] == "SystemExit"
    assert len(str(answered(wire, "recurse")["traceback"])) <= 20_000


def test_first_progress_is_sent_and_those_right_after_it_are_not(wire: Wire) -> None:
    context = context_on(wire)
    for fraction in (-3.0, 0.5, 0.9):
        context.progress(fraction, "x" * 1000)
    context.stop()
    wire.theirs.close()
    assert wire.next() == {"task": 7, "kind": "progress", "fraction": 0.0, "text": "x" * 200}
    assert wire.lines.readline() == b""
    assert context.is_stopped
    with pytest.raises(ComputeStopError):
        context.progress(1.0)


def test_checkpoint_is_the_newest_whole_one(wire: Wire, tmp_path: Path) -> None:
    context = context_on(wire, tmp_path, attempt=2)
    assert context.saved() is None
    context.save({"step": 1})
    context.save({"step": 2})
    with pytest.raises(TypeError):
        context.save(object())  # type: ignore[arg-type]
    assert context_on(wire, tmp_path).saved() == {"step": 2}


def test_checkpoint_needs_a_folder(wire: Wire) -> None:
    assert context_on(wire).saved() is None
    with pytest.raises(GiveUpError, match="give the task one"):
        context_on(wire).save(1)


def test_worker_serves_until_its_channel_is_closed(wire: Wire) -> None:
    before = list(sys.path)
    serving = threading.Thread(target=Worker(wire.theirs.fileno()).run)
    serving.start()
    wire.send('{"stop":1}')
    for number in range(1, 4):
        wire.send(message("add", number, a=number, b=1))
        assert wire.next() == {"task": number, "kind": "result", "result": number + 1}
    wire.send(message("burn", 4))
    assert wire.next()["kind"] == "progress"
    wire.send('{"stop":3}')  # comes late: that one is over
    assert [wire.next()["kind"] for _ in range(3)] == ["progress"] * 3
    wire.send('{"stop":4}')
    while (last := wire.next())["kind"] == "progress":
        continue
    assert last == {"task": 4, "kind": "stopped"}
    wire.ours.shutdown(socket.SHUT_WR)
    serving.join(10)
    assert not serving.is_alive()
    sys.path[:] = before


@pytest.mark.parametrize(("name", "code"), [("burn_silently", 1), (None, 0)])
def test_process_ends_when_its_channel_is_closed(wire: Wire, name: str | None, code: int) -> None:
    """Where no kernel tells of the parent's end, the channel does; an idle worker ends in order."""
    descriptor = wire.theirs.fileno()
    program = [sys.executable, "-P", "-c", PROGRAM, str(ROOT), str(descriptor), str(os.getpid()), "0"]
    with subprocess.Popen(program, pass_fds=(descriptor,)) as process:
        try:
            wire.theirs.close()
            wire.send(message(name or "add", a=1, b=1))
            wire.next()
            assert process.poll() is None
            wire.close()
            assert process.wait(10) == code
        finally:
            process.kill()


def test_process_of_another_parent_ends_at_once(wire: Wire) -> None:
    """It was started, and its parent died before it could ask to die with it."""
    descriptor = wire.theirs.fileno()
    program = [sys.executable, "-P", "-c", PROGRAM, str(ROOT), str(descriptor), "1", "0"]
    done = subprocess.run(program, pass_fds=(descriptor,), timeout=20, check=False)
    assert done.returncode == 1
