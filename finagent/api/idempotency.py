"""Idempotency-Key: the same POST again gets the first answer, another body under that key is refused."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finagent.api.callers import STATE, Caller, Refusal
from finagent.api.guard import read_body, refuse

KEPT = 1024
KEY_LIMIT = 128


@dataclass(slots=True)
class _Answer:
    """What was asked under a key and, once there, what was answered."""

    request_hash: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    messages: list[Message] | None = None


class Idempotency:
    """ASGI middleware that keeps the last answers of each caller in memory, bounded; commands may be repeated anyway.

    Of two requests under one key at a time the second waits for the first. Server errors are not kept.
    """

    def __init__(self, app: ASGIApp, *, kept: int = KEPT) -> None:
        self._app = app
        self._kept = kept
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get("idempotency-key")
        if scope["type"] != "http" or scope["method"] != "POST" or key is None:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= KEY_LIMIT:
            await refuse(
                send,
                Refusal(
                    status=400,
                    detail="the Idempotency-Key has no sensible length",
                    code="bad_key",
                    hint="1 to 128 characters",
                    reason="bad_key",
                ),
            )
            return
        body = await read_body(receive, headers)
        if isinstance(body, Refusal):
            await refuse(send, body)
            return
        request_hash = hashlib.sha256(
            f"{scope['path']}?{scope['query_string']!r}\n".encode() + body
        ).hexdigest()
        kept_as = f"{_name_of(scope)}/{key}"
        answer = self._answer(kept_as, request_hash)
        if answer.request_hash != request_hash:
            await refuse(
                send,
                Refusal(
                    status=409,
                    detail="this Idempotency-Key was used for another request",
                    code="key_reused",
                    hint="Use a new key",
                    reason="key_reused",
                ),
            )
            return
        async with answer.lock:
            if answer.messages is None:
                await self._ask(scope, body, receive, answer)
            messages = answer.messages or []
        for message in messages:
            await send(message)
        if messages and messages[0]["status"] >= 500:
            self._answers.pop(kept_as, None)

    def _answer(self, key: str, request_hash: str) -> _Answer:
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = _Answer(request_hash)
            while len(self._answers) > self._kept:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        return answer

    async def _ask(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        messages: list[Message] = []
        is_given = False

        async def given() -> Message:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, given, keep)
        answer.messages = messages


def _name_of(scope: Scope) -> str:
    """Whose key it is: nobody gets the answer to somebody else's request."""
    caller = scope.get("state", {}).get(STATE)
    return caller.name if isinstance(caller, Caller) else ""
