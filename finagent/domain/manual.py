"""What a person did in the broker's own app: shares of ours that are gone, told as an exit by hand."""

from collections.abc import Collection, Sequence

from finagent.domain.legs import exit_side, order_id
from finagent.domain.orders import BrokerFill, OrderIntent, OrderType, Scope
from finagent.domain.plan import Plan
from finagent.domain.positions import ExitReason

MANUAL = "manual"
"""The leg of an exit that a person made: an order of the journal alone, never sent by us."""
PART = "/part"
"""Marks the part of an execution that closed our shares; the rest closed the person's own."""


def manual_exit(plan: Plan, quantity_e4: int, *, generation: int, scope: Scope, now_ms: int) -> OrderIntent:
    """The exit that explains shares gone without an order of ours; its fills follow, it is never sent."""
    return OrderIntent(
        client_order_id=order_id(plan, MANUAL, generation, scope),
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        leg=MANUAL,
        generation=generation,
        side=exit_side(plan),
        type=OrderType.MARKET,
        quantity_e4=quantity_e4,
        created_at_ms=now_ms,
        reason=ExitReason.MANUAL.value,
    )


def manual_fills(
    intent: OrderIntent,
    executions: Sequence[BrokerFill],
    recorded: Collection[str],
    *,
    since_ms: int,
    mark_e4: int,
    now_ms: int,
) -> tuple[BrokerFill, ...]:
    """The fills of a manual exit: the broker's own executions where it lists them, the rest at a mark in 1e-4.

    Taken are executions of the symbol on the exit's side since ``since_ms`` that no fill has recorded, oldest first.
    """
    left_e4 = intent.quantity_e4
    fills: list[BrokerFill] = []
    for each in sorted(executions, key=lambda fill: (fill.at_ms, fill.execution_id)):
        is_evidence = (each.symbol, each.side) == (intent.symbol, intent.side) and each.at_ms >= since_ms
        is_used = each.execution_id in recorded or each.execution_id + PART in recorded
        if left_e4 == 0 or not is_evidence or is_used:
            continue
        taken_e4 = min(left_e4, each.quantity_e4)
        is_whole = taken_e4 == each.quantity_e4
        fills.append(
            BrokerFill(
                execution_id=each.execution_id if is_whole else each.execution_id + PART,
                client_order_id=intent.client_order_id,
                symbol=each.symbol,
                side=each.side,
                quantity_e4=taken_e4,
                price_e4=each.price_e4,
                at_ms=each.at_ms,
                fees_e8=each.fees_e8 * taken_e4 // each.quantity_e4,
            )
        )
        left_e4 -= taken_e4
    if left_e4 > 0:
        fills.append(
            BrokerFill(
                execution_id=f"{intent.client_order_id}:unlisted",
                client_order_id=intent.client_order_id,
                symbol=intent.symbol,
                side=intent.side,
                quantity_e4=left_e4,
                price_e4=mark_e4,
                at_ms=now_ms,
            )
        )
    return tuple(fills)
