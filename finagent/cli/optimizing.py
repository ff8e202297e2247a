"""The verbs that search for parameters, and show what earlier searches chose: optimize and its kin."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from finagent.cli import render_optimize, render_studies
from finagent.cli.backtests import spared
from finagent.cli.failures import INTERRUPTED, usage
from finagent.cli.invocation import Invocation, answer, invocation, tell
from finagent.cli.options import AsJson, At, Bars, LastDate, Limit, Symbols, checked_date, refuse_options
from finagent.cli.progress import steps

if TYPE_CHECKING:
    from finagent.bootstrap.optimizing import Request
    from finagent.context import Document

MEASURES = (
    "return", "cagr", "max_drawdown", "sharpe", "sortino", "calmar", "volatility", "expectancy", "win_rate",
    "worst_session", "trades",
)  # fmt: skip
"""Those of ``backtest.search.measures``, which takes long to load."""
METHODS = ("grid", "sobol", "nsga2", "tpe")
FLAGS = {
    "first": "--from",
    "last": "--to",
    "params": "--param",
    "objectives": "--objective",
    "symbols": "--symbol",
    "walk_forward": "--walk-forward",
    "as_json": "--json",
}
"""The flags that are called otherwise than their parameters."""
ABOUT = "Settings tried with other values on stored bars; a study that goes on after a kill, with what it is worth."

app = typer.Typer(rich_markup_mode=None, add_completion=False, invoke_without_command=True, help=ABOUT)
StudyId = Annotated[str, typer.Argument(metavar="ID", help="A study, by a unique start of its id, or last.")]

First = Annotated[
    str | None,
    typer.Option("--from", metavar="DATE", callback=checked_date, help="First session, YYYY-MM-DD."),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="SETTING=VALUES",
        help="What is varied: planning.target_r=1:4:0.5 or planning.preset=a,b; may be repeated.",
    ),
]
Objectives = Annotated[
    list[str] | None,
    typer.Option(
        "--objective",
        metavar="MEASURE",
        help=f"The first chooses; default return, then max_drawdown. One of {', '.join(MEASURES)}.",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", metavar="CONDITION", help='"trades>=30", "max_drawdown<=0.2"; may be repeated.'
    ),
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Give trials up after a quarter of the sessions that fall behind.")
]
WalkForward = Annotated[
    str,
    typer.Option(
        "--walk-forward",
        metavar="N:M",
        help="Choose by N sessions, judge by the next M, move on by M: 504:126.",
    ),
]
Purge = Annotated[
    int,
    typer.Option(
        "--purge",
        metavar="N",
        min=0,
        max=10_000,
        help="The last N sessions before each judging part choose nothing.",
    ),
]
Embargo = Annotated[
    int,
    typer.Option("--embargo", metavar="N", min=0, max=10_000, help="Nor do the N sessions after it, later."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Threads or processes; default all CPUs.")
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="ID", help="Go on with this study as it was asked.")
]


@app.callback()
def optimize(
    context: typer.Context,
    first: First = None,
    last: LastDate = None,
    params: Params = None,
    method: Annotated[
        str, typer.Option("--method", metavar="|".join(METHODS), help="How sets are chosen.")
    ] = "sobol",
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=0, help="0: all of a grid, else 256.")
    ] = 0,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, help="Of the sets: the same seed tries the same ones."),
    ] = 7,
    objectives: Objectives = None,
    require: Require = None,
    prune: Prune = False,
    bars: Bars = "auto",
    symbols: Symbols = None,
    at: At = None,
    walk_forward: WalkForward = "",
    purge: Purge = 0,
    embargo: Embargo = 0,
    workers: Workers = None,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Settings tried with other values on stored bars; a study that goes on after a kill, with what it is worth."""
    if context.invoked_subcommand is not None:
        refuse_options(context, FLAGS)
        return
    _check(first, params, method, resume)
    call = invocation(context)
    from finagent.bootstrap.optimizing import Request, resumed

    if resume is not None:
        request = resumed(call.settings(), call.home, resume)
    else:
        request = Request(
            first=str(first),
            last=last or str(first),
            params=tuple(params or ()),
            method=method,
            trials=trials,
            seed=seed,
            objectives=tuple(objectives or ("return", "max_drawdown")),
            require=tuple(require or ()),
            prunes=prune,
            bars=bars,
            symbols=tuple(symbols or ()),
            at=at,
            walk_forward=walk_forward,
            purge=purge,
            embargo=embargo,
        )
    answer(_searched(call, request, workers), as_json=as_json, render=render_optimize.optimized)


def _searched(call: Invocation, request: "Request", workers: int | None) -> "Document":
    """The study's document; at Ctrl-C what was kept and how it goes on."""
    from finagent.bootstrap.optimizing import InterruptedStudyError
    from finagent.bootstrap.optimizing import optimize as run

    try:
        with steps("optimize", sys.stderr) as progress:
            told = progress if sys.stderr.isatty() else spared(progress)
            return run(
                call.settings(), call.home, request, workers=workers or os.cpu_count() or 1, progress=told
            )
    except InterruptedStudyError as error:
        tell(
            f"optimize: stopped after {error.done} of {error.trials} trials, which are kept;"
            f" the same command or finagent optimize --resume {error.study_id} goes on"
        )
        raise typer.Exit(INTERRUPTED) from None


def _check(first: str | None, params: list[str] | None, method: str, resume: str | None) -> None:
    if resume is not None and (first or params):
        raise usage("--resume goes on with what was asked", "leave --from and --param out")
    if resume is None and first is None:
        raise usage("--from is missing", "give the first session, or --resume ID")
    if method not in METHODS:
        raise usage(f"--method {method} is not built in", f"use one of {', '.join(METHODS)}")


@app.command("list")
def listing(context: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Stored studies with the set that each chose, newest first."""
    from finagent.bootstrap.study_store import list_studies

    document = list_studies(invocation(context).home, limit=limit)
    answer(document, as_json=as_json, render=render_studies.listed)


@app.command()
def show(context: typer.Context, wanted: StudyId, as_json: AsJson = False) -> None:
    """A stored study as it was printed."""
    from finagent.bootstrap.study_store import load_study

    document = load_study(invocation(context).home, wanted)
    answer(document, as_json=as_json, render=render_optimize.optimized)
