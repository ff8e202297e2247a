"""External holdings: what the account holds that finagent did not open; listed, acknowledged, never sold."""

from typing import Annotated

import typer

from finagent.cli.failures import usage
from finagent.cli.fields import flag, number, rows, text
from finagent.cli.invocation import (
    Action,
    act,
    answer,
    answer_intent,
    answer_result,
    identity,
    invocation,
    read,
)
from finagent.cli.options import AsJson, DryRun
from finagent.cli.page import Column, Page
from finagent.cli.values import moment, quantity
from finagent.context import Document

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Shares in the account that finagent did not open.",
)
COLUMNS = (
    Column("Symbol"),
    Column("Shares", right=True),
    Column("Seen", rank=1),
    Column("Acknowledged", flexible=True),
)


@app.command("list")
def listing(context: typer.Context, as_json: AsJson = False) -> None:
    """Holdings that are not finagent's, and whether somebody has acknowledged them."""
    answer(read(invocation(context), lambda views: views.external()), as_json=as_json, render=_page)


@app.command("ack")
def acknowledge(
    context: typer.Context,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Symbols of the list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every holding of the list.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Say that you know of a holding: it no longer shuts entries; it is never sold, its symbol not traded."""
    if every == bool(symbols):
        raise usage("external ack takes symbols or --all", "finagent external list shows them")
    names = sorted({name.strip().upper() for name in symbols or ()})
    if dry_run:
        effect = f"acknowledge {', '.join(names) or 'every holding that waits'}: never sold, not traded"
        answer_intent("external ack", effect, {"symbols": [*names]}, as_json=as_json)
        return
    who = identity()
    action = Action(
        path="external/acknowledge",
        body={"symbols": [*names], "identity": who},
        carry_out=lambda commands: commands.acknowledge(names, identity=who),
    )
    answer_result(act(invocation(context), action), as_json=as_json)


def _page(document: Document, page: Page) -> str:
    found = rows(document, "external")
    if not found:
        return "The account holds nothing that finagent did not open."
    cells = [
        (
            text(row, "symbol"),
            quantity(number(row, "quantity")),
            moment(text(row, "first_seen_at"), "%Y-%m-%d %H:%M"),
            _seen(row),
        )
        for row in found
    ]
    return page.table(COLUMNS, cells)


def _seen(row: Document) -> str:
    if not flag(row, "is_acknowledged"):
        return "no: entries are shut"
    return f"{moment(text(row, 'acknowledged_at'), '%Y-%m-%d')} by {text(row, 'acknowledged_by')}"
