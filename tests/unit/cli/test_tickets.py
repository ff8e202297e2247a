"""Tickets as a page and as lines beside the agent: what to type first, what to take back, how to tell it."""

from finagent.cli.narrator import written
from finagent.cli.page import Page
from finagent.cli.tickets import _tickets as page_of
from finagent.context import Document


def a_ticket(leg: str = "entry", todo: str | None = "place", **changes: str) -> Document:
    return {
        "client_order_id": f"fa-{leg}", "plan_id": "pl_4f2fb00412345678", "symbol": "WMT", "leg": leg, "todo": todo,
        "words": "BUY 100 WMT market", "state": "accepted", "created_at": "2018-02-20T14:31:00Z", **changes,
    }  # fmt: skip


def document(*tickets: Document, broker: str = "manual") -> Document:
    return {"broker": broker, "note": "Nothing is promised", "tickets": [*tickets]}


def page(width: int = 100) -> Page:
    return Page(width)


def test_page_shows_what_to_do_and_how_to_tell_it() -> None:
    shown = page_of(document(a_ticket("stop", "take back"), a_ticket()), page())
    assert "take back" in shown
    assert "finagent fill add pl_4f2fb004 --leg entry --price P --qty N" in shown
    assert "finagent fill not-done pl_4f2fb004 --leg entry" in shown
    assert shown.endswith("Nothing is promised.")


def test_page_fits_a_narrow_terminal() -> None:
    shown = page_of(document(a_ticket(), a_ticket("target-1", "attach")), page(60))
    table = shown.split("\n\n")[0]
    assert max(len(line) for line in table.splitlines()) <= 60
    assert "BUY 100 WMT" in table


def test_page_without_tickets_and_of_another_broker_say_so() -> None:
    assert page_of(document(), page()).startswith("No tickets.")
    assert "broker.name: manual" in page_of(document(broker="paper"), page())


def test_each_ticket_is_told_once_and_once_more_when_it_is_taken_back() -> None:
    known: set[str] = set()
    assert written(document(a_ticket()), known) == [
        "ticket: place BUY 100 WMT market (entry); finagent tickets shows all"
    ]
    assert written(document(a_ticket()), known) == []
    (again,) = written(document(a_ticket(todo="take back")), known)
    assert again.startswith("ticket: take back")
