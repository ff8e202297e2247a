"""Limits: whether the settings ask for more than was accepted, and accepting it, on this machine, without an agent."""

import typer

from finagent.cli.fields import rows, text
from finagent.cli.invocation import answer, answer_intent, confirm, identity, invocation, wait_for
from finagent.cli.options import AsJson, DryRun, Yes
from finagent.cli.page import Page
from finagent.context import Document

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Limits that the settings raise.",
)


@app.command("show")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Limits that the settings raise above what was accepted."""
    call = invocation(context)
    from finagent.bootstrap.limits import limits_document

    answer(wait_for(limits_document(call.settings(), call.home)), as_json=as_json, render=_shown)


@app.command("accept")
def accept(
    context: typer.Context, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Accept the limits of the settings; they are in force from the next start on."""
    call = invocation(context)
    from finagent.bootstrap.limits import accept_limits, limits_document

    asked = wait_for(limits_document(call.settings(), call.home))
    effect = f"accept the limits of the settings: {_changes(rows(asked, 'raised')) or 'none is raised'}"
    if dry_run:
        answer_intent("limits accept", effect, {"raised": asked["raised"]}, as_json=as_json)
        return
    confirm(f"limits accept will {effect}. Go on?", is_sure=yes, verb="limits accept")
    document = wait_for(accept_limits(call.settings(), call.home, identity=identity()))
    answer(document, as_json=as_json, render=_accepted)


def _changes(found: list[Document]) -> str:
    return ", ".join(
        f"{text(row, 'limit')} {text(row, 'accepted')} -> {text(row, 'wanted')}" for row in found
    )


def _shown(document: Document, page: Page) -> str:
    changes = _changes(rows(document, "raised"))
    if not changes:
        return "No limit is raised: those of the settings are in force."
    return f"Raised and not in force: {changes}.\nfinagent limits accept, while no agent runs."


def _accepted(document: Document, page: Page) -> str:
    changes = _changes(rows(document, "accepted"))
    return f"Accepted: {changes}." if changes else "Accepted: nothing was raised."
