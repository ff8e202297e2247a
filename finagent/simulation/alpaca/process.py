"""The simulated broker as a process of its own, and the hand that works its control door over HTTP."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx

ENDED_WITHIN_S = 10.0
TOKEN_VARIABLE = "FINAGENT_SIMULATED_CONTROL_TOKEN"


class ControlRefusedError(Exception):
    """The control door did not do what was asked; the message is its answer."""


class ControlClient:
    """``control.run("trade", {"symbol": "XYZ", "price": "101"})`` from another process."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=10.0, trust_env=False
        )

    def run(self, name: str, order: Mapping[str, object]) -> dict[str, object]:
        """Carry a command out."""
        answer = self._client.post(f"/_control/{name}", json=dict(order))
        document: dict[str, object] = answer.json()
        if answer.status_code != 200:
            raise ControlRefusedError(str(document.get("message", document)))
        return document

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class AlpacaProcess:
    """``with AlpacaProcess(state=path) as broker``: its ``url``, its ``control``; it lives until the block ends."""

    def __init__(
        self,
        *,
        port: int = 0,
        state: Path | None = None,
        witness: Path | None = None,
        calendar: str = "weekdays",
    ) -> None:
        self._token = secrets.token_hex(16)
        self._arguments = ["--port", str(port), "--calendar", calendar]
        if state is not None:
            self._arguments += ["--state", str(state)]
        if witness is not None:
            self._arguments += ["--witness", str(witness)]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self._control: ControlClient | None = None

    @property
    def control(self) -> ControlClient:
        """The control door."""
        assert self._control is not None, "start the process first"
        return self._control

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "start the process first"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it listens; RuntimeError with what it said when it does not."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "finagent.simulation.alpaca", *self._arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, TOKEN_VARIABLE: self._token},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read()[-2000:]
            self.stop()
            raise RuntimeError(f"the simulated broker did not start: {said}")
        self.url = str(json.loads(line)["url"])
        self._control = ControlClient(self.url, self._token)

    def stop(self) -> None:
        """End it, by force when it does not go."""
        if self._control is not None:
            self._control.close()
        process = self._process
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process is not None
        self._process.wait(ENDED_WITHIN_S)

    def kill(self) -> None:
        """SIGKILL, as when the broker itself dies; ``state`` keeps what it had."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "AlpacaProcess":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
