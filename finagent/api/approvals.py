"""Plans and the person's answer to them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.control import Identity, commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext

PlanId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Amount = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,4})?$", description="Decimal string")]


class Yes(BaseModel):
    """An approval; quantity and stop may only shrink the risk."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = "http"
    channel: Annotated[str, Field(pattern=r"^[a-z]{1,16}$")] = "http"
    quantity: Amount | None = None
    stop: Amount | None = None
    nonce: Annotated[str, Field(max_length=128)] | None = None
    plan_hash: Annotated[str, Field(max_length=128)] | None = None


class No(BaseModel):
    """A rejection."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = "http"
    channel: Annotated[str, Field(pattern=r"^[a-z]{1,16}$")] = "http"
    reason: Annotated[str, Field(max_length=500)] = ""


def approvals_router(context: ApplicationContext) -> APIRouter:
    """Routes for plans: read, approve, reject."""
    router = APIRouter(tags=["approvals"])
    views = context.views

    @router.get("/plans")
    async def plans(
        session: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$")] = None,
        state: Annotated[str | None, Query(max_length=32)] = None,
    ) -> Response:
        """Plans, best rank first."""
        return reply(await views.plans(session=session, state=state))

    @router.get("/approvals")
    async def approvals() -> Response:
        """Plans that wait for an answer."""
        return reply(await views.plans(state="pending"))

    @router.get("/plans/{plan_id}")
    async def plan(plan_id: PlanId) -> Response:
        """One plan by its id or its first letters."""
        return reply(await views.plan(plan_id))

    @router.post("/plans/{plan_id}/approve")
    async def approve(plan_id: PlanId, answer: Yes | None = None) -> Response:
        """Yes to exactly this plan."""
        yes = answer or Yes()
        return outcome(await commands_of(context).approve(plan_id, **yes.model_dump()))

    @router.post("/plans/{plan_id}/reject")
    async def reject(plan_id: PlanId, answer: No | None = None) -> Response:
        """No to this plan."""
        no = answer or No()
        return outcome(await commands_of(context).reject(plan_id, **no.model_dump()))

    return router
