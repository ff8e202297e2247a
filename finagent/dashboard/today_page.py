"""Today: problems first, then mode, clock, equity, the day's result against its limit, what comes next."""

from decimal import Decimal

import streamlit as st

from finagent.dashboard.client import AgentClient, Document
from finagent.dashboard.connection import with_agent
from finagent.dashboard.look import (
    UNKNOWN,
    card,
    cards,
    chip,
    coloured,
    inner,
    moment,
    money,
    multiple,
    number,
    price,
    quantity,
    rows,
    shade,
    table,
    text,
)

LEVELS = {"critical": "bad", "error": "bad", "fail": "bad", "info": "good"}


@st.fragment(run_every=1)
def show() -> None:
    """The page, drawn anew each second."""
    with_agent(draw)


def draw(agent: AgentClient) -> None:
    """Everything on the page."""
    status = agent.status()
    session = inner(status, "session")
    st.html(head(status) + problems(status))
    st.html(figures(status) + limit(status, agent.risk()))
    left, right = st.columns([7, 3], gap="medium")
    with left:
        st.html("<h4>Open positions</h4>" + positions(agent.positions()))
        st.html("<h4>Trades today</h4>" + trades(agent.trades(session.get("session") or session.get("date"))))
    with right:
        st.html("<h4>Next</h4>" + upcoming(status))


def head(status: Document) -> str:
    """Mode, market clock and session on one line."""
    session, control, clock = inner(status, "session"), inner(status, "control"), inner(status, "clock")
    phase = text(session, "phase", "state")
    entries = chip("entries open", "good")
    if control.get("killed") or control.get("is_killed"):
        entries = chip("killed", "bad")
    elif control.get("paused") or control.get("is_paused"):
        entries = chip("paused", "warn")
    elif control.get("gate_reason") or control.get("entry_gate_reason"):
        entries = chip("entries closed", "warn")
    now = moment(str(clock.get("now") or clock.get("now_utc") or ""), "%H:%M:%S")
    day = text(session, "session", "date")
    return (
        f'<div class="fa-head"><h1>{now} <span class="fa-dim">New York</span></h1>'
        f"{chip(phase or 'unknown', 'info')}{chip(text(status, 'mode') or 'paper')}{entries}"
        f'<span class="fa-dim">{day} · {moment(str(session.get("open") or ""))} to '
        f"{moment(str(session.get('close') or ''))}</span></div>"
    )


def problems(status: Document) -> str:
    """What is wrong, worst first; else that nothing is."""
    found = rows(status, "problems")
    if not found:
        return '<div class="fa-note good">No problems.</div>'
    return "".join(
        f'<div class="fa-note {LEVELS.get(str(row.get("severity") or row.get("level")), "")}">'
        f"<b>{text(row, 'message', 'detail')}.</b> {text(row, 'mend', 'hint')}</div>"
        for row in found
    )


def figures(status: Document) -> str:
    """Equity, the day's result, and counts."""
    account, counts = inner(status, "account"), inner(status, "counts")
    result = number(account, "day_pnl")
    start = number(account, "day_start_equity")
    part = f"{result / start * 100:+.2f} % of the day's start" if result is not None and start else ""
    return cards(
        card("Equity", money(number(account, "equity")), text(account, "currency")),
        card("Day's result", money(result, signed=True), part, shade(result)),
        card("Open", quantity(number(counts, "positions_open", "open_positions", "positions")), "positions"),
        card(
            "Waiting",
            quantity(number(counts, "plans_pending", "pending_plans", "pending")),
            "plans to answer",
        ),
        card("Trades", quantity(number(counts, "trades_today", "trades")), "today"),
    )


def limit(status: Document, risk: Document) -> str:
    """How much of the daily loss limit is used, with the marks of pause and flatten."""
    result = number(inner(status, "account"), "day_pnl")
    limits = inner(risk, "limits") or risk
    flatten = _limit(limits, "flatten_loss")
    pause = _limit(limits, "pause_loss")
    if result is None or not flatten:
        return ""
    used = max(Decimal(0), -result)
    part = min(Decimal(1), used / flatten)
    colour = "#059669" if not pause or used < pause / 2 else "#d97706" if used < pause else "#dc2626"
    mark = f'<i style="left:{pause / flatten * 100:.1f}%;width:2px;background:#92400e"></i>' if pause else ""
    told = f"entries pause at {money(-pause)}" if pause else ""
    return (
        f'<div class="fa-bar"><i style="width:{part * 100:.1f}%;background:{colour}"></i>{mark}</div>'
        f'<div class="fa-marks"><span>loss used: {part * 100:.0f} %</span><span>{told}</span>'
        f"<span>all is closed at {money(-flatten)}</span></div>"
    )


def _limit(limits: Document, name: str) -> Decimal | None:
    entry = limits.get(name)
    value = number(entry, "limit", "value", "amount") if isinstance(entry, dict) else number(limits, name)
    return abs(value) if value is not None else None


def positions(found: list[Document]) -> str:
    """Open positions with their protection."""
    if not found:
        return '<p class="fa-dim">Flat.</p>'
    cells = []
    for row in found:
        result = number(row, "open_pnl", "pnl")
        cells.append(
            [
                text(row, "symbol"),
                quantity(number(row, "quantity")),
                price(number(row, "entry_price", "average_price", "entry")),
                price(number(row, "mark", "last")),
                price(number(row, "stop")),
                price(number(row, "target")),
                coloured(result, money(result, signed=True)),
                protection(row),
            ]
        )
    return table(["Symbol", "Shares", "Entry", "Mark", "Stop", "Target", "Result", ""], cells)


def protection(row: Document) -> str:
    """Whether a stop rests for every share, or the position is on its way out."""
    if row.get("protected") is True or row.get("is_protected") is True:
        return chip("stop rests", "good")
    return chip("closing", "warn") if row.get("is_exiting") is True else chip("unprotected", "bad")


def trades(found: list[Document]) -> str:
    """Closed trades of the day."""
    if not found:
        return '<p class="fa-dim">None yet.</p>'
    cells = []
    for row in found[-12:]:
        result = number(row, "pnl")
        cells.append(
            [
                text(row, "symbol"),
                quantity(number(row, "quantity")),
                priced(row, "entry"),
                priced(row, "exit"),
                text(row, "exit_reason"),
                multiple(number(row, "r_multiple")),
                coloured(result, money(result, signed=True)),
            ]
        )
    return table(["Symbol", "Shares", "In", "Out", "Reason", "R", "Result"], cells)


def priced(row: Document, side: str) -> str:
    """Price and time of an entry or exit."""
    at = moment(str(row.get(f"{side}_ts") or ""))
    return f'{price(number(row, f"{side}_price"))} <span class="fa-dim">{at}</span>'


def upcoming(status: Document) -> str:
    """The next lines of the schedule."""
    found = rows(status, "next_jobs")[:6]
    if not found:
        return '<p class="fa-dim">Nothing is scheduled.</p>'
    cells = [
        [text(row, "name", "type"), moment(str(row.get("at") or row.get("run_at") or UNKNOWN), "%a %H:%M")]
        for row in found
    ]
    return table(["What", "When"], cells)
