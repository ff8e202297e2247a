"""The trade-updates stream: heard once it listens, believed as far as its own figures go, lost rather than silent."""

from contextlib import aclosing

import pytest

from finagent.domain.market import Side
from finagent.domain.orders import BrokerUpdate, OrderState, OrderType
from finagent.ports import StreamLostError
from tests.alpaca.world import SESSION, SHARE, World, buy, intent, sell_stop, world


async def next_update(updates) -> BrokerUpdate:
    """The next thing told, signs of life left out."""
    while (update := await anext(updates)) is None:
        pass
    return update


async def told(updates, count: int) -> list[BrokerUpdate]:
    return [await next_update(updates) for _ in range(count)]


async def test_first_item_says_that_alpaca_listens():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        assert await anext(updates) is None
        assert at.tell("look")["streams"] == 1


async def test_life_of_an_order_is_told_in_order():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 101)])
        at.tell("trade", symbol="XYZ", price="100", volume="4")
        at.tell("trade", symbol="XYZ", price="100.5")
        new, part, rest = await told(updates, 3)
        assert (new.client_order_id, new.symbol, new.state) == ("entry", "XYZ", OrderState.ACCEPTED)
        assert (part.state, part.fill.quantity_e4) == (OrderState.PARTIALLY_FILLED, 4 * SHARE)
        assert (rest.state, rest.fill.quantity_e4) == (OrderState.FILLED, 6 * SHARE)
        assert (rest.fill.price_e4, rest.fill.side, rest.fill.client_order_id) == (
            1_005_000,
            Side.BUY,
            "entry",
        )


async def test_execution_has_one_key_on_the_stream_and_in_the_activities():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 101)])
        for volume in ("1", "2.5", "4", "5"):
            at.tell("trade", symbol="XYZ", price="100", volume=volume)
        streamed = [update.fill for update in await told(updates, 5)][1:]
        listed = await at.broker.fills(session=SESSION.date)
        assert sorted(streamed, key=lambda f: f.execution_id) == sorted(listed, key=lambda f: f.execution_id)
        assert sum(fill.quantity_e4 for fill in listed) == 10 * SHARE


@pytest.mark.parametrize(
    "status", ["canceled", "expired", "rejected", "done_for_day", "suspended", "held", "stopped"]
)
async def test_each_end_of_an_order_is_told(status):
    expected = {
        "canceled": (OrderState.CANCELLED, ""),
        "expired": (OrderState.EXPIRED, "expired"),
        "rejected": (OrderState.REJECTED, "rejected"),
        "done_for_day": (OrderState.EXPIRED, "done_for_day"),
    }
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
        at.tell("end", client_order_id="entry", status=status)
        _, ended = await told(updates, 2)
        assert (ended.state, ended.reason) == expected.get(status, (OrderState.ACCEPTED, status))


async def test_replacement_names_the_order_that_follows():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await at.broker.submit([buy("entry", 10)])
        await at.trade(100)
        await at.broker.submit([sell_stop("stop", 10, 98)])
        await anext(updates)
        await at.broker.replace("stop", new=sell_stop("stop:2", 10, 99))
        old, new = await told(updates, 2)
        assert (old.client_order_id, old.state, old.replaced_by) == ("stop", OrderState.CANCELLED, "stop:2")
        assert (new.client_order_id, new.state) == ("stop:2", OrderState.ACCEPTED)


async def test_events_that_come_twice_and_backwards_have_the_keys_they_had():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        at.tell("stream", action="shuffle", count=3)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 101)])
        at.tell("trade", symbol="XYZ", price="100", volume="4")
        at.tell("trade", symbol="XYZ", price="100")
        at.tell("stream", action="replay", count=3)
        fills = [u.fill.execution_id for u in await told(updates, 6) if u.fill is not None]
        listed = {f.execution_id for f in await at.broker.fills(session=SESSION.date)}
        assert len(fills) == 4
        assert set(fills) == listed


async def test_fill_whose_order_is_already_further_on_is_not_believed():
    """Counted under the wrong key it would hide the other execution; the listing has both."""
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        await at.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 101)])
        await next_update(updates)
        order = at.server.book.by_client_id("entry")
        tell, at.server.venue.on_event = at.server.venue.on_event, lambda event: None
        at.tell("trade", symbol="XYZ", price="100", volume="4")
        at.tell("trade", symbol="XYZ", price="100")
        tell(event_of(at, order, "4"))
        with pytest.raises(StreamLostError, match="partial_fill of an order with 10 of 10 filled"):
            await next_update(updates)
        assert sum(f.quantity_e4 for f in await at.broker.fills(session=SESSION.date)) == 10 * SHARE


def event_of(at: World, order, qty: str) -> dict[str, object]:
    """A partial fill as a hurried broker would tell it: with the order as it is by now."""
    from finagent.simulation.alpaca.documents import order_document

    return {
        "event": "partial_fill",
        "qty": qty,
        "price": "100",
        "timestamp": order_document(order)["updated_at"],
        "order": order_document(order),
    }


async def test_quiet_stream_shows_signs_of_life():
    async with world() as at, aclosing(at.stream.updates()) as updates:
        assert [await anext(updates) for _ in range(3)] == [None, None, None]


@pytest.mark.parametrize("action", ["deaf", "close", "garbage"])
async def test_stream_that_says_nothing_sensible_is_lost(action):
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        at.tell("stream", action=action)
        with pytest.raises(StreamLostError):
            await next_update(updates)


async def test_stream_that_is_open_but_tells_nothing_is_caught_by_listing_alone():
    """Pings are answered and no event comes: only the comparison every half minute can see it."""
    async with world() as at, aclosing(at.stream.updates()) as updates:
        await anext(updates)
        at.tell("stream", action="mute")
        await at.broker.submit([buy("entry", 10)])
        await at.trade(100)
        assert await anext(updates) is None
        assert len(await at.broker.fills(session=SESSION.date)) == 1


async def test_server_that_ends_or_refuses_loses_the_stream():
    async with world() as at:
        at.tell("stream", action="refuse")
        with pytest.raises(StreamLostError):
            await anext(at.stream.updates())
        at.tell("stream", action="refuse", count=0)
        updates = at.stream.updates()
        await anext(updates)
        await at.server.stop()
        with pytest.raises(StreamLostError):
            await next_update(updates)


async def test_wrong_keys_lose_the_stream_and_say_why():
    async with world() as at:
        wrong = World(at.server, secret="wrong-secret")
        with pytest.raises(StreamLostError, match="refuses the keys"):
            await anext(wrong.stream.updates())
        await wrong.broker.close()
