"""Who may what over HTTP: each route demands its scope, each refusal says the mend and is counted, nothing leaks."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from finagent.api.build import create_api
from finagent.api.callers import Callers
from finagent.api.guard import OPEN_PATHS
from finagent.runtime.clock import SystemClock
from finagent.runtime.tokens import TokenBook, TokenScope, hash_of
from tests.unit.api.documents import PLAN_ID
from tests.unit.api.home import memory_context

LOCAL, PAGE = "l" * 43, "p" * 43
DEMANDS = {
    "POST /api/v1/plans/{plan_id}/approve": "approve",
    "POST /api/v1/plans/{plan_id}/reject": "approve",
    "POST /api/v1/control/rearm": "admin, local",
}
"""Every other POST trades, every GET reads."""


class Surface:
    """An application over a home in memory, a token of each scope, and what was refused."""

    def __init__(self, home: Path) -> None:
        context, self.commands = memory_context()
        self.book = TokenBook(home)
        self.refused: list[tuple[str, str]] = []
        self.app = create_api(
            context,
            callers=Callers(local_hash=hash_of(LOCAL), book=self.book, page_hash=hash_of(PAGE)),
            registry=CollectorRegistry(),
            health=lambda: {"live": True, "ready": True},
            on_refused=lambda reason, token: self.refused.append((reason, token)),
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8000",
        )
        self.tokens = {scope: self.token(scope.value, scope) for scope in TokenScope}

    def token(self, name: str, *scopes: TokenScope, expires_at_ms: int | None = None) -> str:
        now_ms = SystemClock().now_ms()
        return self.book.create(name, scopes, by="me", now_ms=now_ms, expires_at_ms=expires_at_ms)[1]

    async def ask(self, method: str, path: str, token: str | None, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= more.pop("headers", {})  # type: ignore[arg-type, operator]
        return await self.http.request(method, path, headers=headers, **more)  # type: ignore[arg-type]


@pytest.fixture
async def surface(tmp_path: Path) -> AsyncIterator[Surface]:
    made = Surface(tmp_path)
    async with made.http:
        yield made


async def test_every_route_demands_its_scope(surface: Surface) -> None:
    """As strangers meet it, route by route; a new one without a demand fails here. Health and metrics are open."""
    routes = [
        (method.upper(), path)
        for path, methods in surface.app.openapi()["paths"].items()
        for method in methods
        if path not in OPEN_PATHS
    ]
    assert len(routes) > 25
    for method, path in routes:
        wanted = DEMANDS.get(f"{method} {path}", "read" if method == "GET" else "trade")
        at = re.sub(r"{\w+}", "1", path)
        codes = {scope: await refusal(surface, method, at, token) for scope, token in surface.tokens.items()}
        below = list(TokenScope)[: list(TokenScope).index(TokenScope(wanted.partition(",")[0]))]
        assert [scope for scope in TokenScope if codes[scope] == "scope_missing"] == below, path
        assert (codes[TokenScope.ADMIN] == "local_only") is wanted.endswith("local"), path
        assert await refusal(surface, method, at, None) == "unauthorised", path


async def refusal(surface: Surface, method: str, path: str, token: str | None) -> str:
    """The code with which the caller is turned away, empty where it is heard."""
    reply = await surface.ask(method, path, token)
    return str(reply.json()["code"]) if reply.status_code in (401, 403) else ""


ASKED = (
    ("GET", "/api/v1/status", TokenScope.READ),
    ("POST", f"/api/v1/plans/{PLAN_ID}/approve", TokenScope.APPROVE),
    ("POST", "/api/v1/control/pause", TokenScope.TRADE),
)


@pytest.mark.parametrize(("method", "path", "needed"), ASKED, ids=[each[1][8:14] for each in ASKED])
async def test_token_below_the_scope_is_refused_and_told_which_it_needs(
    surface: Surface, method: str, path: str, needed: TokenScope
) -> None:
    scopes = tuple(TokenScope)
    for scope, token in surface.tokens.items():
        before = len(surface.commands.calls)
        reply = await surface.ask(method, path, token)
        if scopes.index(scope) >= scopes.index(needed):
            assert reply.status_code in (200, 409), reply.text
            continue
        document = reply.json()
        assert (reply.status_code, document["code"], document["exit_code"]) == (403, "scope_missing", 3)
        assert document["detail"] == f"this needs the scope {needed}, the token {scope} has {scope}"
        assert f"--scope {needed}" in document["hint"]
        assert len(surface.commands.calls) == before
        assert surface.refused[-1] == ("scope_missing", scope.value)


async def test_rearm_is_done_on_the_agents_machine_alone(surface: Surface) -> None:
    """Not with an admin's token, not from the page: with the home's own token only."""
    for token in (surface.tokens[TokenScope.ADMIN], PAGE):
        reply = await surface.ask("POST", "/api/v1/control/rearm", token)
        assert reply.status_code == 403
        assert reply.json()["code"] in ("local_only", "scope_missing")
    assert surface.commands.calls == []
    assert (await surface.ask("POST", "/api/v1/control/rearm", LOCAL)).status_code == 200


async def test_missing_wrong_and_malformed_tokens_get_one_answer_that_tells_nothing(surface: Surface) -> None:
    """Same words for all, and of what was sent nothing comes back."""
    sent = "fa_" + "x" * 43
    answers = [
        await surface.ask("GET", "/api/v1/status", None),
        await surface.ask("GET", "/api/v1/status", sent),
        await surface.ask("GET", "/api/v1/status", ""),
        await surface.ask("GET", "/api/v1/status", None, headers={"Authorization": f"Basic {sent}"}),
        await surface.ask("GET", "/api/v1/status", surface.book.tokens()[0].hash),
        await surface.ask("GET", "/api/v1/status", surface.book.tokens()[0].id),
    ]
    assert {reply.status_code for reply in answers} == {401}
    assert len({reply.text for reply in answers}) == 1
    assert sent not in answers[1].text
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert {reason for reason, _ in surface.refused} == {"token_missing", "token_wrong"}


async def test_expired_and_revoked_tokens_are_told_so(surface: Surface) -> None:
    soon_ms = SystemClock().now_ms() + 3_600_000
    late = surface.token("late", TokenScope.TRADE, expires_at_ms=soon_ms)
    surface.book.revoke("trade", by="me", now_ms=soon_ms)
    reply = await surface.ask("GET", "/api/v1/status", surface.tokens[TokenScope.TRADE])
    assert (reply.status_code, reply.json()["code"]) == (401, "token_revoked")
    assert "user token create" in reply.json()["hint"]
    assert (await surface.ask("GET", "/api/v1/status", late)).status_code == 200
    past = TokenBook(surface.book.path.parent)
    old = past.create("old", (TokenScope.READ,), by="me", now_ms=1, expires_at_ms=2)[1]
    reply = await surface.ask("GET", "/api/v1/status", old)
    assert (reply.status_code, reply.json()["code"]) == (401, "token_expired")
    assert surface.refused[-2:] == [("token_revoked", "trade"), ("token_expired", "old")]


async def test_answer_carries_the_name_of_the_token_whatever_the_body_says(surface: Surface) -> None:
    body = {"identity": "the owner", "channel": "telegram"}
    approver = surface.tokens[TokenScope.APPROVE]
    await surface.ask("POST", f"/api/v1/plans/{PLAN_ID}/approve", approver, json=body)
    assert surface.commands.calls[-1][1:4] == (PLAN_ID, "http", "token:approve")
    await surface.ask("POST", f"/api/v1/plans/{PLAN_ID}/reject", approver, json={"channel": "dashboard"})
    assert surface.commands.calls[-1][1:4] == (PLAN_ID, "dashboard", "token:approve")
    await surface.ask("POST", f"/api/v1/plans/{PLAN_ID}/reject", LOCAL, json=body)
    assert surface.commands.calls[-1][1:4] == (PLAN_ID, "telegram", "the owner")
    await surface.ask(
        "POST", "/api/v1/control/pause", surface.tokens[TokenScope.TRADE], json={"identity": "x"}
    )
    assert surface.commands.calls[-1] == ("paused", "", "token:trade")


@pytest.mark.parametrize("channel", ["policy", "clock", "cli2", ""])
async def test_nobody_answers_as_the_policy_or_the_clock(surface: Surface, channel: str) -> None:
    reply = await surface.ask("POST", f"/api/v1/plans/{PLAN_ID}/approve", LOCAL, json={"channel": channel})
    assert (reply.status_code, reply.json()["exit_code"]) == (422, 2)
    assert surface.commands.calls == []


async def test_idempotency_key_of_one_caller_gives_nothing_to_another(surface: Surface) -> None:
    """The answer that was kept for the owner is not for whoever guesses the key."""
    key = {"Idempotency-Key": "k"}
    path = "/api/v1/control/pause"
    assert (await surface.ask("POST", path, LOCAL, headers=key)).status_code == 200
    reader = surface.tokens[TokenScope.READ]
    assert (await surface.ask("POST", path, reader, headers=key)).status_code == 403
    trader = surface.tokens[TokenScope.TRADE]
    assert (await surface.ask("POST", path, trader, headers=key)).status_code == 200
    assert [call[-1] for call in surface.commands.calls] == ["http", "token:trade"]


async def test_damaged_token_file_shuts_its_tokens_out_and_the_owner_in(surface: Surface) -> None:
    surface.book.path.write_bytes(b"00000000 {}\n")
    reply = await surface.ask("GET", "/api/v1/status", surface.tokens[TokenScope.ADMIN])
    assert (reply.status_code, reply.json()["code"]) == (503, "tokens_unreadable")
    assert (await surface.ask("GET", "/api/v1/status", LOCAL)).status_code == 200
    assert (await surface.ask("GET", "/api/v1/status", PAGE)).status_code == 200


async def test_command_that_makes_no_sense_is_counted_under_the_name_of_its_token(surface: Surface) -> None:
    token = {"Authorization": f"Bearer {surface.tokens['trade']}"}
    await surface.http.post("/api/v1/control/lock", json={"symbol": "a b"}, headers=token)
    await surface.http.get("/api/v1/plans?session=now", headers=token)
    assert surface.refused == [("invalid_request", "trade")]
