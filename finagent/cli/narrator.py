"""What happens while one watches: a demo's day turn by turn, and the plans that wait for an answer."""

import asyncio
from collections.abc import Callable

from finagent.cli.fields import number, rows, section, text, words
from finagent.cli.render_day import SHORT_ID
from finagent.cli.values import clock, money, price, quantity
from finagent.context import Document, Views

PERIOD_S = 0.5
ASK_PERIOD_S = 1.0
BY_HAND = "manual"


async def narrate(views: Views, tell: Callable[[str], None]) -> None:
    """Tell every change of a plan and every closed trade, until cancelled."""
    known: dict[str, str] = {}
    while True:
        for line in news(await views.plans(), await views.trades(), known):
            tell(f"{clock(section(await views.status(), 'clock'), 'now')}  {line}")
        await asyncio.sleep(PERIOD_S)


async def ask(views: Views, tell: Callable[[str], None]) -> None:
    """Tell each plan that begins to wait for an answer and each ticket, with the command to answer, until cancelled."""
    known: set[str] = set()
    if text(await views.tickets(), "broker") == BY_HAND:
        tell(f"{text(await views.tickets(), 'note')}.")
    while True:
        for line in written(await views.tickets(), known):
            tell(line)
        for line in questions(await views.plans(state="pending"), known):
            tell(line)
        await asyncio.sleep(ASK_PERIOD_S)


def questions(plans: Document, known: set[str]) -> list[str]:
    """What was not asked before; ``known`` keeps plans with their hash, so that a changed one is told again."""
    lines = []
    for row in rows(plans, "plans"):
        name = f"{text(row, 'plan_id')} {text(row, 'plan_hash')}"
        if name in known:
            continue
        known.add(name)
        until = f" until {clock(row, 'expires_at')} ET" if text(row, "expires_at") else ""
        lines.append(
            f"{_line(row, 'pending')}: waits for your answer{until}:"
            f" finagent approve {text(row, 'plan_id')[:SHORT_ID]} (or reject; finagent plans shows all)"
        )
    return lines


def written(tickets: Document, known: set[str]) -> list[str]:
    """Tickets that were not told before, and those to take back."""
    lines = []
    for row in rows(tickets, "tickets"):
        todo = text(row, "todo")
        name = f"{text(row, 'client_order_id')} {todo == 'take back'}"
        if name in known:
            continue
        known.add(name)
        lines.append(f"ticket: {todo} {text(row, 'words')} ({text(row, 'leg')}); finagent tickets shows all")
    return lines


def news(plans: Document, trades: Document, known: dict[str, str]) -> list[str]:
    """What is new since the last look; ``known`` keeps the states that were told."""
    lines = []
    for row in rows(plans, "plans"):
        plan_id, state = text(row, "plan_id"), text(row, "state")
        if known.get(plan_id) == state:
            continue
        is_new = plan_id not in known
        known[plan_id] = state
        if state not in ("closed", "planned") and not (state == "refused" and is_new):
            lines.append(_line(row, state))
    for row in rows(trades, "trades"):
        trade_id = text(row, "trade_id")
        if trade_id not in known:
            known[trade_id] = "told"
            result = money(number(row, "pnl"), signed=True)
            exit_price = price(number(row, "exit_price"))
            lines.append(
                f"{text(row, 'symbol')}: closed at {exit_price} by {text(row, 'exit_reason')}, {result}"
            )
    return lines


def _line(row: Document, state: str) -> str:
    symbol = text(row, "symbol")
    if state == "pending":
        return (
            f"{symbol}: plan to {_verb(row)} {quantity(number(row, 'quantity'))} at {price(number(row, 'entry'))}, "
            f"stop {price(number(row, 'stop'))}, target {price(number(row, 'target'))}"
        )
    reasons = "; ".join(words(row, "reasons"))
    return f"{symbol}: {state.replace('_', ' ')}" + (f" ({reasons})" if reasons else "")


def _verb(row: Document) -> str:
    return "sell short" if text(row, "direction") == "short" else "buy"
