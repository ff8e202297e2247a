"""The charts of a result: the account, its months, and what its trades did between entry and exit."""

from collections.abc import Sequence
from itertools import accumulate, groupby
from math import prod
from operator import mul

from finagent.backtest.pages import shell
from finagent.backtest.pages.reading import Row, number, rows, section, text, words
from finagent.backtest.pages.shell import Html

DOTS = 10_000
"""So many trades at most are drawn one by one."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
BINS = {"start": -10.0, "end": 10.0, "size": 0.25}
R_BOUND = 10.0
REASONS = {
    "stop": shell.LOSS,
    "target": shell.GAIN,
    "trailing": "#7fbf7b",
    "flatten": shell.LINE,
    "time": "#d9822b",
    "close_forced": "#6c5b9e",
}


def account(document: Row) -> Html:
    """Equity after each session, and below it how far it stands under its highest so far."""
    sessions = rows(document, "sessions")
    dates = [text(row, "session") for row in sessions]
    equity = _equity(document, sessions)
    peaks = list(accumulate([equity[0], *equity[1:]], max)) if equity else []
    falls = [
        level / peak - 1 if peak > 0 else None for level, peak in zip(equity[1:], peaks[1:], strict=True)
    ]
    held = _held(document, equity[0])
    traces: list[dict[str, object]] = [
        *held,
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Equity",
            "x": dates,
            "y": [round(level, 2) for level in equity[1:]],
            "line": {"color": shell.LINE, "width": 1.6},
            "hovertemplate": "%{x|%Y-%m-%d}<br>%{y:,.2f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Drawdown",
            "x": dates,
            "y": [None if fall is None else round(fall, 6) for fall in falls],
            "yaxis": "y2",
            "line": {"color": shell.LOSS, "width": 1},
            "fill": "tozeroy",
            "fillcolor": shell.SHADE,
            "showlegend": False,
            "hovertemplate": "%{x|%Y-%m-%d}<br>%{y:.2%}<extra></extra>",
        },
    ]
    layout = {
        "height": 460,
        "showlegend": bool(held),
        "margin": {"l": 76, "r": 20, "t": 16, "b": 44},
        "xaxis": {"anchor": "y2", "type": "date"},
        "yaxis": {"domain": [0.36, 1], "title": {"text": "Equity"}, "tickformat": ",.0f"},
        "yaxis2": {"domain": [0, 0.3], "title": {"text": "Drawdown"}, "tickformat": ".2~%"},
    }
    return shell.chart(
        traces, layout, caption="Equity after each session, and its distance below the highest."
    )


def _held(document: Row, start: float) -> list[dict[str, object]]:
    """The market as a course of the same start, where its returns are told for just these sessions."""
    market = section(document, "market")
    returns = market.get("returns")
    tested = [
        text(row, "session")
        for row in rows(document, "sessions")
        if not {"no bars", "no minute bars"} & {*words(row, "skipped")}
    ]
    if not isinstance(returns, list) or len(returns) != len(tested):
        return []
    growth = accumulate((1 + (each if isinstance(each, float) else 0.0) for each in returns), mul)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{shell.label(text(market, 'symbol'))} held",
            "x": tested,
            "y": [round(start * each, 2) for each in growth],
            "line": {"color": "#9aa7b4", "width": 1.1},
            "hovertemplate": "%{x|%Y-%m-%d}<br>%{y:,.2f}<extra>"
            + shell.label(text(market, "symbol"))
            + " held</extra>",
        }
    ]


def _equity(document: Row, sessions: Sequence[Row]) -> list[float]:
    """The start, and equity after each session."""
    start = number(section(document, "totals"), "start_equity") or 0.0
    return list(accumulate((number(row, "pnl") or 0.0 for row in sessions), initial=start))


def monthly(document: Row) -> list[tuple[str, float | None]]:
    """Months as ``YYYY-MM`` with profit over equity before them; None where that was nothing or less."""
    sessions = rows(document, "sessions")
    before = _equity(document, sessions)
    found: list[tuple[str, float | None]] = []
    for month, days in groupby(enumerate(sessions), key=lambda each: text(each[1], "session")[:7]):
        places = [place for place, _ in days]
        start, end = before[places[0]], before[places[-1] + 1]
        found.append((month, end / start - 1 if start > 0 else None))
    return found


def months(document: Row) -> Html:
    """Return by month, a row a year."""
    found = dict(monthly(document))
    years = sorted({month[:4] for month in found}, reverse=True)
    cells = [
        [*(own := [found.get(f"{year}-{number:02d}") for number in range(1, 13)]), _compounded(own)]
        for year in years
    ]
    bound = max((abs(cell) for row in cells for cell in row if cell is not None), default=0.0) or 0.01
    trace = {
        "type": "heatmap",
        "x": [*MONTHS, "Year"],
        "y": years,
        "z": [[None if cell is None else round(cell, 6) for cell in row] for row in cells],
        "text": [["" if cell is None else f"{cell * 100:.1f}" for cell in row] for row in cells],
        "texttemplate": "%{text}",
        "textfont": {"size": 10},
        "zmin": -min(bound, 0.3),
        "zmax": min(bound, 0.3),
        "colorscale": [[0, shell.LOSS], [0.5, "#ffffff"], [1, shell.GAIN]],
        "colorbar": {"tickformat": ".2~%", "thickness": 10},
        "hovertemplate": "%{x} %{y}: %{z:.2%}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }
    layout = {
        "height": max(200, 60 + 26 * len(years)),
        "yaxis": {"type": "category", "autorange": "reversed"},
    }
    return shell.chart(
        [trace], layout, caption="Return of each month and year in percent of the equity before it."
    )


def _compounded(months: Sequence[float | None]) -> float | None:
    """The return of a year; None where no month is known."""
    known = [each for each in months if each is not None]
    return prod(1 + each for each in known) - 1 if known else None


def multiples(document: Row) -> Html:
    """How trades ended in R, coloured by why they were closed."""
    trades = rows(document, "trades")
    reasons = sorted({text(row, "exit_reason") for row in trades})
    traces = [
        {
            "type": "histogram",
            "name": shell.label(reason),
            "x": [
                max(-R_BOUND, min(R_BOUND, value))
                for row in trades
                if text(row, "exit_reason") == reason and (value := number(row, "r_multiple")) is not None
            ],
            "xbins": BINS,
            "marker": {"color": REASONS.get(reason, "#7f8c8d")},
            "hovertemplate": "%{x} R: %{y}<extra>" + shell.label(reason) + "</extra>",
        }
        for reason in reasons
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.05,
        "xaxis": {"title": {"text": "Result in R"}},
        "yaxis": {"title": {"text": "Trades"}},
    }
    note = f"Results of trades in R by the reason of their last exit; beyond {R_BOUND:.0f} R counted at the edge."
    return shell.chart(traces, layout, caption=note)


def excursions(document: Row) -> Html:
    """How far each trade went against it and for it, in R, winners and losers apart."""
    every = rows(document, "trades")
    trades = every[-DOTS:]
    traces = []
    for name, colour, is_won in (("won", shell.GAIN, True), ("lost", shell.LOSS, False)):
        chosen = [row for row in trades if ((number(row, "pnl") or 0.0) > 0) is is_won]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [number(row, "mae_r") for row in chosen],
                "y": [number(row, "mfe_r") for row in chosen],
                "text": [
                    shell.label(
                        f"{text(row, 'symbol')} {text(row, 'session')} {number(row, 'r_multiple') or 0:+.2f} R"
                    )
                    for row in chosen
                ],
                "marker": {"color": colour, "size": 5, "opacity": 0.45},
                "hovertemplate": "%{text}<br>MAE %{x:.2f} R, MFE %{y:.2f} R<extra></extra>",
            }
        )
    layout = {"xaxis": {"title": {"text": "MAE in R"}}, "yaxis": {"title": {"text": "MFE in R"}}}
    left_out = f" The last {DOTS:,} of {len(every):,} trades." if len(every) > DOTS else ""
    return shell.chart(
        traces, layout, caption="The worst and the best that each trade saw before its exit." + left_out
    )
