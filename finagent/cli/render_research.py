"""Research as a page: a line a group, each figure with its interval, and what the figures mean."""

from decimal import Decimal

from finagent.cli.fields import Fields, counts, flag, number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page
from finagent.cli.values import profit, quantity
from finagent.context import Document

SMALL = " *"


def gaps(document: Document, page: Page) -> str:
    """Groups of gaps, then the words around them."""
    found = rows(document, "groups")
    if not found:
        return "\n".join([_none(document), *_left_out(document, page)])
    multiples = [f"{quantity(number(each, 'r'))} R" for each in rows(found[0], "before_stop")]
    columns = (
        Column(_title(document), flexible=True),
        Column("n", right=True),
        Column("Sess.", right=True, rank=7),
        Column("Filled", right=True),
        Column("Half", right=True, rank=3),
        Column("Minutes", right=True, rank=6),
        Column("Open to close", right=True, rank=5),
        Column("With gap", right=True, rank=2),
        *(Column(title, right=True, rank=1 + 2 * place) for place, title in enumerate(multiples)),
    )
    cells = [
        [
            text(row, "group"),
            counted(row),
            quantity(number(row, "sessions")),
            rate(section(row, "fill")),
            rate(section(row, "half_fill")),
            _minutes(section(row, "minutes_to_fill")),
            _move(section(row, "open_to_close_pct")),
            _move(section(row, "with_gap_pct")),
            *(bounds(each) for each in rows(row, "before_stop")),
        ]
        for row in found
    ]
    return "\n\n".join([page.table(columns, cells), "\n".join(_legend(document, found, page))])


def stats(document: Document, page: Page) -> str:
    """Groups of trades and all of them, then the words around them."""
    whole = section(document, "all")
    if not whole:
        return f"No closed trade {_source(document)}."
    columns = (
        Column(_title(document), flexible=True),
        Column("n", right=True),
        Column("Sess.", right=True, rank=6),
        Column("Won", right=True, rank=1),
        Column("Expectancy R", right=True),
        Column("Profit factor", right=True, rank=2),
        Column("MAE R", right=True, rank=4),
        Column("MFE R", right=True, rank=5),
        Column("P&L", right=True, rank=3),
    )
    before = section(section(document, "without"), "before")
    lines = [*rows(document, "groups"), whole, *([{**before, "group": "before"}] if before else [])]
    cells = [
        [
            text(row, "group"),
            counted(row),
            quantity(number(row, "sessions")),
            _percents(section(row, "win_rate")),
            _plain(section(row, "expectancy_r"), signed=True),
            _plain(section(row, "profit_factor")),
            _plain(section(row, "mae_r"), signed=True),
            _plain(section(row, "mfe_r"), signed=True),
            profit(page, row, "pnl"),
        ]
        for row in lines
    ]
    return "\n\n".join([page.table(columns, cells), "\n".join(_about_trades(document, lines, page))])


def _about_trades(document: Document, lines: list[Document], page: Page) -> list[str]:
    span = f"{text(document, 'from')} to {text(document, 'to')}"
    said = [
        f"{quantity(number(document, 'n'))} trades {_source(document)}, {span}.",
        "In brackets 95 % intervals, in which the trades of one session count as partly the same.",
    ]
    if text(document, "by") == "exit":
        said.append("How a trade ended is known only afterwards: nothing to choose one by.")
    if text(document, "by") == "rule-kept":
        said.append(
            "as-planned: nobody revised the plan or closed the trade by hand; other rules as notes say it:"
            ' finagent journal note "broke: RULE" --ref ID. A trade may stand in several groups.'
        )
    shown = [page.paragraph(line, "dim") for line in said]
    without = section(document, "without")
    if without:
        removed = quantity(number(without, "removed"))
        words_ = f"Without the {removed} trades that broke {text(without, 'rule')}: {text(without, 'means')}."
        shown.append(page.paragraph(words_, "yellow"))
    if any(flag(row, "is_small") for row in lines):
        shown.append(page.paragraph(few(document), "yellow"))
    partial = section(section(document, "source"), "partial")
    if partial:
        shown.append(
            page.paragraph(f"PARTIAL: the backtest stopped in {text(partial, 'session')}.", "yellow")
        )
    return shown


def _source(document: Document) -> str:
    source = section(document, "source")
    kind, name = text(source, "kind"), text(source, "id")
    return "of the agent" if kind == "agent" else f"of {kind} {name}"


def _percents(found: Fields) -> str:
    value = number(found, "value")
    return UNKNOWN if value is None else f"{_hundredths(value)} %{_interval(found)}"


def _plain(found: Fields, *, signed: bool = False) -> str:
    """Two decimals with the interval; an end that nothing bounds is left open."""
    value, low, high = (number(found, key) for key in ("value", "low", "high"))
    if value is None:
        return UNKNOWN
    form = "+.2f" if signed else ".2f"
    ends = [UNKNOWN if end is None else f"{end:{form}}" for end in (low, high)]
    around = "" if low is None else f" ({ends[0]}…{'∞' if high is None else ends[1]})"
    return f"{value:{form}}{around}"


def counted(row: Fields) -> str:
    """How many, and the mark of few."""
    return f"{quantity(number(row, 'n'))}{SMALL if flag(row, 'is_small') else ''}"


def rate(found: Fields) -> str:
    """A share in percent with its interval."""
    value = number(found, "rate")
    return UNKNOWN if value is None else f"{_hundredths(value)} %{_interval(found)}"


def bounds(found: Fields) -> str:
    """A share that is known, or from at least to at most, with the interval around both."""
    least, most = number(found, "at_least"), number(found, "at_most")
    if least is None or most is None:
        return UNKNOWN
    low, high = _hundredths(least), _hundredths(most)
    return f"{low if low == high else f'{low} to {high}'} %{_interval(found)}"


def _interval(found: Fields) -> str:
    low, high = number(found, "low"), number(found, "high")
    return "" if low is None or high is None else f" ({_hundredths(low)}–{_hundredths(high)})"


def _hundredths(value: Decimal) -> str:
    return f"{value * 100:.0f}"


def _move(found: Fields) -> str:
    """An average in percent with its interval."""
    value, low, high = (number(found, key) for key in ("mean", "low", "high"))
    if value is None:
        return UNKNOWN
    around = "" if low is None or high is None else f" ({_tenths(low)}…{_tenths(high)})"
    return f"{_tenths(value)} %{around}"


def _tenths(value: Decimal) -> str:
    """One decimal with its sign; what rounds to nothing has none."""
    rounded = round(value, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def _minutes(found: Fields) -> str:
    """The median of the minutes that are known, and of how many."""
    value, low, high = (number(found, key) for key in ("median", "low", "high"))
    if value is None:
        return UNKNOWN
    around = "" if low is None or high is None else f" ({low:.0f}–{high:.0f})"
    return f"{value:.0f}{around} of {quantity(number(found, 'n'))}"


def _title(document: Document) -> str:
    way = text(document, "by")
    return way[:1].upper() + way[1:] if way else "Gaps"


def _asked(document: Document) -> str:
    symbols = ", ".join(words(document, "symbols"))
    size = (number(document, "min_gap_pct") or Decimal(0)).normalize()
    span = f"from {text(document, 'from')} to {text(document, 'to')}"
    return f"of {size:f} % or more {span}{f' in {symbols}' if symbols else ''}"


def _none(document: Document) -> str:
    return f"No gap {_asked(document)}. --min-gap looks for smaller ones."


def _legend(document: Document, found: list[Document], page: Page) -> list[str]:
    sessions = section(document, "sessions")
    stop = (number(document, "stop_pct") or Decimal(0)).normalize()
    way = "with" if text(document, "style") == "gap_and_go" else "against"
    kinds = [f"{quantity(number(sessions, kind))} on {kind} bars" for kind in ("minute", "daily")]
    lines = [
        f"{quantity(number(document, 'n'))} gaps {_asked(document)}: {' and '.join(kinds)} (sessions).",
        "In brackets 95 % intervals, in which the gaps of one session count as partly the same.",
        f"R: entered {way} the gap at the open, {stop:f} % to the stop; how often so many R came before it.",
        "Where there are two figures, bars do not tell what lies between.",
    ]
    shown = [page.paragraph(line, "dim") for line in lines]
    if text(document, "known").startswith("only"):
        warning = f"{_title(document)} is known {text(document, 'known')}: nothing to choose a trade by."
        shown.append(page.paragraph(warning, "yellow"))
    if any(flag(row, "is_small") for row in found):
        shown.append(page.paragraph(few(document), "yellow"))
    assumed = f"Assumed: {'; '.join(words(document, 'assumptions'))}."
    return [*shown, *_left_out(document, page), page.paragraph(assumed, "yellow")]


def few(document: Document) -> str:
    """What the mark means."""
    return f"* fewer than {quantity(number(document, 'small'))}: an anecdote, not a figure to trade on."


def _left_out(document: Document, page: Page) -> list[str]:
    left = counts(document, "left_out")
    return [page.paragraph(f"Left out: {left}.", "dim")] if left else []
