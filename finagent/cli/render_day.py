"""The day's documents as pages: scan, plans, orders, positions, trades, profit and loss."""

from decimal import Decimal

from finagent.cli.fields import clean, flag, number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page, sparkline
from finagent.cli.values import (
    clock,
    left,
    moment,
    money,
    multiple,
    percent,
    price,
    profit,
    quantity,
    share,
    short,
)
from finagent.context import Document

SHORT_ID = 11
"""``pl_`` and eight digits: enough to name a plan."""
PLAN_COLUMNS = (
    Column("ID"),
    Column("Symbol"),
    Column("State"),
    Column("Setup", rank=3),
    Column("Entry", right=True),
    Column("Stop", right=True),
    Column("Target", right=True),
    Column("Qty", right=True),
    Column("Risk", right=True, rank=2),
    Column("Left", right=True, rank=1),
)
TRADE_COLUMNS = (
    Column("Symbol"),
    Column("Session", rank=4),
    Column("Setup", rank=5),
    Column("Qty", right=True),
    Column("In", rank=3),
    Column("Entry", right=True),
    Column("Out", rank=3),
    Column("Exit", right=True),
    Column("Reason", rank=1),
    Column("R", right=True),
    Column("P&L", right=True),
    Column("Fees", right=True, rank=4),
)


def scan(document: Document, page: Page) -> str:
    """Candidates best first, why others were dropped, and data issues."""
    market = section(document, "market")
    found = rows(document, "candidates")
    head = (
        f"Scan {text(document, 'session')} as of {clock(document, 'as_of')} ET: "
        f"{len(found)} of {quantity(number(document, 'universe'))} symbols gap"
    )
    gap, breadth = number(market, "spy_gap_pct"), number(market, "breadth")
    facts = f"SPY {percent(gap, signed=True)}, breadth {share(breadth)}"
    if text(document, "vendor") == "simulated":
        facts += ", a made-up market"
    parts = [page.heading(head), facts, "", _candidates(found, page)]
    dropped = section(document, "dropped")
    if dropped:
        found_counts = sorted(dropped.items(), key=lambda item: (-(number(dropped, item[0]) or 0), item[0]))
        parts += [
            "",
            page.pairs(
                [("Dropped", ", ".join(f"{clean(reason)} {clean(count)}" for reason, count in found_counts))]
            ),
        ]
    issues = rows(document, "data_issues")
    if issues:
        columns = (Column("Data issue"), Column("Kind"), Column("Detail", flexible=True))
        cells = [[text(row, "symbol"), text(row, "kind"), text(row, "detail")] for row in issues]
        parts += ["", page.table(columns, cells)]
    return "\n".join(parts)


def _candidates(found: list[Document], page: Page) -> str:
    columns = (
        Column("Symbol"),
        Column("Gap", right=True),
        Column("Price", right=True),
        Column("Prev", right=True, rank=3),
        Column("From", rank=5),
        Column("RVOL", right=True, rank=2),
        Column("ADV $", right=True, rank=3),
        Column("ATR", right=True, rank=4),
        Column("Score", right=True),
        Column("Vol Cat Sen Liq", rank=1),
        Column("Flags", flexible=True, rank=2),
    )
    cells = [
        [
            text(row, "symbol"),
            percent(number(row, "gap_pct"), signed=True),
            price(number(row, "indication")),
            price(number(row, "prev_close_adjusted", "prev_close")),
            text(row, "indication_source"),
            _decimals(number(row, "rvol"), 1),
            short(number(row, "adv_usd")),
            percent(number(row, "atr_pct")),
            _decimals(number(row, "score"), 2),
            _factors(section(row, "factors")),
            " ".join(words(row, "flags")),
        ]
        for row in found
    ]
    return page.table(columns, cells) or "No candidate. No plan is a result too."


def _factors(factors: Document) -> str:
    values = []
    for name in ("volatility", "catalyst", "sentiment", "liquidity"):
        inner = factors.get(name)
        value = number(inner, "value") if isinstance(inner, dict) else number(factors, name)
        values.append(_decimals(value, 2).removeprefix("0") if value is not None else " " + UNKNOWN)
    return " ".join(value.rjust(3) for value in values)


def _decimals(value: Decimal | None, places: int) -> str:
    return UNKNOWN if value is None else f"{value:.{places}f}"


def explanation(document: Document, page: Page) -> str:
    """Why one symbol was kept or dropped, and what was measured."""
    head = f"{text(document, 'symbol')} on {text(document, 'session')} as of {clock(document, 'as_of')} ET"
    reasons = [f"  {reason}" for reason in words(document, "reasons")]
    measured = [(clean(key), _plain(value)) for key, value in section(document, "measured").items()]
    return "\n".join([page.heading(head), *reasons, "", page.pairs(measured)]).rstrip()


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(key)} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(inner) for inner in value) or "none"
    return UNKNOWN if value is None else clean(value)


def plan_row(row: Document) -> list[str]:
    """A plan's cells under PLAN_COLUMNS."""
    return [
        text(row, "plan_id")[:SHORT_ID],
        text(row, "symbol"),
        text(row, "state"),
        text(row, "setup"),
        price(number(row, "entry", "reference")),
        price(number(row, "stop")),
        price(number(row, "target")),
        quantity(number(row, "quantity")),
        money(number(row, "risk")),
        left(number(row, "seconds_left")),
    ]


def plans(document: Document, page: Page) -> str:
    """Plans, best rank first; refused ones with their reason."""
    found = rows(document, "plans")
    table = page.table(PLAN_COLUMNS, [plan_row(row) for row in found])
    why = [
        (text(row, "symbol"), "; ".join(reasons))
        for row in found
        if (reasons := words(row, "reasons")) and text(row, "state") != "closed"
    ]
    pending = [row for row in found if text(row, "state") == "pending"]
    parts = [table or "No plans."]
    if why:
        parts += ["", page.pairs(why)]
    if pending:
        parts += ["", f"Approve: finagent approve {text(pending[0], 'plan_id')[:SHORT_ID]}   (or --all)"]
    return "\n".join(parts)


def orders(document: Document, page: Page) -> str:
    """Orders in order of creation."""
    columns = (
        Column("Time", rank=1),
        Column("Symbol"),
        Column("Leg"),
        Column("Side"),
        Column("Type", rank=2),
        Column("Qty", right=True),
        Column("Filled", right=True),
        Column("Price", right=True),
        Column("Average", right=True, rank=1),
        Column("State"),
        Column("Client id", rank=3),
    )
    cells = [
        [
            clock(row, "created_at"),
            text(row, "symbol"),
            text(row, "leg"),
            text(row, "side"),
            text(row, "type"),
            quantity(number(row, "quantity")),
            quantity(number(row, "filled", "filled_quantity")),
            price(number(row, "price", "limit_price", "stop_price", "limit", "stop")),
            price(number(row, "average_price", "fill_price", "average")),
            text(row, "state", "status"),
            text(row, "client_order_id"),
        ]
        for row in rows(document, "orders")
    ]
    return page.table(columns, cells) or "No orders."


def positions(document: Document, page: Page) -> str:
    """Open positions with their protection; an unprotected one is marked."""
    columns = (
        Column("Symbol"),
        Column("Qty", right=True),
        Column("Entry", right=True),
        Column("Mark", right=True),
        Column("Stop", right=True),
        Column("Target", right=True, rank=1),
        Column("R", right=True, rank=1),
        Column("P&L", right=True),
        Column("Protected", rank=0),
    )
    cells = [
        [
            text(row, "symbol"),
            quantity(number(row, "quantity")),
            price(number(row, "entry_price", "average_price", "entry")),
            price(number(row, "mark", "last")),
            price(number(row, "stop")),
            price(number(row, "target")),
            multiple(number(row, "r_multiple", "r")),
            profit(page, row, "open_pnl", "pnl"),
            _protection(row, page),
        ]
        for row in rows(document, "positions")
    ]
    return page.table(columns, cells) or "Flat: no open positions."


def _protection(row: Document, page: Page) -> str:
    if flag(row, "protected", "is_protected"):
        return "yes"
    return page.paint("closing", "yellow") if flag(row, "is_exiting") else page.paint("NO", "red")


def trade_row(row: Document, page: Page) -> list[str]:
    """A trade's cells under TRADE_COLUMNS."""
    reason = text(row, "exit_reason") + (" ?" if flag(row, "ambiguous") else "")
    return [
        text(row, "symbol"),
        text(row, "session"),
        text(row, "setup"),
        quantity(number(row, "quantity")),
        clock(row, "entry_ts"),
        price(number(row, "entry_price")),
        clock(row, "exit_ts"),
        price(number(row, "exit_price")),
        reason,
        multiple(number(row, "r_multiple")),
        profit(page, row, "pnl"),
        money(number(row, "fees")),
    ]


def trades(document: Document, page: Page) -> str:
    """Closed trades with their result."""
    found = rows(document, "trades")
    table = page.table(TRADE_COLUMNS, [trade_row(row, page) for row in found])
    if not table:
        return "No trades."
    results = [value for row in found if (value := number(row, "pnl")) is not None]
    won = sum(1 for value in results if value > 0)
    total = sum(results, Decimal(0))
    return f"{table}\n\n{len(found)} trades, {won} won, {page.gain(money(total, signed=True), total)}"


def pnl(document: Document, page: Page) -> str:
    """Profit and loss by session, the course of the account, and the sum."""
    columns = (
        Column("Session"),
        Column("Trades", right=True),
        Column("P&L", right=True),
        Column("Fees", right=True),
        Column("Day start", right=True, rank=1),
    )
    found = rows(document, "sessions")
    cells = [
        [
            text(row, "session"),
            quantity(number(row, "trades")),
            profit(page, row, "pnl"),
            money(number(row, "fees")),
            money(number(row, "day_start_equity")),
        ]
        for row in found
    ]
    table = page.table(columns, cells)
    if not table:
        return "No sessions yet."
    course, reached = [], Decimal(0)
    for row in found:
        reached += number(row, "pnl") or Decimal(0)
        course.append(reached)
    totals = section(document, "totals")
    summary = page.pairs(
        [
            ("Total", f"{profit(page, totals, 'pnl')} in {quantity(number(totals, 'trades'))} trades"),
            ("Fees", money(number(totals, "fees"))),
            ("Win rate", share(number(totals, "win_rate"))),
            ("Course", sparkline(course[-page.width + 12 :])),
        ]
    )
    return f"{table}\n\n{summary}"


def _short(terms: Document) -> list[tuple[str, str]]:
    """What a short was planned under; nothing for a long."""
    if not terms:
        return []
    limit = (
        "sold only above the bid" if terms.get("restricted") else f"free above {text(terms, 'restricted_at')}"
    )
    fee = number(terms, "overnight_fee")
    cost = "" if fee is None else f", {money(fee)} a night"
    return [("Short", f"{limit}; borrow {text(terms, 'borrow')}{cost}")]


def plan(document: Document, page: Page) -> str:
    """One plan: what it would do, what risk said, and its life so far."""
    inner = section(document, "plan") or document
    head = (
        f"{text(inner, 'symbol')} {text(inner, 'direction')} {text(inner, 'setup')}: {text(inner, 'state')}"
    )
    facts = page.pairs(
        [
            ("Plan", text(inner, "plan_id")),
            ("Entry", price(number(inner, "entry", "reference"))),
            ("Stop", price(number(inner, "stop"))),
            ("Target", price(number(inner, "target"))),
            ("Quantity", quantity(number(inner, "quantity"))),
            ("Risk", money(number(inner, "risk"))),
            *_short(section(inner, "short")),
            ("Answer by", clock(inner, "expires_at")),
            ("Reasons", "; ".join(words(inner, "reasons"))),
        ]
    )
    life = [
        f"  {moment(text(entry, 'at'), '%H:%M:%S')}  {text(entry, 'kind')}"
        for entry in rows(document, "journal")
    ]
    return "\n".join([page.heading(head), facts, *life])
