"""Stored studies as a page: what each tried, and the set that it chose."""

from finagent.cli.fields import number, rows, section, text
from finagent.cli.page import Column, Page
from finagent.cli.render_backtests import older, shortest
from finagent.cli.render_optimize import measure
from finagent.cli.values import moment, quantity
from finagent.context import Document

COLUMNS = (
    Column("ID"),
    Column("Began (ET)", rank=5),
    Column("From", rank=2),
    Column("To", rank=2),
    Column("Method", rank=3),
    Column("Trials", right=True, rank=1),
    Column("Best", flexible=True),
    Column("Return", right=True),
    Column("Drawdown", right=True, rank=1),
    Column("Sharpe", right=True, rank=1),
    Column("CAGR out", right=True, rank=4),
    Column("Note"),
)


def listed(document: Document, page: Page) -> str:
    """Studies, newest first."""
    found = rows(document, "studies")
    if not found:
        return "No study is stored yet: finagent optimize --from D --to D --param SETTING=VALUES begins one."
    ids = [text(row, "study_id") for row in found]
    table = page.table(COLUMNS, [_study(row, ids, page) for row in found])
    return table + older(document, len(found))


def _study(row: Document, ids: list[str], page: Page) -> list[str]:
    best = section(row, "best")
    measures, values = section(best, "measures"), section(best, "values")
    chosen = ", ".join(f"{name.partition('.')[2]} {text(values, name)}" for name in values)
    return [
        shortest(text(row, "study_id"), ids),
        moment(text(row, "began_at"), "%Y-%m-%d %H:%M"),
        text(row, "from"),
        text(row, "to"),
        text(row, "method"),
        _trials(section(row, "trials")),
        chosen or ", ".join(text(each, "name").partition(".")[2] for each in rows(row, "params")),
        *(measure(name, number(measures, name)) for name in ("return", "max_drawdown", "sharpe")),
        measure("cagr", number(section(row, "outside"), "cagr")),
        page.paint(_note(row), "yellow"),
    ]


def _trials(counts: Document) -> str:
    done, asked = number(counts, "done"), number(counts, "asked")
    return quantity(done) if asked is None or asked == done else f"{quantity(done)} of {quantity(asked)}"


def _note(row: Document) -> str:
    state = text(row, "state")
    if state == "unfinished":
        return "UNFINISHED"
    if state == "unreadable":
        return "UNREADABLE"
    return "" if section(row, "best") else "no set met the requirements"
