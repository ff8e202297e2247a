"""Orders as the simulated broker takes and tells them."""

from finagent.domain.orders import BrokerOrder, OrderIntent, OrderState

SHARE_E4 = 10_000


def as_order(intent: OrderIntent, now_ms: int) -> BrokerOrder:
    """An order as it was taken."""
    return BrokerOrder(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        quantity_e4=intent.quantity_e4,
        filled_e4=0,
        state=OrderState.ACCEPTED,
        accepted_at_ms=now_ms,
        limit_e4=intent.limit_e4,
        stop_e4=intent.stop_e4,
        parent_id=intent.parent_id,
    )


def words(order: BrokerOrder) -> str:
    """``id buy 12 AAA limit 10.00``"""
    price_e4 = order.limit_e4 or order.stop_e4
    at = "" if price_e4 is None else f" {price_e4 / 10_000:.2f}"
    return f"{order.client_order_id} {order.side} {order.quantity_e4 // SHARE_E4} {order.symbol} {order.type}{at}"
