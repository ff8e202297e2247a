"""Controls: pause, resume, flatten, kill, rearm, lock, unlock; each says what it will do."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from finagent.cli.fields import rows, text
from finagent.cli.invocation import (
    Action,
    Invocation,
    act,
    answer_intent,
    answer_result,
    confirm,
    identity,
    invocation,
    read,
    tell,
    wait_for,
)
from finagent.cli.options import AsJson, DryRun, Yes
from finagent.context import CommandResult, Commands, Json, SurfaceError

Reason = Annotated[str, typer.Option("--reason", help="Why, for the journal.")]
Symbol = Annotated[str, typer.Argument(metavar="SYMBOL")]
External = Annotated[
    bool,
    typer.Option(
        "--include-external", help="Also sell shares that finagent did not open; asks, and names them."
    ),
]


def pause(
    context: typer.Context, reason: Reason = "", dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """No new entries; exits go on."""
    _control(
        context, "pause", {"reason": reason}, lambda c, who: c.pause(reason=reason, identity=who),
        effect="refuse new entries; exits go on", dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def resume(context: typer.Context, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Undo a person's pause (not a loss limit, not a kill)."""
    _control(
        context, "resume", {}, lambda c, who: c.resume(identity=who),
        effect="allow entries again where only a person paused them", dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def lock(
    context: typer.Context,
    symbol: Symbol,
    force: Annotated[
        bool, typer.Option("--force", help="Also a symbol that the market does not know.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """No entries in one symbol."""
    name = symbol.strip().upper()
    body: dict[str, Json] = {"symbol": name, "force": True} if force else {"symbol": name}
    _control(
        context, "lock", body, lambda c, who: c.lock(name, identity=who, force=force),
        effect=f"refuse entries in {name}", dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def unlock(context: typer.Context, symbol: Symbol, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Entries in the symbol again."""
    name = symbol.strip().upper()
    _control(
        context, "unlock", {"symbol": name}, lambda c, who: c.unlock(name, identity=who),
        effect=f"allow entries in {name}", dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def rearm(context: typer.Context, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Open the entry gate again after a kill, a loss limit or a restore."""
    effect = "open the entry gate again: new trades become possible"
    if not dry_run:
        confirm(f"rearm will {effect}. Go on?", is_sure=yes, verb="rearm")
    _control(
        context, "rearm", {}, lambda c, who: c.rearm(identity=who),
        effect=effect, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def flatten(
    context: typer.Context,
    symbol: Annotated[str | None, typer.Argument(metavar="[SYMBOL]", help="One symbol; default all.")] = None,
    external: External = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cancel entries and close positions now; without a symbol also pause."""
    name = symbol.strip().upper() if symbol else None
    scope = f"in {name}" if name else "in every symbol, and pause"
    effect = f"cancel entries and close positions {scope}{_outside(context, name, is_included=external)}"
    if not dry_run:
        confirm(f"flatten will {effect}. Go on?", is_sure=yes, verb="flatten")
    body: dict[str, Json] = {"symbol": name}
    _closing(
        context, "flatten", {**body, "include_external": True} if external else body,
        lambda c, who: c.flatten(symbol=name, identity=who, include_external=external),
        effect=effect, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def kill(
    context: typer.Context,
    reason: Reason = "",
    external: External = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cancel, flatten and lock: trading ends until rearm."""
    effect = "cancel entries, close every position and lock: no trading until finagent rearm"
    effect += _outside(context, None, is_included=external)
    if not dry_run:
        confirm(f"kill will {effect}. Go on?", is_sure=yes, verb="kill")
    body: dict[str, Json] = {"reason": reason}
    _closing(
        context, "kill", {**body, "include_external": True} if external else body,
        lambda c, who: c.kill(reason=reason, identity=who, include_external=external),
        effect=effect, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def _outside(context: typer.Context, symbol: str | None, *, is_included: bool) -> str:
    """What would be sold that finagent did not open, named one by one: nobody agrees to what was not shown."""
    if not is_included:
        return ""
    found = rows(read(invocation(context), lambda views: views.external()), "external")
    held = [row for row in found if symbol in (None, text(row, "symbol"))]
    names = ", ".join(f"{text(row, 'quantity')} {text(row, 'symbol')}" for row in held)
    return f"; AND SELL WHAT FINAGENT DID NOT OPEN: {names}" if names else "; nothing else is held"


Command = Callable[[Commands, str], Awaitable[CommandResult]]


def _control(
    context: typer.Context,
    verb: str,
    body: dict[str, Json],
    command: Command,
    *,
    effect: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    if dry_run:
        answer_intent(verb, effect, body, as_json=as_json)
        return
    who = identity()
    action = Action(
        path=f"control/{verb}",
        body={**body, "identity": who},
        carry_out=lambda commands: command(commands, who),
    )
    answer_result(act(invocation(context), action), as_json=as_json)


def _closing(
    context: typer.Context,
    verb: str,
    body: dict[str, Json],
    command: Command,
    *,
    effect: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """A verb that closes positions: without a running agent, one is started until nothing is left open."""
    from finagent.cli.agent import find_agent

    call = invocation(context)
    if dry_run or find_agent(call.home) is not None or not _holds_something(call, body):
        _control(context, verb, body, command, effect=effect, dry_run=dry_run, as_json=as_json)
        return
    who = identity()
    from finagent.app import act_until_flat

    tell(f"{verb}: no agent runs here; working without one until everything is closed (Ctrl-C leaves it)")
    result = wait_for(
        act_until_flat(call.settings(), call.home, act=lambda commands: command(commands, who), announce=tell)
    )
    if not result.is_done:
        raise SurfaceError(result.message, code=result.code, exit_code=result.exit_code)
    answer_result(result, as_json=as_json)


def _holds_something(call: Invocation, body: dict[str, Json]) -> bool:
    """Whether a position is open or an order works: then somebody must see the closing through."""
    try:
        held = read(call, lambda views: views.positions()).get("positions")
        working = read(call, lambda views: views.orders(open_only=True)).get("orders")
        outside = read(call, lambda views: views.external()).get("external")
    except SurfaceError:
        return False
    return bool(held or working or ("include_external" in body and outside))
