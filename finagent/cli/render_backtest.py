"""A backtest as a page: sessions with trades, the trades, totals with their bounds, and what was assumed."""

from decimal import Decimal

from finagent.backtest.pages.result import FEW_SESSIONS, few
from finagent.cli.fields import flag, number, rows, section, text, words
from finagent.cli.page import Column, Page
from finagent.cli.render_backtests import figure, percentage
from finagent.cli.render_day import trades as trades_page
from finagent.cli.values import money, multiple, profit, quantity, seconds, share
from finagent.context import Document

SESSIONS_SHOWN = 30


def backtested(document: Document, page: Page) -> str:
    """Sessions that traded, trades, totals, identity."""
    traded = [row for row in rows(document, "sessions") if number(row, "orders")]
    columns = (
        Column("Session"),
        Column("Bars", rank=1),
        Column("Cand.", right=True, rank=2),
        Column("Plans", right=True),
        Column("Orders", right=True, rank=3),
        Column("Trades", right=True),
        Column("P&L", right=True),
        Column("Flat"),
    )
    cells = [
        [
            text(row, "session"),
            text(row, "bars"),
            *(quantity(number(row, key)) for key in ("candidates", "plans", "orders", "trades")),
            profit(page, row, "pnl"),
            "yes" if flag(row, "flat") else page.paint("NO", "red"),
        ]
        for row in traded[-SESSIONS_SHOWN:]
    ]
    shown: Document = {**document, "trades": [*rows(document, "trades")[-SESSIONS_SHOWN:]]}
    parts = [
        page.table(columns, cells) if cells else "No session traded: no plan is a result too.",
        trades_page(shown, page),
        _left_out(document, len(traded), page),
        _summary(document, page),
    ]
    return "\n\n".join(part for part in parts if part)


def _left_out(document: Document, traded: int, page: Page) -> str:
    """Where the page shows less than there is, and what the result takes for granted."""
    lines = []
    if traded > SESSIONS_SHOWN or len(rows(document, "trades")) > SESSIONS_SHOWN:
        lines.append(f"The newest {SESSIONS_SHOWN} are shown; all are in {text(document, 'folder')}.")
    partial = section(document, "partial")
    if partial:
        lines.append(
            f"PARTIAL: stopped in {text(partial, 'session')} ({text(partial, 'error')});"
            " only the sessions before count."
        )
    sessions = number(section(document, "metrics"), "sessions")
    if sessions is not None and sessions < FEW_SESSIONS:
        lines.append(few(int(sessions)))
    assumed = words(document, "assumptions")
    if assumed:
        lines.append(f"Assumed: {'; '.join(assumed)}.")
    return "\n".join(page.paragraph(line, "yellow") for line in lines)


def _summary(document: Document, page: Page) -> str:
    totals = section(document, "totals")
    tested = rows(document, "sessions")
    facts = [
        ("Sessions", f"{len(tested)}, {sum(bool(number(row, 'trades')) for row in tested)} with trades"),
        ("P&L", f"{profit(page, totals, 'pnl')} after {money(number(totals, 'fees'))} fees"),
        ("Win rate", share(number(totals, "win_rate"))),
        ("Drawdown", money(number(totals, "max_drawdown"))),
        ("Ambiguous", _ambiguous(totals, page)),
        ("Figures", _figures(section(document, "metrics"))),
        *([("Market", held)] if (held := _market(section(document, "market"))) else []),
        ("Result", text(document, "result_id")),
        *([("Outcome", outcome)] if (outcome := text(document, "outcome_hash")) else []),
        ("Engine", _engine(document)),
        *([("Look-ahead", looked)] if (looked := _looked_ahead(document)) else []),
        ("Trades", text(document, "trades_hash")),
        ("Dataset", text(document, "dataset_id")),
        ("Report", text(document, "report")),
        ("Took", seconds((number(document, "elapsed_ms") or Decimal(0)) / 1000)),
    ]
    return page.pairs(facts)


def _figures(metrics: Document) -> str:
    """The figures that people ask for first; empty where an older version kept none."""
    if not metrics:
        return ""
    return (
        f"CAGR {percentage(metrics, 'cagr')}, Sharpe {figure(metrics, 'sharpe')},"
        f" Sortino {figure(metrics, 'sortino')}, drawdown {percentage(metrics, 'max_drawdown_ratio')},"
        f" profit factor {figure(metrics, 'profit_factor')},"
        f" expectancy {multiple(number(metrics, 'expectancy_r'))}"
    )


def _market(market: Document) -> str:
    """What holding the market came to meanwhile; empty where its bars are not stored."""
    if not market:
        return ""
    return (
        f"{text(market, 'symbol')} held: CAGR {percentage(market, 'cagr')}, Sharpe {figure(market, 'sharpe')},"
        f" drawdown {percentage(market, 'max_drawdown_ratio')}; correlation {figure(market, 'correlation')}"
    )


def _engine(document: Document) -> str:
    by_kernel, checked = quantity(number(document, "kernel_sessions")), quantity(number(document, "checked"))
    if text(document, "engine") == "reference":
        return "reference"
    return f"kernel for {by_kernel} sessions, {checked} of them checked"


def _looked_ahead(document: Document) -> str:
    """What the check for look-ahead came to; empty where nobody asked for it."""
    count = number(document, "looked_ahead")
    return f"none: {quantity(count)} sessions decided the same whatever came after" if count else ""


def _ambiguous(totals: Document, page: Page) -> str:
    count = quantity(number(totals, "ambiguous"))
    worst, best = profit(page, totals, "pnl_worst"), profit(page, totals, "pnl_best")
    return f"{count} trades; P&L between {worst} and {best}"
