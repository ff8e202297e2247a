"""The day report: what was found, planned, traded and earned, and why the rest was not."""

from finagent.cli.fields import number, rows, section, text, words
from finagent.cli.page import Column, Page
from finagent.cli.render_day import PLAN_COLUMNS, TRADE_COLUMNS, plan_row, scan, trade_row
from finagent.cli.values import money, profit, quantity, share
from finagent.context import Document

NOT_TRADED = ("refused", "rejected", "expired", "cancelled", "not_filled", "superseded")


def day_report(document: Document, page: Page) -> str:
    """The report of one session as a page, part by part; a part without rows says so."""
    rule = page.paint("─" * page.width, "dim")
    title = f"Day report {text(document, 'session')}"
    parts = [
        f"{rule}\n{page.heading(title)}  {text(document, 'market', 'vendor')}".rstrip(),
        _scan(document, page),
        _plans(document, page),
        _without_trade(document, page),
        _trades(document, page),
        _sum(document, page),
    ]
    return "\n\n".join(part for part in parts if part) + f"\n{rule}"


def _scan(document: Document, page: Page) -> str:
    found = section(document, "scan")
    if found:
        return scan(found, page)
    candidates = rows(document, "candidates")
    if not candidates:
        return f"{page.heading('Candidates')}\n  none: no gap passed the filters"
    whole: Document = {
        **{key: document.get(key) for key in ("session", "as_of", "universe", "market")},
        "candidates": list(candidates),
    }
    return scan(whole, page)


def _plans(document: Document, page: Page) -> str:
    """Plans that risk allowed; the refused are told with what was not traded."""
    kept = [row for row in rows(document, "plans") if text(row, "state") not in ("refused", "superseded")]
    made = page.table(PLAN_COLUMNS[:-1], [plan_row(row)[:-1] for row in kept])
    return f"{page.heading('Plans')}\n{made or '  none'}"


def _without_trade(document: Document, page: Page) -> str:
    """Why candidates got no plan, and why plans led to no trade; the same reason once."""
    lines = [
        [text(row, "symbol"), text(row, "reason"), text(row, "detail")] for row in rows(document, "no_plan")
    ]
    for row in rows(document, "plans"):
        if text(row, "state") in NOT_TRADED:
            reasons = "; ".join(words(row, "reasons")).replace("_", " ")
            lines.append([text(row, "symbol"), text(row, "state").replace("_", " "), reasons])
    columns = (Column("Symbol"), Column("Reason"), Column("Detail", flexible=True))
    table = page.table(columns, [list(line) for line in dict.fromkeys(map(tuple, lines))])
    return f"{page.heading('Left out')}\n{table}" if table else ""


def _trades(document: Document, page: Page) -> str:
    table = page.table(TRADE_COLUMNS, [trade_row(row, page) for row in rows(document, "trades")])
    return f"{page.heading('Trades')}\n{table or '  none: no plan is a result too'}"


def _sum(document: Document, page: Page) -> str:
    totals = section(document, "totals")
    facts = [
        ("P&L", f"{profit(page, totals, 'pnl')} in {quantity(number(totals, 'trades'))} trades"),
        ("Fees", money(number(totals, "fees"))),
        ("Win rate", share(number(totals, "win_rate"))),
        ("Flat", _flat(document)),
        ("Journal head", text(document, "journal_head")),
        ("Problems", "; ".join(text(row, "message", "detail") for row in rows(document, "problems"))),
    ]
    return f"{page.heading('The day')}\n{page.pairs(facts)}"


def _flat(document: Document) -> str:
    value = document.get("flat")
    if value is None:
        value = all(row.get("flat") is not False for row in rows(document, "sessions"))
    return "yes, nothing is held over" if value else "NO: look at finagent positions --run last"
