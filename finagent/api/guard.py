"""The gate before every route: Host and Origin allow-lists, the bearer token, a bound on bodies."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finagent.api.callers import Caller, Callers, OnRefused, Refusal, seat
from finagent.api.problems import MEDIA_TYPE, problem_body
from finagent.context import ExitCode

BODY_LIMIT = 64 * 1024
OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"})
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


class Guard:
    """ASGI middleware that refuses strangers before any route sees them.

    A page of another site cannot reach it: a rebound name fails on Host (421), its page on Origin (403).
    Health and metrics are open to whoever may connect; all else needs a token, and each route its scope. What is
    refused is told to ``on_refused``: a word for the reason and, where it is known, the token's name.
    """

    def __init__(
        self, app: ASGIApp, *, callers: Callers, allowed_hosts: Sequence[str], on_refused: OnRefused
    ) -> None:
        self._app = app
        self._callers = callers
        self._on_refused = on_refused
        self._hosts = frozenset(name.lower() for name in (*allowed_hosts, *LOCAL_NAMES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._host(headers) or self._origin(headers) or self._token(scope, headers)
        if refusal is not None:
            self._on_refused(refusal.reason, refusal.token)
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
            status=421,
            detail="this host name is not served here",
            code="host_not_allowed",
            hint="Add it to api.allowed_hosts if it is yours",
            reason="host",
        )

    def _origin(self, headers: Headers) -> Refusal | None:
        origin = headers.get("origin")
        if origin is None or (urlsplit(origin).hostname or "") in self._hosts:
            return None
        return Refusal(
            status=403,
            detail="pages of another origin may not call this",
            code="origin_not_allowed",
            hint="Call it directly",
            reason="origin",
        )

    def _token(self, scope: Scope, headers: Headers) -> Refusal | None:
        if scope["path"] in OPEN_PATHS:
            return None
        judged = self._callers.judge(headers.get("authorization", ""))
        if isinstance(judged, Caller):
            seat(scope, judged)
            return None
        return judged


def host_name(header: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def read_body(receive: Receive, headers: Headers) -> bytes | Refusal:
    """The whole body, or a refusal where it is larger than 64 KiB."""
    too_large = Refusal(
        status=413,
        detail="the body is larger than 64 KiB",
        code="body_too_large",
        hint="Send less",
        reason="body",
    )
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
    exit_code = ExitCode.REFUSED if refusal.status == 403 else ExitCode.ERROR
    body = problem_body(
        refusal.status, refusal.detail, code=refusal.code, hint=refusal.hint, exit_code=exit_code
    )
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
