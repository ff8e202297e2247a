"""What a person tells of a ticket: fills and ends, each judged and stored in one commit."""

import sqlite3
from dataclasses import dataclass, replace

from finagent.adapters.brokers.manual import tables
from finagent.domain.orders import BrokerFill, OrderState
from finagent.domain.tickets import (
    SaidFill,
    Ticket,
    TicketRefusal,
    held_e4,
    refuse_end,
    refuse_fill,
    ticket_for,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of it: the ticket as it is now, the fill, and the siblings that are over with it.

    ``is_known``: the same had been told before, nothing changed.
    """

    ticket: Ticket
    fill: BrokerFill | None = None
    closed: tuple[Ticket, ...] = ()
    held_e4: int = 0
    is_known: bool = False


def record_fill(
    conn: sqlite3.Connection,
    plan_id: str,
    said: SaidFill,
    *,
    name: str | None,
    identity: str,
    now_ms: int,
) -> Said | TicketRefusal:
    """Store a fill under its name (the broker's execution number) or the next number of its ticket.

    Told again under the same name it changes nothing; other figures under that name are refused. Once the plan is flat
    its other tickets are over.
    """
    tickets = tables.read_plan_tickets(conn, plan_id)
    ticket = ticket_for(tickets, said.leg)
    if isinstance(ticket, TicketRefusal):
        return ticket
    fills = tables.fills_of_plan(conn, plan_id)
    if name is not None:
        known = tables.fill_by_id(conn, f"{plan_id}/{name}")
        if known is not None:
            return _told_again(known, said, tickets, name)
    refusal = refuse_fill(said, ticket, tickets, fills, now_ms=now_ms)
    if refusal is not None:
        return refusal
    fill = BrokerFill(
        execution_id=f"{plan_id}/{name}"
        if name is not None
        else f"{ticket.client_order_id}/{_next(fills, ticket)}",
        client_order_id=ticket.client_order_id,
        symbol=ticket.symbol,
        side=ticket.side,
        quantity_e4=said.quantity_e4,
        price_e4=said.price_e4,
        at_ms=said.at_ms,
        fees_e8=said.fees_e8,
        reference_e4=ticket.limit_e4 or ticket.stop_e4 or said.reference_e4,
    )
    tables.put_fill(conn, fill, ticket, now_ms=now_ms, identity=identity)
    after = tables.read_plan_tickets(conn, plan_id)
    closed = [each for each in after if each.is_open] if held_e4(after) == 0 else []
    for each in closed:
        tables.close_ticket(
            conn, each.client_order_id, OrderState.CANCELLED, "position_closed", now_ms=now_ms
        )
    now = next(each for each in after if each.client_order_id == ticket.client_order_id)
    return Said(ticket=now, fill=fill, closed=tuple(closed), held_e4=held_e4(after))


def end_ticket(
    conn: sqlite3.Connection, plan_id: str, leg: str, reason: str, *, now_ms: int
) -> Said | TicketRefusal:
    """A ticket that will not fill (any more): not typed, cancelled or refused there. With a bare entry go its legs."""
    tickets = tables.read_plan_tickets(conn, plan_id)
    ticket = ticket_for(tickets, leg)
    if isinstance(ticket, TicketRefusal):
        return ticket
    refusal = refuse_end(ticket)
    if refusal is not None:
        return refusal
    is_bare = ticket.filled_e4 == 0
    legs = [each for each in tickets if each.is_open and is_bare and each.parent_id == ticket.client_order_id]
    for each in (ticket, *legs):
        tables.close_ticket(conn, each.client_order_id, OrderState.CANCELLED, reason, now_ms=now_ms)
    ended = replace(ticket, state=OrderState.CANCELLED, reason=reason)
    return Said(ticket=ended, closed=tuple(legs), held_e4=held_e4(tickets))


def _next(fills: list[BrokerFill], ticket: Ticket) -> int:
    return 1 + sum(fill.client_order_id == ticket.client_order_id for fill in fills)


def _told_again(known: BrokerFill, said: SaidFill, tickets: list[Ticket], name: str) -> Said | TicketRefusal:
    ticket = next(each for each in tickets if each.client_order_id == known.client_order_id)
    is_same = (known.quantity_e4, known.price_e4, ticket.leg) == (said.quantity_e4, said.price_e4, said.leg)
    if not is_same:
        words = f"another fill is recorded under the name {name}"
        return TicketRefusal("name_taken", words, "give the execution's own number with --id")
    return Said(ticket=ticket, fill=known, held_e4=held_e4(tickets), is_known=True)
