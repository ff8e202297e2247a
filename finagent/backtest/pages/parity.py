"""Parity as a page: the verdict, each difference with its cause, and what was compared."""

from finagent.backtest.pages import shell
from finagent.backtest.pages.reading import Row, number, rows, section, text, words
from finagent.backtest.pages.shell import Column, Html, escaped, painted

DIFFERENCES = (
    Column("#", right=True),
    Column("Stage"),
    Column("Symbol"),
    Column("Leg"),
    Column("Agent", is_wide=True),
    Column("Backtest", is_wide=True),
    Column("Because", is_wide=True),
)


def parity_page(document: Row) -> str:
    """The whole file, from the document alone."""
    differences = rows(document, "differences")
    stages = section(document, "rows")
    counts: dict[str, int] = {}
    for row in differences:
        counts[text(row, "stage")] = counts.get(text(row, "stage"), 0) + 1
    compared = [
        [stage.replace("_", " "), f"{number(stages, stage) or 0:,.0f}", f"{counts.get(stage, 0):,}"]
        for stage in stages
    ]
    columns = (Column("Stage"), Column("Compared", right=True), Column("Different", right=True))
    cells = [[place, *_difference(row)] for place, row in enumerate(differences)]
    parts: list[Html] = [_source(document), _cards(document), _verdict(document)]
    if cells:
        parts.append(shell.section("Differences", shell.table(DIFFERENCES, cells)))
    causes = [
        [name.replace("_", " "), text(section(document, "causes"), name)]
        for name in section(document, "causes")
    ]
    if causes:
        parts.append(
            shell.section("Causes", shell.table((Column("Cause"), Column("How often", right=True)), causes))
        )
    parts.append(shell.section("What was compared", shell.table(columns, compared)))
    parts += _settings(document)
    parts += [shell.paragraph(f"Note: {note}.", kind="warn") for note in words(document, "notes")]
    return shell.page(f"Parity {text(document, 'session')}", *parts)


def _source(document: Row) -> Html:
    source = section(document, "source")
    name = "the agent" if text(source, "kind") == "agent" else f"run {text(source, 'id')}"
    line = (
        f"Session {text(document, 'session')} of {name}, by the rules that its journal holds, against the reference"
        f" engine on dataset {text(document, 'dataset_id')}."
    )
    return shell.paragraph(line, kind="dim")


def _cards(document: Row) -> Html:
    compared = sum(number(section(document, "rows"), name) or 0 for name in section(document, "rows"))
    unexplained = number(document, "unexplained") or 0
    found = len(rows(document, "differences"))
    return shell.cards(
        (
            ("Rows compared", f"{compared:,.0f}"),
            ("Different", f"{found:,}"),
            ("Explained", f"{found - unexplained:,.0f}"),
            ("Unexplained", painted(f"{unexplained:,.0f}", -unexplained)),
        )
    )


def _verdict(document: Row) -> Html:
    if not rows(document, "differences"):
        return shell.paragraph("Agent and backtest are the same in every row.")
    if number(document, "unexplained"):
        return shell.paragraph(
            "UNEXPLAINED differences: a bug, or something that no journal holds.", kind="warn"
        )
    return shell.paragraph("Every difference has a cause.")


def _difference(row: Row) -> list[object]:
    """Stage, symbol, leg, both sides field by field, why."""
    place = [text(row, "stage").replace("_", " "), text(row, "symbol"), text(row, "leg")]
    kind, fields = text(row, "kind"), section(row, "fields")
    if kind != "differs":
        there, absent = Html("there"), Html("–")
        sides = [there, absent] if kind == "only_agent" else [absent, there]
    else:
        sides = [
            Html(
                "<br>".join(escaped(f"{name} {text(section(fields, name), side) or '–'}") for name in fields)
            )
            for side in ("agent", "backtest")
        ]
    return [*place, *sides, _because(row)]


def _because(row: Row) -> Html:
    cause, follows = section(row, "cause"), number(row, "follows")
    if cause:
        return escaped(text(cause, "words"))
    return painted("UNEXPLAINED", -1) if follows is None else escaped(f"follows from {follows:.0f}")


def _settings(document: Row) -> list[Html]:
    """Settings that are others today than in the session."""
    cells = [[text(row, key) for key in ("name", "then", "today")] for row in rows(document, "settings")]
    columns = (Column("Setting"), Column("Then", is_wide=True), Column("Today", is_wide=True))
    return [shell.section("Settings that are others today", shell.table(columns, cells))] if cells else []
