"""What a broker tells has one form, whoever heard it: the stream, the tick or a comparison."""

from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, OrderState


def test_execution_is_told_with_all_that_folding_needs() -> None:
    fill = BrokerFill(
        execution_id="x1",
        client_order_id="fa-1",
        symbol="AAA",
        side=Side.SELL,
        quantity_e4=20_000,
        price_e4=1_000_100,
        at_ms=7,
        fees_e8=3,
        reference_e4=1_000_000,
        is_ambiguous=True,
    )
    assert fill_payload(fill) == {
        "event": "fill", "order": "fa-1", "execution": "x1", "quantity_e4": 20_000, "price_e4": 1_000_100,
        "at_ms": 7, "fees_e8": 3, "reference_e4": 1_000_000, "side": "sell", "ambiguous": True, "forced": False,
    }  # fmt: skip


def test_end_of_an_order_has_one_key_per_state() -> None:
    told = ended_payload("fa-1", OrderState.CANCELLED, "by hand")
    assert told == {"event": "cancelled", "order": "fa-1", "reason": "by hand"}
    assert ended_key("fa-1", OrderState.CANCELLED) == "fa-1:cancelled"
    told = ended_payload("fa-1", OrderState.CANCELLED, "", filled_e4=5)
    assert told["filled_e4"] == 5
