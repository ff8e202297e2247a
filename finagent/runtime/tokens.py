"""Tokens of people and programs: shown once, kept as SHA-256, with scopes, in an append-only file of the home.

The file is no table of the database on purpose: it answers while the database is locked or damaged, a backup that is
restored brings no revoked token back, and whoever may write it is the owner of the home already.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from finagent.runtime.append_log import AppendLog, Line, LogDamagedError

FILE = "tokens.log"
PREFIX = "fa_"
SECRET_BYTES = 32
NAME = re.compile(r"[a-z][a-z0-9_.-]{0,31}", re.ASCII)
MOST_TOKENS = 200
"""That may be in force at a time."""


class TokenScope(StrEnum):
    """What a token may do; each contains the ones before it."""

    READ = "read"
    APPROVE = "approve"
    TRADE = "trade"
    ADMIN = "admin"


class TokenError(Exception):
    """A token that cannot be made or revoked: what, and the mend behind a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token; never the token itself. Instants are wall-clock milliseconds."""

    id: str
    name: str
    scopes: tuple[TokenScope, ...]
    hash: str
    created_at_ms: int
    created_by: str
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    revoked_by: str = ""

    def state(self, now_ms: int) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at_ms is not None:
            return "revoked"
        is_over = self.expires_at_ms is not None and now_ms >= self.expires_at_ms
        return "expired" if is_over else "active"

    def allows(self, scope: TokenScope) -> bool:
        """Whether one of its scopes is, or contains, this one."""
        return any(rank(each) >= rank(scope) for each in self.scopes)


def rank(scope: TokenScope) -> int:
    """Its place in the ladder."""
    return tuple(TokenScope).index(scope)


def hash_of(token: str) -> str:
    """SHA-256 of a token in hexadecimal; it has 256 bits of chance, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class TokenBook:
    """The tokens of a home; reads its file anew when that has changed, so several processes may share it."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._log = AppendLog(self.path)
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()
        self._events: tuple[Line, ...] = ()

    def create(
        self,
        name: str,
        scopes: Sequence[TokenScope],
        *,
        by: str,
        now_ms: int,
        expires_at_ms: int | None = None,
    ) -> tuple[Token, str]:
        """A new token and its text, which nobody can see again; TokenError, LogDamagedError."""
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = Token(
            id=f"tk_{secrets.token_hex(4)}",
            name=name,
            scopes=tuple(sorted(set(scopes), key=rank)),
            hash=hash_of(text),
            created_at_ms=now_ms,
            created_by=by,
            expires_at_ms=expires_at_ms,
        )
        with self._alone():
            self.check_new(name, scopes, now_ms=now_ms)
            self._log.append(
                {
                    "event": "created",
                    "id": token.id,
                    "name": name,
                    "scopes": [scope.value for scope in token.scopes],
                    "hash": token.hash,
                    "at_ms": now_ms,
                    "by": by,
                    "expires_at_ms": expires_at_ms,
                }
            )
        return token, text

    def check_new(self, name: str, scopes: Sequence[TokenScope], *, now_ms: int) -> None:
        """Whether such a token could be made now; TokenError, LogDamagedError."""
        if not NAME.fullmatch(name):
            raise TokenError(
                f"{name!r} is no name of a token: use 1 to 32 of a-z, 0-9, . _ and -, a letter first"
            )
        if not scopes:
            raise TokenError(f"a token needs a scope: {', '.join(TokenScope)}")
        active = [each for each in self.tokens() if each.state(now_ms) == "active"]
        if any(each.name == name for each in active):
            raise TokenError(f"there is a token {name} already: revoke it first, or choose another name")
        if len(active) >= MOST_TOKENS:
            raise TokenError(f"{MOST_TOKENS} tokens are in force: revoke some")

    def revoke(self, which: str, *, by: str, now_ms: int) -> Token:
        """End a token, by its id or the name of one in force; TokenError when there is none, LogDamagedError."""
        with self._alone():
            tokens = self.tokens()
            named = [each for each in tokens if each.name == which and each.state(now_ms) == "active"]
            found = named or [each for each in tokens if which in (each.id, each.name)]
            if not found:
                raise TokenError(f"there is no token {which}: finagent user token list")
            token = found[-1]
            if token.revoked_at_ms is not None:
                raise TokenError(f"token {which} is revoked already: finagent user token list")
            self._log.append({"event": "revoked", "id": token.id, "at_ms": now_ms, "by": by})
        return replace(token, revoked_at_ms=now_ms, revoked_by=by)

    def tokens(self) -> tuple[Token, ...]:
        """Every token there ever was, oldest first; LogDamagedError."""
        self._refresh()
        return self._tokens

    def events(self) -> tuple[Line, ...]:
        """What happened to them in order, for the journal; LogDamagedError."""
        self._refresh()
        return self._events

    def find(self, text: str) -> Token | None:
        """The token of a text, in force or not; every hash is compared in constant time. LogDamagedError."""
        given, found = hash_of(text), None
        for token in self.tokens():
            if hmac.compare_digest(given, token.hash):
                found = token
        return found

    def _refresh(self) -> None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._seen, self._tokens, self._events = None, (), ()
            return
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen != self._seen:
            self._seen = None
            self._events = tuple(self._log.lines())
            self._tokens = folded(self._events)
            self._seen = seen

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time appends; the file is its owner's alone, whatever it was."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.fchmod(descriptor, 0o600)
            yield
        finally:
            os.close(descriptor)


def folded(events: Sequence[Line]) -> tuple[Token, ...]:
    """Tokens as their events leave them; an event of a kind from a later version changes nothing."""
    tokens: dict[str, Token] = {}
    for event in events:
        token_id, at_ms, by = str(event["id"]), int(str(event["at_ms"])), str(event["by"])
        if event["event"] == "created":
            scopes, expires = event["scopes"], event["expires_at_ms"]
            known = tuple(scope for scope in TokenScope if isinstance(scopes, list) and scope in scopes)
            tokens[token_id] = Token(
                id=token_id,
                name=str(event["name"]),
                scopes=known,
                hash=str(event["hash"]),
                created_at_ms=at_ms,
                created_by=by,
                expires_at_ms=int(str(expires)) if expires is not None else None,
            )
        elif event["event"] == "revoked" and token_id in tokens:
            tokens[token_id] = replace(tokens[token_id], revoked_at_ms=at_ms, revoked_by=by)
    return tuple(tokens.values())


__all__ = ["FILE", "LogDamagedError", "Token", "TokenBook", "TokenError", "TokenScope", "hash_of", "rank"]
