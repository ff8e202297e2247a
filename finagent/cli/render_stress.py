"""A stress test as a page: shocks, intervals, paths, worst stretches."""

from decimal import Decimal

from finagent.backtest.pages.stress import few_sessions
from finagent.cli.fields import flag, number, rows, section, text, words
from finagent.cli.page import Column, Page
from finagent.cli.render_optimize import measure
from finagent.cli.values import profit, quantity, seconds, share
from finagent.context import Document

SHOWN = ("return", "max_drawdown", "sharpe", "trades")
PARTS = {"intervals": "as many sessions again", "paths": "paths", "reshuffled": "trades in other orders"}


def stressed(document: Document, page: Page) -> str:
    """Shocks, intervals, worst stretches, summary."""
    parts = [
        page.heading("Shocks"),
        _shocks(document, page),
        page.heading(f"Intervals of {text(document, 'confidence_pct')} %"),
        _intervals(document, page),
        page.heading("Worst stretches"),
        _worst(document, page),
        page.paragraph(
            "Paths are made of the sessions that were tested: a loss that never came in them comes in none of these.",
            "yellow",
        ),
        page.paragraph(few_sessions(number(document, "sessions")), "yellow"),
        page.paragraph(f"Assumed: {'; '.join(words(document, 'assumptions')) or 'nothing'}.", "yellow"),
        _summary(document, page),
    ]
    return "\n\n".join(part for part in parts if part)


def _shocks(document: Document, page: Page) -> str:
    columns = (
        Column("Shock"),
        *(Column(name.replace("_", " "), right=True) for name in SHOWN),
        Column("P&L", right=True),
        Column("What", flexible=True),
    )
    base = section(document, "base")
    cells = [["none", *(measure(name, number(base, name)) for name in SHOWN), profit(page, base, "pnl"), ""]]
    for row in rows(document, "shocks"):
        found = section(row, "measures")
        measured = [measure(name, number(found, name)) for name in SHOWN]
        pnl = profit(page, found, "pnl") if flag(row, "applies") else ""
        words = text(row, "failure") or text(row, "words")
        cells.append([text(row, "name").replace("_", " "), *measured, pnl, words])
    return page.table(columns, cells)


def _intervals(document: Document, page: Page) -> str:
    cells = []
    for part, told in PARTS.items():
        for name in ("return", "max_drawdown", "sharpe"):
            found = section(section(document, part), name)
            if found:
                values = [measure(name, number(found, key)) for key in ("low", "median", "high")]
                cells.append([told, name.replace("_", " "), *values])
    columns = (
        Column("Of"),
        Column("Measure"),
        *(Column(title, right=True) for title in ("Low", "Median", "High")),
    )
    return page.table(columns, cells)


def _worst(document: Document, page: Page) -> str:
    cells = [
        [text(row, "sessions"), text(row, "from"), text(row, "to"), measure("return", number(row, "return"))]
        for row in rows(document, "worst")
    ]
    columns = (Column("Sessions", right=True), Column("From"), Column("To"), Column("Return", right=True))
    return page.table(columns, cells)


def _summary(document: Document, page: Page) -> str:
    paths, source = section(document, "paths"), section(document, "source")
    lost = f"{share(number(paths, 'loss_probability'))} lose"
    fell = f"{share(number(paths, 'half_lost_probability'))} fall by half"
    drawn = f"{quantity(number(paths, 'paths'))} of {text(paths, 'years')} years in blocks of {text(paths, 'block')}"
    facts = [
        ("Of", f"{text(source, 'kind')} {text(source, 'id')}".strip()),
        ("Sessions", f"{text(document, 'from')} to {text(document, 'to')}"),
        ("Paths", f"{drawn}: {lost}, {fell}"),
        ("Seed", text(document, "seed")),
        ("Dataset", text(document, "dataset_id")),
        ("Kept in", text(document, "folder")),
        ("Took", seconds((number(document, "elapsed_ms") or Decimal(0)) / 1000)),
    ]
    return page.pairs(facts)
