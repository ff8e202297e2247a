"""The verb that tests rules on past sessions: backtest."""

import sys
from typing import Annotated

import typer

from finagent.cli import render_backtest
from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation, tell
from finagent.cli.options import AsJson, At, Bars, FirstDate, LastDate, Symbols
from finagent.cli.progress import Progress, steps

ENGINES = ("kernel", "reference")
LINES = 20
"""So many lines of progress at most where nobody watches a bar grow."""


def backtest(
    context: typer.Context,
    first: FirstDate,
    last: LastDate = None,
    bars: Bars = "auto",
    symbols: Symbols = None,
    at: At = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="kernel|reference",
            help="kernel: sessions on daily bars many times as fast; reference: with every decision.",
        ),
    ] = "kernel",
    check: Annotated[
        int,
        typer.Option(
            "--check", metavar="N", min=0, help="So many of the kernel's sessions once more by the reference."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Rules tested on stored bars, with the trades that a replay would make; no agent, no database."""
    if engine not in ENGINES:
        raise usage(f"--engine {engine} is not built in", f"Use --engine {' or '.join(ENGINES)}")
    call = invocation(context)
    from finagent.bootstrap.backtests import Request
    from finagent.bootstrap.backtests import backtest as run

    request = Request(
        first=first,
        last=last or first,
        bars=bars,
        engine=engine,
        check=check,
        symbols=tuple(symbols or ()),
        at=at,
    )
    with steps("backtest", sys.stderr) as progress:
        told = progress if sys.stderr.isatty() else spared(progress)
        document = run(call.settings(), call.home, request, progress=told)
    answer(document, as_json=as_json, render=render_backtest.backtested)
    partial = document.get("partial")
    if isinstance(partial, dict):
        tell(f"backtest: stopped in {partial['session']}: {partial['error']}; what came before is kept")
        raise typer.Exit(1)


def spared(progress: Progress) -> Progress:
    """Told at the first session and then twenty times at most."""
    told = -1

    def show(name: str, number: int, count: int) -> None:
        nonlocal told
        part = (number - 1) * LINES // count
        if part != told:
            told = part
            progress(name, number, count)

    return show
