"""A stress test as a page: what each shock costs, where paths end and how deep they fall, the worst stretches."""

from decimal import Decimal
from itertools import pairwise

from finagent.backtest.pages import shell
from finagent.backtest.pages.reading import Row, number, rows, section, text, words
from finagent.backtest.pages.result import FEW_SESSIONS
from finagent.backtest.pages.shell import Column, Html
from finagent.backtest.pages.study import shown

WARNING = (
    "Paths are made of the sessions that were tested: a loss that never came in them comes in none of these. Shocks are"
    " examples, not bounds."
)
SHOCKED = ("return", "max_drawdown", "sharpe", "trades")


def few_sessions(sessions: float | Decimal | None) -> str:
    """A warning where paths are made of too few sessions to mean anything; empty where they are not."""
    if sessions is None or sessions >= FEW_SESSIONS:
        return ""
    return (
        f"Paths and intervals come of {sessions:,.0f} sessions, fewer than {FEW_SESSIONS}: they mean little."
    )


def stress_page(document: Row) -> str:
    """The whole file, from the document alone."""
    paths, orders = section(document, "paths"), section(document, "reshuffled")
    drawn = (
        _histogram(section(paths, "returns"), f"return over {text(paths, 'years')} years", shell.LINE),
        _histogram(
            section(paths, "drawdowns"), f"deepest drawdown in {text(paths, 'years')} years", shell.LOSS
        ),
        _histogram(section(orders, "drawdowns"), "deepest drawdown, trades in other orders", shell.LOSS),
    )
    source = section(document, "source")
    what = f"{text(source, 'kind')} {text(source, 'id')}".strip()
    return shell.page(
        f"Stress {text(document, 'from')} to {text(document, 'to')}",
        shell.paragraph(
            f"Of {what}, {text(document, 'sessions')} sessions, bars {text(document, 'bars')}, seed"
            f" {text(document, 'seed')}.",
            kind="dim",
        ),
        _cards(document),
        shell.paragraph(WARNING, kind="warn"),
        *([shell.paragraph(few, kind="warn")] if (few := few_sessions(number(document, "sessions"))) else []),
        shell.paragraph(f"Assumed: {'; '.join(words(document, 'assumptions')) or 'nothing'}."),
        shell.section("Shocks", _shocks(document)),
        shell.section(
            f"{text(paths, 'paths')} paths, blocks of {text(paths, 'block')} sessions", shell.grid(*drawn)
        ),
        shell.section("Intervals", _intervals(document)),
        shell.section("Worst stretches", _worst(document)),
    )


def _cards(document: Row) -> Html:
    base, paths = section(document, "base"), section(document, "paths")
    loss = number(paths, "loss_probability")
    return shell.cards(
        [
            *((name.replace("_", " "), shown(name, number(base, name))) for name in SHOCKED),
            (f"Paths that lose in {text(paths, 'years')} years", None if loss is None else f"{loss:.1%}"),
        ]
    )


def _shocks(document: Row) -> Html:
    columns = (
        Column("Shock"),
        Column("What", is_wide=True),
        Column("How"),
        *(Column(name.replace("_", " "), right=True) for name in SHOCKED),
        Column("P&L change", right=True),
    )
    cells = [
        [
            text(row, "name").replace("_", " "),
            text(row, "failure") or text(row, "words"),
            text(row, "how"),
            *(shown(name, number(section(row, "measures"), name)) for name in SHOCKED),
            _change(number(row, "pnl_change")),
        ]
        for row in rows(document, "shocks")
    ]
    return shell.table(columns, cells)


def _change(value: float | None) -> Html | None:
    return None if value is None else shell.painted(f"{value:+,.2f}", value)


def _histogram(row: Row, title: str, colour: str) -> Html:
    edges, counts = row.get("edges"), row.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list):
        return shell.paragraph(f"No {title}.", kind="dim")
    middles = [(float(low) + float(high)) / 2 for low, high in pairwise(edges)]
    trace: dict[str, object] = {"type": "bar", "x": middles, "y": counts, "marker": {"color": colour}}
    layout = {"xaxis": {"title": {"text": title}, "tickformat": ".2~%"}, "bargap": 0.02, "showlegend": False}
    return shell.chart(
        [trace], layout, caption="The middle 99 of 100; what lies outside stands at the edges."
    )


def _intervals(document: Row) -> Html:
    names = {"intervals": "as many sessions again", "paths": "paths", "reshuffled": "trades in other orders"}
    cells = []
    for part, told in names.items():
        for name in ("return", "max_drawdown", "sharpe"):
            found = section(section(document, part), name)
            if found:
                values = [shown(name, number(found, key)) for key in ("low", "median", "high")]
                cells.append([told, name.replace("_", " "), *values])
    share = text(document, "confidence_pct")
    columns = (
        Column("Of"),
        Column("Measure"),
        Column(f"Low of {share} %", right=True),
        Column("Median", right=True),
        Column("High", right=True),
    )
    return shell.table(columns, cells)


def _worst(document: Row) -> Html:
    cells = [
        [text(row, "sessions"), text(row, "from"), text(row, "to"), shown("return", number(row, "return"))]
        for row in rows(document, "worst")
    ]
    columns = (Column("Sessions", right=True), Column("From"), Column("To"), Column("Return", right=True))
    return shell.table(columns, cells)
