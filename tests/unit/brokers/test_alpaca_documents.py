"""Alpaca's documents: exact numbers, every state, refusals in our words, keys and addresses that are let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.adapters.brokers.alpaca.activities import cash_flow_from, execution_from
from finagent.adapters.brokers.alpaca.endpoint import endpoint, keys_from
from finagent.adapters.brokers.alpaca.numbers import (
    BadAnswerError,
    decimal_text,
    instant_ms,
    instant_text,
    maybe_price_e4,
    money_e8,
    price_e4,
    quantity_e4,
    signed_quantity_e4,
)
from finagent.adapters.brokers.alpaca.orders import LIVE, order_from
from finagent.adapters.brokers.alpaca.refusals import REASONS, reason_of, refusal
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from finagent.ports import BrokerAccessError, OrderRejectedError, OutcomeUnknownError

ABSURD = [
    "NaN", "Infinity", "-Infinity", "", "1e400", "1e30", "x", "1,000", "0x10", None, True, 1.5, [], {}, "9" * 60,
    "1_000_000_000_000_000_000_000",
]  # fmt: skip


@pytest.mark.parametrize("value", ABSURD, ids=repr)
@pytest.mark.parametrize("read", [price_e4, quantity_e4, money_e8, signed_quantity_e4])
def test_what_is_no_number_is_refused_with_its_field(read, value):
    with pytest.raises(BadAnswerError, match="field"):
        read({"field": value}, "field")


@pytest.mark.parametrize("value", ["0", "-1", "-0.0001"])
def test_a_price_is_above_zero(value):
    with pytest.raises(BadAnswerError):
        price_e4({"price": value}, "price")


def test_a_quantity_is_not_negative():
    with pytest.raises(BadAnswerError):
        quantity_e4({"qty": "-1"}, "qty")


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_a_scaled_integer_and_its_text_are_one(value):
    assert signed_quantity_e4({"n": decimal_text(value)}, "n") == value


def test_prices_are_rounded_half_to_even_and_money_is_exact():
    assert price_e4({"p": "105.8988475"}, "p") == 1_058_988
    assert price_e4({"p": "0.00025"}, "p") == 2
    assert money_e8({"m": "-0.00000001"}, "m") == -1
    assert maybe_price_e4({"p": None}, "p") is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2022-04-19T17:45:05.024916716Z", 1_650_390_305_024),
        ("2022-04-19T13:45:05.024916716-04:00", 1_650_390_305_024),
        ("2022-04-19T17:45:05Z", 1_650_390_305_000),
        ("2022-04-19T17:45:05.9Z", 1_650_390_305_900),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_instants_of_any_precision_are_milliseconds(text, ms):
    assert instant_ms(text) == ms
    assert instant_ms(instant_text(ms)) == ms


@pytest.mark.parametrize(
    "text", ["2022-04-19", "yesterday", "2022-04-19T17:45:05", "2022-13-19T17:45:05Z", "Z"]
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(BadAnswerError):
        instant_ms(text)


def document(**more: object) -> dict[str, object]:
    return {
        "id": "a", "client_order_id": "entry", "symbol": "XYZ", "side": "buy", "type": "limit", "qty": "10",
        "filled_qty": "0", "status": "new", "time_in_force": "day", "limit_price": "9.99", "stop_price": None,
        "submitted_at": "2022-04-19T17:45:05.02Z", "created_at": "2022-04-19T17:45:05.01Z", **more,
    }  # fmt: skip


STATES = [
    ("new", "0", OrderState.ACCEPTED, ""),
    ("accepted", "0", OrderState.ACCEPTED, ""),
    ("pending_new", "0", OrderState.ACCEPTED, ""),
    ("accepted_for_bidding", "0", OrderState.ACCEPTED, "accepted_for_bidding"),
    ("partially_filled", "4", OrderState.PARTIALLY_FILLED, ""),
    ("filled", "10", OrderState.FILLED, ""),
    ("done_for_day", "4", OrderState.EXPIRED, "done_for_day"),
    ("canceled", "4", OrderState.CANCELLED, ""),
    ("expired", "0", OrderState.EXPIRED, "expired"),
    ("replaced", "0", OrderState.CANCELLED, "replaced"),
    ("pending_cancel", "4", OrderState.PARTIALLY_FILLED, "pending_cancel"),
    ("pending_replace", "0", OrderState.ACCEPTED, "pending_replace"),
    ("rejected", "0", OrderState.REJECTED, "rejected"),
    ("suspended", "0", OrderState.ACCEPTED, "suspended"),
    ("calculated", "10", OrderState.FILLED, "calculated"),
    ("calculated", "4", OrderState.EXPIRED, "calculated"),
    ("stopped", "0", OrderState.ACCEPTED, "stopped"),
    ("held", "0", OrderState.ACCEPTED, "held"),
    ("something_new", "0", OrderState.ACCEPTED, "something_new"),
    ("something_new", "10", OrderState.PARTIALLY_FILLED, "something_new"),
]


@pytest.mark.parametrize(
    ("status", "filled", "state", "reason"), STATES, ids=[f"{s} {f}" for s, f, _, _ in STATES]
)
def test_every_state_of_alpaca_has_one_of_ours(status, filled, state, reason):
    order = order_from(document(status=status, filled_qty=filled))
    assert (order.state, order.reason) == (state, reason)


def test_every_live_state_is_in_the_table():
    assert set(LIVE) <= {status for status, *_ in STATES}


def test_a_good_till_cancelled_order_that_is_done_for_the_day_lives_on():
    assert order_from(document(status="done_for_day", time_in_force="gtc")).state is OrderState.ACCEPTED


def test_orders_of_others_are_read_too():
    stop_limit = order_from(document(type="stop_limit", stop_price="9", status="held"))
    assert (stop_limit.type, stop_limit.stop_e4, stop_limit.limit_e4) == (OrderType.STOP, 90_000, 99_900)
    by_value = order_from(
        document(qty=None, notional="100", filled_qty="1.5", type="market", limit_price=None)
    )
    assert (by_value.quantity_e4, by_value.filled_e4) == (15_000, 15_000)
    assert order_from(document(submitted_at=None)).accepted_at_ms == 1_650_390_305_010


@pytest.mark.parametrize(
    "more",
    [{"symbol": None}, {"side": "hold"}, {"type": "iceberg"}, {"filled_qty": None}, {"status": 1}],
    ids=str,
)
def test_an_order_that_cannot_be_is_refused(more):
    with pytest.raises(BadAnswerError):
        order_from(document(**more))


def activity(**more: object) -> dict[str, object]:
    return {
        "id": "20220419134505024::u", "activity_type": "FILL", "order_id": "o", "symbol": "XYZ", "side": "sell_short",
        "qty": "4", "cum_qty": "10", "price": "9.5", "transaction_time": "2022-04-19T17:45:05.024Z", **more,
    }  # fmt: skip


def test_an_execution_is_named_by_its_order_and_what_that_has_filled():
    fill = execution_from(activity(), cumulative="cum_qty").fill("entry")
    assert (fill.execution_id, fill.quantity_e4, fill.side) == ("o/10", 40_000, Side.SELL)


def test_quantities_finer_than_ours_still_add_up_to_the_whole():
    parts = [("0.33333", "0.33333"), ("0.33333", "0.66666"), ("0.33334", "1")]
    fills = [execution_from(activity(qty=q, cum_qty=c), cumulative="cum_qty").fill("e") for q, c in parts]
    assert sum(fill.quantity_e4 for fill in fills) == 10_000
    assert len({fill.execution_id for fill in fills}) == 3


@pytest.mark.parametrize("more", [{"qty": "0"}, {"qty": "11"}, {"qty": "-4"}, {"price": "0"}], ids=str)
def test_an_execution_that_cannot_be_is_refused(more):
    with pytest.raises(BadAnswerError):
        execution_from(activity(**more), cumulative="cum_qty").fill("entry")


def test_a_cash_flow_is_booked_when_its_id_says_or_on_its_date():
    flow = {"id": "20220419134505024::u", "activity_type": "CSD", "net_amount": "5", "date": "2022-04-18"}
    assert cash_flow_from(flow).at_ms == 1_650_390_305_024
    assert cash_flow_from({**flow, "id": "u"}).at_ms == instant_ms("2022-04-18T04:00:00Z")
    with pytest.raises(BadAnswerError):
        cash_flow_from({**flow, "id": "u", "date": "soon"})


def test_each_reason_is_reached_by_its_words():
    assert {reason_of(words) for words, _ in REASONS} == {reason for _, reason in REASONS}
    assert reason_of('asset "NOPE" not found') == "unknown_symbol"
    assert reason_of("could not find us_equity 'b0b6'") == "unknown_symbol"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"code": 40310000, "message": "order is too odd"}, OrderRejectedError),
        (422, {"message": "no code"}, OrderRejectedError),
        (400, {"code": 1}, OrderRejectedError),
        (404, {"code": 40410000, "message": "order not found for a"}, OrderRejectedError),
        (404, {"message": "endpoint not found."}, OutcomeUnknownError),
        (403, {}, OutcomeUnknownError),
        (418, {"message": "teapot"}, OutcomeUnknownError),
        (403, {"message": "forbidden."}, BrokerAccessError),
        (401, {}, BrokerAccessError),
    ],
)
def test_only_a_reasoned_refusal_is_a_rejection(status, body, kind):
    assert type(refusal(status, body)) is kind


@pytest.mark.parametrize(
    "address",
    ["https://api.alpaca.markets.example.com", "http://127.0.0.1", "http://localhost:80", "http://10.0.0.1:80",
     "http://user@127.0.0.1:80", "http://127.0.0.1:80/v2", "https://127.0.0.1:80", "http://127.0.0.1:99999", "",
     "Paper", "http://127.0.0.1.example.com:80", "http://[::1]:80", "http://127.0.0.1:80?x=1"],
)  # fmt: skip
def test_keys_go_to_alpaca_or_this_machine_and_nowhere_else(address):
    with pytest.raises(ValueError, match="keys are sent nowhere else"):
        endpoint(address)


def test_endpoints_have_their_streams():
    assert endpoint("paper").stream_url == "wss://paper-api.alpaca.markets/stream"
    assert endpoint("live").url == "https://api.alpaca.markets"
    assert endpoint("http://127.0.0.1:8123/").stream_url == "ws://127.0.0.1:8123/stream"


def test_keys_come_from_the_environment_or_from_files(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s3cret\n", encoding="utf-8")
    keys = keys_from({"ALPACA_API_KEY": " PK1 ", "ALPACA_SECRET_KEY_FILE": str(path)})
    assert (keys.key, keys.secret) == ("PK1", "s3cret")
    assert "PK1" not in repr(keys)
    assert "s3cret" not in repr(keys)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ALPACA_API_KEY is not set"),
        ({"ALPACA_API_KEY": "  "}, "ALPACA_API_KEY is not set"),
        ({"ALPACA_API_KEY": "PK1"}, "ALPACA_SECRET_KEY is not set"),
        ({"ALPACA_API_KEY": "P K"}, "ALPACA_API_KEY is no key"),
        ({"ALPACA_API_KEY": "é" * 9}, "ALPACA_API_KEY is no key"),
        ({"ALPACA_API_KEY": "x" * 9_999}, "ALPACA_API_KEY is no key"),
        ({"ALPACA_API_KEY_FILE": "/nowhere/at/all"}, "ALPACA_API_KEY_FILE = /nowhere/at/all cannot be read"),
        ({"ALPACA_API_KEY_FILE": "/"}, "cannot be read"),
    ],
)
def test_missing_or_broken_keys_are_named_without_showing_them(environment, said):
    with pytest.raises(BrokerAccessError, match=said) as refused:
        keys_from(environment)
    assert "P K" not in str(refused.value)
    assert "_FILE" in refused.value.mend
