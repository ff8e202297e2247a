"""From a sized plan to the orders of its legs: entry, attached stop and targets, later exits and replaced stops."""

from collections.abc import Sequence

from finagent.domain.market import Side
from finagent.domain.money import RATIO_SCALE
from finagent.domain.orders import OrderIntent, OrderType, Scope, TimeInForce, client_order_id, new_intent
from finagent.domain.plan import AUCTION_NOTE, Plan

ENTRY, STOP, EXIT = "entry", "stop", "exit"
_BUY, _SELL = Side.BUY, Side.SELL


def entry_side(plan: Plan) -> Side:
    """The side that opens the plan's position."""
    return _BUY if plan.direction.sign > 0 else _SELL


def exit_side(plan: Plan) -> Side:
    """The side that closes it."""
    return _SELL if plan.direction.sign > 0 else _BUY


def entry_intents(
    plan: Plan,
    quantity_e4: int,
    *,
    scope: Scope,
    now_ms: int,
    time_to_live_ms: int,
    is_alone: bool = False,
    limit_e4: int | None = None,
) -> tuple[OrderIntent, ...]:
    """The entry, then its stop for the whole quantity, then its targets by share; all but the first are attached.

    Shares are floored to the lot and the last target takes the rest; a target without a lot is left out. ``is_alone``:
    the broker takes no attached exits, only the entry leaves; its fills bring the stop. ``limit_e4`` takes the place of
    the plan's limit (a short under the restriction).
    """
    entry_id = order_id(plan, ENTRY, 1, scope)
    limit_e4 = plan.limit_e4 if limit_e4 is None else limit_e4
    entry = new_intent(
        client_order_id=entry_id,
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        leg=ENTRY,
        generation=1,
        side=entry_side(plan),
        type=OrderType.MARKET if limit_e4 is None else OrderType.LIMIT,
        quantity_e4=quantity_e4,
        limit_e4=limit_e4,
        time_to_live_ms=time_to_live_ms,
        created_at_ms=now_ms,
        time_in_force=TimeInForce.OPENING if AUCTION_NOTE in plan.notes else TimeInForce.DAY,
    )
    if is_alone:
        return (entry,)
    stop = stop_intent(
        plan, quantity_e4, plan.stop_e4, generation=1, parent_id=entry_id, scope=scope, now_ms=now_ms
    )
    targets = [
        new_intent(
            client_order_id=order_id(plan, leg, 1, scope),
            plan_id=plan.plan_id,
            symbol=plan.symbol,
            leg=leg,
            generation=1,
            side=exit_side(plan),
            type=OrderType.LIMIT,
            quantity_e4=part_e4,
            limit_e4=price_e4,
            parent_id=entry_id,
            created_at_ms=now_ms,
        )
        for leg, price_e4, part_e4 in target_parts(plan, quantity_e4)
    ]
    return (entry, stop, *targets)


def target_parts(plan: Plan, quantity_e4: int) -> Sequence[tuple[str, int, int]]:
    """(leg, price, quantity) of each target; quantities are whole lots and add up to the whole."""
    parts: list[tuple[str, int, int]] = []
    left_e4 = quantity_e4
    for number, target in enumerate(plan.targets, 1):
        is_last = number == len(plan.targets)
        share_e4 = quantity_e4 * target.share_e6 // RATIO_SCALE // plan.lot_e4 * plan.lot_e4
        part_e4 = left_e4 if is_last else min(left_e4, share_e4)
        left_e4 -= part_e4
        if part_e4 > 0:
            parts.append((target.leg, target.price_e4, part_e4))
    return parts


def stop_intent(
    plan: Plan,
    quantity_e4: int,
    stop_e4: int,
    *,
    generation: int,
    parent_id: str | None,
    scope: Scope,
    now_ms: int,
) -> OrderIntent:
    """A protective stop of the plan."""
    return new_intent(
        client_order_id=order_id(plan, STOP, generation, scope),
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        leg=STOP,
        generation=generation,
        side=exit_side(plan),
        type=OrderType.STOP,
        quantity_e4=quantity_e4,
        stop_e4=stop_e4,
        parent_id=parent_id,
        created_at_ms=now_ms,
    )


def exit_intent(
    plan: Plan,
    quantity_e4: int,
    *,
    generation: int,
    reason: str,
    scope: Scope,
    now_ms: int,
    leg: str = EXIT,
    side: Side | None = None,
    limit_e4: int | None = None,
) -> OrderIntent:
    """A market order that closes what is open, whatever the minute's volume; with ``limit_e4`` a limit order.

    ``leg`` names the target it takes; ``side`` is given when more was closed than was open, and the rest must come
    back.
    """
    return new_intent(
        client_order_id=order_id(plan, leg, generation, scope),
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        leg=leg,
        generation=generation,
        side=exit_side(plan) if side is None else side,
        type=OrderType.MARKET if limit_e4 is None else OrderType.LIMIT,
        quantity_e4=quantity_e4,
        limit_e4=limit_e4,
        ignores_participation=True,
        created_at_ms=now_ms,
        reason=reason,
    )


def order_id(plan: Plan, leg: str, generation: int, scope: Scope) -> str:
    """The client order id of a plan's leg generation."""
    return client_order_id(
        scope,
        session=plan.session,
        scan_tick=plan.scan_tick,
        symbol=plan.symbol,
        leg=leg,
        generation=generation,
    )
