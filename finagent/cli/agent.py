"""The running agent of a home, spoken to over HTTP with the home's local token."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from finagent.context import CommandResult, ExitCode, Json, SurfaceError
from finagent.runtime.lock import is_alive

AGENT_FILE = "agent.json"
TOKEN_FILE = "token"
TIMEOUT_S = 30.0
STOPPING = ("kill", "flatten", "pause")
"""Orders that must arrive even when nobody answers."""


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """Where an agent answers and what opens it."""

    pid: int
    url: str
    token: str


def find_agent(home: Path) -> RunningAgent | None:
    """The agent that said it runs here, or None; a file left behind by a dead process counts as none."""
    try:
        note = json.loads((home / AGENT_FILE).read_text(encoding="utf-8"))
        pid, url = int(note["pid"]), str(note["url"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return None
    if not is_alive(pid):
        return None
    try:
        token = (home / TOKEN_FILE).read_text(encoding="ascii").strip()
    except OSError as error:
        raise SurfaceError(
            f"cannot read {home / TOKEN_FILE}: {error.strerror}",
            hint=f"Run this as the user of the agent (process {pid})",
            code="no_token",
        ) from None
    return RunningAgent(pid, url, token)


def post(agent: RunningAgent, path: str, body: dict[str, Json]) -> CommandResult:
    """Send one command; a refusal is a result, an agent that does not answer is SurfaceError with exit 5."""
    import httpx

    headers = {"Authorization": f"Bearer {agent.token}", "Idempotency-Key": secrets.token_hex(16)}
    try:
        with httpx.Client(base_url=agent.url, timeout=TIMEOUT_S, trust_env=False) as client:
            reply = client.post(f"/api/v1/{path}", json=body, headers=headers)
    except httpx.HTTPError as error:
        raise SurfaceError(
            f"the agent (process {agent.pid}) does not answer at {agent.url}: {error}",
            hint="Try again, look at its log, or stop it and repeat the command",
            code="agent_unreachable",
            exit_code=ExitCode.UNREACHABLE,
        ) from None
    return _result(reply.status_code, reply.text, agent)


def leave_flag(home: Path, verb: str, body: dict[str, Json]) -> None:
    """Write the order where the agent looks for it, whole or not at all; one about a symbol replaces no other."""
    folder = home / "flags"
    folder.mkdir(parents=True, exist_ok=True)
    symbol = body.get("symbol")
    name = f"{verb} {quote(symbol, safe='')}" if isinstance(symbol, str) else verb
    unfinished = folder / f".{name}.json"
    unfinished.write_text(json.dumps(body), encoding="utf-8")
    unfinished.replace(folder / f"{name}.json")


def _result(status: int, text: str, agent: RunningAgent) -> CommandResult:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SurfaceError(
            f"what answers at {agent.url} is no finagent (HTTP {status})",
            hint="Restart the agent",
            code="agent_unreachable",
            exit_code=ExitCode.UNREACHABLE,
        )
    data = document.get("data")
    details: dict[str, Json] = dict(data) if isinstance(data, dict) else {}
    if status < 400:
        return CommandResult(
            code=str(document.get("code")), message=str(document.get("message")), data=details
        )
    details.setdefault("hint", str(document.get("hint") or ""))
    return CommandResult(
        code=str(document.get("code") or "error"),
        message=str(document.get("detail") or document.get("title")),
        exit_code=_exit_code(document.get("exit_code"), status),
        data=details,
    )


def _exit_code(value: object, status: int) -> ExitCode:
    try:
        return ExitCode(int(str(value)))
    except ValueError:
        return ExitCode.UNREACHABLE if status >= 500 else ExitCode.ERROR
