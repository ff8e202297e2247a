"""The queue over HTTP: list, show, stats, retry, redrive, cancel."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.callers import Reader, Trader
from finagent.api.control import Identity, commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext
from finagent.queue.query import JobQuery

JobId = Annotated[int, Path(ge=1)]
Text = Annotated[str | None, Query(max_length=200)]
Words = Annotated[list[Annotated[str, Field(max_length=64)]] | None, Query(max_length=32)]


class ByWhom(BaseModel):
    """Who asks."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = None


class Redrive(ByWhom):
    """Which dead jobs."""

    type: Annotated[str, Field(max_length=64)] | None = None


def jobs_router(context: ApplicationContext) -> APIRouter:
    """Routes for the durable queue."""
    router = APIRouter(tags=["jobs"])
    views = context.views

    @router.get("/jobs")
    async def jobs(
        caller: Reader,
        status: Words = None,
        type: Words = None,
        key: Text = None,
        idem: Text = None,
        since: Text = None,
        until: Text = None,
        error: Text = None,
        trace: Text = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Jobs that match every filter, newest first; ``since`` and ``until`` are spans (2h) or ISO instants."""
        query = JobQuery(
            statuses=status or (), types=type or (), key=key, idem=idem, since=since, until=until, error=error,
            trace=trace, limit=limit,
        )  # fmt: skip
        return reply(await views.jobs(query))

    @router.get("/jobs/stats")
    async def stats(caller: Reader) -> Response:
        """Counts by state and type, the oldest that waits, and what is dead."""
        return reply(await views.jobs_stats())

    @router.post("/jobs/redrive")
    async def redrive(caller: Trader, body: Redrive | None = None) -> Response:
        """All dead jobs (of one type) back to ready."""
        body = body or Redrive()
        who = caller.identity(body.identity)
        return outcome(await commands_of(context).redrive_jobs(body.type, identity=who))

    @router.get("/jobs/{job_id}")
    async def job(caller: Reader, job_id: JobId) -> Response:
        """One job with its attempts."""
        return reply(await views.job(job_id))

    @router.post("/jobs/{job_id}/retry")
    async def retry(caller: Trader, job_id: JobId, body: ByWhom | None = None) -> Response:
        """Run a job again now."""
        who = caller.identity((body or ByWhom()).identity)
        return outcome(await commands_of(context).retry_job(job_id, identity=who))

    @router.post("/jobs/{job_id}/cancel")
    async def cancel(caller: Trader, job_id: JobId, body: ByWhom | None = None) -> Response:
        """Cancel a job that waits; 409 for one that runs or is over."""
        who = caller.identity((body or ByWhom()).identity)
        return outcome(await commands_of(context).cancel_job(job_id, identity=who))

    return router
