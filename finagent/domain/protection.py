"""Protection: what must rest at the broker for an open position whose exits are orders of their own.

The rule looks at what is, never at what happened: run again after any event, in any order, it leads to one stop
for what no other exit has claimed. Quantities are in 1e-4 shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.legs import ENTRY, EXIT, STOP, target_parts
from finagent.domain.market import Bar, Direction
from finagent.domain.orders import OrderState, OwnOrder
from finagent.domain.plan import Plan

ON_THE_WAY = (OrderState.INTENT, OrderState.UNKNOWN)
"""Written and not known to be at the broker."""


@dataclass(frozen=True, slots=True)
class PlaceStop:
    """Free the orders given, then rest a stop for the quantity."""

    quantity_e4: int
    free: tuple[OwnOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class ResizeStop:
    """Replace the resting stop by one for the quantity, in one step at the broker."""

    stop: OwnOrder
    quantity_e4: int


@dataclass(frozen=True, slots=True)
class FreeQuantity:
    """These exits could close more than is held: end them at the broker."""

    orders: tuple[OwnOrder, ...]


@dataclass(frozen=True, slots=True)
class CloseOut:
    """No stop can protect this: leave at the market."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """An order on its way must be known first; its arrival, or its end, asks again."""

    order: OwnOrder


Protection = PlaceStop | ResizeStop | FreeQuantity | CloseOut | WaitFor


def is_attached(orders: Sequence[OwnOrder]) -> bool:
    """Whether a plan's exits were sent with its entry: then the broker arms, shrinks and cancels them itself."""
    return any(order.intent.parent_id is not None for order in orders)


def live_exits(orders: Sequence[OwnOrder]) -> tuple[OwnOrder, ...]:
    """The exits that may still close something, or may turn out to."""
    return tuple(order for order in orders if order.is_exit and not order.is_terminal)


def protection_of(orders: Sequence[OwnOrder], *, held_e4: int) -> Protection | None:
    """The next step towards one stop for all that no other exit has claimed; None when nothing is to be done.

    ``held_e4`` is signed in the plan's direction: negative means that more was closed than was open.
    """
    live = live_exits(orders)
    if held_e4 < 0:
        return None if _comes_back(orders, live) else CloseOut()
    stops = tuple(order for order in live if order.intent.leg == STOP)
    claimed_e4 = sum(order.remaining_e4 for order in live if order.intent.leg != STOP)
    if claimed_e4 > held_e4:
        return FreeQuantity(live)
    wanted_e4 = held_e4 - claimed_e4
    waiting = next((stop for stop in stops if stop.state in ON_THE_WAY), None)
    if waiting is not None:
        return WaitFor(waiting)
    if not stops:
        return PlaceStop(wanted_e4) if wanted_e4 else None
    if wanted_e4 == 0:
        return FreeQuantity(stops)
    return _fitted(orders, stops, wanted_e4)


def can_replace(orders: Sequence[OwnOrder], stop: OwnOrder) -> bool:
    """Whether a stop may be replaced in one step: it fills nowhere yet, and no replacement of it was refused."""
    return stop.filled_e4 == 0 and not any(
        order.intent.leg == STOP
        and order.state is OrderState.REJECTED
        and order.intent.generation > stop.intent.generation
        for order in orders
    )


def target_shares(plan: Plan, orders: Sequence[OwnOrder]) -> tuple[tuple[str, int], ...]:
    """(leg, quantity still to take) of each target, by what has entered so far."""
    entered_e4 = sum(order.filled_e4 for order in orders if order.intent.leg == ENTRY)
    taken: dict[str, int] = {}
    for order in orders:
        leg = order.intent.leg
        taken[leg] = taken.get(leg, 0) + order.filled_e4 + order.remaining_e4
    return tuple(
        (leg, max(0, part_e4 - taken.get(leg, 0))) for leg, _, part_e4 in target_parts(plan, entered_e4)
    )


def touched_targets(
    plan: Plan, orders: Sequence[OwnOrder], bar: Bar, *, opened_at_ms: int
) -> tuple[str, ...]:
    """The targets with shares to take whose price an ended bar has reached; one that began before the entry is
    left out, and nothing is taken while an exit of everything is under way.
    """
    if bar.start_ms < opened_at_ms or any(order.intent.leg == EXIT for order in live_exits(orders)):
        return ()
    is_long = plan.direction is Direction.LONG
    prices = {
        target.leg: bar.high_e4 >= target.price_e4 if is_long else bar.low_e4 <= target.price_e4
        for target in plan.targets
    }
    return tuple(leg for leg, left_e4 in target_shares(plan, orders) if left_e4 > 0 and prices[leg])


def is_bare(orders: Sequence[OwnOrder]) -> bool:
    """Whether an open position of these orders has neither a stop nor an exit on its way."""
    return not live_exits(orders)


def free_e4(orders: Sequence[OwnOrder], *, held_e4: int, without: Sequence[str] = ()) -> int:
    """What an exit may still close: what is held less what other live exits claim, never below 0.

    ``without`` names the order asking and the one it replaces; ``held_e4`` counts in the exit's direction.
    """
    claimed_e4 = sum(
        order.remaining_e4 for order in live_exits(orders) if order.intent.client_order_id not in without
    )
    return max(0, held_e4 - claimed_e4)


def is_stuck(orders: Sequence[OwnOrder], order: OwnOrder, *, held_e4: int) -> bool:
    """Whether an exit in doubt can never be sent again while something is held, which so stays bare.

    It would close more than is held, or another exit in doubt claims the same shares: each waits for the other.
    """
    order_id = order.intent.client_order_id
    is_rivalled = any(
        each.state is OrderState.UNKNOWN and each.intent.client_order_id != order_id
        for each in live_exits(orders)
    )
    lacks = order.remaining_e4 > free_e4(orders, held_e4=held_e4, without=(order_id,))
    return held_e4 > 0 and (order.remaining_e4 > held_e4 or (is_rivalled and lacks))


def _comes_back(orders: Sequence[OwnOrder], live: Sequence[OwnOrder]) -> bool:
    """Whether an order is on its way that takes back what was closed beyond the position: one on the entry's side."""
    sides = {order.intent.side for order in orders if order.intent.leg == ENTRY}
    return any(order.intent.leg == EXIT and order.intent.side in sides for order in live)


def _fitted(orders: Sequence[OwnOrder], stops: tuple[OwnOrder, ...], wanted_e4: int) -> Protection | None:
    """Resting stops brought to one of the quantity wanted."""
    stop = stops[-1]
    if len(stops) > 1:
        return PlaceStop(wanted_e4, free=stops)
    if stop.remaining_e4 == wanted_e4:
        return None
    if stop.filled_e4 > 0 and stop.remaining_e4 < wanted_e4:
        return CloseOut()  # the price is through the stop: what it does not cover leaves too
    if can_replace(orders, stop):
        return ResizeStop(stop, wanted_e4)
    return PlaceStop(wanted_e4, free=(stop,))
