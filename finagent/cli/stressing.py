"""The verb that asks how bad it can get: stress."""

import os
import sys
from typing import Annotated

import typer

from finagent.cli import render_stress
from finagent.cli.backtests import spared
from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation
from finagent.cli.optimizing import First, Workers
from finagent.cli.options import AsJson, At, Bars, LastDate, Symbols
from finagent.cli.progress import steps

MOST_PATHS, MOST_YEARS = 100_000, 100


def stress(
    context: typer.Context,
    of: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="A result of backtest or a study of optimize; none: the settings."
        ),
    ] = None,
    first: First = None,
    last: LastDate = None,
    bars: Bars = "auto",
    symbols: Symbols = None,
    at: At = None,
    paths: Annotated[
        int, typer.Option("--paths", metavar="N", min=100, max=MOST_PATHS, help="Paths of the bootstrap.")
    ] = 10_000,
    years: Annotated[
        int, typer.Option("--years", metavar="N", min=1, max=MOST_YEARS, help="Length of a path.")
    ] = 10,
    block: Annotated[
        int, typer.Option("--block", metavar="N", min=1, max=252, help="Sessions that stay together.")
    ] = 21,
    confidence: Annotated[
        int, typer.Option("--confidence", metavar="PERCENT", min=50, max=99, help="Of the intervals.")
    ] = 95,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 7,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """A result in worse worlds and other orders: costs, halts, missing bars, jumped stops, 10,000 paths."""
    if (of is None) == (first is None):
        raise usage("give an ID, or --from and --to", "finagent backtest list shows the ids of results")
    call = invocation(context)
    from finagent.bootstrap.stressing import Request
    from finagent.bootstrap.stressing import stress as run

    request = Request(
        of=of or "",
        first=first or "",
        last=last or first or "",
        bars=bars,
        symbols=tuple(symbols or ()),
        at=at,
        paths=paths,
        years=years,
        block=block,
        confidence_pct=confidence,
        seed=seed,
    )
    with steps("stress", sys.stderr) as progress:
        told = progress if sys.stderr.isatty() else spared(progress)
        document = run(
            call.settings(), call.home, request, workers=workers or os.cpu_count() or 1, progress=told
        )
    answer(document, as_json=as_json, render=render_stress.stressed)
