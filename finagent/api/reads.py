"""What may be read over HTTP: status, scans, candidates, plans, orders, positions, trades, journal, risk."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from finagent.api.callers import Needs
from finagent.api.replies import reply
from finagent.context import Views
from finagent.runtime.tokens import TokenScope

Session = Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Session date")]
Word = Annotated[str | None, Query(max_length=64)]


def reads_router(views: Views) -> APIRouter:
    """Routes that read through the views."""
    router = APIRouter(tags=["reads"], dependencies=[Depends(Needs(TokenScope.READ))])

    @router.get("/status")
    async def status() -> Response:
        """Mode, clock, session, account, control, services, problems, next jobs."""
        return reply(await views.status())

    @router.get("/scans")
    async def scans(session: Session = None) -> Response:
        """Scans, newest first."""
        return reply(await views.scans(session=session))

    @router.get("/candidates")
    async def candidates(session: Session = None, tick: Word = None) -> Response:
        """The candidates of one scan, default the newest."""
        return reply(await views.candidates(session=session, tick=tick))

    @router.get("/orders")
    async def orders(session: Session = None, open_only: bool = False) -> Response:
        """Orders in order of creation."""
        return reply(await views.orders(session=session, open_only=open_only))

    @router.get("/positions")
    async def positions() -> Response:
        """Open positions."""
        return reply(await views.positions())

    @router.get("/trades")
    async def trades(session: Session = None) -> Response:
        """Closed trades."""
        return reply(await views.trades(session=session))

    @router.get("/pnl")
    async def pnl() -> Response:
        """Profit and loss by session."""
        return reply(await views.pnl())

    @router.get("/external")
    async def external() -> Response:
        """Holdings of the account that finagent did not open."""
        return reply(await views.external())

    @router.get("/risk")
    async def risk() -> Response:
        """Limits and the part used."""
        return reply(await views.risk())

    @router.get("/journal")
    async def journal(
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        kind: Word = None,
        ref: Annotated[str | None, Query(max_length=128)] = None,
    ) -> Response:
        """Journal entries after a sequence number; ``next_after`` is the cursor of the next page."""
        return reply(await views.journal(after_seq=after, limit=limit, kind=kind, ref=ref))

    @router.get("/journal/verification")
    async def verification() -> Response:
        """Whether the journal is whole: chain, inputs, and the state that they lead to."""
        return reply(await views.verify_journal())

    return router
