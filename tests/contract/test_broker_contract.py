"""What every broker behind the order execution port promises; one suite, run over each adapter."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from finagent.domain.market import Side
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderState, OrderType
from finagent.ports import DuplicateClientOrderIdError, OrderExecutionPort, OrderRejectedError
from tests.alpaca.world import world as alpaca_world
from tests.integration.manual.hands import Person
from tests.integration.paper.venue import SESSION, SHARE, Venue, bracket, buy, intent


@dataclass
class World:
    """A broker under test, and a way to let its market trade at a price for a minute."""

    broker: OrderExecutionPort
    trade: Callable[[float], Awaitable[None]]


Made = Callable[[], AbstractAsyncContextManager[World]]


@contextlib.asynccontextmanager
async def paper() -> AsyncIterator[World]:
    venue = Venue(strict_alpaca=True)

    async def trade(price: float) -> None:
        venue.tick({"XYZ": (price, price, price, price)})

    yield World(venue.broker, trade)


@contextlib.asynccontextmanager
async def paper_with_attached_exits() -> AsyncIterator[World]:
    venue = Venue()

    async def trade(price: float) -> None:
        venue.tick({"XYZ": (price, price, price, price)})

    yield World(venue.broker, trade)


@contextlib.asynccontextmanager
async def alpaca_over_http() -> AsyncIterator[World]:
    async with alpaca_world() as found:
        yield World(found.broker, found.trade)


@contextlib.asynccontextmanager
async def manual_desk() -> AsyncIterator[World]:
    person = Person()
    yield World(person.broker, person.trade)


@pytest.fixture(params=[paper, paper_with_attached_exits, alpaca_over_http, manual_desk])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made: Made = request.param
    async with made() as found:
        yield found


async def test_capabilities_are_stated(world):
    capabilities = world.broker.capabilities
    assert capabilities.name
    assert OrderType.MARKET in capabilities.order_types
    assert capabilities.max_client_order_id >= 48


async def test_an_accepted_order_is_found_by_our_id(world):
    accepted = await world.broker.submit([buy("entry", 10)])
    assert (accepted.state, accepted.filled_e4, accepted.quantity_e4) == (OrderState.ACCEPTED, 0, 10 * SHARE)
    assert await world.broker.find("entry") == accepted
    assert list(await world.broker.orders(session=SESSION.date)) == [accepted]


async def test_an_unknown_id_is_none(world):
    assert await world.broker.find("nothing") is None


async def test_an_id_is_one_order_for_ever(world):
    await world.broker.submit([buy("entry", 10)])
    await world.broker.cancel("entry")
    with pytest.raises(DuplicateClientOrderIdError):
        await world.broker.submit([buy("entry", 10)])
    assert len(await world.broker.orders(session=SESSION.date)) == 1


async def test_a_fill_moves_position_cash_and_order(world):
    before = await world.broker.account()
    await world.broker.submit([buy("entry", 10)])
    await world.trade(100)
    fills = await world.broker.fills(session=SESSION.date)
    assert sum(fill.quantity_e4 for fill in fills) == 10 * SHARE
    assert len({fill.execution_id for fill in fills}) == len(fills)
    assert [(p.symbol, p.quantity_e4) for p in await world.broker.positions()] == [("XYZ", 10 * SHARE)]
    after = await world.broker.account()
    spent = sum(fill.quantity_e4 * fill.price_e4 + fill.fees_e8 for fill in fills)
    assert after.cash_e8 == before.cash_e8 - spent
    assert after.buying_power_e8 < before.buying_power_e8
    found = await world.broker.find("entry")
    assert (found.state, found.filled_e4) == (OrderState.FILLED, 10 * SHARE)


async def test_cancel_can_be_repeated_and_says_whether_it_did_anything(world):
    await world.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 90)])
    assert await world.broker.cancel("entry")
    assert not await world.broker.cancel("entry")
    assert not await world.broker.cancel("nothing")
    assert (await world.broker.find("entry")).state is OrderState.CANCELLED
    await world.trade(80)
    assert not await world.broker.fills(session=SESSION.date)


async def test_a_stop_is_replaced_in_one_step(world):
    await world.broker.submit([buy("entry", 10)])
    await world.trade(100)
    await world.broker.submit([intent("stop", Side.SELL, OrderType.STOP, 10, 98)])
    new = intent("stop:2", Side.SELL, OrderType.STOP, 10, 99)
    replaced = await world.broker.replace("stop", new=new)
    assert (replaced.client_order_id, replaced.stop_e4) == ("stop:2", 990_000)
    assert (await world.broker.find("stop")).state in TERMINAL_ORDER_STATES
    await world.trade(98.5)
    assert (await world.broker.find("stop:2")).state is OrderState.FILLED
    assert not await world.broker.positions()


async def test_replacing_what_is_over_is_refused(world):
    with pytest.raises(OrderRejectedError):
        await world.broker.replace("nothing", new=intent("stop", Side.SELL, OrderType.STOP, 10, 98))


async def test_a_rejected_order_does_not_exist(world):
    with pytest.raises(OrderRejectedError):
        await world.broker.submit([intent("entry", Side.BUY, OrderType.LIMIT, 10, 100.005)])
    assert await world.broker.find("entry") is None


async def test_shares_held_by_one_exit_cannot_be_sold_by_another(world):
    await world.broker.submit([buy("entry", 10)])
    await world.trade(100)
    await world.broker.submit([intent("stop", Side.SELL, OrderType.STOP, 10, 98)])
    with pytest.raises(OrderRejectedError):
        await world.broker.submit([intent("exit", Side.SELL, OrderType.MARKET, 10)])
    await world.broker.cancel("stop")
    await world.broker.submit([intent("exit", Side.SELL, OrderType.MARKET, 10)])


async def test_attached_exits_are_taken_as_one_body_or_refused_as_one(world):
    if world.broker.capabilities.has_attached_exits:
        await world.broker.submit(bracket(10))
        assert len(await world.broker.orders(session=SESSION.date)) == 3
        return
    with pytest.raises(OrderRejectedError):
        await world.broker.submit(bracket(10))
    assert not await world.broker.orders(session=SESSION.date)
