"""Verbs of research: gaps, and what became of them; trades, and what they have in common."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli import render_parity, render_research
from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation, tell, wait_for
from finagent.cli.options import AsJson, Bars, FirstDate, LastDate, Run, Symbols, checked_date
from finagent.context import SurfaceError

HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also as a page that needs no network.")
]
GAP_WAYS = ("size", "direction", "rvol", "day-rvol", "catalyst", "weekday", "market")
STATS_WAYS = ("setup", "gap", "hour", "weekday", "catalyst", "exit", "rule-kept")


def gaps(
    context: typer.Context,
    first: FirstDate,
    last: LastDate = None,
    symbols: Symbols = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WAY", help=f"Grouped by {', '.join(GAP_WAYS)}.")
    ] = None,
    bars: Bars = "auto",
    min_gap: Annotated[
        str | None,
        typer.Option("--min-gap", metavar="PCT", help="Gaps of at least so much [scan.min_gap_pct]."),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--stop", metavar="PCT", help="One R: so far from the open [planning.stop_pct]."),
    ] = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """What became of gaps: how often they filled, how fast, where the day ended, how often R came before the stop."""
    one_of(by, GAP_WAYS, "--by")
    call = invocation(context)
    from finagent.bootstrap.gap_research import GapRequest, gap_research

    request = GapRequest(
        first=first,
        last=last or first,
        symbols=tuple(symbols or ()),
        by=by,
        bars=bars,
        min_gap_pct=_percent(min_gap, "--min-gap"),
        stop_pct=_percent(stop, "--stop"),
    )
    document = gap_research(call.settings(), call.home, request)
    if html is not None:
        from finagent.backtest.pages.research import gaps_page

        _write(html, gaps_page(document))
    answer(document, as_json=as_json, render=render_research.gaps)


def stats(
    context: typer.Context,
    by: Annotated[
        str, typer.Option("--by", metavar="WAY", help=f"Grouped by {', '.join(STATS_WAYS)}.")
    ] = "setup",
    without: Annotated[
        str | None, typer.Option("--without", metavar="RULE", help="Less the trades that broke this rule.")
    ] = None,
    run: Run = None,
    backtest: Annotated[
        str | None, typer.Option("--backtest", metavar="ID|last", help="The trades of a stored backtest.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", callback=checked_date, help="First session [all]."),
    ] = None,
    last: LastDate = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """What closed trades have in common: win rate, expectancy in R, profit factor, MAE and MFE, with intervals."""
    one_of(by, STATS_WAYS, "--by")
    if run is not None and backtest is not None:
        raise usage(
            "--run and --backtest name two sources", "Give one of them, or none for the agent's own trades"
        )
    call = invocation(context)
    from finagent.bootstrap.trade_research import StatsRequest, trade_research

    request = StatsRequest(
        by=by,
        run=run,
        backtest=backtest,
        first=first,
        last=last,
        without=None if without is None else without.lower(),
    )
    document = wait_for(trade_research(call.settings(), call.home, request))
    if html is not None:
        from finagent.backtest.pages.research import stats_page

        _write(html, stats_page(document))
    answer(document, as_json=as_json, render=render_research.stats)


def parity(
    context: typer.Context,
    session: Annotated[
        str, typer.Argument(metavar="D", callback=checked_date, help="The session, YYYY-MM-DD.")
    ],
    run: Run = None,
    html: HtmlFile = None,
    as_json: AsJson = False,
) -> None:
    """A session as the agent (or a replay) played it against its backtest; exit 1 where anything is unexplained."""
    call = invocation(context)
    from finagent.bootstrap.parity import parity as compared

    document = compared(call.settings(), call.home, session, run=run)
    if html is not None:
        from finagent.backtest.pages.parity import parity_page

        _write(html, parity_page(document))
    answer(document, as_json=as_json, render=render_parity.parity)
    if render_parity.has_unexplained(document):
        raise typer.Exit(1)


def _write(path: Path, page: str) -> None:
    """The page as a file of its own; SurfaceError where none can be written."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SurfaceError(
            f"{path} cannot be written: {error.strerror}",
            hint="give --html a file you may write",
            code="file",
        ) from None
    tell(f"page: {path}")


def one_of(value: str | None, known: tuple[str, ...], option: str) -> None:
    """A usage error for a word that is none of these."""
    if value is not None and value not in known:
        raise usage(f"{option} {value} is none of {', '.join(known)}", f"Use {option} {known[0]}, say")


def _percent(words: str | None, option: str) -> Decimal | None:
    """A percentage above 0 and at most 100 with at most four decimals."""
    if words is None:
        return None
    try:
        value = Decimal(words)
        if 0 < value <= 100 and value * 10_000 == (value * 10_000).to_integral_value():
            return value
    except InvalidOperation:
        pass
    raise usage(f"{option} {words} is no percentage", "Write a number above 0 and at most 100, like 4 or 2.5")
