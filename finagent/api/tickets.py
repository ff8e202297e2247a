"""Tickets that a person types at a broker by hand, and what became of them."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.approvals import Amount
from finagent.api.callers import Reader, Trader
from finagent.api.control import Identity, commands_of
from finagent.api.replies import outcome, reply
from finagent.context import ApplicationContext

PlanName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Leg = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}$", description="entry, stop, target-1, exit ...")]


class OfTicket(BaseModel):
    """A ticket of a plan."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = None
    plan: PlanName
    leg: Leg


class Fill(OfTicket):
    """One execution; ``id`` is the broker's own number of it and makes telling it twice harmless."""

    price: Amount
    quantity: Amount
    at: Annotated[str, Field(max_length=40)] | None = None
    fees: Amount | None = None
    id: Annotated[str, Field(max_length=64)] | None = None
    again: bool = False
    average: bool = False
    force: bool = False


class End(OfTicket):
    """A ticket that will not fill (any more)."""

    reason: Annotated[str, Field(max_length=200)] = ""


def tickets_router(context: ApplicationContext) -> APIRouter:
    """Routes for broker ``manual``."""
    router = APIRouter(tags=["tickets"])
    views = context.views

    @router.get("/tickets")
    async def tickets(caller: Reader, all: bool = False) -> Response:
        """Orders to type and to take back; ``all``: the session's others too."""
        return reply(await views.tickets(every=all))

    @router.post("/fills")
    async def fill(caller: Trader, body: Fill) -> Response:
        """A fill made by hand."""
        result = await commands_of(context).add_fill(
            body.plan,
            leg=body.leg,
            price=body.price,
            quantity=body.quantity,
            identity=caller.identity(body.identity),
            at=body.at,
            fees=body.fees,
            name=body.id,
            is_again=body.again,
            is_average=body.average,
            is_sure=body.force,
        )
        return outcome(result)

    @router.post("/fills/not-done")
    async def not_done(caller: Trader, body: End) -> Response:
        """A ticket that was not typed, was cancelled or was refused at the broker."""
        result = await commands_of(context).end_ticket(
            body.plan, leg=body.leg, reason=body.reason, identity=caller.identity(body.identity)
        )
        return outcome(result)

    return router
