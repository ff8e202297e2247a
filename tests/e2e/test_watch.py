"""jobs watch as a process: on a real terminal, into a pipe, and what Ctrl-C, SIGTERM and a missing file do to it."""

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.queue.job import JobPolicy, JobTypes, NewJob
from finagent.runtime.clock import SystemClock, SystemTicker

ROOT = Path(__file__).resolve().parents[2]
FINAGENT = (sys.executable, "-m", "finagent")
ALT_ON, ALT_OFF, CURSOR_ON = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def environment(home: Path) -> dict[str, str]:
    """A terminal that can do everything, and no setting of the machine's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FINAGENT", "COLUMNS", "LINES"))
    }
    return {**kept, "FINAGENT_HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A home whose queue holds a few jobs."""
    found = tmp_path / "home"
    found.mkdir()
    types = JobTypes({f"type{number}": JobPolicy(priority=1) for number in range(30)})
    async with await Database.open(found / "finagent.db", clock=SystemClock()) as database:
        queue = SqliteJobQueue(database, types, SystemClock(), SystemTicker())
        await queue.start()
        for name in types:
            await queue.publish(NewJob(name, {}, f"{name}:1"))
        await queue.close()
    return found


class Terminal:
    """A process behind a terminal of a given size."""

    def __init__(self, home: Path, arguments: Sequence[str], *, columns: int, rows: int) -> None:
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._main = main
        self.process = subprocess.Popen(
            [*FINAGENT, *arguments], env=environment(home), cwd=home.parent, stdin=side, stdout=side, stderr=side,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(side)
        self.seen = b""

    def read_until(self, words: bytes, times: int = 1) -> None:
        while self.seen.count(words) < times:
            self.seen += os.read(self._main, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def end(self) -> int:
        try:
            while chunk := os.read(self._main, 65536):
                self.seen += chunk
        except OSError:
            pass  # Linux answers EIO once the other side is closed
        os.close(self._main)
        return self.process.wait(20)


@pytest.mark.parametrize(("columns", "rows"), [(60, 16), (120, 50)])
def test_terminal_is_redrawn_in_place_and_left_as_it_was(home: Path, columns: int, rows: int) -> None:
    """Ctrl-C ends with 130, the first screen comes back and keeps the last snapshot whole."""
    terminal = Terminal(home, ["jobs", "watch", "--interval", "0.1"], columns=columns, rows=rows)
    terminal.read_until(b"Ctrl-C ends", 3)
    terminal.type(b"\x03")
    assert terminal.end() == 130
    seen = terminal.seen
    assert (seen.count(ALT_ON), seen.count(ALT_OFF)) == (1, 1)
    assert seen.rindex(CURSOR_ON) > seen.rindex(b"Ctrl-C ends")
    assert b"\x1b[2J" not in seen[seen.index(b"Ctrl-C ends") :], "cleared between two frames: that flickers"
    left_behind = seen[seen.index(ALT_OFF) :].decode()
    assert ("type29" in left_behind, "Traceback" in left_behind) == (True, False)
    drawn = seen[: seen.index(ALT_OFF)]
    assert (b"types more" if rows < 30 else b"type29") in drawn


def test_sigterm_leaves_the_terminal_as_it_was(home: Path) -> None:
    terminal = Terminal(home, ["jobs", "watch"], columns=80, rows=24)
    terminal.read_until(b"Ctrl-C ends")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 0
    assert terminal.seen.count(ALT_OFF) == 1


def test_interrupt_of_a_pipe_ends_between_two_documents(home: Path) -> None:
    watch = subprocess.Popen(
        [*FINAGENT, "jobs", "watch", "--json", "--interval", "0.1"], env=environment(home), cwd=home.parent,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    lines = [watch.stdout.readline() for _ in range(2)]
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=20)
    assert (watch.returncode, err) == (130, "")
    documents = [json.loads(line) for line in [*lines, *out.splitlines()]]
    assert all(document["by_status"]["ready"] == 30 for document in documents)


def test_reader_that_leaves_ends_the_watch(home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m finagent jobs watch --interval 0.1 | head -n 1"],
        env=environment(home), cwd=home.parent, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_database_that_goes_away_is_waited_for(home: Path) -> None:
    """A run that starts over, a backup put in place: the watch says so and goes on with the new file."""
    watch = subprocess.Popen(
        [*FINAGENT, "jobs", "watch", "--json", "--interval", "0.1"], env=environment(home), cwd=home.parent,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    assert "note" not in json.loads(watch.stdout.readline())
    shutil.move(home / "finagent.db", home / "aside.db")
    while "note" not in (document := json.loads(watch.stdout.readline())):
        pass
    assert document["note"].startswith("waiting: no database at ")
    shutil.move(home / "aside.db", home / "finagent.db")
    while "note" in (document := json.loads(watch.stdout.readline())):
        pass
    assert document["by_status"]["ready"] == 30
    watch.terminate()
    watch.communicate(timeout=20)
    assert watch.returncode == 0
