"""What a broker tells, as the payload of a ``broker_event`` job: whoever hears of it leaves the same job."""

from finagent.domain.orders import BrokerFill, OrderState

EventData = dict[str, bool | int | str | None]


def fill_payload(fill: BrokerFill) -> EventData:
    """An execution; its job's idempotency key is the execution id."""
    return {
        "event": "fill",
        "order": fill.client_order_id,
        "execution": fill.execution_id,
        "quantity_e4": fill.quantity_e4,
        "price_e4": fill.price_e4,
        "at_ms": fill.at_ms,
        "fees_e8": fill.fees_e8,
        "reference_e4": fill.reference_e4,
        "side": fill.side.value,
        "ambiguous": fill.is_ambiguous,
        "forced": fill.is_forced_close,
    }


def ended_payload(
    client_order_id: str, state: OrderState, reason: str, *, filled_e4: int | None = None
) -> EventData:
    """An order that is over, with or without fills; the key of its job is ``ended_key``.

    ``filled_e4`` is what the broker says was filled in all, where it says so: an end that knows of more fills than the
    journal waits for them.
    """
    payload: EventData = {"event": state.value, "order": client_order_id, "reason": reason}
    return payload if filled_e4 is None else {**payload, "filled_e4": filled_e4}


def ended_key(client_order_id: str, state: OrderState) -> str:
    """The idempotency key of the job that tells an order's end: told twice, it is one job."""
    return f"{client_order_id}:{state.value}"
