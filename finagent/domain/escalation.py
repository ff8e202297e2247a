"""Escalation: when an exit that works at the broker has had its time, so that a harder one takes its place."""

from collections.abc import Sequence

from finagent.domain.legs import EXIT
from finagent.domain.market import MINUTE_MS, Side
from finagent.domain.orders import OrderState, OwnOrder

WORKED_MS = MINUTE_MS
"""How long an exit of everything may work; the rungs of the ladder lie further apart."""
AT_THE_BROKER = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
"""One that is written or of unknown fate is its sender's: nobody knows yet whether there is something to cancel."""


def working_exit(orders: Sequence[OwnOrder], side: Side) -> OwnOrder | None:
    """The plan's exit of everything on that side which may still fill; there is at most one."""
    return next(
        (o for o in orders if o.intent.leg == EXIT and o.intent.side is side and not o.is_terminal), None
    )


def is_overdue(order: OwnOrder, *, now_ms: int) -> bool:
    """Whether an exit has been at the broker for a minute without closing what it was for."""
    return order.state in AT_THE_BROKER and now_ms - order.intent.created_at_ms >= WORKED_MS
