"""The pages of research: groups of gaps, or of trades, with their intervals drawn and in a table."""

from collections.abc import Sequence

from finagent.backtest.pages import shell
from finagent.backtest.pages.reading import Row, number, rows, section, text, words
from finagent.backtest.pages.shell import Column, Html

FEW = "* fewer than {small:,.0f}: an anecdote, not a figure to trade on."
ABOUT = "Bars are 95 % intervals, in which what happened in one session counts as partly the same."


def gaps_page(document: Row) -> str:
    """What became of gaps, as one file."""
    groups = rows(document, "groups")
    span = f"{text(document, 'from')} to {text(document, 'to')}"
    parts: list[Html] = [
        shell.paragraph(
            f"{number(document, 'n') or 0:,.0f} gaps of {number(document, 'min_gap_pct'):g} % or more."
        ),
        shell.paragraph(ABOUT, kind="dim"),
    ]
    if text(document, "known").startswith("only"):
        warning = f"Groups by {text(document, 'by')} are known {text(document, 'known')}: nothing to choose a trade by."
        parts.append(shell.paragraph(warning, kind="warn"))
    if groups:
        fills = (("filled", "fill"), ("half filled", "half_fill"))
        rates = [_bars(name, groups, [section(row, key) for row in groups], "rate") for name, key in fills]
        moves = [
            _bars("with the gap", groups, [section(row, "with_gap_pct") for row in groups], "mean", scale=1)
        ]
        parts += [
            shell.section(
                "How often", shell.chart(rates, _axis("%"), caption="Gaps that filled in the same session.")
            ),
            shell.section(
                "Where the day ended", shell.chart(moves, _axis("%"), caption="From open to close.")
            ),
            shell.section("Groups", _gap_table(groups), _few(document, groups)),
        ]
    assumed = f"Assumed: {'; '.join(words(document, 'assumptions'))}."
    return shell.page(f"Gaps {span}", *parts, shell.paragraph(assumed, kind="warn"))


def stats_page(document: Row) -> str:
    """What closed trades have in common, as one file."""
    groups = rows(document, "groups")
    whole = section(document, "all")
    source = section(document, "source")
    title = f"Trades of {text(source, 'kind')} {text(source, 'id')}".strip()
    parts: list[Html] = [shell.paragraph(ABOUT, kind="dim")]
    without = section(document, "without")
    if without:
        left = f"Without the {number(without, 'removed') or 0:,.0f} trades that broke {text(without, 'rule')}"
        parts.append(shell.paragraph(f"{left}: {text(without, 'means')}.", kind="warn"))
    if not whole:
        return shell.page(title, *parts, shell.paragraph("No closed trade."))
    earned = [_bars("R a trade", groups, [section(row, "expectancy_r") for row in groups], "value", scale=1)]
    won = [_bars("won", groups, [section(row, "win_rate") for row in groups], "value")]
    parts += [
        shell.section(
            f"By {text(document, 'by')}",
            shell.grid(
                shell.chart(earned, _axis("R"), caption="Expectancy."),
                shell.chart(won, _axis("%"), caption="Share of trades that earned anything."),
            ),
        ),
        shell.section("Groups", _trade_table([*groups, whole]), _few(document, groups)),
    ]
    return shell.page(title, *parts)


def _axis(unit: str) -> dict[str, object]:
    return {"yaxis": {"title": {"text": unit}, "zeroline": True}}


def _bars(
    name: str, groups: Sequence[Row], found: Sequence[Row], key: str, *, scale: float = 100
) -> dict[str, object]:
    """One point a group with its interval; none where an end is unknown."""
    middle, above, below = [], list[float](), list[float]()
    for each in found:
        value, low, high = (number(each, part) for part in (key, "low", "high"))
        middle.append(None if value is None else value * scale)
        is_known = value is not None and low is not None and high is not None
        above.append(((high or 0) - (value or 0)) * scale if is_known else 0)
        below.append(((value or 0) - (low or 0)) * scale if is_known else 0)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [shell.label(_named(row)) for row in groups],
        "y": middle,
        "error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below},
    }


def _named(row: Row) -> str:
    return f"{text(row, 'group')}{' *' if row.get('is_small') else ''}"


def _few(document: Row, groups: Sequence[Row]) -> Html:
    is_needed = any(row.get("is_small") for row in groups)
    words_ = FEW.format(small=number(document, "small") or 0) if is_needed else ""
    return shell.paragraph(words_, kind="warn") if is_needed else Html("")


def _gap_table(groups: Sequence[Row]) -> Html:
    multiples = rows(groups[0], "before_stop")
    columns = [
        Column("Group"),
        *(Column(name, right=True) for name in ("n", "Sessions", "Filled %", "Half %")),
    ]
    columns += [Column("Open to close %", right=True), Column("With the gap %", right=True)]
    columns += [Column(f"{number(each, 'r'):g} R before the stop %", right=True) for each in multiples]
    shown = [
        [
            _named(row),
            f"{number(row, 'n') or 0:,.0f}",
            f"{number(row, 'sessions') or 0:,.0f}",
            _ends(section(row, "fill"), "rate", 100, 0),
            _ends(section(row, "half_fill"), "rate", 100, 0),
            _ends(section(row, "open_to_close_pct"), "mean", 1, 2),
            _ends(section(row, "with_gap_pct"), "mean", 1, 2),
            *(_reached(each) for each in rows(row, "before_stop")),
        ]
        for row in groups
    ]
    return shell.table(columns, shown)


def _trade_table(groups: Sequence[Row]) -> Html:
    names = ("n", "Sessions", "Won %", "Expectancy R", "Profit factor", "MAE R", "MFE R", "P&L")
    figures = (
        ("win_rate", 100, 0),
        ("expectancy_r", 1, 2),
        ("profit_factor", 1, 2),
        ("mae_r", 1, 2),
        ("mfe_r", 1, 2),
    )
    shown = [
        [
            _named(row),
            f"{number(row, 'n') or 0:,.0f}",
            f"{number(row, 'sessions') or 0:,.0f}",
            *(_ends(section(row, key), "value", scale, digits) for key, scale, digits in figures),
            shell.painted(f"{number(row, 'pnl') or 0:+,.2f}", number(row, "pnl")),
        ]
        for row in groups
    ]
    return shell.table((Column("Group"), *(Column(name, right=True) for name in names)), shown)


def _ends(found: Row, key: str, scale: float, digits: int) -> str | None:
    value, low, high = (number(found, part) for part in (key, "low", "high"))
    if value is None:
        return None
    around = (
        ""
        if low is None
        else f" ({low * scale:.{digits}f} to {'∞' if high is None else f'{high * scale:.{digits}f}'})"
    )
    return f"{value * scale:.{digits}f}{around}"


def _reached(found: Row) -> str | None:
    least, most, low, high = (number(found, key) for key in ("at_least", "at_most", "low", "high"))
    if least is None or most is None or low is None or high is None:
        return None
    middle = f"{least * 100:.0f}" if least == most else f"{least * 100:.0f} to {most * 100:.0f}"
    return f"{middle} ({low * 100:.0f} to {high * 100:.0f})"
