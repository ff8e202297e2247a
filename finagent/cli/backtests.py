"""The verbs that test rules on past sessions, and show what earlier tests came to: backtest and its kin."""

import gc
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from finagent.cli import render_backtest, render_backtests
from finagent.cli.failures import usage
from finagent.cli.invocation import (
    Action,
    Invocation,
    act,
    answer,
    answer_result,
    identity,
    invocation,
    tell,
)
from finagent.cli.options import AsJson, At, Bars, LastDate, Limit, Symbols, checked_date, refuse_options
from finagent.cli.progress import Progress, steps

if TYPE_CHECKING:
    from finagent.bootstrap.backtests import Request
    from finagent.context import Json

ENGINES = ("kernel", "reference")
LINES = 20
"""So many lines of progress at most where nobody watches a bar grow."""
OPTIONS = {
    "first": "--from",
    "last": "--to",
    "symbols": "--symbol",
    "as_json": "--json",
    "is_queued": "--queue",
}
"""The flags that are called otherwise than their parameters."""

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    help="Rules tested on stored bars, with the trades that a replay would make; no agent, no database.",
)
ResultId = Annotated[
    str, typer.Argument(metavar="ID", help="A result, by a unique start of its id, or last.")
]

Check = Annotated[
    int,
    typer.Option(
        "--check", metavar="N", min=0, help="So many of the kernel's sessions once more by the reference."
    ),
]
Lookahead = Annotated[
    int,
    typer.Option(
        "--lookahead",
        metavar="N",
        min=0,
        help="So many sessions once more with other data behind decisions.",
    ),
]


@app.callback()
def backtest(
    context: typer.Context,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", callback=checked_date, help="First session, YYYY-MM-DD."),
    ] = None,
    last: LastDate = None,
    bars: Bars = "auto",
    symbols: Symbols = None,
    at: At = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="kernel|reference",
            help="kernel: many times as fast where it can; reference: with every decision and order.",
        ),
    ] = "kernel",
    check: Check = 0,
    lookahead: Lookahead = 0,
    is_queued: Annotated[
        bool, typer.Option("--queue", help="Leave it to the agent: a job, see finagent jobs watch.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rules tested on stored bars, with the trades that a replay would make; no agent, no database."""
    if context.invoked_subcommand is not None:
        refuse_options(context, OPTIONS)
        return
    if first is None:
        raise usage("missing option --from", "finagent backtest --help shows what it takes")
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
        lookahead=lookahead,
        symbols=tuple(symbols or ()),
        at=at,
    )
    if is_queued:
        _queue(call, request, as_json=as_json)
        return
    gc.set_threshold(50_000, 20, 20)  # a run keeps nearly all that it makes: looking for waste finds none
    try:
        with steps("backtest", sys.stderr) as progress:
            told = progress if sys.stderr.isatty() else spared(progress)
            document = run(call.settings(), call.home, request, progress=told)
    except KeyboardInterrupt:
        tell("backtest: stopped; nothing of it is kept")
        raise
    answer(document, as_json=as_json, render=render_backtest.backtested)
    partial = document.get("partial")
    if isinstance(partial, dict):
        tell(f"backtest: stopped in {partial['session']}: {partial['error']}; what came before is kept")
        raise typer.Exit(1)


def _queue(call: Invocation, request: "Request", *, as_json: bool) -> None:
    """The same question as a job of the agent's, under the settings of this call."""
    from finagent.bootstrap.backtests import settings_document

    asked: dict[str, Json] = {
        "first": request.first,
        "last": request.last,
        "bars": request.bars,
        "engine": request.engine,
        "check": request.check,
        "lookahead": request.lookahead,
        "symbols": [*request.symbols],
        "at": request.at,
        "settings": settings_document(call.settings()),
    }
    who = identity()
    action = Action(
        path="backtests",
        body={**asked, "identity": who},
        carry_out=lambda commands: commands.backtest(asked, identity=who),
    )
    answer_result(act(call, action), as_json=as_json)


@app.command("list")
def listing(context: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Stored results, newest first."""
    from finagent.bootstrap.backtest_store import list_results

    document = list_results(invocation(context).home, limit=limit)
    answer(document, as_json=as_json, render=render_backtests.listed)


@app.command()
def show(context: typer.Context, wanted: ResultId, as_json: AsJson = False) -> None:
    """A stored result as it was printed."""
    from finagent.bootstrap.backtest_store import load_result

    document = load_result(invocation(context).home, wanted)
    answer(document, as_json=as_json, render=render_backtest.backtested)


@app.command()
def compare(
    context: typer.Context,
    first: Annotated[
        str, typer.Argument(metavar="A", help="A result, by a unique start of its id, or last.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Two results trade by trade: what was asked otherwise, and what became of it."""
    from finagent.bootstrap.backtest_compare import compare_results
    from finagent.bootstrap.backtest_store import load_result

    home = invocation(context).home
    document = compare_results(load_result(home, first), load_result(home, second))
    answer(document, as_json=as_json, render=render_backtests.compared)


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
