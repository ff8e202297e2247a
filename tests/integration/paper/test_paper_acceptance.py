"""What the paper venue takes and what it refuses, as a broker does."""

import pytest

from finagent.domain.costs import CostRules
from finagent.domain.market import MINUTE_MS, Side
from finagent.domain.orders import OrderState, OrderType
from finagent.ports import DuplicateClientOrderIdError, OrderRejectedError
from tests.integration.paper.venue import DOLLAR, SESSION, SHARE, T0, Venue, bracket, buy, intent

LIMIT, STOP, MARKET = OrderType.LIMIT, OrderType.STOP, OrderType.MARKET


@pytest.mark.parametrize(
    ("reason", "intents"),
    [
        ("unknown_symbol", [buy(symbol="NOPE")]),
        ("bad_quantity", [buy(shares=0)]),
        ("bad_quantity", [buy(shares=-1)]),
        ("fraction_not_allowed", [buy(shares=1.5)]),
        ("bad_id", [buy("x" * 49)]),
        ("bad_id", [buy("")]),
        ("bad_price", [intent("entry", Side.BUY, LIMIT)]),
        ("bad_price", [intent("entry", Side.BUY, LIMIT, 1, 0)]),
        ("bad_price", [buy(limit_e4=1_000_000)]),
        ("off_tick", [intent("entry", Side.BUY, LIMIT, 1, 99.995)]),
        ("insufficient_buying_power", [buy(shares=1_001)]),
        ("insufficient_buying_power", [intent("entry", Side.BUY, LIMIT, 2_000, 99)]),
        ("short_not_allowed", [intent("entry", Side.SELL, MARKET, 1)]),
        ("insufficient_quantity", [intent("exit", Side.SELL, MARKET, 1)]),
        ("no_price", [buy(symbol="NEW")]),
        ("stop_wrong_side", [intent("entry", Side.BUY, STOP, 1, 99)]),
        ("stop_wrong_side", bracket(stop=100)),
        ("limit_wrong_side", bracket(target=100)),
        ("unknown_parent", [intent("stop", Side.SELL, STOP, 1, 98, parent_id="nothing")]),
        ("bad_attachment", [buy(), intent("stop", Side.SELL, STOP, 100, 98, parent_id="other")]),
        ("bad_attachment", [buy(), intent("stop", Side.BUY, STOP, 100, 102, parent_id="entry")]),
        ("bad_attachment", [buy(), intent("stop", Side.SELL, STOP, 101, 98, parent_id="entry")]),
    ],
)
async def test_orders_a_broker_rejects_leave_nothing_behind(reason, intents):
    venue = Venue()
    with pytest.raises(OrderRejectedError) as refused:
        await venue.broker.submit(intents)
    assert refused.value.reason == reason
    assert not await venue.broker.orders(session=SESSION.date)


async def test_below_a_dollar_prices_go_by_hundredths_of_a_cent():
    await Venue().broker.submit([intent("entry", Side.BUY, LIMIT, 1, 0.4999, symbol="PENNY")])


async def test_an_empty_body_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="nothing to submit"):
        await Venue().broker.submit([])


async def test_a_body_with_one_id_twice_is_a_duplicate():
    with pytest.raises(DuplicateClientOrderIdError, match="entry"):
        await Venue().broker.submit(
            [buy(), intent("entry", Side.SELL, STOP, 1, 98, parent_id="entry", leg="stop")]
        )


async def test_after_the_close_nothing_is_accepted():
    venue = Venue(now_ms=SESSION.close_ms)
    with pytest.raises(OrderRejectedError, match="market_closed: the session 2018-02-20 is over"):
        await venue.broker.submit([buy()])


async def test_before_the_open_an_order_waits_for_the_first_bar():
    venue = Venue(now_ms=SESSION.open_ms - MINUTE_MS)
    accepted = await venue.broker.submit([buy()])
    assert accepted.accepted_at_ms == SESSION.open_ms - MINUTE_MS


async def test_shorts_need_an_account_a_borrow_and_whole_shares():
    venue = Venue(allow_shorts=True, lot_e4=1)
    await venue.broker.submit([intent("entry", Side.SELL, MARKET, 1)])
    with pytest.raises(OrderRejectedError, match="not_shortable"):
        await venue.broker.submit([intent("two", Side.SELL, MARKET, 1, symbol="HARD", leg="entry")])
    with pytest.raises(OrderRejectedError, match="fraction_not_allowed"):
        await venue.broker.submit([intent("three", Side.SELL, MARKET, 0.5, leg="entry")])
    assert venue.broker.capabilities.has_shorts


async def test_fractions_are_taken_where_the_venue_has_them():
    venue = Venue(lot_e4=1)
    assert venue.broker.capabilities.has_fractions
    assert (await venue.broker.submit([buy(shares=0.1234)])).quantity_e4 == 1_234


async def test_orders_on_their_way_use_up_buying_power():
    venue = Venue()
    await venue.broker.submit([intent("entry", Side.BUY, LIMIT, 900, 100)])
    assert (await venue.broker.account()).buying_power_e8 == 10_000 * DOLLAR
    with pytest.raises(
        OrderRejectedError, match=r"insufficient_buying_power: 10100\.00 asked, 10000\.00 free"
    ):
        await venue.broker.submit([intent("two", Side.BUY, LIMIT, 101, 100, leg="entry")])
    await venue.broker.cancel("entry")
    await venue.broker.submit([intent("two", Side.BUY, LIMIT, 101, 100, leg="entry")])


async def test_buying_power_can_be_a_multiple_of_equity():
    assert (await Venue(buying_power_e6=4_000_000).broker.account()).buying_power_e8 == 400_000 * DOLLAR


async def test_strict_mode_wants_each_leg_as_an_order_of_its_own():
    venue = Venue(strict_alpaca=True)
    assert not venue.broker.capabilities.has_attached_exits
    with pytest.raises(OrderRejectedError, match="attached_exits_not_supported"):
        await venue.broker.submit(bracket())


async def test_separate_exits_are_wanted_without_the_rest_of_alpacas_rules():
    capabilities = Venue(has_separate_exits=True).broker.capabilities
    assert (capabilities.has_attached_exits, capabilities.has_opposite_orders) == (False, True)


async def test_strict_mode_refuses_an_exit_beside_a_working_entry():
    venue = Venue(strict_alpaca=True)
    assert not venue.broker.capabilities.has_opposite_orders
    await venue.broker.submit([intent("entry", Side.BUY, MARKET, 100)])
    venue.tick({"XYZ": (100, 101, 99, 100)}, volume=50)
    assert (await venue.broker.find("entry")).state is OrderState.PARTIALLY_FILLED
    with pytest.raises(OrderRejectedError, match="wash_trade"):
        await venue.broker.submit([intent("stop", Side.SELL, STOP, 10, 97)])
    with pytest.raises(OrderRejectedError, match="wash_trade"):
        await venue.broker.submit([intent("target", Side.SELL, LIMIT, 10, 120)])
    await venue.broker.cancel("entry")
    await venue.broker.submit([intent("stop", Side.SELL, STOP, 10, 97)])


async def test_strict_mode_replaces_no_fraction():
    venue = Venue(strict_alpaca=True, lot_e4=1)
    await venue.broker.submit([intent("entry", Side.BUY, MARKET, 1.5)])
    venue.tick({"XYZ": (100, 101, 99, 100)})
    await venue.broker.submit([intent("stop", Side.SELL, STOP, 1.5, 97)])
    with pytest.raises(OrderRejectedError, match="no_fractions"):
        await venue.broker.replace("stop", new=intent("stop:2", Side.SELL, STOP, 1, 98))


# ---------------------------------------------------------------- replacing and attaching later


async def opened(**rules) -> Venue:
    venue = Venue(**rules)
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": (100, 101, 99, 100)})
    return venue


async def test_a_replaced_leg_protects_the_same_position():
    venue = await opened()
    await venue.broker.replace("stop", new=intent("stop:2", Side.SELL, STOP, 100, 99, parent_id="entry"))
    venue.tick({"XYZ": (100, 101, 98.5, 99)})
    assert (await venue.broker.find("stop:2")).state is OrderState.FILLED
    assert (await venue.broker.find("target-1")).state is OrderState.CANCELLED
    assert not await venue.broker.positions()


async def test_a_replacement_larger_than_the_position_is_cut_to_it():
    venue = await opened()
    new = await venue.broker.replace(
        "stop", new=intent("stop:2", Side.SELL, STOP, 300, 99, parent_id="entry")
    )
    assert new.quantity_e4 == 100 * SHARE


@pytest.mark.parametrize(
    ("reason", "new"),
    [
        ("bad_replacement", intent("stop:2", Side.BUY, STOP, 100, 102, parent_id="entry")),
        ("bad_replacement", intent("stop:2", Side.SELL, STOP, 100, 99)),
        ("bad_replacement", intent("entry:2", Side.SELL, STOP, 100, 99, parent_id="entry")),
        ("stop_wrong_side", intent("stop:2", Side.SELL, STOP, 100, 100, parent_id="entry")),
        ("off_tick", intent("stop:2", Side.SELL, STOP, 100, 99.005, parent_id="entry")),
    ],
)
async def test_a_replacement_that_does_not_fit_leaves_the_old_stop_in_place(reason, new):
    venue = await opened()
    with pytest.raises(OrderRejectedError) as refused:
        await venue.broker.replace("stop", new=new)
    assert refused.value.reason == reason
    assert (await venue.broker.find("stop")).state is OrderState.ACCEPTED


async def test_a_replacement_needs_a_new_id():
    venue = await opened()
    with pytest.raises(DuplicateClientOrderIdError):
        await venue.broker.replace("stop", new=intent("entry", Side.SELL, STOP, 100, 99, leg="stop"))


async def test_a_triggered_stop_is_not_replaced_any_more():
    venue = Venue(costs=CostRules())
    await venue.broker.submit(bracket())
    venue.tick({"XYZ": (100, 100, 100, 100)})
    venue.tick({"XYZ": (97, 97, 97, 97)}, volume=0)
    with pytest.raises(OrderRejectedError, match="already_triggered"):
        await venue.broker.replace("stop", new=intent("stop:2", Side.SELL, STOP, 100, 90, parent_id="entry"))


async def test_an_entry_is_replaced_within_its_own_buying_power():
    venue = Venue()
    await venue.broker.submit([intent("entry", Side.BUY, LIMIT, 900, 100)])
    await venue.broker.replace("entry", new=intent("entry:2", Side.BUY, LIMIT, 1_000, 100))
    with pytest.raises(OrderRejectedError, match="insufficient_buying_power"):
        await venue.broker.replace("entry:2", new=intent("entry:3", Side.BUY, LIMIT, 1_001, 100))


async def test_an_entry_that_carries_exits_is_not_replaced():
    venue = Venue()
    await venue.broker.submit(bracket())
    with pytest.raises(OrderRejectedError, match="has_attached_exits"):
        await venue.broker.replace("entry", new=buy("entry:2"))


async def test_a_stop_can_be_attached_again_to_what_an_entry_holds():
    venue = await opened()
    await venue.broker.cancel("stop")
    await venue.broker.submit([intent("stop:2", Side.SELL, STOP, 100, 99, parent_id="entry")])
    await venue.broker.submit(
        [intent("exit", Side.SELL, MARKET, 100, parent_id="entry", ignores_participation=True)]
    )
    venue.tick({"XYZ": (100, 101, 99.5, 100)})
    assert (await venue.broker.find("exit")).state is OrderState.FILLED
    assert (await venue.broker.find("stop:2")).state is OrderState.CANCELLED
    with pytest.raises(OrderRejectedError, match="no_position"):
        await venue.broker.submit([intent("stop:3", Side.SELL, STOP, 100, 99, parent_id="entry")])


async def test_an_exit_of_its_own_needs_shares_that_no_leg_holds():
    venue = await opened()
    with pytest.raises(OrderRejectedError, match="insufficient_quantity: 1000000 asked, 0 free"):
        await venue.broker.submit([intent("exit", Side.SELL, MARKET, 100)])
    await venue.broker.cancel("stop")
    await venue.broker.cancel("target-1")
    accepted = await venue.broker.submit([intent("exit", Side.SELL, MARKET, 100)])
    assert accepted.accepted_at_ms == T0 + MINUTE_MS
