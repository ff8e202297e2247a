"""The HTTP surface over a home in memory: who may pass, what is answered, what happens twice."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from finagent.api.build import MODULES, create_api
from finagent.api.guard import BODY_LIMIT, host_name
from finagent.api.idempotency import Idempotency
from finagent.context import ApplicationContext, Document
from finagent.queue.query import JobQuery
from tests.unit.api.documents import PLAN_ID
from tests.unit.api.home import MemoryCommands, callers_of, memory_context

TOKEN = "t" * 43
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Surface:
    """A running application, its client, and what its commands were asked."""

    def __init__(self, modules: tuple[str, ...] = MODULES, context: ApplicationContext | None = None) -> None:
        made, self.commands = memory_context()
        self.health: Document = {"live": True, "ready": False}
        registry = CollectorRegistry()
        Counter("finagent_tries", "tries", registry=registry).inc()
        self.app = create_api(
            context or made,
            callers=callers_of(TOKEN),
            registry=registry,
            health=lambda: self.health,
            modules=modules,
            allowed_hosts=("app",),
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8000",
            headers=BEARER,
        )


@pytest.fixture
async def surface() -> AsyncIterator[Surface]:
    """A fresh surface over a fresh home."""
    made = Surface()
    async with made.http:
        yield made


READS = [
    "status",
    "scans",
    "candidates",
    "plans",
    f"plans/{PLAN_ID[:6]}",
    "approvals",
    "orders",
    "tickets",
    "tickets?all=true",
    "positions",
    "trades",
    "pnl",
    "risk",
    "external",
    "journal",
    "journal/verification",
    "jobs",
    "jobs/stats",
    "jobs/12",
    "backtests",
    "backtests?limit=1",
    "backtests/last",
    "backtests/0123",
]


@pytest.mark.parametrize("path", READS)
async def test_reading_route_answers_with_a_document(surface: Surface, path: str) -> None:
    reply = await surface.http.get(f"/api/v1/{path}")
    assert reply.status_code == 200, reply.text
    assert isinstance(reply.json(), dict)


WRITES = [
    (f"plans/{PLAN_ID}/approve", {"identity": "me", "channel": "cli", "quantity": "10"}, "approved"),
    (f"plans/{PLAN_ID}/reject", {"reason": "no"}, "rejected"),
    ("fills", {"plan": PLAN_ID, "leg": "entry", "price": "12.34", "quantity": "10", "id": "X1"}, "recorded"),
    ("fills/not-done", {"plan": PLAN_ID, "leg": "target-1", "reason": "no"}, "ended"),
    ("control/pause", {"reason": "lunch"}, "paused"),
    ("control/resume", {}, "resumed"),
    ("control/flatten", {"symbol": "BRK.B"}, "flattening"),
    ("control/kill", {"reason": "enough"}, "killed"),
    ("control/rearm", {}, "rearmed"),
    ("control/lock", {"symbol": "GME"}, "locked"),
    ("control/unlock", {"symbol": "GME"}, "unlocked"),
    ("control/flatten", {"include_external": True}, "flattening"),
    ("external/acknowledge", {"symbols": ["KO"]}, "acknowledged"),
    ("journal/notes", {"text": "a thought", "ref": PLAN_ID}, "noted"),
    ("jobs/12/retry", {}, "retried"),
    ("jobs/12/cancel", {}, "cancelled"),
    ("jobs/redrive", {"type": "send"}, "redriven"),
    ("backtests", {"first": "2018-02-16", "settings": {"planning": {"target_r": 2}}}, "queued"),
]


@pytest.mark.parametrize(("path", "body", "code"), WRITES, ids=[path for path, _, _ in WRITES])
async def test_writing_route_carries_out_its_command(
    surface: Surface, path: str, body: dict[str, str], code: str
) -> None:
    reply = await surface.http.post(f"/api/v1/{path}", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["code"] == code
    assert surface.commands.calls[0][0] == code


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"first": "16.2.2018"},
        {"first": "2018-02-16", "bars": "weekly"},
        {"first": "2018-02-16", "engine": "steam"},
        {"first": "2018-02-16", "check": -1},
        {"first": "2018-02-16", "at": "25:00"},
        {"first": "2018-02-16", "symbols": ["nvda!"]},
        {"first": "2018-02-16", "settings": {"planning": 2}},
        {"first": "2018-02-16", "to": "2018-02-16"},
    ],
)
async def test_wrong_backtest_reaches_no_command(surface: Surface, body: dict[str, object]) -> None:
    """A problem that names the field."""
    reply = await surface.http.post("/api/v1/backtests", json=body)
    assert reply.status_code == 422, reply.text
    assert surface.commands.calls == []


async def test_unknown_result_is_not_found(surface: Surface) -> None:
    assert (await surface.http.get("/api/v1/backtests/ffff")).status_code == 404
    assert (await surface.http.get("/api/v1/backtests/..%2Fsecrets")).status_code in (404, 422)


async def test_filters_of_jobs_reach_the_views(surface: Surface) -> None:
    """A filter given twice is a choice, as on the command line."""
    asked = (
        "status=done&status=dead&type=send&key=WMT&idem=send:&since=2h&until=1m&error=boom&trace=t&limit=5"
    )
    assert (await surface.http.get(f"/api/v1/jobs?{asked}")).status_code == 200
    assert surface.commands.views.queries[-1] == JobQuery(
        statuses=["done", "dead"], types=["send"], key="WMT", idem="send:", since="2h", until="1m", error="boom",
        trace="t", limit=5,
    )  # fmt: skip
    refused = await surface.http.get("/api/v1/jobs?status=lost")
    assert (refused.status_code, refused.json()["code"]) == (422, "usage")


async def test_job_that_runs_is_a_conflict_and_asking_again_gives_the_first_answer(surface: Surface) -> None:
    reply = await surface.http.post("/api/v1/jobs/13/cancel")
    assert (reply.status_code, reply.json()["code"], reply.json()["exit_code"]) == (409, "not_cancelled", 3)
    for _ in range(2):
        again = await surface.http.post("/api/v1/jobs/12/cancel", headers={"Idempotency-Key": "k"})
        assert again.json()["code"] == "cancelled"
    assert surface.commands.calls == [("cancelled", 12)]


async def test_command_without_body_uses_defaults(surface: Surface) -> None:
    for path in ("control/pause", "control/flatten", f"plans/{PLAN_ID}/approve", "jobs/redrive"):
        assert (await surface.http.post(f"/api/v1/{path}")).status_code == 200


async def test_refused_command_is_a_problem_with_the_exit_code(surface: Surface) -> None:
    await surface.http.post(f"/api/v1/plans/{PLAN_ID}/approve")
    reply = await surface.http.post(f"/api/v1/plans/{PLAN_ID}/approve")
    assert reply.status_code == 409
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["code"], problem["exit_code"], problem["status"]) == ("already_answered", 3, 409)
    assert {"type", "title", "detail", "hint"} <= problem.keys()


async def test_unknown_plan_is_404_with_a_hint(surface: Surface) -> None:
    reply = await surface.http.get("/api/v1/plans/nothing")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_plan")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("control/pause", {"raison": "typo"}),
        ("control/lock", {"symbol": "'; DROP TABLE"}),
        ("journal/notes", {"text": ""}),
        (f"plans/{PLAN_ID}/approve", {"quantity": -5}),
    ],
)
async def test_wrong_body_is_422_and_reaches_no_command(
    surface: Surface, path: str, body: dict[str, str]
) -> None:
    reply = await surface.http.post(f"/api/v1/{path}", json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert surface.commands.calls == []


@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"])
async def test_without_the_token_nothing_is_told_or_done(surface: Surface, header: str) -> None:
    for method, path in (("GET", "status"), ("POST", "control/kill"), ("GET", "no-such-route")):
        reply = await surface.http.request(method, f"/api/v1/{path}", headers={"Authorization": header})
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorised")
    assert surface.commands.calls == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil.example", ""])
async def test_rebound_host_is_refused_even_with_the_token(surface: Surface, host: str) -> None:
    reply = await surface.http.get("/api/v1/status", headers={"Host": host})
    assert (reply.status_code, reply.json()["code"]) == (421, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:8000", "app:8000", "LOCALHOST"])
async def test_own_names_pass(surface: Surface, host: str) -> None:
    assert (await surface.http.get("/livez", headers={"Host": host})).status_code == 200


async def test_foreign_origin_is_refused_and_own_origin_passes(surface: Surface) -> None:
    foreign = await surface.http.post("/api/v1/control/kill", headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "origin_not_allowed")
    null = await surface.http.post("/api/v1/control/kill", headers={"Origin": "null"})
    assert null.status_code == 403
    assert surface.commands.calls == []
    own = await surface.http.post("/api/v1/control/pause", headers={"Origin": "http://localhost:8501"})
    assert own.status_code == 200


async def test_large_body_is_refused_declared_or_not(surface: Surface) -> None:
    large = b" " * (BODY_LIMIT + 1)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield large[: BODY_LIMIT // 2]

    for content in (large, parts()):
        reply = await surface.http.post("/api/v1/control/pause", content=content)
        assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")
    assert surface.commands.calls == []


async def test_same_key_gives_the_first_answer_and_acts_once(surface: Surface) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await surface.http.post(f"/api/v1/plans/{PLAN_ID}/approve", headers=key, json={})
    again = await surface.http.post(f"/api/v1/plans/{PLAN_ID}/approve", headers=key, json={})
    assert (first.status_code, first.content) == (again.status_code, again.content) == (200, first.content)
    assert len(surface.commands.calls) == 1


async def test_same_key_at_the_same_time_acts_once(surface: Surface) -> None:
    post = [
        surface.http.post("/api/v1/control/pause", headers={"Idempotency-Key": "k"}, json={})
        for _ in range(5)
    ]
    replies = await asyncio.gather(*post)
    assert {reply.content for reply in replies} == {replies[0].content}
    assert len(surface.commands.calls) == 1


async def test_same_key_with_another_request_is_409(surface: Surface) -> None:
    key = {"Idempotency-Key": "k1"}
    await surface.http.post("/api/v1/control/pause", headers=key, json={"reason": "a"})
    for path, body in (("control/pause", {"reason": "b"}), ("control/kill", {"reason": "a"})):
        reply = await surface.http.post(f"/api/v1/{path}", headers=key, json=body)
        assert (reply.status_code, reply.json()["code"]) == (409, "key_reused")
    assert len(surface.commands.calls) == 1


async def test_an_unauthorised_request_never_spoils_a_key(surface: Surface) -> None:
    key = {"Idempotency-Key": "k1"}
    await surface.http.post("/api/v1/control/pause", headers={**key, "Authorization": "Bearer x"}, json={})
    assert (await surface.http.post("/api/v1/control/pause", headers=key, json={})).status_code == 200


async def test_senseless_key_is_refused(surface: Surface) -> None:
    reply = await surface.http.post("/api/v1/control/pause", headers={"Idempotency-Key": "x" * 200})
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_key")


async def test_kept_answers_are_bounded(surface: Surface) -> None:
    """The oldest answers go; a key that is used again stays."""
    bounded = Idempotency(surface.app, kept=2)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=bounded), base_url="http://localhost", headers=BEARER
    ) as http:
        for key in ("a", "b", "a", "c", "a"):
            await http.post("/api/v1/control/pause", headers={"Idempotency-Key": key}, json={"reason": key})
    assert len(surface.commands.calls) == 3


class FailingCommands(MemoryCommands):
    """Commands that meet a bug once."""

    has_failed = False

    async def pause(self, *, reason: str, identity: str):  # type: ignore[no-untyped-def]
        if not self.has_failed:
            self.has_failed = True
            raise RuntimeError("secret detail")
        return await super().pause(reason=reason, identity=identity)


async def test_bug_is_a_problem_without_its_details_and_is_not_kept() -> None:
    context, commands = memory_context()
    failing = FailingCommands(commands.views)
    made = Surface(
        context=ApplicationContext(views=context.views, commands=failing, home="memory", version="0.1.0")
    )
    async with made.http as http:
        key = {"Idempotency-Key": "k"}
        reply = await http.post("/api/v1/control/pause", headers=key, json={})
        assert (reply.status_code, reply.json()["code"]) == (500, "unexpected")
        assert "secret detail" not in reply.text
        assert (await http.post("/api/v1/control/pause", headers=key, json={})).status_code == 200


async def test_read_only_home_refuses_commands() -> None:
    context, _ = memory_context()
    made = Surface(context=ApplicationContext(views=context.views, commands=None, home="m", version="0"))
    async with made.http as http:
        reply = await http.post("/api/v1/control/pause")
        assert (reply.status_code, reply.json()["code"]) == (400, "read_only")


async def test_health_says_live_and_ready_apart(surface: Surface) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=surface.app), base_url="http://localhost"
    ) as http:
        assert (await http.get("/livez")).status_code == 200
        reply = await http.get("/readyz")
        assert (reply.status_code, reply.json()["status"]) == (503, "failing")
        surface.health = {"live": True, "ready": True}
        assert (await http.get("/readyz")).json()["status"] == "ok"
        metrics = await http.get("/metrics")
        assert "finagent_tries_total 1.0" in metrics.text
        assert "/api/v1/control/kill" in (await http.get("/openapi.json")).json()["paths"]


async def test_journal_pages_by_cursor(surface: Surface) -> None:
    first = (await surface.http.get("/api/v1/journal", params={"limit": 1})).json()
    assert [entry["seq"] for entry in first["entries"]] == [1]
    rest = (
        await surface.http.get("/api/v1/journal", params={"after": first["next_after"], "limit": 1})
    ).json()
    assert ([entry["seq"] for entry in rest["entries"]], rest["next_after"]) == ([2], None)
    assert (await surface.http.get("/api/v1/journal", params={"limit": 0})).status_code == 422


async def test_module_that_is_off_has_no_routes() -> None:
    made = Surface(modules=("health", "reads"))
    async with made.http as http:
        assert (await http.get("/api/v1/status")).status_code == 200
        for path in ("/api/v1/control/kill", "/api/v1/jobs", "/metrics"):
            reply = await http.get(path)
            assert (reply.status_code, reply.json()["code"]) == (404, "no_such_route")
        assert (await http.post("/api/v1/status")).status_code == 405


def test_unknown_module_is_refused_by_name() -> None:
    context, _ = memory_context()
    with pytest.raises(ValueError, match="unknown API module telepathy"):
        create_api(
            context, callers=callers_of(""), registry=CollectorRegistry(), health=dict, modules=("telepathy",)
        )


def test_host_name_of_nonsense_is_empty() -> None:
    assert host_name("[::1") == ""
    assert json.dumps(host_name("LocalHost:80")) == '"localhost"'


BAD_FILLS = [
    {"price": 1.5}, {"price": "9" * 257}, {"quantity": None}, {"leg": "Entry"}, {"leg": "a" * 17}, {"plan": "../x"},
    {"fees": -1}, {"at": "x" * 41}, {"again": "perhaps"},
    {"surprise": 1},
]  # fmt: skip


@pytest.mark.parametrize("changes", BAD_FILLS, ids=str)
async def test_malformed_fill_reaches_no_command(surface: Surface, changes: dict[str, object]) -> None:
    body = {"plan": PLAN_ID, "leg": "entry", "price": "12.34", "quantity": "10", **changes}
    reply = await surface.http.post("/api/v1/fills", json=body)
    assert (reply.status_code, reply.json()["exit_code"]) == (422, 2)
    assert surface.commands.calls == []


BAD_ANSWERS = [
    {"quantity": 1.5}, {"stop": "1" * 257}, {"plan_hash": "x" * 129}, {"nonce": "x" * 129},
    {"quantity": 5}, {"surprise": 1},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_ANSWERS, ids=str)
async def test_malformed_answer_reaches_no_command(surface: Surface, body: dict[str, object]) -> None:
    reply = await surface.http.post(f"/api/v1/plans/{PLAN_ID}/approve", json=body)
    assert (reply.status_code, reply.json()["exit_code"]) == (422, 2)
    assert surface.commands.calls == []
