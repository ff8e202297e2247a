"""Backtests over HTTP: what is stored, one result, and a new one for the agent's queue."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from finagent.api.callers import Reader, Trader
from finagent.api.control import Identity, Symbol, commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext

Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
ResultId = Annotated[str, Path(pattern=r"^(last|[0-9a-fA-F]{1,16})$")]


class Asked(BaseModel):
    """A backtest; ``settings`` lays values over the agent's, by section and key."""

    model_config = ConfigDict(extra="forbid")

    first: Date
    last: Date | None = None
    bars: Literal["auto", "daily", "minute"] = "auto"
    engine: Literal["kernel", "reference"] = "kernel"
    check: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    lookahead: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    symbols: Annotated[list[Symbol], Field(max_length=5_000)] = []
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    settings: Annotated[dict[str, dict[str, JsonValue]], Field(max_length=32)] = {}
    identity: Identity = None


def backtests_router(context: ApplicationContext) -> APIRouter:
    """Routes for research on rules."""
    router = APIRouter(tags=["backtests"])
    views = context.views

    @router.get("/backtests")
    async def backtests(caller: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
        """Stored results, newest first, without their sessions and trades."""
        return reply(await views.backtests(limit=limit))

    @router.get("/backtests/{result_id}")
    async def backtest(caller: Reader, result_id: ResultId) -> Response:
        """One result, by a unique start of its id or ``last``."""
        return reply(await views.backtest(result_id))

    @router.post("/backtests")
    async def ask(caller: Trader, body: Asked) -> Response:
        """Queue a backtest; the same question over the same data is the job that is there already."""
        who = caller.identity(body.identity)
        return outcome(
            await commands_of(context).backtest(body.model_dump(exclude={"identity"}), identity=who)
        )

    return router
