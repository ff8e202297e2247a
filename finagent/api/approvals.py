"""Plans and the person's answer to them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.callers import Approver, Reader
from finagent.api.control import Identity, commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext

PlanId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Amount = Annotated[str, Field(max_length=256, description="Decimal string like 100 or 12.34")]
"""What is no amount is refused by the command, which journals it."""
Channel = Literal["http", "cli", "dashboard", "telegram"]
"""Where the person sits; another token than the home's own is heard as http or dashboard."""


class Yes(BaseModel):
    """An approval; quantity and stop may only shrink the risk."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = None
    channel: Channel = "http"
    quantity: Amount | None = None
    stop: Amount | None = None
    nonce: Annotated[str, Field(max_length=128)] | None = None
    plan_hash: Annotated[str, Field(max_length=128)] | None = None


class No(BaseModel):
    """A rejection."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = None
    channel: Channel = "http"
    reason: Annotated[str, Field(max_length=500)] = ""


def approvals_router(context: ApplicationContext) -> APIRouter:
    """Routes for plans: read, approve, reject."""
    router = APIRouter(tags=["approvals"])
    views = context.views

    @router.get("/plans")
    async def plans(
        caller: Reader,
        session: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$")] = None,
        state: Annotated[str | None, Query(max_length=32)] = None,
    ) -> Response:
        """Plans, best rank first."""
        return reply(await views.plans(session=session, state=state))

    @router.get("/approvals")
    async def approvals(caller: Reader) -> Response:
        """Plans that wait for an answer."""
        return reply(await views.plans(state="pending"))

    @router.get("/plans/{plan_id}")
    async def plan(caller: Reader, plan_id: PlanId) -> Response:
        """One plan by its id or its first letters."""
        return reply(await views.plan(plan_id))

    @router.post("/plans/{plan_id}/approve")
    async def approve(caller: Approver, plan_id: PlanId, answer: Yes | None = None) -> Response:
        """Yes to exactly this plan."""
        yes = answer or Yes()
        result = await commands_of(context).approve(
            plan_id,
            channel=caller.channel(yes.channel),
            identity=caller.identity(yes.identity),
            quantity=yes.quantity,
            stop=yes.stop,
            nonce=yes.nonce,
            plan_hash=yes.plan_hash,
        )
        return outcome(result)

    @router.post("/plans/{plan_id}/reject")
    async def reject(caller: Approver, plan_id: PlanId, answer: No | None = None) -> Response:
        """No to this plan."""
        no = answer or No()
        result = await commands_of(context).reject(
            plan_id,
            channel=caller.channel(no.channel),
            identity=caller.identity(no.identity),
            reason=no.reason,
        )
        return outcome(result)

    return router
