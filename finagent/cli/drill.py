"""Drills: the promises shown on the user's own machine, with real processes."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli.failures import SIGNALLED
from finagent.cli.invocation import answer, invocation, tell, wait_for
from finagent.cli.options import AsJson

app = typer.Typer(help="The promises shown on this machine, with real processes.", no_args_is_help=True)


@app.callback()
def drills() -> None:
    """The promises shown on this machine, with real processes."""


@app.command()
def crash(
    context: typer.Context,
    kills: Annotated[int, typer.Option("--kills", min=1, max=10_000, help="How often it is killed.")] = 30,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Draws the instants; default a new one, printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Kill an agent at work again and again, beside a broker server of its own; ends in a one-page report.

    Nothing of your home is touched: the drill has a folder of its own in it. Exit 1 when anything was lost,
    doubled or orphaned.
    """
    call = invocation(context)
    from finagent.simulation.drill import run_drill
    from finagent.simulation.drill.report import summary

    def progress(line: str) -> None:
        tell(f"drill: {line}")

    signal.signal(signal.SIGTERM, _stopped)
    document = wait_for(run_drill(call.home, kills=kills, seed=seed, progress=progress))
    answer(document, as_json=as_json, render=lambda found, page: summary(found))
    tell(f"report: {Path(str(document['report']))}")
    sys.stdout.flush()
    if not document["passed"]:
        raise typer.Exit(1)


def _stopped(number: int, frame: object) -> None:
    """SIGTERM ends the drill as Ctrl-C does: its broker and its agent end with it."""
    raise SystemExit(SIGNALLED + number)
