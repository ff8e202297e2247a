"""Controls over HTTP: pause, resume, flatten, kill, rearm, lock, unlock, and a note for the journal."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from finagent.api.callers import LocalAdmin, Trader, refuse_unless_local
from finagent.api.replies import outcome
from finagent.context import ApplicationContext, Commands, SurfaceError

Identity = Annotated[
    str | None,
    Field(
        min_length=1, max_length=64, description="Who gives the command; heard from the home's own token only"
    ),
]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.\-/]{0,11}$")]


class By(BaseModel):
    """A command without details."""

    model_config = ConfigDict(extra="forbid")

    identity: Identity = None


class Because(By):
    """A command with a reason."""

    reason: Annotated[str, Field(max_length=500)] = ""


class InSymbol(By):
    """A command about one symbol."""

    symbol: Symbol


class Lock(InSymbol):
    """A lock; ``force`` takes a symbol that the market does not know."""

    force: bool = False


class Scope(By):
    """A command about one symbol or all; ``include_external`` sells, too, what finagent did not open."""

    symbol: Symbol | None = None
    include_external: bool = False


class Kill(Because):
    """The end of trading; ``include_external`` sells, too, what finagent did not open."""

    include_external: bool = False


class Holdings(By):
    """A command about external holdings."""

    symbols: Annotated[list[Symbol], Field(max_length=500)] = []


class Note(By):
    """A note."""

    text: Annotated[str, Field(min_length=1, max_length=4000)]
    ref: Annotated[str, Field(max_length=128)] = ""


def commands_of(context: ApplicationContext) -> Commands:
    """The commands, or SurfaceError where this process can only read."""
    if context.commands is None:
        raise SurfaceError("this home can only be read here", hint="Ask the running agent", code="read_only")
    return context.commands


def control_router(context: ApplicationContext) -> APIRouter:
    """Routes that change what the agent may do."""
    router = APIRouter(tags=["control"])

    @router.post("/control/pause")
    async def pause(caller: Trader, body: Because | None = None) -> Response:
        """No new entries; exits go on."""
        body = body or Because()
        return outcome(
            await commands_of(context).pause(reason=body.reason, identity=caller.identity(body.identity))
        )

    @router.post("/control/resume")
    async def resume(caller: Trader, body: By | None = None) -> Response:
        """Undoes a person's pause only."""
        return outcome(await commands_of(context).resume(identity=caller.identity((body or By()).identity)))

    @router.post("/control/flatten")
    async def flatten(caller: Trader, body: Scope | None = None) -> Response:
        """Cancels entries and closes positions; without a symbol it also pauses."""
        body = body or Scope()
        if body.include_external:
            refuse_unless_local(caller)
        return outcome(
            await commands_of(context).flatten(
                symbol=body.symbol,
                identity=caller.identity(body.identity),
                include_external=body.include_external,
            )
        )

    @router.post("/control/kill")
    async def kill(caller: Trader, body: Kill | None = None) -> Response:
        """Cancels, flattens and locks."""
        body = body or Kill()
        if body.include_external:
            refuse_unless_local(caller)
        return outcome(
            await commands_of(context).kill(
                reason=body.reason,
                identity=caller.identity(body.identity),
                include_external=body.include_external,
            )
        )

    @router.post("/control/rearm")
    async def rearm(caller: LocalAdmin, body: By | None = None) -> Response:
        """Opens the entry gate again."""
        return outcome(await commands_of(context).rearm(identity=caller.identity((body or By()).identity)))

    @router.post("/control/lock")
    async def lock(caller: Trader, body: Lock) -> Response:
        """No entries in one symbol."""
        return outcome(
            await commands_of(context).lock(
                body.symbol, identity=caller.identity(body.identity), force=body.force
            )
        )

    @router.post("/control/unlock")
    async def unlock(caller: Trader, body: InSymbol) -> Response:
        """Entries in the symbol again."""
        return outcome(
            await commands_of(context).unlock(body.symbol, identity=caller.identity(body.identity))
        )

    _words(router, context)
    return router


def _words(router: APIRouter, context: ApplicationContext) -> None:
    """What a person says that changes nothing at the broker."""

    @router.post("/external/acknowledge")
    async def acknowledge(caller: Trader, body: Holdings) -> Response:
        """Knows of holdings that finagent did not open; none named: of all that wait."""
        return outcome(
            await commands_of(context).acknowledge(body.symbols, identity=caller.identity(body.identity))
        )

    @router.post("/journal/notes")
    async def note(caller: Trader, body: Note) -> Response:
        """A person's note."""
        return outcome(
            await commands_of(context).note(body.text, ref=body.ref, identity=caller.identity(body.identity))
        )
