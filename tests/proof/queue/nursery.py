"""The test's side of the zygote: order processes, hear from them, kill them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 60.0


class SilentError(Exception):
    """A process said nothing for too long, or the zygote is gone."""


class Nursery:
    """One zygote; its children inherit stdout, where they say that they are ready."""

    def __init__(self, folder: Path, module: str = "tests.proof.queue.zygote") -> None:
        self._errors = folder / "stderr.txt"
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._heard = b""

    def order(self, errand: str, *, count: int = 1, **arguments: object) -> None:
        """Start `count` processes with the same arguments."""
        texts = {name: str(value) for name, value in arguments.items()}
        line = json.dumps({"errand": errand, "count": count, "arguments": texts})
        _open(self._process.stdin).write(f"{line}\n".encode())
        _open(self._process.stdin).flush()

    def hear(self, word: str, *, limit_s: float = LIMIT_S) -> list[str]:
        """The next line, which must begin with `word`; its other words."""
        line = self.line(limit_s)
        if line is None or line.split()[0] != word:
            raise SilentError(f"expected {word!r}, heard {line!r}: {self.errors()[-3000:]}")
        return line.split()[1:]

    def line(self, limit_s: float) -> str | None:
        """The next line, None when none comes in time."""
        stream, end_s = _open(self._process.stdout), time.monotonic() + limit_s
        while b"\n" not in self._heard:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
                return None
            found = os.read(stream.fileno(), 65536)
            if not found:
                raise SilentError(f"the zygote is gone: {self.errors()[-3000:]}")
            self._heard += found
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait until it is dead."""
        os.kill(pid, signal.SIGKILL)
        while (line := self.line(LIMIT_S)) is not None and not line.startswith(f"ended {pid}"):
            pass

    def errors(self) -> str:
        """What all children wrote to stderr."""
        return self._errors.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open(self._process.stdin).close()
        try:
            self._process.wait(1.0 if kind is not None else LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _open(self._process.stdout).close()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
