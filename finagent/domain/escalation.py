"""Escalation: when an exit that works at the broker has had its time, and how much harder the next one is."""

from collections.abc import Sequence

from finagent.domain.grid import grid_down, grid_up
from finagent.domain.legs import EXIT
from finagent.domain.market import MINUTE_MS, Instrument, Side
from finagent.domain.money import RATIO_SCALE
from finagent.domain.orders import OrderState, OrderType, OwnOrder
from finagent.domain.plan import Plan

WORKED_MS = MINUTE_MS
"""How long an exit of everything may work; the rungs of the ladder lie further apart."""
AT_THE_BROKER = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
"""One that is written or of unknown fate is its sender's: nobody knows yet whether there is something to cancel."""

BANDS_E6 = (10_000, 20_000, 40_000)
"""How far beyond the last price the limits after a halt lie, one generation each; then a market order."""


def working_exit(orders: Sequence[OwnOrder], side: Side) -> OwnOrder | None:
    """The plan's exit of everything on that side which may still fill; there is at most one."""
    return next(
        (o for o in orders if o.intent.leg == EXIT and o.intent.side is side and not o.is_terminal), None
    )


def is_overdue(order: OwnOrder, *, now_ms: int) -> bool:
    """Whether an exit has been at the broker for a minute without closing what it was for."""
    return order.state in AT_THE_BROKER and now_ms - order.intent.created_at_ms >= WORKED_MS


def may_replace(working: OwnOrder, *, limit_e4: int | None, now_ms: int) -> bool:
    """Whether an exit makes room for the next: it has had its time, and the next one is no softer."""
    is_softer = limit_e4 is not None and working.intent.type is OrderType.MARKET
    return is_overdue(working, now_ms=now_ms) and not is_softer


def is_beyond_stop(plan: Plan, stop_e4: int, price_e4: int) -> bool:
    """Whether a price is at the plan's stop or on the wrong side of it."""
    return plan.direction.sign * (price_e4 - stop_e4) <= 0


def band_limit_e4(
    orders: Sequence[OwnOrder], side: Side, price_e4: int | None, instrument: Instrument
) -> int | None:
    """The limit of the next exit after a halt, on the price grid: a band wider than the one before.

    None, a market order: every band was tried, or no price is known to measure from.
    """
    tried = sum(1 for o in orders if (o.intent.leg, o.intent.type) == (EXIT, OrderType.LIMIT))
    if price_e4 is None or tried >= len(BANDS_E6):
        return None
    if side is Side.SELL:
        wanted_e4 = price_e4 * (RATIO_SCALE - BANDS_E6[tried]) // RATIO_SCALE
        return grid_down(instrument, wanted_e4) or None
    return grid_up(instrument, -(-price_e4 * (RATIO_SCALE + BANDS_E6[tried]) // RATIO_SCALE))
