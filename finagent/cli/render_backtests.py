"""Stored backtests as pages: a list, and two of them held against each other."""

from decimal import Decimal

from finagent.cli.fields import Fields, flag, number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page
from finagent.cli.values import moment, money, multiple, percent, profit, quantity
from finagent.context import Document

SHORT_ID = 8
SHOWN = 20
"""So many trades of a kind at most; ``--json`` has all."""
NOTED = 3
"""So many settings at most stand in the list; ``compare`` has all."""
RESULTS = (
    Column("ID"),
    Column("Stored (ET)", rank=4),
    Column("From", rank=1),
    Column("To", rank=1),
    Column("Trades", right=True),
    Column("P&L", right=True),
    Column("CAGR", right=True, rank=2),
    Column("Drawdown", right=True, rank=2),
    Column("Sharpe", right=True, rank=2),
    Column("PF", right=True, rank=3),
    Column("Note", flexible=True),
)


def listed(document: Document, page: Page) -> str:
    """Results, newest first."""
    found = rows(document, "results")
    if not found:
        return "No backtest is stored yet: finagent backtest --from D --to D makes one."
    ids = [text(row, "result_id") for row in found]
    table = page.table(RESULTS, [_result(row, ids, page) for row in found])
    return table + older(document, len(found))


def older(document: Document, shown: int) -> str:
    """How many stored ones a list leaves out; nothing where it has all."""
    left_out = (number(document, "stored") or Decimal(0)) - shown
    return f"\n\n{left_out:,.0f} older ones are left out: --limit shows more." if left_out > 0 else ""


def shortest(result_id: str, others: list[str]) -> str:
    """As much of an id as no other begins with."""
    for length in range(SHORT_ID, len(result_id)):
        if sum(each.startswith(result_id[:length]) for each in others) == 1:
            return result_id[:length]
    return result_id


def _result(row: Document, ids: list[str], page: Page) -> list[str]:
    totals, metrics = section(row, "totals"), section(row, "metrics")
    return [
        shortest(text(row, "result_id"), ids),
        moment(text(row, "stored_at"), "%Y-%m-%d %H:%M"),
        text(row, "from"),
        text(row, "to"),
        quantity(number(totals, "trades")),
        profit(page, totals, "pnl"),
        percentage(metrics, "cagr"),
        percentage(metrics, "max_drawdown_ratio"),
        figure(metrics, "sharpe"),
        figure(metrics, "profit_factor"),
        page.paint(_note(row), "yellow"),
    ]


def _note(row: Document) -> str:
    """What marks a result: a stop on the way, what it looked at, settings that most others have otherwise."""
    if text(row, "error"):
        return "UNREADABLE"
    partial, symbols = section(row, "partial"), words(row, "symbols")
    parts = [f"PARTIAL: stopped in {text(partial, 'session')}"] if partial else []
    if symbols:
        parts.append(f"{symbols[0]} alone" if len(symbols) == 1 else f"{len(symbols)} symbols")
    if text(row, "bars") in ("daily", "minute"):
        parts.append(f"{text(row, 'bars')} bars")
    if text(row, "engine") == "reference":
        parts.append("reference")
    if text(row, "at"):
        parts.append(f"at {text(row, 'at')}")
    otherwise = section(row, "otherwise")
    parts += [f"{key.partition('.')[2]} {_value(otherwise, key)}" for key in [*otherwise][:NOTED]]
    if len(otherwise) > NOTED:
        parts.append(f"{len(otherwise) - NOTED} more settings")
    return ", ".join(parts)


def percentage(document: Fields, key: str) -> str:
    """A ratio as percent with a decimal."""
    value = number(document, key)
    return percent(None if value is None else value * 100)


def figure(document: Fields, key: str) -> str:
    """A plain ratio with two decimals."""
    value = number(document, key)
    return UNKNOWN if value is None else f"{value:.2f}"


def compared(document: Document, page: Page) -> str:
    """Figures side by side, what was asked otherwise, and the trades that differ."""
    a, b = section(document, "a"), section(document, "b")
    parts = [_figures(a, b, page), *_partial(a, b, page), _settings(document, page)]
    for key, name in (("only_a", "Only in A"), ("only_b", "Only in B")):
        parts.append(_only(rows(document, key), name, page))
    parts.append(_different(rows(document, "different"), page))
    same = f"{quantity(number(document, 'same'))} trades are the same in both."
    parts.append("The same trades, field by field." if flag(document, "equal") else same)
    return "\n\n".join(part for part in parts if part)


def _figures(a: Document, b: Document, page: Page) -> str:
    columns = (Column(""), Column("A", right=True), Column("B", right=True))
    sides = (a, b)
    cells = [
        ["Result", *(text(side, "result_id") for side in sides)],
        ["Sessions", *(f"{text(side, 'from')} to {text(side, 'to')}" for side in sides)],
        ["Trades", *(quantity(number(section(side, "totals"), "trades")) for side in sides)],
        ["P&L", *(profit(page, section(side, "totals"), "pnl") for side in sides)],
        ["Ambiguous", *(quantity(number(section(side, "totals"), "ambiguous")) for side in sides)],
        [
            "P&L at worst",
            *(money(number(section(side, "totals"), "pnl_worst"), signed=True) for side in sides),
        ],
        ["P&L at best", *(money(number(section(side, "totals"), "pnl_best"), signed=True) for side in sides)],
        ["CAGR", *(percentage(section(side, "metrics"), "cagr") for side in sides)],
        ["Drawdown", *(percentage(section(side, "metrics"), "max_drawdown_ratio") for side in sides)],
        ["Sharpe", *(figure(section(side, "metrics"), "sharpe") for side in sides)],
        ["Profit factor", *(figure(section(side, "metrics"), "profit_factor") for side in sides)],
        ["Expectancy", *(multiple(number(section(side, "metrics"), "expectancy_r")) for side in sides)],
    ]
    return page.table(columns, cells)


def _partial(a: Document, b: Document, page: Page) -> list[str]:
    return [
        page.paragraph(
            f"{name} is PARTIAL: stopped in {text(partial, 'session')} ({text(partial, 'error')});"
            " only the sessions before count.",
            "yellow",
        )
        for name, partial in (("A", section(a, "partial")), ("B", section(b, "partial")))
        if partial
    ]


def _settings(document: Document, page: Page) -> str:
    columns = (Column("Setting"), Column("A", flexible=True), Column("B", flexible=True))
    cells = [[text(row, "key"), _value(row, "a"), _value(row, "b")] for row in rows(document, "settings")]
    table = page.table(columns, cells)
    return f"{page.heading('Asked otherwise')}\n{table}" if table else "Nothing was asked otherwise."


def _value(row: Fields, key: str) -> str:
    value = row.get(key)
    return ", ".join(words(row, key)) if isinstance(value, list) else text(row, key) or "none"


def _only(found: list[Document], name: str, page: Page) -> str:
    columns = (
        Column("Session"),
        Column("Symbol"),
        Column("R", right=True, rank=1),
        Column("P&L", right=True),
        Column("Because", flexible=True),
    )
    cells = [
        [
            text(row, "session"),
            text(row, "symbol"),
            multiple(number(row, "r_multiple")),
            profit(page, row, "pnl"),
            text(row, "because"),
        ]
        for row in found[:SHOWN]
    ]
    return _shown(page, f"{name}: {len(found)}", page.table(columns, cells), len(found)) if cells else ""


def _different(found: list[Document], page: Page) -> str:
    columns = (
        Column("Session"),
        Column("Symbol"),
        Column("Fields", flexible=True),
        Column("Because", flexible=True),
    )
    cells = [
        [
            text(row, "session"),
            text(row, "symbol"),
            ", ".join(text(field, "field") for field in rows(row, "fields")),
            "; ".join(words(row, "because")),
        ]
        for row in found[:SHOWN]
    ]
    return _shown(page, f"Different: {len(found)}", page.table(columns, cells), len(found)) if cells else ""


def _shown(page: Page, heading: str, table: str, count: int) -> str:
    more = f"\n  and {count - SHOWN} more: --json has them" if count > SHOWN else ""
    return f"{page.heading(heading)}\n{table}{more}"
