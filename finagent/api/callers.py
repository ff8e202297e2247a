"""Who calls: the home's own token or one of its book, what that may do, and under which name it is journalled."""

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from finagent.runtime.clock import SystemClock
from finagent.runtime.tokens import LogDamagedError, Token, TokenBook, TokenScope, hash_of, rank

LOG = logging.getLogger(__name__)
STATE = "finagent.caller"
LOCAL, PAGE = "local", "page"
NEW_TOKEN = "finagent user token create NAME --scope SCOPE, on the agent's machine, makes one"
OnRefused = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request does not pass; ``reason`` is the word it is counted under."""

    status: int
    detail: str
    code: str
    hint: str
    reason: str
    token: str = ""


class ForbiddenError(Exception):
    """A caller that is known asks for what its token does not allow."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sent a request: ``name`` of the token, its highest scope; local is the home's own token."""

    name: str
    scope: TokenScope
    is_local: bool = False

    def identity(self, said: str | None) -> str:
        """The name for the journal: only the home's own token may speak for somebody else."""
        if self.is_local:
            return said or "http"
        return f"token:{self.name}"

    def channel(self, said: str) -> str:
        """The channel for the journal: only local programs are the command line or a messenger."""
        return said if self.is_local or said in ("http", "dashboard") else "http"


class Callers:
    """Knows a bearer token: the home's own, the page's, or one of the book that is in force."""

    def __init__(
        self, *, local_hash: str, book: TokenBook | None = None, page_hash: str | None = None
    ) -> None:
        self._local_hash = local_hash
        self._page_hash = page_hash
        self._book = book

    def judge(self, header: str) -> Caller | Refusal:
        """The caller of an Authorization header, or why there is none; every hash is compared in constant time."""
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            return _unauthorised("token_missing")
        given = hash_of(text.strip())
        is_local = hmac.compare_digest(given, self._local_hash)
        is_page = self._page_hash is not None and hmac.compare_digest(given, self._page_hash)
        if is_local or is_page:
            name, scope = (LOCAL, TokenScope.ADMIN) if is_local else (PAGE, TokenScope.TRADE)
            return Caller(name=name, scope=scope, is_local=is_local)
        try:
            token = self._book.find(text.strip()) if self._book is not None else None
        except (LogDamagedError, OSError, ValueError, KeyError) as error:
            LOG.error("tokens.unreadable", extra={"detail": str(error)})
            return Refusal(
                status=503,
                detail="the tokens of this home cannot be read",
                code="tokens_unreadable",
                hint="finagent user token list, on the agent's machine, says what is wrong",
                reason="tokens_unreadable",
            )
        return _unauthorised("token_wrong") if token is None else self._of(token)

    def _of(self, token: Token) -> Caller | Refusal:
        state = token.state(SystemClock().now_ms())
        if state != "active" or not token.scopes:
            return Refusal(
                status=401,
                detail=f"the token {token.name} is {state}",
                code=f"token_{state}",
                hint=NEW_TOKEN,
                reason=f"token_{state}",
                token=token.name,
            )
        return Caller(name=token.name, scope=max(token.scopes, key=rank))


def _unauthorised(reason: str) -> Refusal:
    """A missing and a wrong token get the same answer: nobody learns which tokens there are."""
    return Refusal(
        status=401,
        detail="a bearer token is missing or wrong",
        code="unauthorised",
        hint=f"The home's own token is in its file token; {NEW_TOKEN}",
        reason=reason,
    )


def seat(scope: Scope, caller: Caller) -> None:
    """Remember the caller for the route that answers."""
    scope.setdefault("state", {})[STATE] = caller


def caller_of(request: Request) -> Caller:
    """The caller that the guard let pass."""
    caller = request.scope["state"][STATE]
    assert isinstance(caller, Caller)
    return caller


class Needs:
    """A route's demand: a scope, and for some that the call comes from this machine's own command line."""

    def __init__(self, scope: TokenScope, *, is_local_only: bool = False) -> None:
        self.scope = scope
        self.is_local_only = is_local_only

    async def __call__(self, request: Request) -> Caller:
        caller = caller_of(request)
        refusal = self.refusal(caller)
        if refusal is not None:
            raise ForbiddenError(refusal)
        return caller

    def refusal(self, caller: Caller) -> Refusal | None:
        """Why the caller may not, None when it may."""
        if rank(caller.scope) < rank(self.scope):
            return Refusal(
                status=403,
                detail=f"this needs the scope {self.scope}, the token {caller.name} has {caller.scope}",
                code="scope_missing",
                hint=f"finagent user token create NAME --scope {self.scope}, on the agent's machine, makes one",
                reason="scope_missing",
                token=caller.name,
            )
        if self.is_local_only and not caller.is_local:
            return Refusal(
                status=403,
                detail="this is done on the agent's machine only, by whoever may read its home",
                code="local_only",
                hint="Run it there with the command line of finagent",
                reason="local_only",
                token=caller.name,
            )
        return None


LOCAL_ADMIN = Needs(TokenScope.ADMIN, is_local_only=True)


def refuse_unless_local(caller: Caller) -> None:
    """ForbiddenError for what only the machine's own command line may ask: a part of a route's body, not the route."""
    refusal = LOCAL_ADMIN.refusal(caller)
    if refusal is not None:
        raise ForbiddenError(refusal)


Reader = Annotated[Caller, Depends(Needs(TokenScope.READ))]
Approver = Annotated[Caller, Depends(Needs(TokenScope.APPROVE))]
Trader = Annotated[Caller, Depends(Needs(TokenScope.TRADE))]
LocalAdmin = Annotated[Caller, Depends(LOCAL_ADMIN)]
