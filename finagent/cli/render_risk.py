"""The risk document as a page: limits with what is used and left, what stands open, was raised or is reserved."""

from finagent.cli.fields import clean, number, rows, section, text, words
from finagent.cli.page import Column, Page
from finagent.cli.values import money, profit, quantity, share
from finagent.context import Document

NEARLY = 0.8
"""From this part on a limit is shown in yellow."""


def risk(document: Document, page: Page) -> str:
    """Limits first, then the day's result, why entries are closed, and what is reserved or locked."""
    account, control = section(document, "account"), section(document, "control")
    head = f"Risk {text(document, 'session')}, profile {text(document, 'profile')}"
    facts = [
        ("Day P&L", f"{profit(page, account, 'day_pnl')} {text(account, 'currency')}".strip()),
        ("Loss limit", _tier(document, page)),
        ("Breakers", page.paint(", ".join(words(document, "breakers")), "red")),
        ("Entries", text(control, "gate_reason", "pause_reason") or "open"),
        ("Raised", _raised(document)),
        ("Not in force", _waiting(document)),
        ("Locked", ", ".join(text(row, "symbol") for row in rows(document, "locks"))),
        ("At their stop", ", ".join(words(account, "valued_at_stop"))),
    ]
    parts = [page.heading(head), _limits(section(document, "limits"), page), page.pairs(facts)]
    return "\n\n".join(filter(None, [*parts, _reservations(document, page)]))


def _limits(found: Document, page: Page) -> str:
    columns = (
        Column("Limit"),
        Column("Used", right=True),
        Column("Of", right=True),
        Column("Left", right=True),
        Column("Share", right=True),
        Column("Opens again with", rank=1),
    )
    cells = []
    for name in found:
        row = section(found, name)
        shown = money if text(row, "unit") == "money" else quantity
        amounts = [shown(number(row, key)) for key in ("used", "limit", "left")]
        cells.append([clean(name).replace("_", " "), *amounts, _share(row, page), text(row, "reopens")])
    return page.table(columns, cells)


def _share(row: Document, page: Page) -> str:
    """The part that is used; yellow when nearly all is, red when all is."""
    part = number(row, "used_ratio")
    if part is None or part < NEARLY:
        return share(part)
    return page.paint(share(part), "red" if part >= 1 else "yellow")


def _tier(document: Document, page: Page) -> str:
    account, tier = section(document, "account"), text(document, "loss_tier")
    if tier:
        return page.paint(f"the {tier} limit is reached", "red")
    marks = (("entries pause", number(account, "pause_at")), ("all is closed", number(account, "flatten_at")))
    return ", ".join(f"{what} at {money(at)}" for what, at in marks if at is not None) or "off"


def _raised(document: Document) -> str:
    return ", ".join(
        f"{text(row, 'limit')} {text(row, 'in_force')} (profile {text(row, 'profile')})"
        for row in rows(document, "raised_limits")
    )


def _waiting(document: Document) -> str:
    found = ", ".join(
        f"{text(row, 'limit')} {text(row, 'accepted')} -> {text(row, 'wanted')}"
        for row in rows(document, "waiting_limits")
    )
    return f"{found} (finagent limits accept, while no agent runs)" if found else ""


def _reservations(document: Document, page: Page) -> str:
    """What plans under way take from the limits."""
    columns = (
        Column("Reserved"),
        Column("Plan"),
        Column("Notional", right=True),
        Column("Worst case", right=True),
    )
    cells = [
        [
            text(row, "symbol"),
            text(row, "plan_id")[:11],
            money(number(row, "notional")),
            money(number(row, "worst_case")),
        ]
        for row in rows(document, "reservations")
    ]
    return page.table(columns, cells)
