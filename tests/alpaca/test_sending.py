"""One order is one POST, whatever the broker's side does; what nobody knows is called unknown, never rejected."""

import asyncio
import json

import pytest

from finagent.adapters.brokers.alpaca.orders import submit_body
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType, TimeInForce
from finagent.ports import (
    BrokerAccessError,
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
)
from finagent.simulation.alpaca import local_ms
from tests.alpaca.world import SESSION, SHARE, World, buy, intent, sell_stop, world

POST = "POST /v2/orders"
TAKEN = [
    ("drop_reply", {}),
    ("answer", {"status": 504, "is_done": True}),
    ("answer", {"status": 429, "is_done": True, "headers": {"retry-after": "-3"}}),
    ("hang", {"is_done": True}),
    ("delay", {"seconds": 2.0}),
    ("garbage", {}),
    ("garbage", {"body": "[" * 100_000}),
    ("garbage", {"body": '{"id": NaN}'}),
    ("drip", {"seconds": 0.2}),
    ("endless", {}),
]
NOT_TAKEN = [
    ("drop_before", {}),
    ("answer", {"status": 504}),
    ("answer", {"status": 500, "body": "<html>"}),
    ("answer", {"status": 429, "headers": {"retry-after": "1e99"}}),
    ("answer", {"status": 404}),
    ("answer", {"status": 302, "headers": {"location": "http://127.0.0.1:1/"}}),
    ("answer", {"status": 403, "body": "no json"}),
    ("hang", {}),
]


def named(cases: list[tuple[str, dict[str, object]]]) -> list[str]:
    return [" ".join([action, *map(str, more.values())])[:40] for action, more in cases]


@pytest.mark.parametrize(("action", "more"), TAKEN, ids=named(TAKEN))
async def test_reply_that_is_lost_leaves_the_outcome_unknown_and_the_order_findable(action, more):
    async with world() as at:
        at.fault(POST, action, **more)
        with pytest.raises(OutcomeUnknownError):
            await at.broker.submit([buy("entry", 10)])
        assert at.posts == 1
        found = await at.broker.find("entry")
        assert found is not None
        assert (found.quantity_e4, found.state) == (10 * SHARE, OrderState.ACCEPTED)


@pytest.mark.parametrize(("action", "more"), NOT_TAKEN, ids=named(NOT_TAKEN))
async def test_request_that_did_nothing_is_unknown_too_and_is_not_repeated(action, more):
    async with world() as at:
        at.fault(POST, action, **more)
        with pytest.raises(OutcomeUnknownError):
            await at.broker.submit([buy("entry", 10)])
        assert at.posts == 1
        assert await at.broker.find("entry") is None
        await at.broker.submit([buy("entry", 10)])
        assert len(await at.broker.orders(session=SESSION.date)) == 1


async def test_order_that_comes_late_is_one_order_with_the_one_sent_again():
    async with world() as at:
        at.fault(POST, "late")
        with pytest.raises(OutcomeUnknownError):
            await at.broker.submit([buy("entry", 10)])
        assert await at.broker.find("entry") is None
        await at.broker.submit([buy("entry", 10)])
        assert at.tell("arrive") == {"orders": 0}
        assert len(await at.broker.orders(session=SESSION.date)) == 1


async def test_order_that_came_late_is_found_and_a_second_one_is_a_duplicate():
    async with world() as at:
        at.fault(POST, "late")
        with pytest.raises(OutcomeUnknownError):
            await at.broker.submit([buy("entry", 10)])
        assert at.tell("arrive") == {"orders": 1}
        with pytest.raises(DuplicateClientOrderIdError):
            await at.broker.submit([buy("entry", 10)])
        found = await at.broker.find("entry")
        assert found is not None
        assert found.state is OrderState.ACCEPTED


async def test_server_that_is_gone_leaves_a_write_unknown_and_a_read_to_be_tried_again():
    async with world() as at:
        await at.server.stop()
        with pytest.raises(OutcomeUnknownError):
            await at.broker.submit([buy("entry", 10)])
        with pytest.raises(RetryError):
            await at.broker.find("entry")


async def test_send_that_is_called_off_stays_called_off():
    async with world() as at:
        at.fault(POST, "hang")
        sending = asyncio.ensure_future(at.broker.submit([buy("entry", 10)]))
        await at.server.asked("POST", "/v2/orders")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


REFUSED = [
    ("insufficient_buying_power", buy("entry", 100_000)),
    ("unknown_symbol", buy("entry", 1, symbol="NOPE")),
    ("off_tick", intent("entry", Side.BUY, OrderType.LIMIT, 1, 100.005)),
    ("not_shortable", intent("entry", Side.SELL, OrderType.MARKET, 1, symbol="HARD")),
    ("not_shortable", intent("entry", Side.SELL, OrderType.MARKET, 1.5)),
    ("stop_beyond_price", sell_stop("stop", 1, 101)),
    ("no_fractions", buy("entry", 1.5, symbol="ABC")),
    ("market_closed", buy("entry", 1, time_in_force=TimeInForce.OPENING)),
    ("attached_exits", sell_stop("stop", 1, 90, parent_id="entry")),
    ("rejected", buy("entry", 0)),
]


@pytest.mark.parametrize(("reason", "order"), REFUSED, ids=[f"{r} {o.type}" for r, o in REFUSED])
async def test_refused_order_does_not_exist_and_says_why(reason, order):
    async with world() as at:
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.submit([order])
        assert refused.value.reason == reason
        assert refused.value.detail
        assert await at.broker.find(order.client_order_id) is None


async def test_shares_that_an_order_holds_cannot_be_sold_again():
    async with world() as at:
        await at.broker.submit([buy("entry", 10)])
        await at.trade(100)
        await at.broker.submit([sell_stop("stop", 10, 98)])
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.submit([intent("exit", Side.SELL, OrderType.MARKET, 10)])
        assert refused.value.reason == "insufficient_quantity"
        assert "available: 0" in refused.value.detail


@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.LIMIT])
async def test_stop_is_refused_while_the_rest_of_its_entry_still_works(kind):
    """Alpaca's wash-trade rule: after a partial fill the entry's rest must go before a stop can rest."""
    async with world() as at:
        await at.broker.submit([intent("entry", Side.BUY, kind, 10, 101)])
        at.tell("trade", symbol="XYZ", price="100", volume="4")
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.submit([sell_stop("stop", 4, 98)])
        assert refused.value.reason == "wash_trade"
        await at.broker.cancel("entry")
        await at.broker.submit([sell_stop("stop", 4, 98)])


@pytest.mark.parametrize(
    "flag", ["trading_blocked", "account_blocked", "trade_suspended_by_user"], ids=lambda flag: flag
)
async def test_blocked_account_sends_nothing(flag):
    async with world() as at:
        at.tell("account", **{flag: True})
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.submit([buy("entry", 1)])
        assert refused.value.reason == "account_blocked"


async def test_text_that_nobody_knows_is_handed_on_in_the_broker_s_words():
    async with world() as at:
        said = json.dumps({"code": 40310000, "message": "the moon is\nin the wrong house"})
        at.fault(POST, "answer", status=403, body=said)
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.submit([buy("entry", 1)])
        assert refused.value.reason == "rejected"
        assert refused.value.detail == "the moon is in the wrong house (code 40310000)"


@pytest.mark.parametrize("status", [401, 403])
async def test_keys_that_are_refused_say_how_to_mend_it(status):
    async with world() as at:
        for on in (POST, "GET /v2/account"):
            at.fault(on, "answer", status=status, body='{"message": "forbidden."}')
        for call in (at.broker.submit([buy("entry", 1)]), at.broker.account()):
            with pytest.raises(BrokerAccessError) as refused:
                await call
            assert "keys" in str(refused.value)
            assert "dashboard" in refused.value.mend


async def test_wrong_keys_do_nothing():
    async with world() as at:
        wrong = World(at.server, secret="wrong-secret")
        with pytest.raises(BrokerAccessError):
            await wrong.broker.submit([buy("entry", 1)])
        await wrong.broker.close()
        assert await at.broker.find("entry") is None


def test_same_intent_is_the_same_bytes():
    order = intent("entry", Side.BUY, OrderType.LIMIT, 10, 99.5)
    assert submit_body(order) == submit_body(order)
    assert submit_body(order) == (
        b'{"client_order_id":"entry","limit_price":"99.5","qty":"10","side":"buy","symbol":"XYZ",'
        b'"time_in_force":"day","type":"limit"}'
    )


async def test_opening_order_goes_into_the_auction_alone():
    async with world() as at:
        at.tell("clock", at_ms=local_ms(SESSION.date, "09:20"))
        await at.broker.submit([buy("entry", 10, time_in_force=TimeInForce.OPENING)])
        at.tell("clock", at_ms=SESSION.open_ms)
        await at.trade(100)
        found = await at.broker.find("entry")
        assert found is not None
        assert found.state is OrderState.FILLED


async def test_cancel_that_was_not_answered_is_asked_again():
    async with world() as at:
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
        at.fault("DELETE /v2/orders", "drop_reply")
        with pytest.raises(RetryError):
            await at.broker.cancel("entry")
        assert not await at.broker.cancel("entry")
        found = await at.broker.find("entry")
        assert found is not None
        assert found.state is OrderState.CANCELLED


async def test_cancel_that_takes_time_is_not_over_when_it_was_asked_for():
    async with world() as at:
        at.tell("mode", pending_cancel_ms=1_000)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
        assert await at.broker.cancel("entry")
        found = await at.broker.find("entry")
        assert found is not None
        assert (found.state, found.reason) == (OrderState.ACCEPTED, "pending_cancel")


async def test_lost_reply_of_a_replacement_is_found_by_the_new_id():
    async with world() as at:
        await at.broker.submit([buy("entry", 10)])
        await at.trade(100)
        await at.broker.submit([sell_stop("stop", 10, 98)])
        at.fault("PATCH /v2/orders", "drop_reply")
        with pytest.raises(OutcomeUnknownError):
            await at.broker.replace("stop", new=sell_stop("stop:2", 10, 99))
        old, new = await at.broker.find("stop"), await at.broker.find("stop:2")
        assert old is not None
        assert new is not None
        assert (old.state, old.replaced_by, old.reason) == (OrderState.CANCELLED, "stop:2", "replaced")
        assert (new.state, new.stop_e4) == (OrderState.ACCEPTED, 990_000)


async def test_replacing_by_the_same_terms_is_refused():
    async with world() as at:
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
        with pytest.raises(OrderRejectedError) as refused:
            await at.broker.replace("entry", new=intent("entry:2", Side.BUY, OrderType.LIMIT, 10, 90))
        assert refused.value.reason == "unchanged"
