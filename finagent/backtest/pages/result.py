"""A backtest's result as a page: figures, account, months, trades, and what all of it takes for granted."""

from collections.abc import Iterable, Sequence

from finagent.backtest.pages import charts, shell
from finagent.backtest.pages.reading import Row, exchange_time, number, rows, section, text, words
from finagent.backtest.pages.shell import Column, Html, escaped, joined, painted

TRADES = (
    Column("Session"),
    Column("Symbol"),
    Column("Direction"),
    Column("Setup"),
    Column("Quantity", right=True),
    Column("Entry (ET)"),
    Column("Price", right=True),
    Column("Exit (ET)"),
    Column("Price", right=True),
    Column("Reason"),
    Column("R", right=True),
    Column("MAE", right=True),
    Column("MFE", right=True),
    Column("Fees", right=True),
    Column("P&L", right=True),
    Column("Doubt"),
)
DRAWDOWNS = (
    Column("Depth", right=True),
    Column("From"),
    Column("Lowest"),
    Column("Back at the peak"),
    Column("Sessions", right=True),
)
FEW_SESSIONS = 63
"""Of fewer, a quarter of a year, a page says that a year's figures are drawn from little."""
GROUPS = (
    Column("Group"),
    Column("Trades", right=True),
    Column("Won", right=True),
    Column("Mean R", right=True),
    Column("Profit factor", right=True),
    Column("P&L", right=True),
)


def result_page(document: Row) -> str:
    """The whole file, from the document alone."""
    trades = rows(document, "trades")
    title = f"Backtest {text(document, 'from')} to {text(document, 'to')}"
    parts: list[Html] = [_lead(document), _cards(document), _assumed(document)]
    if trades:
        parts += [
            shell.section("Account", charts.account(document)),
            shell.section("Months", charts.months(document)),
            *_drawdowns(document),
            shell.section("Trades", shell.grid(charts.multiples(document), charts.excursions(document))),
            shell.section("By year, exit, direction and setup", _groups(trades)),
        ]
    parts += [
        shell.section("Figures", shell.grid(_totals(document), _metrics(document))),
        shell.section("Every trade", _trades(trades))
        if trades
        else shell.paragraph("No session traded: no plan is a result too."),
        shell.section("What was asked", _asked(document)),
    ]
    return shell.page(title, *parts)


def _lead(document: Row) -> Html:
    sessions = rows(document, "sessions")
    traded = sum(bool(number(row, "trades")) for row in sessions)
    line = (
        f"Result {text(document, 'result_id')}, {len(sessions):,} sessions, {traded:,} of them with trades,"
        f" bars {text(document, 'bars')}"
    )
    kernel = number(document, "kernel_sessions") or 0
    engine = f", {kernel:,.0f} sessions by the kernel" if kernel else ", all by the reference engine"
    lead = shell.paragraph(line + engine + ".", kind="dim")
    partial = section(document, "partial")
    if not partial:
        return lead
    return joined(
        (
            lead,
            shell.paragraph(
                f"PARTIAL: stopped in {text(partial, 'session')} ({text(partial, 'error')});"
                " only the sessions before count.",
                kind="warn",
            ),
        )
    )


def _cards(document: Row) -> Html:
    totals, metrics = section(document, "totals"), section(document, "metrics")
    pnl = number(totals, "pnl")
    cagr = number(metrics, "cagr")
    return shell.cards(
        (
            ("P&L after fees", painted(_money(pnl, signed=True), pnl)),
            ("CAGR", painted(_percent(cagr), cagr)),
            ("Sharpe", _plain(number(metrics, "sharpe"))),
            ("Sortino", _plain(number(metrics, "sortino"))),
            ("Max drawdown", _percent(number(metrics, "max_drawdown_ratio"))),
            ("Profit factor", _plain(number(metrics, "profit_factor"))),
            ("Expectancy", _multiple(number(metrics, "expectancy_r"))),
            ("Win rate", _percent(number(totals, "win_rate"))),
            ("Trades", _count(number(totals, "trades"))),
            ("Ambiguous", _count(number(totals, "ambiguous"))),
        )
    )


def _assumed(document: Row) -> Html:
    totals = section(document, "totals")
    assumptions = "; ".join(words(document, "assumptions"))
    count, best, worst = (number(totals, key) for key in ("ambiguous", "pnl_best", "pnl_worst"))
    doubt = (
        f"In {_count(count)} {'trade' if count == 1 else 'trades'} a bar does not tell the order of its events:"
        f" the P&L lies between {_money(worst, signed=True)} and {_money(best, signed=True)}."
        if count
        else "No bar left the order of its events in doubt."
    )
    parts = [shell.paragraph(f"Assumed: {assumptions}.")] if assumptions else []
    parts.append(shell.paragraph(doubt))
    sessions = number(section(document, "metrics"), "sessions")
    if sessions is not None and sessions < FEW_SESSIONS:
        parts.append(shell.paragraph(few(int(sessions)), kind="warn"))
    return joined(parts)


def few(sessions: int) -> str:
    """What so few sessions say of a year."""
    return (
        f"Figures of a year (CAGR, volatility, Sharpe, Sortino, Calmar) are drawn from {sessions} session"
        f"{'' if sessions == 1 else 's'}: they say little."
    )


def _totals(document: Row) -> Html:
    totals = section(document, "totals")
    money = (
        ("Start equity", "start_equity"),
        ("End equity", "end_equity"),
        ("P&L", "pnl"),
        ("P&L, every doubt at its best", "pnl_best"),
        ("P&L, every doubt at its worst", "pnl_worst"),
        ("Fees", "fees"),
        ("Max drawdown, by trades", "max_drawdown"),
    )
    facts: list[tuple[str, object]] = [(name, _money(number(totals, key))) for name, key in money]
    facts += [
        (name, _count(number(totals, key)))
        for name, key in (("Trades", "trades"), ("Ambiguous", "ambiguous"))
    ]
    facts += [("Assumed", "; ".join(words(document, "assumptions")) or "nothing")]
    return shell.facts_table(facts)


def _metrics(document: Row) -> Html:
    metrics, market = section(document, "metrics"), section(document, "market")
    shown = {
        **_growth(metrics),
        "Longest drawdown, sessions": _count(number(metrics, "longest_drawdown_sessions")),
        "Profit factor": _plain(number(metrics, "profit_factor")),
        "Payoff": _plain(number(metrics, "payoff")),
        "Expectancy": f"{_money(number(metrics, 'expectancy'))}, {_multiple(number(metrics, 'expectancy_r'))}",
        "Median": _multiple(number(metrics, "median_r")),
        "Average win and loss": f"{_money(number(metrics, 'average_win'))}, {_money(number(metrics, 'average_loss'))}",
        "Most losses in a row": _count(number(metrics, "most_losses_in_a_row")),
        "Average minutes held": _count(number(metrics, "average_minutes")),
    }
    if not market:
        return shell.facts_table(shown.items())
    held = _growth(market)
    together = {
        "Correlation of the sessions": _plain(number(market, "correlation")),
        "Beta": _plain(number(market, "beta")),
    }
    columns = (
        Column("What"),
        Column("Value", is_wide=True),
        Column(f"{text(market, 'symbol')} held", is_wide=True),
    )
    cells = [[name, value, held.get(name, "")] for name, value in shown.items()]
    cells += [[name, "", value] for name, value in together.items()]
    told = shell.paragraph(market_words(document), kind="dim")
    return Html(f"<div>{joined((shell.table(columns, cells), told))}</div>")


def _growth(figures: Row) -> dict[str, str]:
    """What the account and the market are both told by."""
    return {
        "Total return": _percent(number(figures, "total_return")),
        "CAGR": _percent(number(figures, "cagr")),
        "Volatility a year": _percent(number(figures, "volatility")),
        "Sharpe": _plain(number(figures, "sharpe")),
        "Sortino": _plain(number(figures, "sortino")),
        "Calmar": _plain(number(figures, "calmar")),
        "Max drawdown": _percent(number(figures, "max_drawdown_ratio")),
    }


def market_words(document: Row) -> str:
    """What the market's figures are, and what they leave out."""
    market = section(document, "market")
    dividends, missing = number(market, "dividends") or 0, number(market, "missing") or 0
    told = (
        "its price alone, no dividend of it is stored"
        if not dividends
        else f"{dividends:,.0f} dividends counted"
    )
    left_out = f"; {missing:,.0f} sessions without its bars left out" if missing else ""
    return f"{text(market, 'symbol')} held over the same sessions, from close to close: {told}{left_out}."


def _drawdowns(document: Row) -> list[Html]:
    """The deepest falls of the account, where the document tells them."""
    found = rows(document, "drawdowns")
    cells = [
        [
            painted(_percent(number(row, "depth")), number(row, "depth")),
            text(row, "from"),
            text(row, "lowest"),
            text(row, "back") or "not yet",
            _count(number(row, "sessions")),
        ]
        for row in found
    ]
    return [shell.section("Deepest drawdowns", shell.table(DRAWDOWNS, cells))] if cells else []


def _groups(trades: Sequence[Row]) -> Html:
    cells = [
        *_grouped((text(row, "session")[:4], row) for row in trades),
        *_grouped((f"exit {text(row, 'exit_reason')}", row) for row in trades),
        *_grouped((text(row, "direction"), row) for row in trades),
        *_grouped((text(row, "setup"), row) for row in trades),
    ]
    return shell.table(GROUPS, cells)


def _grouped(named: Iterable[tuple[str, Row]]) -> list[list[object]]:
    groups: dict[str, list[Row]] = {}
    for name, row in named:
        groups.setdefault(name, []).append(row)
    return [_group(name, groups[name]) for name in sorted(groups)]


def _group(name: str, trades: Sequence[Row]) -> list[object]:
    pnls = [number(row, "pnl") or 0.0 for row in trades]
    multiples = [value for row in trades if (value := number(row, "r_multiple")) is not None]
    lost = -sum(each for each in pnls if each < 0)
    factor = sum(each for each in pnls if each > 0) / lost if lost else None
    mean = sum(multiples) / len(multiples) if multiples else None
    total = sum(pnls)
    return [
        name,
        _count(len(trades)),
        _percent(sum(each > 0 for each in pnls) / len(pnls)),
        _multiple(mean),
        _plain(factor),
        painted(_money(total, signed=True), total),
    ]


def _trades(trades: Sequence[Row]) -> Html:
    return shell.table(TRADES, [_trade(row) for row in trades])


def _trade(row: Row) -> list[object]:
    pnl, multiple = number(row, "pnl"), number(row, "r_multiple")
    return [
        text(row, "session"),
        text(row, "symbol"),
        text(row, "direction"),
        text(row, "setup"),
        text(row, "quantity"),
        exchange_time(row, "entry_ts", text(row, "session")),
        text(row, "entry_price"),
        exchange_time(row, "exit_ts", text(row, "session")),
        text(row, "exit_price"),
        text(row, "exit_reason"),
        painted(_multiple(multiple), multiple),
        _multiple(number(row, "mae_r")),
        _multiple(number(row, "mfe_r")),
        text(row, "fees"),
        painted(_money(pnl, signed=True), pnl),
        _note(row),
    ]


def _note(row: Row) -> str:
    """Whether a bar left the trade in doubt, or which minute decided it."""
    if row.get("ambiguous") is True:
        return "ambiguous"
    return (
        f"by its minute {exchange_time(row, 'drilled', text(row, 'session'))}" if row.get("drilled") else ""
    )


def _asked(document: Row) -> Html:
    asked = [(key, text(document, key)) for key in ("from", "to", "bars", "engine", "dataset_id", "version")]
    facts: list[tuple[str, object]] = [(name, value) for name, value in asked if value]
    if symbols := words(document, "symbols"):
        facts.append(("symbols", ", ".join(symbols)))
    for group, values in section(document, "settings").items():
        if isinstance(values, dict):
            facts += [(f"{group}.{key}", _setting(value)) for key, value in values.items()]
    return shell.facts_table(facts)


def _setting(value: object) -> Html:
    if isinstance(value, list):
        return escaped(", ".join(str(each) for each in value) or "none")
    return escaped("none" if value is None else value)


def _money(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+,.2f}" if signed else f"{value:,.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _multiple(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f} R"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
