"""The verb that searches for parameters: optimize."""

import os
import sys
from typing import Annotated

import typer

from finagent.cli import render_optimize
from finagent.cli.backtests import spared
from finagent.cli.failures import INTERRUPTED, usage
from finagent.cli.invocation import answer, invocation, tell
from finagent.cli.options import AsJson, At, Bars, LastDate, Symbols, checked_date
from finagent.cli.progress import steps

METHODS = ("grid", "sobol", "nsga2", "tpe")


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
        "--objective", metavar="MEASURE", help="The first chooses; default return, then max_drawdown."
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
Left = Annotated[int, typer.Option(metavar="N", min=0, max=10_000)]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Processes; default all CPUs.")
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="ID", help="Go on with this study as it was asked.")
]


def optimize(
    context: typer.Context,
    first: First = None,
    last: LastDate = None,
    params: Params = None,
    method: Annotated[str, typer.Option("--method", metavar="|".join(METHODS))] = "sobol",
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=0, help="0: all of a grid, else 256.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 7,
    objectives: Objectives = None,
    require: Require = None,
    prune: Prune = False,
    bars: Bars = "auto",
    symbols: Symbols = None,
    at: At = None,
    walk_forward: WalkForward = "",
    purge: Left = 0,
    embargo: Left = 0,
    workers: Workers = None,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Settings tried with other values on stored bars; a study that goes on after a kill, with what it is worth."""
    _check(first, params, method, resume)
    call = invocation(context)
    from finagent.bootstrap.optimizing import InterruptedStudyError, Request, resumed
    from finagent.bootstrap.optimizing import optimize as run

    settings = call.settings()
    if resume is not None:
        request = resumed(settings, call.home, resume)
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
    try:
        with steps("optimize", sys.stderr) as progress:
            told = progress if sys.stderr.isatty() else spared(progress)
            document = run(
                settings, call.home, request, workers=workers or os.cpu_count() or 1, progress=told
            )
    except InterruptedStudyError as error:
        tell(
            f"optimize: stopped after {error.done} of {error.trials} trials, which are kept;"
            f" the same command or finagent optimize --resume {error.study_id} goes on"
        )
        raise typer.Exit(INTERRUPTED) from None
    answer(document, as_json=as_json, render=render_optimize.optimized)


def _check(first: str | None, params: list[str] | None, method: str, resume: str | None) -> None:
    if resume is not None and (first or params):
        raise usage("--resume goes on with what was asked", "leave --from and --param out")
    if resume is None and first is None:
        raise usage("--from is missing", "give the first session, or --resume ID")
    if method not in METHODS:
        raise usage(f"--method {method} is not built in", f"use one of {', '.join(METHODS)}")
