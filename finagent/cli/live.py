"""Live trading: whether it is on, and the second switch, on this machine only and while no agent runs."""

from typing import Annotated

import typer

from finagent.cli.fields import text
from finagent.cli.invocation import answer, answer_intent, confirm, identity, invocation, wait_for
from finagent.cli.options import AsJson, DryRun, Yes
from finagent.cli.page import Page
from finagent.context import Document

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Trading real money: the second switch.",
)


@app.command("status")
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Whether both switches for real money are on, and for which account."""
    call = invocation(context)
    from finagent.bootstrap.going_live import live_status

    answer(wait_for(live_status(call.settings(), call.home)), as_json=as_json, render=_status)


@app.command("allow")
def allow(
    context: typer.Context,
    account: Annotated[
        str, typer.Option("--account", metavar="NUMBER", help="The account's number as the broker shows it.")
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Allow live trading for one account, beside broker.endpoint: live; binds the home to it for good."""
    call = invocation(context)
    if dry_run:
        effect = f"allow live trading for account {account} and bind {call.home} to it"
        answer_intent("live allow", effect, {"account": account}, as_json=as_json)
        return
    question = f"From the next start on, orders in {call.home} trade REAL MONEY in account {account}. Go on?"
    confirm(question, is_sure=yes, verb="live allow")
    from finagent.bootstrap.going_live import allow_live

    document = wait_for(allow_live(call.settings(), call.home, account=account, identity=identity()))
    answer(document, as_json=as_json, render=_allowed)


@app.command("revoke")
def revoke(context: typer.Context, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Take the consent back: the next start refuses the live endpoint."""
    call = invocation(context)
    if dry_run:
        answer_intent("live revoke", "take the consent to live trading back", {}, as_json=as_json)
        return
    from finagent.bootstrap.going_live import revoke_live

    answer(
        wait_for(revoke_live(call.settings(), call.home, identity=identity())),
        as_json=as_json,
        render=_revoked,
    )


def _status(document: Document, page: Page) -> str:
    bound = document.get("bound")
    facts = [
        ("Live", "yes: REAL MONEY" if document.get("is_live") is True else "no"),
        ("Broker", text(document, "broker")),
        ("Endpoint", text(document, "endpoint")),
        ("Allowed account", text(document, "allowed_account") or "none"),
        ("Bound to", _bound(bound) if isinstance(bound, dict) else "no account yet"),
    ]
    return page.pairs(facts)


def _bound(bound: Document) -> str:
    return f"{text(bound, 'endpoint')} account {text(bound, 'account')} at {text(bound, 'broker')}"


def _allowed(document: Document, page: Page) -> str:
    holds = f"{text(document, 'equity')} {text(document, 'currency')}"
    return (
        f"Live trading is allowed for account {text(document, 'account')}, which holds {holds}."
        " finagent live revoke takes it back."
    )


def _revoked(document: Document, page: Page) -> str:
    account = text(document, "account")
    return f"Live trading for account {account} is off." if account else "Live trading was not allowed."
