"""Whole processes: run one to its end, or start the agent, and tell its seconds and its memory."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
BYTECODE = ROOT / ".cache" / "bytecode"
"""Where the measured processes keep compiled modules, as an installed program has them."""
READY_TIMEOUT_S = 60.0
POLL_S = 0.01


class ProcessFailedError(Exception):
    """A measured process did not end well."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended with status 0."""

    seconds: float
    peak_mib: float
    output: str

    @property
    def document(self) -> dict[str, object]:
        """The JSON document in the last line of its output."""
        found = json.loads(self.output.strip().splitlines()[-1])
        if not isinstance(found, dict):
            raise ProcessFailedError(f"no JSON object in the last line: {self.output[-200:]}")
        return found


def finagent(*arguments: str, home: Path | None = None) -> Finished:
    """Run the command line in a process of its own, with default settings."""
    command = [str(Path(sys.executable).with_name("finagent")), *arguments]
    return _run(
        command if Path(command[0]).exists() else [sys.executable, "-m", "finagent", *arguments], home
    )


def python(module: str, *arguments: str) -> Finished:
    """Run a module in a process of its own."""
    return _run([sys.executable, "-m", module, *arguments], None)


def _run(command: list[str], home: Path | None) -> Finished:
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = _read(process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise ProcessFailedError(f"{' '.join(command)} ended with {process.returncode}: {output[-2000:]}")
    return Finished(seconds, usage.ru_maxrss / 1024, output)


def _read(stream: IO[str] | None) -> str:
    return stream.read() if stream is not None else ""


def _environment(home: Path | None) -> Mapping[str, str]:
    """This one's with compiled modules, and without settings of its user: the defaults are measured."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FINAGENT_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    mine["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    return mine if home is None else {**mine, "FINAGENT_HOME": str(home)}


@dataclass(slots=True)
class RunningAgent:
    """An agent that answered /readyz with 200."""

    process: subprocess.Popen[bytes]
    ready_s: float
    stop_s: float | None = None

    def memory_mib(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """SIGTERM; ProcessFailedError when it does not end with status 0."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(READY_TIMEOUT_S)
        self.stop_s = time.perf_counter() - began
        if status != 0:
            raise ProcessFailedError(f"the agent ended with {status} after SIGTERM")


@contextlib.contextmanager
def agent(home: Path) -> Iterator[RunningAgent]:
    """``orchestrate`` on a free port until the block ends; its seconds count from the spawn to ready."""
    port = _free_port()
    command = [sys.executable, "-m", "finagent", "orchestrate", "--port", str(port)]
    log = home.with_name(f"{home.name}.log")
    began = time.perf_counter()
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=ROOT, env=_environment(home), stdout=out, stderr=out) as process,
    ):
        try:
            _wait_ready(process, f"http://127.0.0.1:{port}/readyz", began, log)
            yield RunningAgent(process, time.perf_counter() - began)
        finally:
            if process.poll() is None:
                process.kill()


def _wait_ready(process: subprocess.Popen[bytes], url: str, began: float, log: Path) -> None:
    while time.perf_counter() - began < READY_TIMEOUT_S and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as reply:
            if reply.status == 200:
                return
        time.sleep(POLL_S)
    raise ProcessFailedError(f"the agent is not ready: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
