"""Plans: what waits for an answer with its countdown, approve and reject, and what became of the others."""

import html
from collections.abc import Callable
from decimal import Decimal

import streamlit as st

from finagent.dashboard.client import AgentClient, AgentUnreachableError, Document
from finagent.dashboard.connection import with_agent
from finagent.dashboard.look import chip, coloured, money, number, price, quantity, table, text

STATES = {
    "approved": "good", "armed": "good", "entering": "info", "open": "info", "closed": "", "pending": "warn",
    "refused": "bad", "rejected": "bad", "expired": "", "cancelled": "",
}  # fmt: skip


SHOWN_TIMES = 8
PAST = ("refused", "rejected", "expired", "cancelled", "not_filled", "superseded")


@st.fragment(run_every=1)
def show() -> None:
    """The page, drawn anew each second."""
    with_agent(draw)


def draw(agent: AgentClient) -> None:
    """Plans that wait, then the others."""
    _tell_answer()
    found = agent.plans()
    waiting = [row for row in found if row.get("state") == "pending"]
    count = chip(f"{len(waiting)} to answer", "warn" if waiting else "good")
    st.html(f'<div class="fa-head"><h1>Plans</h1>{count}</div>')
    for row in waiting:
        question(agent, row)
    if not waiting:
        st.html('<p class="fa-dim">No plan waits for you.</p>')
    others = [row for row in found if row.get("state") != "pending"]
    if others:
        st.html("<h4>Answered and past</h4>" + history(others))


def question(agent: AgentClient, row: Document) -> None:
    """One plan that waits: its figures and the two buttons."""
    seconds = number(row, "seconds_left")
    is_over = seconds is not None and seconds <= 0
    with st.container(border=True, key=f"plan-{row['plan_id']}"):
        st.html(summary(row, seconds))
        yes, no, _ = st.columns([1, 1, 2])
        plan_id = str(row["plan_id"])
        yes.button(
            "Approve", key=f"approve-{plan_id}", type="primary", disabled=is_over, width="stretch",
            icon=":material/check:", on_click=_answer, args=(agent.approve, row),
        )  # fmt: skip
        no.button(
            "Reject", key=f"reject-{plan_id}", disabled=is_over, width="stretch",
            icon=":material/close:", on_click=_answer, args=(agent.reject, row),
        )  # fmt: skip


def summary(row: Document, seconds: Decimal | None) -> str:
    """Symbol, countdown and figures of a plan."""
    figures = [
        ("Entry", price(number(row, "entry", "reference"))),
        ("Stop", price(number(row, "stop"))),
        ("Target", price(number(row, "target"))),
        ("Reward", reward(row)),
        ("Shares", quantity(number(row, "quantity"))),
        ("At risk", money(number(row, "risk"))),
        ("Value", money(number(row, "notional"))),
        ("Score", text(row, "score")[:4]),
    ]
    cells = "".join(
        f'<div><div class="k">{name}</div><div class="v">{value}</div></div>' for name, value in figures
    )
    return (
        f'<div class="{"fa-past" if seconds is not None and seconds <= 0 else ""}">'
        f'<div class="fa-head"><h1>{text(row, "symbol")}</h1>{chip(text(row, "direction"), "info")}'
        f"{chip(text(row, 'setup').replace('_', ' '))}{countdown(seconds)}</div>"
        f'<div class="fa-plan">{cells}</div></div>'
    )


def reward(row: Document) -> str:
    """How many times the risk the target pays."""
    known = number(row, "target_r", "r_target")
    entry, stop, target = number(row, "entry", "reference"), number(row, "stop"), number(row, "target")
    if known is None and entry is not None and stop is not None and target is not None and entry != stop:
        known = (target - entry) / (entry - stop)
    return f"{abs(known):.1f} R" if known is not None else "–"


def countdown(seconds: Decimal | None) -> str:
    """Minutes and seconds to answer."""
    if seconds is None:
        return ""
    if seconds <= 0:
        return chip("expired")
    kind = "bad" if seconds < 60 else "warn" if seconds < 180 else "good"
    return chip(f"{int(seconds) // 60}:{int(seconds) % 60:02d} left", kind)


def history(found: list[Document]) -> str:
    """Plans that no longer wait; the past ones are grey."""
    cells = []
    for row in found:
        state = text(row, "state")
        result = number(row, "pnl")
        reasons = row.get("reasons")
        why = "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list) else ""
        cells.append(
            [
                text(row, "symbol"),
                chip(state.replace("_", " "), STATES.get(state, "")),
                price(number(row, "entry", "reference")),
                price(number(row, "stop")),
                price(number(row, "target")),
                quantity(number(row, "quantity")),
                coloured(result, money(result, signed=True)) if result is not None else "",
                f'<span class="fa-dim">{html.escape(why)}</span>',
            ]
        )
    past = [state in PAST for state in (row.get("state") for row in found)]
    return table(["Symbol", "State", "Entry", "Stop", "Target", "Shares", "Result", ""], cells, dim=past)


def _answer(send: Callable[[Document], tuple[bool, str]], row: Document) -> None:
    """Send the answer before the page is drawn anew, and keep what the agent said."""
    try:
        is_taken, words = send(row)
    except AgentUnreachableError as error:
        is_taken, words = False, f"the answer may not have arrived: {error}"
    st.session_state["answer"] = (is_taken, words, str(row.get("symbol")), SHOWN_TIMES)


def _tell_answer() -> None:
    """Show for a while what the agent said to the last answer, in a place of its own above the plans."""
    place = st.empty()
    if "answer" not in st.session_state:
        return
    is_taken, words, symbol, times = st.session_state["answer"]
    told = words if symbol in words else f"{symbol}: {words}"
    (place.success if is_taken else place.error)(told)
    if times > 1:
        st.session_state["answer"] = (is_taken, words, symbol, times - 1)
    else:
        del st.session_state["answer"]
