"""A person outside the agent: says yes to every plan over HTTP, and writes down each yes that was acknowledged."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import httpx

from finagent.runtime.append_log import AppendLog

LOOK_S = 0.1
TIMEOUT_S = 3.0
ACKNOWLEDGED = "approved"


class Person:
    """Answers as long as the agent lives, and again when it is back; the witness is on disk before the next answer.

    A yes whose reply was lost is given again: the first answer wins, so it can only be acknowledged once.
    """

    def __init__(self, home: Path, witness: Path) -> None:
        self._home = home
        self._witness = AppendLog(witness)
        self.acknowledged = {str(line["plan"]) for line in self._witness.lines()}
        self.refused: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(httpx.HTTPError, OSError, ValueError, KeyError):
                await self._answer_all()
            await asyncio.sleep(LOOK_S)

    async def _answer_all(self) -> None:
        """All that waits, over one connection; any error means that the agent died meanwhile."""
        note = json.loads((self._home / "agent.json").read_text(encoding="utf-8"))
        token = (self._home / "token").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=f"{note['url']}/api/v1", headers=headers, timeout=TIMEOUT_S, trust_env=False
        ) as client:
            waiting = (await client.get("/approvals")).raise_for_status().json()["plans"]
            for plan in waiting:
                await self._answer(client, plan)

    async def _answer(self, client: httpx.AsyncClient, plan: Mapping[str, object]) -> None:
        plan_id = str(plan["plan_id"])
        reply = await client.post(
            f"/plans/{plan_id}/approve",
            json={"identity": "drill", "channel": "http"},
            headers={"Idempotency-Key": secrets.token_hex(16)},
        )
        code = str(reply.json().get("code"))
        if reply.status_code == 200 and code == ACKNOWLEDGED:
            if plan_id not in self.acknowledged:
                self._witness.append({"plan": plan_id, "symbol": str(plan["symbol"])})
                self.acknowledged.add(plan_id)
        elif reply.status_code < 500:
            self.refused[plan_id] = code
