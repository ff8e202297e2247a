"""The audit of access: tokens and refusals stand in the journal, each event once, whoever wrote it and when."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap.access import DENIALS_EVERY, TOKENS_ROW, AccessAudit
from finagent.domain.told import told
from finagent.queue.port import Tx
from finagent.runtime.clock import SystemTicker
from finagent.runtime.denials import Denials
from finagent.runtime.metrics import Metrics
from finagent.runtime.tokens import TokenBook, TokenScope
from tests.integration.services.world import Stage


class Desk:
    """An audit over the engine of a stage and the token file beside it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.book = TokenBook(stage.path.parent)
        self.denials = Denials(Metrics().api_refused_total)

    def audit(self) -> AccessAudit:
        """As each start of an agent makes one."""
        return AccessAudit(self.book, self.denials, self.stage.engine.queue, SystemTicker())

    async def rows(self, *kinds: str) -> list[tuple[str, str, Any]]:
        found = await self.stage.engine.database.read("SELECT kind, ref, data FROM journal ORDER BY seq")
        return [(str(kind), str(ref), json.loads(str(data))) for kind, ref, data in found if kind in kinds]


TOKEN_KINDS = ("token_created", "token_revoked")


def kinds(rows: Sequence[tuple[str, str, Any]]) -> list[str]:
    return [kind for kind, _, _ in rows]


async def test_tokens_made_while_no_agent_ran_are_journalled_once_at_its_start(home: Path) -> None:
    async with Stage(home) as stage:
        desk = Desk(stage)
        token, text = desk.book.create("ann", (TokenScope.APPROVE,), by="cli:me", now_ms=1_000)
        desk.book.revoke("ann", by="cli:you", now_ms=2_000)
        assert await desk.audit().run_once() == 2
        assert await desk.audit().run_once() == 0, "a second start finds them there"
        rows = await desk.rows(*TOKEN_KINDS)
        assert kinds(rows) == list(TOKEN_KINDS)
        assert {ref for _, ref, _ in rows} == {token.id}
        assert rows[0][2] == {
            "by": "cli:me", "at_ms": 1_000, "name": "ann", "scopes": ["approve"], "expires_at_ms": None,
        }  # fmt: skip
        assert rows[1][2] == {"by": "cli:you", "at_ms": 2_000}
        everything = json.dumps(rows)
        assert text not in everything
        assert token.hash not in everything


async def test_restored_database_gets_the_events_that_it_lacks(home: Path) -> None:
    """The file is no part of a backup: a revoked token stays revoked, and the older journal learns of it."""
    async with Stage(home) as stage:
        desk = Desk(stage)
        desk.book.create("ann", (TokenScope.READ,), by="me", now_ms=1)
        await desk.audit().run_once()
        desk.book.revoke("ann", by="me", now_ms=2)
        assert await stage.engine.queue.row_version(TOKENS_ROW) == 1
        assert await desk.audit().run_once() == 1
        assert kinds(await desk.rows(*TOKEN_KINDS)) == list(TOKEN_KINDS)


async def test_damaged_token_file_stops_no_agent(home: Path) -> None:
    async with Stage(home) as stage:
        desk = Desk(stage)
        desk.book.path.write_bytes(b"00000000 {}\n")
        audit = desk.audit()
        assert [await audit.run_once(), await audit.run_once()] == [0, 0]
        assert await desk.rows(*TOKEN_KINDS) == []


async def test_refused_requests_are_summed_up_in_one_row_a_minute(home: Path) -> None:
    async with Stage(home) as stage:
        desk = Desk(stage)
        audit = desk.audit()
        for _ in range(1_000):
            desk.denials.note("token_wrong")
        desk.denials.note("scope_missing", "ann")
        for _ in range(DENIALS_EVERY * 2):
            await audit.run_once()
        ((_, ref, data),) = await desk.rows("access_refused")
        assert ref == "api"
        assert data == {
            "refused": [
                {"reason": "scope_missing", "token": "ann", "count": 1},
                {"reason": "token_wrong", "token": "", "count": 1_000},
            ]
        }


async def test_event_that_another_writer_has_journalled_is_not_written_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row's version is checked inside the commit, whatever was read before."""
    async with Stage(home) as stage:
        desk = Desk(stage)
        desk.book.create("ann", (TokenScope.READ,), by="me", now_ms=1)
        queue = stage.engine.queue
        read = queue.row_version

        async def overtaken(row: str) -> int:
            version = await read(row)
            tx = Tx()
            tx.expect(row, version)
            for fact in told("token_created", "elsewhere", {}):
                tx.put(fact)
            await queue.commit(tx)
            return version

        monkeypatch.setattr(queue, "row_version", overtaken)
        assert await desk.audit().run_once() == 0
        assert [ref for _, ref, _ in await desk.rows(*TOKEN_KINDS)] == ["elsewhere"]
