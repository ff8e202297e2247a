"""Orders to and from Alpaca's documents."""

import json
from collections.abc import Mapping

from finagent.adapters.brokers.alpaca.numbers import (
    BadAnswerError,
    Fields,
    at_ms,
    decimal_text,
    maybe_price_e4,
    quantity_e4,
    words,
)
from finagent.domain.market import Side
from finagent.domain.orders import BrokerOrder, OrderIntent, OrderState, OrderType, TimeInForce

FORCES = {TimeInForce.DAY: "day", TimeInForce.OPENING: "opg"}
TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP,
    "trailing_stop": OrderType.STOP,
}
"""Ours are the first three; somebody else's order of another type is shown by what sets it off."""
LIVE = (
    "new",
    "accepted",
    "pending_new",
    "accepted_for_bidding",
    "partially_filled",
    "pending_cancel",
    "pending_replace",
    "held",
    "stopped",
    "suspended",
)
OVER = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "replaced": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
DONE_TODAY = ("done_for_day", "calculated")


def submit_body(intent: OrderIntent) -> bytes:
    """The bytes of a new order: the same intent gives the same bytes."""
    return _bytes(
        {
            "client_order_id": intent.client_order_id,
            "limit_price": None if intent.limit_e4 is None else decimal_text(intent.limit_e4),
            "qty": decimal_text(intent.quantity_e4),
            "side": intent.side.value,
            "stop_price": None if intent.stop_e4 is None else decimal_text(intent.stop_e4),
            "symbol": intent.symbol,
            "time_in_force": FORCES[intent.time_in_force],
            "type": intent.type.value,
        }
    )


def replace_body(new: OrderIntent) -> bytes:
    """The bytes that turn an open order into ``new``: the quantity is always said, Alpaca would take the old one."""
    return _bytes(
        {
            "client_order_id": new.client_order_id,
            "limit_price": None if new.limit_e4 is None else decimal_text(new.limit_e4),
            "qty": decimal_text(new.quantity_e4),
            "stop_price": None if new.stop_e4 is None else decimal_text(new.stop_e4),
            "time_in_force": FORCES[new.time_in_force],
        }
    )


def order_from(fields: Fields, *, replaced_by: str | None = None) -> BrokerOrder:
    """An order of a document; ``replaced_by`` is the client order id behind its ``replaced_by``.

    BadAnswerError where a field is missing or cannot be true.
    """
    filled_e4 = quantity_e4(fields, "filled_qty")
    quantity = filled_e4 if fields.get("qty") is None else quantity_e4(fields, "qty")
    state, reason = state_of(fields, quantity, filled_e4)
    kind = words(fields, "type")
    if kind not in TYPES:
        raise BadAnswerError(f"type is {kind!r}, none that is known")
    is_sent = isinstance(fields.get("submitted_at"), str)
    return BrokerOrder(
        client_order_id=words(fields, "client_order_id"),
        symbol=words(fields, "symbol"),
        side=side_of(fields),
        type=TYPES[kind],
        quantity_e4=quantity,
        filled_e4=filled_e4,
        state=state,
        accepted_at_ms=at_ms(fields, "submitted_at" if is_sent else "created_at"),
        limit_e4=maybe_price_e4(fields, "limit_price"),
        stop_e4=maybe_price_e4(fields, "stop_price"),
        reason=reason,
        replaced_by=replaced_by,
    )


def state_of(fields: Fields, quantity: int, filled_e4: int) -> tuple[OrderState, str]:
    """The state, and Alpaca's own word where ours says less.

    A DAY or opening order that is done for the day will not trade again: it is over. A word that nobody documents is
    taken as open, since an order that still rests must not be forgotten.
    """
    status = words(fields, "status")
    if status in OVER:
        return OVER[status], "" if status in ("filled", "canceled") else status
    is_full = filled_e4 >= quantity > 0
    if status in DONE_TODAY:
        if is_full:
            return OrderState.FILLED, status
        if fields.get("time_in_force") in ("day", "opg", "cls"):
            return OrderState.EXPIRED, status
    open_state = OrderState.PARTIALLY_FILLED if filled_e4 else OrderState.ACCEPTED
    if status == "partially_filled" or (status in LIVE and status in ("new", "accepted", "pending_new")):
        return open_state, ""
    return open_state, status


def side_of(fields: Fields) -> Side:
    """buy or sell; an activity may say sell_short."""
    side = words(fields, "side")
    if side not in ("buy", "sell", "sell_short"):
        raise BadAnswerError(f"side is {side!r}, none of buy and sell")
    return Side.BUY if side == "buy" else Side.SELL


def _bytes(body: Mapping[str, str | None]) -> bytes:
    given = {name: value for name, value in body.items() if value is not None}
    return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
