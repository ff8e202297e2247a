"""The queue over HTTP: list, show, stats, retry, redrive, cancel."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.control import commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext
from finagent.queue.query import JobQuery

JobId = Annotated[int, Path(ge=1)]
Text = Annotated[str | None, Query(max_length=200)]
Words = Annotated[list[Annotated[str, Field(max_length=64)]] | None, Query(max_length=32)]


class Redrive(BaseModel):
    """Which dead jobs."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(max_length=64)] | None = None


def jobs_router(context: ApplicationContext) -> APIRouter:
    """Routes for the durable queue."""
    router = APIRouter(tags=["jobs"])
    views = context.views

    @router.get("/jobs")
    async def jobs(
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
    async def stats() -> Response:
        """Counts by state and type, the oldest that waits, and what is dead."""
        return reply(await views.jobs_stats())

    @router.post("/jobs/redrive")
    async def redrive(body: Redrive | None = None) -> Response:
        """All dead jobs (of one type) back to ready."""
        return outcome(await commands_of(context).redrive_jobs((body or Redrive()).type))

    @router.get("/jobs/{job_id}")
    async def job(job_id: JobId) -> Response:
        """One job with its attempts."""
        return reply(await views.job(job_id))

    @router.post("/jobs/{job_id}/retry")
    async def retry(job_id: JobId) -> Response:
        """Run a job again now."""
        return outcome(await commands_of(context).retry_job(job_id))

    @router.post("/jobs/{job_id}/cancel")
    async def cancel(job_id: JobId) -> Response:
        """Cancel a job that waits; 409 for one that runs or is over."""
        return outcome(await commands_of(context).cancel_job(job_id))

    return router
