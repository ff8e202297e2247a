"""/livez and /readyz: whether the process lives, and whether the agent may be relied on."""

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import Response

from finagent.api.replies import reply
from finagent.context import Document

Health = Callable[[], Document]


def health_router(health: Health) -> APIRouter:
    """Two routes over one document ``{live, ready, ...}``: 200 or 503, the document as body."""
    router = APIRouter(tags=["health"])

    @router.get("/livez")
    async def livez() -> Response:
        """Whether the event loop and the writer live: restart it where this fails."""
        return _answer(health(), "live")

    @router.get("/readyz")
    async def readyz() -> Response:
        """Whether every service runs and the start order is done."""
        return _answer(health(), "ready")

    return router


def _answer(document: Document, key: str) -> Response:
    is_well = document.get(key) is True
    return reply({"status": "ok" if is_well else "failing", **document}, status=200 if is_well else 503)
