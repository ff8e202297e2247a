"""Tickets: orders that a person types at a broker without an interface, and what they may say became of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.legs import ENTRY
from finagent.domain.market import Instrument, Side
from finagent.domain.money import MAX_INT64, SHARE_E4, div_ceil, price_text, quantity_number
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill, OrderState, OrderType

FAR_FACTOR = 2
"""A price beyond half or twice the plan's is a slip of the pen until it is said twice."""
MOST_FEES_DIVISOR = 10
"""Fees above a tenth of the amount are one too."""
EARLY_MS = 60_000
"""How much the clocks of a person and of this machine may differ before a ticket was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One order of a plan as the desk keeps it; prices and quantities in 1e-4."""

    client_order_id: str
    plan_id: str
    session: str
    symbol: str
    leg: str
    generation: int
    side: Side
    type: OrderType
    quantity_e4: int
    filled_e4: int
    state: OrderState
    accepted_at_ms: int
    limit_e4: int | None = None
    stop_e4: int | None = None
    parent_id: str | None = None
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.state not in TERMINAL_ORDER_STATES

    @property
    def remaining_e4(self) -> int:
        """What it was written for and has not filled, whether or not it is over."""
        return max(0, self.quantity_e4 - self.filled_e4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidFill:
    """A fill as a person tells it; quantity and price in 1e-4, fees in 1e-8.

    ``is_average``: the price is that of several executions. ``is_sure``: it is meant, however far from the plan.
    ``is_again``: it is another one, however like an earlier. ``reference_e4`` is the plan's price.
    """

    leg: str
    quantity_e4: int
    price_e4: int
    at_ms: int
    fees_e8: int = 0
    reference_e4: int
    lot_e4: int = SHARE_E4
    is_average: bool = False
    is_sure: bool = False
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class TicketRefusal:
    """Why what was said cannot be: a word, what was seen, and the mend."""

    reason: str
    detail: str
    mend: str


def ticket_for(tickets: Sequence[Ticket], leg: str) -> Ticket | TicketRefusal:
    """The ticket of a leg that is meant: the newest that is open, else the newest that may still be told to have
    filled.
    """
    legs = sorted({ticket.leg for ticket in tickets})
    of_leg = [ticket for ticket in tickets if ticket.leg == leg]
    if not of_leg:
        known = ", ".join(legs) or "none yet"
        return TicketRefusal("unknown_leg", f"the plan has no ticket {leg}; there are: {known}", "give one")
    newest_first = sorted(of_leg, key=lambda ticket: -ticket.generation)
    is_open = [ticket for ticket in newest_first if ticket.is_open]
    return (is_open or newest_first)[0]


def held_e4(tickets: Sequence[Ticket]) -> int:
    """The plan's position as its tickets give it, signed, in 1e-4 shares."""
    return sum(ticket.side.sign * ticket.filled_e4 for ticket in tickets)


def refuse_fill(
    said: SaidFill,
    ticket: Ticket,
    tickets: Sequence[Ticket],
    fills: Sequence[BrokerFill],
    *,
    now_ms: int,
) -> TicketRefusal | None:
    """Why a fill cannot be recorded, None when it can; ``tickets`` and ``fills`` are all of the plan."""
    return (
        _wrong_amounts(said)
        or _too_much(said, ticket, tickets)
        or _wrong_time(said, ticket, tickets, fills, now_ms=now_ms)
        or _unlikely(said)
        or _said_before(said, ticket, fills)
    )


def refuse_end(ticket: Ticket) -> TicketRefusal | None:
    """Why a ticket cannot be told to be over without (more) fills."""
    if ticket.is_open:
        return None
    words = f"{ticket.leg} of {ticket.symbol} is {ticket.state} already"
    return TicketRefusal("already_over", words, "finagent tickets --all shows it")


def open_quantity_e4(ticket: Ticket, tickets: Sequence[Ticket]) -> int:
    """How much is still to be typed or left at the broker: an exit never more than is held, once anything is."""
    held = abs(held_e4(tickets))
    has_entered = any(each.leg == ENTRY and each.filled_e4 > 0 for each in tickets)
    if ticket.leg == ENTRY or not has_entered:
        return ticket.remaining_e4
    return min(ticket.remaining_e4, held)


def order_words(ticket: Ticket, quantity_e4: int) -> str:
    """What to type: ``BUY 100 WMT limit 12.34``."""
    price = {
        OrderType.MARKET: "market",
        OrderType.LIMIT: f"limit {_price(ticket.limit_e4)}",
        OrderType.STOP: f"stop {_price(ticket.stop_e4)}",
    }[ticket.type]
    return f"{ticket.side.value.upper()} {quantity_number(quantity_e4)} {ticket.symbol} {price}"


def _price(price_e4: int | None) -> str:
    return "?" if price_e4 is None else price_text(price_e4)


def _wrong_amounts(said: SaidFill) -> TicketRefusal | None:
    if said.quantity_e4 <= 0 or said.price_e4 <= 0 or said.fees_e8 < 0:
        return TicketRefusal("not_positive", "quantity and price are above 0, fees at least 0", "mend it")
    amount_e8 = said.quantity_e4 * said.price_e4
    if amount_e8 > MAX_INT64:
        return TicketRefusal("too_large", "quantity times price is beyond any account", "mend it")
    if said.quantity_e4 % said.lot_e4:
        lot, asked = quantity_number(said.lot_e4), quantity_number(said.quantity_e4)
        return TicketRefusal("lot", f"quantity {asked} is no multiple of {lot}", "give whole lots")
    tick_e4 = Instrument(symbol="").tick_e4(said.price_e4)
    if said.price_e4 % tick_e4 and not said.is_average:
        words = f"price {price_text(said.price_e4)} is off the grid of {price_text(tick_e4)}"
        return TicketRefusal("off_tick", words, "--average takes the average of several executions")
    return None


def _too_much(said: SaidFill, ticket: Ticket, tickets: Sequence[Ticket]) -> TicketRefusal | None:
    asked = quantity_number(said.quantity_e4)
    if said.quantity_e4 > ticket.remaining_e4:
        left, whole = quantity_number(ticket.remaining_e4), quantity_number(ticket.quantity_e4)
        words = f"{asked} are more than the {left} left of {whole} on the ticket {ticket.leg}"
        return TicketRefusal("too_much", words, "look at the ticket: finagent tickets")
    held = held_e4(tickets)
    if ticket.leg != ENTRY and said.quantity_e4 > -ticket.side.sign * held:
        words = f"{asked} are more than the {quantity_number(abs(held))} that the plan holds"
        return TicketRefusal("too_much", words, "record the entry first, or look: finagent positions")
    return None


def _wrong_time(
    said: SaidFill, ticket: Ticket, tickets: Sequence[Ticket], fills: Sequence[BrokerFill], *, now_ms: int
) -> TicketRefusal | None:
    if said.at_ms > now_ms:
        words = f"its time is {div_ceil(said.at_ms - now_ms, 1000)} s ahead of now"
        return TicketRefusal("future", words, "give the time of the execution with --at, in exchange time")
    if said.at_ms < ticket.accepted_at_ms - EARLY_MS and ticket.parent_id is None:
        words = f"its time is before the ticket {ticket.leg} was written"
        return TicketRefusal("before_ticket", words, "mend --at, or leave it out for now")
    entered = {each.client_order_id for each in tickets if each.leg == ENTRY}
    first_ms = min((fill.at_ms for fill in fills if fill.client_order_id in entered), default=None)
    if ticket.leg != ENTRY and first_ms is not None and said.at_ms < first_ms:
        return TicketRefusal("before_entry", "its time is before the entry's first fill", "mend --at")
    return None


def _unlikely(said: SaidFill) -> TicketRefusal | None:
    is_far = not said.reference_e4 <= said.price_e4 * FAR_FACTOR <= said.reference_e4 * FAR_FACTOR**2
    if is_far and not said.is_sure:
        words = f"price {price_text(said.price_e4)} is far from the plan's {price_text(said.reference_e4)}"
        return TicketRefusal("price_far", words, "--force takes it all the same")
    if said.fees_e8 * MOST_FEES_DIVISOR > said.quantity_e4 * said.price_e4 and not said.is_sure:
        return TicketRefusal(
            "fees_far", "fees above a tenth of the amount", "--force takes them all the same"
        )
    return None


def _said_before(said: SaidFill, ticket: Ticket, fills: Sequence[BrokerFill]) -> TicketRefusal | None:
    same = [
        fill
        for fill in fills
        if fill.client_order_id == ticket.client_order_id
        and (fill.quantity_e4, fill.price_e4) == (said.quantity_e4, said.price_e4)
    ]
    if not same or said.is_again:
        return None
    words = f"{quantity_number(said.quantity_e4)} at {price_text(said.price_e4)} are on the ticket {ticket.leg} already"
    return TicketRefusal("said_before", words, "--again records another one, --id names it for good")
