"""The gate before every route: Host and Origin allow-lists, the bearer token, a bound on bodies."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finagent.api.problems import MEDIA_TYPE, problem_body

BODY_LIMIT = 64 * 1024
OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"})
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not pass."""

    status: int
    detail: str
    code: str
    hint: str


class Guard:
    """ASGI middleware that refuses strangers before any route sees them.

    A page of another site cannot reach it: a rebound name fails on Host (421), its page on Origin (403).
    The token is compared by its SHA-256 in constant time; health and metrics are open to whoever may connect.
    """

    def __init__(self, app: ASGIApp, *, token_hash: str, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._token_hash = token_hash
        self._hosts = frozenset(name.lower() for name in (*allowed_hosts, *LOCAL_NAMES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._host(headers) or self._origin(headers) or self._token(scope["path"], headers)
        if refusal is not None:
            await refuse(send, refusal)
            return
        body = await read_body(receive, headers)
        if isinstance(body, Refusal):
            await refuse(send, body)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _host(self, headers: Headers) -> Refusal | None:
        if host_name(headers.get("host", "")) in self._hosts:
            return None
        return Refusal(
            421,
            "this host name is not served here",
            "host_not_allowed",
            "Add it to api.allowed_hosts if it is yours",
        )

    def _origin(self, headers: Headers) -> Refusal | None:
        origin = headers.get("origin")
        if origin is None or (urlsplit(origin).hostname or "") in self._hosts:
            return None
        return Refusal(
            403, "pages of another origin may not call this", "origin_not_allowed", "Call it directly"
        )

    def _token(self, path: str, headers: Headers) -> Refusal | None:
        if path in OPEN_PATHS:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token_hash):
            return None
        return Refusal(
            401,
            "a bearer token is missing or wrong",
            "unauthorised",
            "The local token is in the home's file token",
        )


def host_name(header: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def read_body(receive: Receive, headers: Headers) -> bytes | Refusal:
    """The whole body, or a refusal where it is larger than 64 KiB."""
    too_large = Refusal(413, "the body is larger than 64 KiB", "body_too_large", "Send less")
    declared = headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:12]) > BODY_LIMIT:
        return too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            return too_large
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with a problem document."""
    body = problem_body(refusal.status, refusal.detail, code=refusal.code, hint=refusal.hint)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once and then what the connection says."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
