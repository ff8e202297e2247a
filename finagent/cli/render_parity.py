"""Parity as a page: what differs and why, unexplained first in red, then how much was compared."""

from finagent.cli.fields import Fields, clean, flag, number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page
from finagent.cli.values import quantity
from finagent.context import Document

MOST_FIELDS = 3


def parity(document: Document, page: Page) -> str:
    """Differences in the order of the day, the verdict, and by which rules."""
    found = rows(document, "differences")
    columns = (
        Column("#", right=True),
        Column("Stage"),
        Column("Symbol", rank=1),
        Column("Leg", rank=3),
        Column("Agent / backtest", flexible=True),
        Column("Because", flexible=True),
    )
    cells = [
        [
            str(place),
            text(row, "stage"),
            text(row, "symbol"),
            text(row, "leg"),
            _what(row),
            _why(row, page),
        ]
        for place, row in enumerate(found)
    ]
    parts = [page.table(columns, cells), _verdict(document, page), _about(document, page)]
    return "\n\n".join(part for part in parts if part)


def _what(row: Document) -> str:
    kind = text(row, "kind")
    if kind != "differs":
        return "only by the agent" if kind == "only_agent" else "only by the backtest"
    fields = section(row, "fields")
    said = [
        f"{clean(name)} {_side(fields, name, 'agent')} / {_side(fields, name, 'backtest')}" for name in fields
    ]
    more = len(said) - MOST_FIELDS
    return ", ".join(said[:MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _side(fields: Fields, name: str, side: str) -> str:
    return text(section(fields, name), side) or UNKNOWN


def _why(row: Document, page: Page) -> str:
    cause = section(row, "cause")
    if cause:
        return text(cause, "words")
    follows = number(row, "follows")
    return page.paint("UNEXPLAINED", "red") if follows is None else f"follows from {quantity(follows)}"


def _verdict(document: Document, page: Page) -> str:
    stages = section(document, "rows")
    compared = sum(int(number(stages, name) or 0) for name in stages)
    by_stage = ", ".join(f"{quantity(number(stages, name))} {clean(name)}" for name in stages)
    found, unexplained = len(rows(document, "differences")), int(number(document, "unexplained") or 0)
    if not found:
        return page.paragraph(f"Agent and backtest are the same in all {compared} rows: {by_stage}.", "green")
    verdict = (
        f"{found} of {compared} rows differ: {found - unexplained} explained, {unexplained} unexplained."
    )
    return page.paragraph(f"{verdict} Compared: {by_stage}.", "red" if unexplained else "yellow")


def _about(document: Document, page: Page) -> str:
    source = section(document, "source")
    name = "the agent" if text(source, "kind") == "agent" else f"run {text(source, 'id')}"
    lines = [f"Session {text(document, 'session')} of {name}, by the rules that its journal holds."]
    lines += [
        f"Settings are others today: {text(each, 'name')} was {text(each, 'then')}, is {text(each, 'today')}."
        for each in rows(document, "settings")
    ]
    lines += [f"Note: {note}." for note in words(document, "notes")]
    return "\n".join(page.paragraph(line, "dim") for line in lines)


def has_unexplained(document: Document) -> bool:
    """Whether any difference has no cause."""
    return any(flag(row, "unexplained") for row in rows(document, "differences"))
