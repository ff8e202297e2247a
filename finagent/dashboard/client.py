"""The agent as the page sees it: documents over HTTP with a token."""

import os
import secrets
from pathlib import Path
from typing import Any

import httpx

URL_VARIABLE = "FINAGENT_API_URL"
TOKEN_VARIABLE = "FINAGENT_API_TOKEN"
FILE_VARIABLE = "FINAGENT_API_TOKEN_FILE"
DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 5.0

Document = dict[str, Any]


class AgentUnreachableError(Exception):
    """The agent does not answer, or does not know this page's token."""


class AgentClient:
    """A connection to one agent; safe to use from several threads."""

    def __init__(self, url: str, token_file: Path, *, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._known_token = token
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False)

    @classmethod
    def from_environment(cls) -> "AgentClient":
        """The agent that the environment names; by default the local one with the token of ``./var``."""
        home = Path(os.environ.get("FINAGENT_HOME") or "var")
        return cls(
            os.environ.get(URL_VARIABLE) or DEFAULT_URL,
            Path(os.environ.get(FILE_VARIABLE) or home / "token"),
            token=os.environ.get(TOKEN_VARIABLE) or None,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self) -> Document:
        """Mode, clock, session, account, control, problems, next jobs."""
        return self._get("status")

    def plans(self) -> list[Document]:
        """Plans, best rank first."""
        return _rows(self._get("plans"), "plans")

    def positions(self) -> list[Document]:
        """Open positions."""
        return _rows(self._get("positions"), "positions")

    def trades(self, session: str | None) -> list[Document]:
        """Closed trades of a session, of all when it is unknown."""
        return _rows(self._get("trades", {"session": session} if session else {}), "trades")

    def risk(self) -> Document:
        """Limits and the part used."""
        return self._get("risk")

    def approve(self, plan: Document) -> tuple[bool, str]:
        """Yes to exactly the plan that was shown; whether it was taken, and the agent's words."""
        body = {"identity": "dashboard", "channel": "dashboard"}
        for key in ("plan_hash", "nonce"):
            if isinstance(plan.get(key), str):
                body[key] = plan[key]
        return self._post(f"plans/{plan['plan_id']}/approve", body)

    def reject(self, plan: Document) -> tuple[bool, str]:
        """No to a plan."""
        return self._post(
            f"plans/{plan['plan_id']}/reject", {"identity": "dashboard", "channel": "dashboard"}
        )

    def _get(self, path: str, query: dict[str, str] | None = None) -> Document:
        return self._document(self._send("GET", path, params=query or {}))

    def _post(self, path: str, body: Document) -> tuple[bool, str]:
        reply = self._send("POST", path, json=body, headers={"Idempotency-Key": secrets.token_hex(16)})
        document = self._document(reply, raises=False)
        words = document.get("message") if reply.status_code < 400 else document.get("detail")
        hint = document.get("hint")
        return reply.status_code < 400, f"{words}. {hint}" if hint else str(words)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token()}", **options.pop("headers", {})}
        try:
            return self._http.request(method, f"/api/v1/{path}", headers=headers, **options)
        except httpx.HTTPError as error:
            raise AgentUnreachableError(f"no answer from {self.url} ({type(error).__name__})") from None

    def _token(self) -> str:
        if self._known_token is not None:
            return self._known_token
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise AgentUnreachableError(f"cannot read {self._token_file}: {error.strerror}") from None

    def _document(self, reply: httpx.Response, *, raises: bool = True) -> Document:
        try:
            document = reply.json()
        except ValueError:
            raise AgentUnreachableError(f"what answers at {self.url} is no finagent") from None
        if not isinstance(document, dict):
            raise AgentUnreachableError(f"what answers at {self.url} is no finagent")
        if reply.status_code == 401 or (raises and reply.status_code >= 400):
            raise AgentUnreachableError(str(document.get("detail") or f"HTTP {reply.status_code}"))
        return document


def _rows(document: Document, key: str) -> list[Document]:
    found = document.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
