"""Trading by hand: the tickets to type at your broker, and the fills you tell."""

import re
from typing import Annotated

import typer

from finagent.cli.failures import usage
from finagent.cli.fields import rows, text
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
from finagent.cli.render_day import SHORT_ID
from finagent.cli.values import moment
from finagent.context import Document, Json

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Fills made by hand."
)
AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?", re.ASCII)
FEES = re.compile(r"[0-9]{1,9}(\.[0-9]{1,8})?", re.ASCII)
LEG = re.compile(r"[a-z][a-z0-9-]{0,15}", re.ASCII)
PlanId = Annotated[str, typer.Argument(metavar="PLAN", help="Plan id, its first letters, or the symbol.")]
Leg = Annotated[
    str, typer.Option("--leg", metavar="L", help="entry, stop, target-1, exit: as the ticket says.")
]


def tickets(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="The session's others too.")] = False,
    as_json: AsJson = False,
) -> None:
    """With broker manual: what to type at your broker, and what to take back."""
    document = read(invocation(context), lambda views: views.tickets(every=every))
    answer(document, as_json=as_json, render=_tickets)


@app.command("add")
def add(
    context: typer.Context,
    plan: PlanId,
    leg: Leg,
    price: Annotated[str, typer.Option("--price", metavar="P", help="What a share was bought or sold at.")],
    quantity: Annotated[str, typer.Option("--qty", metavar="N", help="How many.")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="T", help="When, 09:34 or 09:34:10 exchange time; default now."),
    ] = None,
    fees: Annotated[str | None, typer.Option("--fees", metavar="F", help="Fees of this fill, USD.")] = None,
    name: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The broker's number of it: told twice it counts once."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Another fill, however like an earlier one.")
    ] = False,
    average: Annotated[
        bool, typer.Option("--average", help="The price is that of several executions.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="However far from the plan.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Tell a fill: its ticket, price and number of shares."""
    _checked(leg)
    body: dict[str, Json] = {
        "plan": plan, "leg": leg, "price": price, "quantity": quantity, "at": at, "fees": fees, "id": name,
        "again": again, "average": average, "force": force,
    }  # fmt: skip
    if dry_run:
        for option, value, form in (
            ("--price", price, AMOUNT),
            ("--qty", quantity, AMOUNT),
            ("--fees", fees, FEES),
        ):
            if value is not None and not form.fullmatch(value):
                raise usage(f"{option} {value} is no amount", "Write it like 100 or 12.34")
        answer_intent("fill add", f"record {quantity} at {price} on {leg} of {plan}", body, as_json=as_json)
        return
    who = identity()
    action = Action(
        path="fills",
        body={**body, "identity": who},
        carry_out=lambda commands: commands.add_fill(
            plan, leg=leg, price=price, quantity=quantity, identity=who, at=at, fees=fees, name=name,
            is_again=again, is_average=average, is_sure=force,
        ),
    )  # fmt: skip
    answer_result(act(invocation(context), action), as_json=as_json)


@app.command("not-done")
def not_done(
    context: typer.Context,
    plan: PlanId,
    leg: Leg,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Tell that a ticket will not fill: not typed, cancelled or refused at the broker."""
    _checked(leg)
    body: dict[str, Json] = {"plan": plan, "leg": leg, "reason": reason}
    if dry_run:
        answer_intent("fill not-done", f"end the ticket {leg} of {plan}", body, as_json=as_json)
        return
    who = identity()
    action = Action(
        path="fills/not-done",
        body={**body, "identity": who},
        carry_out=lambda commands: commands.end_ticket(plan, leg=leg, reason=reason, identity=who),
    )
    answer_result(act(invocation(context), action), as_json=as_json)


def _checked(leg: str) -> None:
    if not LEG.fullmatch(leg):
        raise usage(f"--leg {leg} is no leg", "finagent tickets shows them: entry, stop, target-1, exit")


def _tickets(document: Document, page: Page) -> str:
    """What to do first, then how to tell it."""
    if text(document, "broker") != "manual":
        words = f"The broker of this home is {text(document, 'broker')}: it needs no tickets"
        return f"{words} (broker.name: manual does)."
    found = rows(document, "tickets")
    note = page.paragraph(f"{text(document, 'note')}.", "yellow")
    if not found:
        return f"No tickets.\n\n{note}"
    columns = (
        Column("Do"), Column("At your broker", flexible=True), Column("Leg"), Column("State", rank=1),
        Column("Plan"), Column("Since", rank=2),
    )  # fmt: skip
    cells = [
        [
            text(row, "todo") or "-",
            text(row, "words"),
            text(row, "leg"),
            text(row, "state").replace("_", " "),
            text(row, "plan_id")[:SHORT_ID],
            moment(text(row, "created_at"), "%m-%d %H:%M"),
        ]
        for row in found
    ]
    example = next((row for row in found if text(row, "todo") == "place"), found[0])
    which = f"{text(example, 'plan_id')[:SHORT_ID]} --leg {text(example, 'leg')}"
    how = f"Tell a fill: finagent fill add {which} --price P --qty N"
    other = f"What will not fill: finagent fill not-done {which}"
    return f"{page.table(columns, cells)}\n\n{how}\n{other}\n\n{note}"
