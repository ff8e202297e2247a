"""Reading verbs of the day: scan, plans, positions, orders, trades, pnl, risk, status."""

from typing import Annotated

import typer

from finagent.cli import render_day, render_ops, render_risk
from finagent.cli.invocation import answer, invocation, read, wait_for
from finagent.cli.options import AsJson, At, Run, Session


def scan(
    context: typer.Context,
    session: Session = None,
    at: At = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="SYMBOL", help="Why one symbol was kept or dropped.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute a gap scan and print it; nothing is written."""
    call = invocation(context)
    from finagent.bootstrap import run_scan

    symbol = explain.strip().upper() if explain else None
    document = wait_for(run_scan(call.settings(), call.home, session=session, at=at, explain=symbol))
    answer(document, as_json=as_json, render=render_day.explanation if symbol else render_day.scan)


def plans(
    context: typer.Context,
    plan_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One plan in full.")] = None,
    session: Session = None,
    state: Annotated[str | None, typer.Option("--state", help="Only plans in this state.")] = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Plans with entry, stop, target, size and time left to answer."""
    call = invocation(context)
    if plan_id is not None:
        document = read(call, lambda views: views.plan(plan_id), run=run)
        answer(document, as_json=as_json, render=render_day.plan)
        return
    document = read(call, lambda views: views.plans(session=session, state=state), run=run)
    answer(document, as_json=as_json, render=render_day.plans)


def positions(context: typer.Context, as_json: AsJson = False) -> None:
    """Open positions and whether each is protected."""
    document = read(invocation(context), lambda views: views.positions())
    answer(document, as_json=as_json, render=render_day.positions)


def orders(
    context: typer.Context,
    session: Session = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only orders that still work.")] = False,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Orders in order of creation."""
    document = read(
        invocation(context), lambda views: views.orders(session=session, open_only=open_only), run=run
    )
    answer(document, as_json=as_json, render=render_day.orders)


def trades(context: typer.Context, session: Session = None, run: Run = None, as_json: AsJson = False) -> None:
    """Closed trades with prices, reason, R and result."""
    document = read(invocation(context), lambda views: views.trades(session=session), run=run)
    answer(document, as_json=as_json, render=render_day.trades)


def pnl(context: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Profit and loss by session."""
    document = read(invocation(context), lambda views: views.pnl(), run=run)
    answer(document, as_json=as_json, render=render_day.pnl)


def risk(context: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Limits with what is used and left, the day's loss, breakers, raised limits, reservations and locks."""
    document = read(invocation(context), lambda views: views.risk(), run=run)
    answer(document, as_json=as_json, render=render_risk.risk)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Mode, clock, account, limits, problems first, and what comes next."""
    document = read(invocation(context), lambda views: views.status())
    answer(document, as_json=as_json, render=render_ops.status)
