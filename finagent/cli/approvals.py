"""The person's answer to a plan: approve, reject."""

import re
from typing import Annotated

import typer

from finagent.cli import render_day
from finagent.cli.failures import usage
from finagent.cli.fields import rows, text
from finagent.cli.invocation import Action, Invocation, act, answer, answer_result, identity, invocation, read
from finagent.cli.options import AsJson, DryRun
from finagent.context import CommandResult, Document, ExitCode, Json, SurfaceError

CHANNEL = "cli"
AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?", re.ASCII)


def approve(
    context: typer.Context,
    plan_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Plan id, its first letters, or the symbol.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every plan that waits for an answer.")] = False,
    quantity: Annotated[
        str | None, typer.Option("--qty", metavar="N", help="Fewer shares; risk may only shrink.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="P", help="Another stop price.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Say yes to one plan, or with --all to every plan that waits."""
    call = invocation(context)
    if every == (plan_id is not None):
        raise usage("approve takes one plan (ID or SYMBOL) or --all", "finagent plans shows them")
    if every and (quantity is not None or stop is not None):
        raise usage("--qty and --stop go with one plan, not with --all", "Approve that plan by its ID")
    if dry_run:
        for option, value in (("--qty", quantity), ("--stop", stop)):
            if value is not None and not AMOUNT.fullmatch(value):
                raise usage(f"{option} {value} is no amount", "Write it like 100 or 12.34")
        _show(call, plan_id, as_json=as_json)
    elif plan_id is not None:
        answer_result(_approve(call, plan_id, quantity, stop), as_json=as_json)
    else:
        answer_result(_approve_all(call), as_json=as_json)


def reject(
    context: typer.Context,
    plan_id: Annotated[str, typer.Argument(metavar="ID", help="Plan id, its first letters, or the symbol.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Say no to one plan."""
    call = invocation(context)
    if dry_run:
        _show(call, plan_id, as_json=as_json)
        return
    who = identity()
    action = Action(
        path=f"plans/{plan_id}/reject",
        body={"reason": reason, "channel": CHANNEL, "identity": who},
        carry_out=lambda commands: commands.reject(plan_id, channel=CHANNEL, identity=who, reason=reason),
    )
    answer_result(act(call, action), as_json=as_json)


def _show(call: Invocation, plan_id: str | None, *, as_json: bool) -> None:
    """What an answer would be about: the plan, or all that wait."""
    if plan_id is not None:
        answer(read(call, lambda views: views.plan(plan_id)), as_json=as_json, render=render_day.plan)
    else:
        answer(
            read(call, lambda views: views.plans(state="pending")), as_json=as_json, render=render_day.plans
        )


def _approve(call: Invocation, plan_id: str, quantity: str | None, stop: str | None) -> CommandResult:
    who = identity()
    body: dict[str, Json] = {"channel": CHANNEL, "identity": who}
    if quantity is not None:
        body["quantity"] = quantity
    if stop is not None:
        body["stop"] = stop
    return act(
        call,
        Action(
            path=f"plans/{plan_id}/approve",
            body=body,
            carry_out=lambda commands: commands.approve(
                plan_id, channel=CHANNEL, identity=who, quantity=quantity, stop=stop
            ),
        ),
    )


def _approve_all(call: Invocation) -> CommandResult:
    """Each plan by itself, best rank first; a refusal does not stop the others but decides the exit."""
    waiting = rows(read(call, lambda views: views.plans(state="pending")), "plans")
    if not waiting:
        return CommandResult(code="nothing_to_approve", message="No plan waits for an answer.")
    done: list[Document] = []
    refusals: list[SurfaceError] = []
    for row in waiting:
        try:
            result = _approve(call, text(row, "plan_id"), None, None)
        except SurfaceError as error:
            if error.exit_code is ExitCode.UNREACHABLE:
                raise
            refusals.append(error)
            done.append({"plan_id": text(row, "plan_id"), "code": error.code, "message": error.message})
        else:
            done.append({"plan_id": text(row, "plan_id"), "code": result.code, "message": result.message})
    message = "\n".join(
        f"{text(row, 'plan_id')[: render_day.SHORT_ID]}: {text(row, 'message')}" for row in done
    )
    if refusals:
        raise SurfaceError(
            f"{len(refusals)} of {len(waiting)} plans were not approved: {message}",
            hint=refusals[0].hint,
            code=refusals[0].code,
            exit_code=refusals[0].exit_code,
        )
    return CommandResult(code="approved", message=message, data={"plans": [*done]})
