"""One question, fifty people: the first answer wins, everybody else is told, over HTTP and the command line alike."""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from finagent.domain.journal import verify_chain
from finagent.runtime.clock import SystemClock
from finagent.runtime.tokens import TokenBook, TokenScope

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = 50
SYMBOLS = ("EXK", "EXBR", "JUK")
"""Three at a time: the account holds no more positions."""
CI_PLANS, FULL_PLANS = 12, 1_000
CI_CLI, FULL_CLI = 2, 20
PATIENCE_S = 120


@dataclass
class App:
    """The agent's process, its questions and its clients."""

    home: Path
    process: asyncio.subprocess.Process
    url: str
    owner: httpx.AsyncClient
    clients: list[httpx.AsyncClient]
    asked: int = 0

    async def ask(self, symbols: Sequence[str]) -> list[str]:
        """Put a question for each symbol; gives the plans' ids."""
        assert self.process.stdin is not None
        self.asked += 1
        self.process.stdin.write(json.dumps({"ask": self.asked, "symbols": list(symbols)}).encode() + b"\n")
        answer = await line_of(self.process)
        return [str(plan) for plan in answer["plans"]]

    async def clear(self, plans: Sequence[str]) -> None:
        """End what was approved, so that the next questions find room in the account."""
        for symbol in SYMBOLS:
            reply = await self.owner.post("/api/v1/control/flatten", json={"symbol": symbol})
            assert reply.status_code == 200, reply.text
        async with asyncio.timeout(PATIENCE_S):
            for plan in plans:
                state = ""
                while state not in ("cancelled", "rejected"):
                    state = (await self.owner.get(f"/api/v1/plans/{plan}")).json()["state"]


async def line_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        line = await process.stdout.readline()
    assert line, "the agent's process ended"
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[App]:
    """The agent in its process, and fifty people with a token and a connection of their own."""
    book, now_ms = TokenBook(home), SystemClock().now_ms()
    scopes = (TokenScope.APPROVE,)
    tokens = [book.create(f"p{n:02d}", scopes, by="test", now_ms=now_ms)[1] for n in range(CLIENTS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.proof.approvals.race_app", str(home),
        cwd=ROOT, env=environment(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        url = str((await line_of(process))["url"])
        local = (home / "token").read_text().strip()
        async with AsyncExitStack() as stack:
            people = [
                await stack.enter_async_context(
                    httpx.AsyncClient(
                        base_url=url,
                        headers={"Authorization": f"Bearer {token}"},
                        trust_env=False,
                        timeout=PATIENCE_S,
                    )
                )
                for token in (local, *tokens)
            ]
            yield App(home, process, url, people[0], people[1:])
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


@dataclass
class Tally:
    """Who answered what, and how long each waited."""

    winners: dict[str, list[str]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    waits_ms: list[float] = field(default_factory=list)

    def note(self, plan: str, who: str, code: str) -> None:
        self.codes[code] += 1
        if code in ("approved", "rejected"):
            self.winners.setdefault(plan, []).append(f"{code} {who}")

    def quantile(self, share: float) -> float:
        ordered = sorted(self.waits_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def person(number: int, app: App, plans: Sequence[str], go: asyncio.Event, tally: Tally) -> None:
    """Every fifth says no; each goes through the plans in an order of its own."""
    verdict = "reject" if number % 5 == 0 else "approve"
    order = random.Random(f"{number} {plans[0]}").sample(plans, len(plans))
    await go.wait()
    for plan in order:
        began = time.perf_counter()
        reply = await app.clients[number].post(f"/api/v1/plans/{plan}/{verdict}")
        tally.waits_ms.append((time.perf_counter() - began) * 1000)
        document = reply.json()
        tally.note(plan, f"token:p{number:02d}", document["code"])
        is_won = document["code"] in ("approved", "rejected")
        assert reply.status_code == (200 if is_won else 409), reply.text


async def race(app: App, plans: Sequence[str], tally: Tally) -> None:
    """All at once."""
    go = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(person(number, app, plans, go, tally))
        go.set()


async def race_at_the_command_line(app: App, plan: str, tally: Tally) -> None:
    """Four processes of finagent, started together, for one plan."""

    async def process(verb: str) -> None:
        began = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "finagent", "--home", str(app.home), verb, plan, "--json",
            cwd=app.home, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(began.communicate(), PATIENCE_S)
        document = json.loads(out)
        code = document.get("code") or document["error"]["code"]
        tally.note(plan, "cli", str(code))
        assert began.returncode == (0 if code in ("approved", "rejected") else 3)

    async with asyncio.TaskGroup() as group:
        for verb in ("approve", "reject", "approve", "approve"):
            group.create_task(process(verb))


@pytest.mark.parametrize(
    ("plans", "at_cli"),
    [
        pytest.param(CI_PLANS, CI_CLI, id="reduced"),
        pytest.param(FULL_PLANS, FULL_CLI, marks=pytest.mark.full, id="full"),
    ],
)
async def test_each_question_raced_by_fifty_has_one_winner(
    tmp_path: Path, plans: int, at_cli: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, lone = Tally(), Tally()
    asked: list[str] = []
    began = time.perf_counter()
    async with running(tmp_path) as app:
        while len(asked) < plans:
            batch = await app.ask(SYMBOLS[: min(len(SYMBOLS), plans - len(asked))])
            asked += batch
            await race(app, batch, tally)
            await app.clear(batch)
        took_s = time.perf_counter() - began
        for _ in range(at_cli):
            (plan,) = await app.ask(SYMBOLS[:1])
            await race_at_the_command_line(app, plan, lone)
            late = await app.clients[0].post(f"/api/v1/plans/{plan}/approve")
            assert late.json()["code"] == "already_answered"
            await app.clear([plan])
    winners = {plan: won[0] for plan, won in tally.winners.items()}
    assert set(winners) == set(asked)
    assert {len(won) for won in (*tally.winners.values(), *lone.winners.values())} == {1}
    approved, rejected = tally.codes["approved"], tally.codes["rejected"]
    assert tally.codes == {
        "approved": approved, "rejected": rejected, "already_answered": plans * (CLIENTS - 1),
    }  # fmt: skip
    assert (approved + rejected, lone.codes["already_answered"]) == (plans, 3 * at_cli)
    check_journal(tmp_path / "finagent.db", winners, plans, at_cli)
    yes_and_no = f"{approved} yes, {rejected} no"
    told = f"{plans * (CLIENTS - 1)} told already_answered; {took_s:.1f} s"
    waits = f"an answer took {tally.quantile(0.5):.0f} ms (p50), {tally.quantile(0.99):.0f} ms (p99)"
    with capsys.disabled():
        print(
            f"\n{plans} approvals raced by {CLIENTS} clients over HTTP: {plans} winners ({yes_and_no}),"
            f" {told}, {waits};"
            f"\n{at_cli} raced by 4 processes of the command line: {at_cli} winners, {3 * at_cli} told already_answered"
        )


def check_journal(path: Path, winners: dict[str, str], plans: int, at_cli: int) -> None:
    """Each winner stands there once under its own name, each refused answer too, and the chain holds."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT seq, at, kind, ref, data, inputs, hash FROM journal ORDER BY seq"
        ).fetchall()
    assert verify_chain(found) == len(found)
    rows: dict[str, list[tuple[str, Any]]] = {}
    for _, _, kind, ref, data, *_ in found:
        rows.setdefault(kind, []).append((ref, json.loads(data)))
    told = {ref: f"approved {data['identity']}" for ref, data in rows["approved"]}
    told |= {
        ref: f"rejected {data['by'].removeprefix('http:')}"
        for ref, data in rows["plan_ended"]
        if data["state"] == "rejected"
    }
    assert {plan: told[plan] for plan in winners} == winners
    assert len({ref for ref, _ in rows["approved"]}) == len(rows["approved"])
    assert len(rows["answer_refused"]) == plans * (CLIENTS - 1) + at_cli * 4
    assert {data["reason"] for _, data in rows["answer_refused"]} == {"already_answered"}
