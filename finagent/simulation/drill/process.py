"""The agent as a process of its own: started as a user starts it, killed with SIGKILL at an instant or at a point."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

import httpx

from finagent.runtime.failpoints import LOG_VARIABLE, VARIABLE

KILLED = -signal.SIGKILL
DIED_AT = "drill-died-at"
READY_LOOK_S = 0.03
START_LIMIT_S = 90.0
STOP_LIMIT_S = 30.0


class AgentBrokenError(Exception):
    """The agent ended by itself, or did not come up; the text has the last of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """How the agent of a drill is started."""

    home: Path
    config: Path
    environment: dict[str, str]


class AgentProcess:
    """One life of the agent."""

    def __init__(self, process: Process, home: Path, log: Path) -> None:
        self._process, self._home, self._log = process, home, log

    @classmethod
    async def start(cls, call: AgentCall, *, failpoints: str = "") -> "AgentProcess":
        """Start ``finagent orchestrate``; its clock is the one that the home remembers."""
        words = ["--home", str(call.home), "--config", str(call.config), "orchestrate", "--port", "0"]
        log = call.home / "drill-agent.log"
        (call.home / "agent.json").unlink(missing_ok=True)
        (call.home / DIED_AT).unlink(missing_ok=True)
        environment = {
            **os.environ,
            **call.environment,
            VARIABLE: failpoints,
            LOG_VARIABLE: str(call.home / DIED_AT),
        }
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "finagent", *words,
                env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        return cls(process, call.home, log)

    @property
    def is_over(self) -> bool:
        """Whether the process has ended, by whatever."""
        return self._process.returncode is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Until /readyz says yes. AgentBrokenError where the process ends before, or takes too long."""
        async with asyncio.timeout(START_LIMIT_S), httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while not await self._is_ready(client):
                if self.is_over:
                    raise AgentBrokenError(f"exit {self._process.returncode}: {self.last_words()}")
                await asyncio.sleep(READY_LOOK_S)

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            note = json.loads((self._home / "agent.json").read_text(encoding="utf-8"))
            return (await client.get(f"{note['url']}/readyz")).status_code == 200
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return False

    async def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at most; False when it still lives."""
        try:
            await asyncio.wait_for(self._process.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True

    async def kill(self) -> bool:
        """SIGKILL; False when it had ended before, by itself."""
        if self.is_over:
            return False
        self._process.kill()
        return await self._process.wait() == KILLED

    async def stop(self) -> None:
        """SIGTERM and a clean end. AgentBrokenError where it does not end so."""
        if not self.is_over:
            self._process.terminate()
        if not await self.wait(STOP_LIMIT_S):
            await self.kill()
            raise AgentBrokenError(f"SIGTERM was not obeyed within {STOP_LIMIT_S:.0f} s")
        if self._process.returncode != 0:
            raise AgentBrokenError(f"exit {self._process.returncode}: {self.last_words()}")

    def died_at(self) -> str:
        """The failpoint that killed it; "" where none did."""
        try:
            return (self._home / DIED_AT).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    @property
    def was_announced(self) -> bool:
        """Whether it had come so far as to say where it listens: before that it was still recovering."""
        return (self._home / "agent.json").exists()

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it lives."""
        return self._process.returncode

    def last_words(self) -> str:
        """The end of what it printed."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace")[-600:].strip()
        except OSError:
            return ""
