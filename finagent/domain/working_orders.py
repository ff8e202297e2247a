"""Orders as a venue holds them: entries, exits, and the groups of legs that share one position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from finagent.domain.rows import maker, quick, replace

_RANK = {OrderType.STOP: 0, OrderType.MARKET: 1, OrderType.LIMIT: 2}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """An accepted order as the venue holds it; prices and quantities in 1e-4.

    ``parent_id`` ties an exit leg to its entry: all legs of one parent are one group, of which one cancels
    the other. ``armed_e4`` is the open position the group protects; it is the same on each of its legs.
    ``filled_e8`` is the notional of its fills in 1e-8, by which the next one's commission goes.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity_e4: int
    accepted_at_ms: int
    sequence: int
    filled_e4: int = 0
    filled_e8: int = 0
    limit_e4: int | None = None
    stop_e4: int | None = None
    parent_id: str | None = None
    armed_e4: int = 0
    is_exit: bool = False
    ignores_participation: bool = False
    is_triggered: bool = False
    state: OrderState = OrderState.ACCEPTED
    reason: str = ""

    @property
    def remaining_e4(self) -> int:
        """What is not filled yet."""
        return self.quantity_e4 - self.filled_e4

    @property
    def is_open(self) -> bool:
        """Whether the order can still fill."""
        return not self.state.is_terminal


new_working_order = maker(WorkingOrder)


def expire(orders: Sequence[WorkingOrder]) -> tuple[WorkingOrder, ...]:
    """All open orders expired, as at a session's end without a price."""
    return tuple(replace(order, state=OrderState.EXPIRED) if order.is_open else order for order in orders)


def cancel(
    orders: Sequence[WorkingOrder], client_order_id: str, reason: str = ""
) -> tuple[WorkingOrder, ...]:
    """Cancel one order; legs that thereby lose their entry shrink to the open position."""
    return settle(
        replace(order, state=OrderState.CANCELLED, reason=reason)
        if order.client_order_id == client_order_id and order.is_open
        else order
        for order in orders
    )


def settle(orders: Iterable[WorkingOrder], reason: str = "entry_ended") -> tuple[WorkingOrder, ...]:
    """Shrink every group's legs to its position plus what its entry may still add."""
    settled = list(orders)
    for parent_id in groups(settled):
        shrink(settled, parent_id, reason)
    return tuple(settled)


def fillable_e4(orders: Sequence[WorkingOrder], order: WorkingOrder) -> int:
    """What of an order may fill now: legs of one type share the group's open position in sequence."""
    if order.parent_id is None:
        return order.remaining_e4
    if order.armed_e4 <= 0:
        return 0
    before = sum(
        [
            other.remaining_e4
            for other in orders
            if other is not order
            and other.type is order.type
            and other.parent_id == order.parent_id
            and other.is_open
            and _sequence(other) < _sequence(order)
        ]
    )
    return max(min(order.remaining_e4, order.armed_e4 - before), 0)


def priority(order: WorkingOrder) -> tuple[int, int, str]:
    """Sort key within a bar's turn: stops, market orders and limits, each in sequence."""
    return _RANK[order.type], order.sequence, order.client_order_id


def groups(orders: Iterable[WorkingOrder]) -> list[str]:
    """The parents of all legs among the orders, in the order they appear."""
    return list(dict.fromkeys(order.parent_id for order in orders if order.parent_id is not None))


def shrink(orders: list[WorkingOrder], parent_id: str, reason: str) -> None:
    """Cut a group's legs in place, per type from the last in sequence, to what there is or may be to protect.

    A leg cut to nothing ends: filled when it had fills, else cancelled for the reason given.
    """
    parent = next((order for order in orders if order.client_order_id == parent_id), None)
    to_come = parent.remaining_e4 if parent is not None and parent.is_open else 0
    kinds: dict[OrderType, list[tuple[int, WorkingOrder]]] = {}
    for index, leg in enumerate(orders):
        if leg.parent_id == parent_id and leg.is_open:
            kinds.setdefault(leg.type, []).append((index, leg))
    for legs in kinds.values():
        excess = sum([leg.remaining_e4 for _, leg in legs]) - (legs[0][1].armed_e4 + to_come)
        if excess <= 0:
            continue
        for index, leg in sorted(legs, key=lambda pair: _sequence(pair[1]), reverse=True):
            cut = min(excess, leg.remaining_e4)
            excess -= cut
            if cut and cut == leg.remaining_e4:
                orders[index] = (
                    replace(leg, quantity_e4=leg.filled_e4, state=OrderState.FILLED)
                    if leg.filled_e4
                    else replace(leg, state=OrderState.CANCELLED, reason=reason)
                )
            elif cut:
                orders[index] = replace(leg, quantity_e4=leg.quantity_e4 - cut)


def _sequence(order: WorkingOrder) -> tuple[int, str]:
    return order.sequence, order.client_order_id
