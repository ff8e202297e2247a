"""An optimisation as a page: the best trials, the front of the objectives, how all ended, what it is worth."""

from collections.abc import Sequence
from decimal import Decimal

from finagent.cli.fields import number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page
from finagent.cli.values import quantity, seconds, share
from finagent.context import Document

SHOWN = 10
SHARES = ("return", "cagr", "max_drawdown", "volatility", "win_rate", "worst_session")
COLUMNS = ("return", "max_drawdown", "sharpe", "calmar", "trades", "win_rate")


def optimized(document: Document, page: Page) -> str:
    """Best trials, front, summary."""
    parts = [
        page.heading("Best trials") if rows(document, "top") else "No trial meets every requirement.",
        trials_table(rows(document, "top")[:SHOWN], page),
        page.heading("Front: none is better in all of " + ", ".join(_objectives(document))),
        trials_table(rows(document, "front")[:SHOWN], page),
        _walked(document, page),
        _worth(document, page),
        _ended(document, page),
        _summary(document, page),
    ]
    return "\n\n".join(part for part in parts if part)


def trials_table(trials: Sequence[Document], page: Page) -> str:
    """Number, values, measures."""
    if not trials:
        return ""
    names = list(section(trials[0], "values"))
    columns = [
        Column("Trial", right=True),
        *(Column(name.partition(".")[2], right=True) for name in names),
        *(Column(name.replace("_", " "), right=True, rank=place) for place, name in enumerate(COLUMNS)),
    ]
    cells = [
        [
            quantity(number(trial, "number")),
            *(text(section(trial, "values"), name) for name in names),
            *(measure(name, number(section(trial, "measures"), name)) for name in COLUMNS),
        ]
        for trial in trials
    ]
    return page.table(columns, cells)


def measure(name: str, value: Decimal | None) -> str:
    """A measure as it reads: shares in percent, counts whole."""
    if value is None:
        return UNKNOWN
    if name in SHARES:
        return f"{value * 100:.1f} %"
    return quantity(value) if name == "trades" else f"{value:.2f}"


def _objectives(document: Document) -> list[str]:
    return [text(each, "name").replace("_", " ") for each in rows(document, "objectives")]


def _walked(document: Document, page: Page) -> str:
    """Each window of a walk-forward, and all judging parts together."""
    found = section(document, "walk_forward")
    if not found:
        return ""
    columns = (
        Column("Window", right=True),
        Column("Judged from"),
        Column("To"),
        Column("Chosen", flexible=True),
        Column("CAGR in", right=True),
        Column("CAGR out", right=True),
        Column("Drawdown out", right=True, rank=1),
        Column("Trades out", right=True, rank=2),
    )
    cells = []
    for row in rows(found, "windows"):
        values = section(row, "values")
        inside, outside = section(row, "measures_inside"), section(row, "measures_outside")
        chosen = ", ".join(f"{name.partition('.')[2]} {text(values, name)}" for name in values)
        cells.append(
            [
                text(row, "window"),
                text(section(row, "outside"), "from"),
                text(section(row, "outside"), "to"),
                text(row, "failure") or chosen or "nothing met the requirements",
                measure("cagr", number(inside, "cagr")),
                measure("cagr", number(outside, "cagr")),
                measure("max_drawdown", number(outside, "max_drawdown")),
                measure("trades", number(outside, "trades")),
            ]
        )
    outside = section(found, "outside")
    joined = (
        f"Outside, all windows: {measure('return', number(outside, 'return'))},"
        f" {measure('cagr', number(outside, 'cagr'))} a year, drawdown"
        f" {measure('max_drawdown', number(outside, 'max_drawdown'))}, Sharpe"
        f" {measure('sharpe', number(outside, 'sharpe'))}."
    )
    efficiency = number(found, "efficiency")
    if efficiency is not None:
        joined += f" Of the yearly return inside {share(efficiency)} is left."
    return "\n\n".join(
        (page.heading("Walk-forward"), page.table(columns, cells), page.paragraph(joined, "yellow"))
    )


def _worth(document: Document, page: Page) -> str:
    """What the choice is worth, and which settings matter."""
    worth = section(document, "worth")
    deflated, overfit = section(worth, "deflated_sharpe"), section(worth, "overfitting")
    settings = rows(section(document, "sensitivity"), "settings")
    told = [(text(each, "name").partition(".")[2], number(each, "explained")) for each in settings]
    weights = ", ".join(f"{name} {share(value)}" for name, value in told if value is not None)
    facts = [
        ("Deflated Sharpe", _deflated(deflated)),
        ("Overfitting", _overfit(overfit)),
        ("Explained by", weights),
    ]
    return page.pairs(facts)


def _deflated(row: Document) -> str:
    if not row:
        return "too few trials to tell"
    sharpe, chance = (
        measure("sharpe", number(row, "sharpe")),
        measure("sharpe", number(row, "sharpe_without_skill")),
    )
    return (
        f"{share(number(row, 'probability'))} that the best is skill: its Sharpe ratio is {sharpe}, and the best of"
        f" {quantity(number(row, 'trials'))} without skill has {chance}"
    )


def _overfit(row: Document) -> str:
    if not row:
        return "too few trials or sessions to tell"
    return (
        f"in {share(number(row, 'probability'))} of {quantity(number(row, 'splits'))} splits the choice is below the"
        f" median outside, in {share(number(row, 'loss_probability'))} it loses there"
    )


def _ended(document: Document, page: Page) -> str:
    """Trials that failed or were refused, and what is taken for granted."""
    lines = [
        f"Trial {quantity(number(each, 'number'))} {text(each, 'state')}: {text(each, 'note')}"
        for each in rows(document, "failed")[:SHOWN]
    ]
    counts = section(document, "trials")
    failed, refused = number(counts, "failed"), number(counts, "refused")
    if failed or refused:
        lines.insert(0, f"{quantity(failed)} trials failed and {quantity(refused)} were refused:")
    lines.append(f"Assumed: {'; '.join(words(document, 'assumptions'))}.")
    return "\n".join(page.paragraph(line, "yellow") for line in lines)


def _summary(document: Document, page: Page) -> str:
    counts, elapsed = section(document, "trials"), number(document, "elapsed_ms")
    ended = ", ".join(
        f"{quantity(value)} {name}"
        for name in ("done", "pruned", "failed", "refused", "eligible")
        if (value := number(counts, name))
    )
    facts = [
        ("Trials", f"{ended} of {quantity(number(counts, 'asked'))}"),
        ("Sessions", f"{text(document, 'from')} to {text(document, 'to')}"),
        ("Method", f"{text(document, 'method')}, seed {text(document, 'seed')}"),
        ("Required", ", ".join(words(document, "requirements"))),
        ("Study", text(document, "study_id")),
        ("Hash", text(document, "trials_hash")),
        ("Dataset", text(document, "dataset_id")),
        ("Kept in", text(document, "folder")),
        *([] if elapsed is None else [("Took", seconds(elapsed / 1000))]),
    ]
    return page.pairs(facts)
