"""A home in memory: the ports Views and Commands over the documents of a day."""

from collections.abc import Mapping, Sequence

from finagent.api.callers import Callers
from finagent.context import (
    EVERY_JOB,
    ApplicationContext,
    CommandResult,
    Document,
    ExitCode,
    Json,
    SurfaceError,
)
from finagent.queue.query import JobQuery, QueryError, checked_statuses
from finagent.runtime.tokens import TokenBook, hash_of
from tests.unit.api import documents

Calls = list[tuple[object, ...]]


def callers_of(local: str, *, book: TokenBook | None = None) -> Callers:
    """Whoever has this token is the home's own command line."""
    return Callers(local_hash=hash_of(local), book=book)


RESULT = "0123456789abcdef"


class MemoryViews:
    """Views that answer from documents."""

    def __init__(self, plans: list[Document]) -> None:
        self.rows = plans
        self.queries: list[JobQuery] = []

    async def status(self) -> Document:
        return documents.STATUS

    async def scans(self, *, session: str | None = None) -> Document:
        return {"scans": [{"session": session or "2018-03-01"}]}

    async def candidates(self, *, session: str | None = None, tick: str | None = None) -> Document:
        return documents.SCAN

    async def plans(self, *, session: str | None = None, state: str | None = None) -> Document:
        return {"plans": [row for row in self.rows if state in (None, row["state"])]}

    async def plan(self, plan_id: str) -> Document:
        for row in self.rows:
            if str(row["plan_id"]).startswith(plan_id):
                return {"plan": row, "journal": []}
        raise SurfaceError(f"no plan {plan_id}", hint="finagent plans lists them", code="unknown_plan")

    async def orders(self, *, session: str | None = None, open_only: bool = False) -> Document:
        return documents.ORDERS

    async def tickets(self, *, every: bool = False) -> Document:
        return {"broker": "paper", "note": "", "tickets": []}

    async def positions(self) -> Document:
        return documents.POSITIONS

    async def trades(self, *, session: str | None = None) -> Document:
        return documents.TRADES

    async def pnl(self) -> Document:
        return documents.PNL

    async def journal(
        self, *, after_seq: int = 0, limit: int = 200, kind: str | None = None, ref: str | None = None
    ) -> Document:
        entries = documents.JOURNAL["entries"]
        assert isinstance(entries, list)
        found = entries[after_seq:]
        return {
            "entries": found[:limit],
            "next_after": after_seq + limit if len(found) > limit else None,
        }

    async def external(self) -> Document:
        return documents.EXTERNAL

    async def risk(self) -> Document:
        return documents.RISK

    async def jobs(self, query: JobQuery = EVERY_JOB) -> Document:
        try:
            checked_statuses(query.statuses)
        except QueryError as error:
            raise SurfaceError(error.message, code="usage", exit_code=ExitCode.USAGE) from None
        self.queries.append(query)
        return documents.JOBS

    async def job(self, job_id: int) -> Document:
        if job_id != 12:
            raise SurfaceError(f"no job {job_id}", code="unknown_job")
        return documents.JOB

    async def jobs_stats(self) -> Document:
        return documents.STATS

    async def backtests(self, *, limit: int = 50) -> Document:
        return {"results": [{"result_id": RESULT}][:limit], "stored": 1}

    async def backtest(self, result_id: str) -> Document:
        if result_id != "last" and not RESULT.startswith(result_id):
            raise SurfaceError(f"no result {result_id}", code="unknown_id")
        return {"result_id": RESULT}

    async def verify_journal(self) -> Document:
        return {"entries": 2, "valid": True, "first_bad_seq": None, "detail": ""}


class MemoryCommands:
    """Commands that remember what they were asked and change the plans of the views."""

    def __init__(self, views: MemoryViews) -> None:
        self.views = views
        self.calls: Calls = []

    def _done(self, code: str, *details: object) -> CommandResult:
        self.calls.append((code, *details))
        return CommandResult(code=code, message=f"{code}.", data={})

    async def approve(
        self,
        plan_id: str,
        *,
        channel: str,
        identity: str,
        quantity: str | None = None,
        stop: str | None = None,
        nonce: str | None = None,
        plan_hash: str | None = None,
    ) -> CommandResult:
        found = (await self.views.plan(plan_id))["plan"]
        assert isinstance(found, dict)
        if found["state"] != "pending":
            return CommandResult(
                code="already_answered", message=f"the plan is {found['state']}", exit_code=ExitCode.REFUSED
            )
        place = self.views.rows.index(found)
        self.views.rows[place] = {**found, "state": "approved", "seconds_left": None}
        return self._done("approved", plan_id, channel, identity, quantity, stop)

    async def reject(self, plan_id: str, *, channel: str, identity: str, reason: str = "") -> CommandResult:
        return self._done("rejected", plan_id, channel, identity, reason)

    async def add_fill(self, plan_id: str, **said: object) -> CommandResult:
        return self._done("recorded", plan_id, said)

    async def end_ticket(self, plan_id: str, *, leg: str, reason: str, identity: str) -> CommandResult:
        return self._done("ended", plan_id, leg, reason, identity)

    async def pause(self, *, reason: str, identity: str) -> CommandResult:
        return self._done("paused", reason, identity)

    async def resume(self, *, identity: str) -> CommandResult:
        return self._done("resumed", identity)

    async def flatten(
        self, *, symbol: str | None, identity: str, include_external: bool = False
    ) -> CommandResult:
        return self._done("flattening", symbol, identity)

    async def kill(self, *, reason: str, identity: str, include_external: bool = False) -> CommandResult:
        return self._done("killed", reason, identity)

    async def rearm(self, *, identity: str) -> CommandResult:
        return self._done("rearmed", identity)

    async def lock(self, symbol: str, *, identity: str, force: bool = False) -> CommandResult:
        return self._done("locked", symbol, identity, force)

    async def unlock(self, symbol: str, *, identity: str) -> CommandResult:
        return self._done("unlocked", symbol, identity)

    async def acknowledge(self, symbols: Sequence[str], *, identity: str) -> CommandResult:
        return self._done("acknowledged", *symbols, identity)

    async def note(self, text: str, *, ref: str, identity: str) -> CommandResult:
        return self._done("noted", text, ref, identity)

    async def backtest(self, asked: Mapping[str, Json], *, identity: str) -> CommandResult:
        return self._done("queued", dict(asked), identity)

    async def retry_job(self, job_id: int, *, identity: str) -> CommandResult:
        return self._done("retried", job_id)

    async def cancel_job(self, job_id: int, *, identity: str) -> CommandResult:
        if job_id == 13:
            return CommandResult(
                code="not_cancelled", message="Job 13 is running.", exit_code=ExitCode.REFUSED
            )
        return self._done("cancelled", job_id)

    async def redrive_jobs(self, type: str | None, *, identity: str) -> CommandResult:
        return self._done("redriven", type)


def memory_context() -> tuple[ApplicationContext, MemoryCommands]:
    """A fresh home in memory and its commands."""
    rows = documents.PLANS["plans"]
    assert isinstance(rows, list)
    views = MemoryViews([dict(row) for row in rows if isinstance(row, dict)])
    commands = MemoryCommands(views)
    return ApplicationContext(views=views, commands=commands, home="memory", version="0.1.0"), commands
