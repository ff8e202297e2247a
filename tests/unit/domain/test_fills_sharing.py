"""The fill model where orders share something: a position, a minute's volume, the last bar."""

from dataclasses import replace

import pytest

from finagent.domain.costs import NO_COSTS, CostRules
from finagent.domain.fills import force_close, match_symbol
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from finagent.domain.working_orders import WorkingOrder, cancel, expire, fillable_e4, settle
from tests.unit.domain.fills_builders import (
    SESSION,
    SHARE,
    T0,
    XYZ,
    bar,
    bracket,
    entry,
    leg,
    only,
    order,
    play,
    states,
    told,
)

# ---------------------------------------------------------------- sharing a position


def two_targets(armed=0) -> list[WorkingOrder]:
    return [
        leg("stop", OrderType.STOP, 98, 100, armed=armed),
        leg("target-1", OrderType.LIMIT, 102, 50, armed=armed),
        leg("target-2", OrderType.LIMIT, 104, 50, armed=armed),
    ]


def test_a_target_fill_reduces_the_stop():
    result = play(two_targets(armed=100), bar(100, 103, 99, 102))
    assert told(result) == [("target-1", 50, 102, False)]
    stop, _, second = result.orders
    assert (stop.quantity_e4, stop.state, second.state) == (
        50 * SHARE,
        OrderState.ACCEPTED,
        OrderState.ACCEPTED,
    )
    assert {each.armed_e4 for each in result.orders} == {50 * SHARE}


def test_the_stop_closes_only_what_the_targets_left():
    first = play(two_targets(armed=100), bar(100, 103, 99, 102))
    second = play(first.orders, bar(100, 101, 97, 98))
    assert told(second) == [("stop", 50, 98, False)]
    assert states(second) == {"stop": "filled", "target-1": "filled", "target-2": "cancelled"}


def test_both_targets_can_fill_in_one_bar():
    result = play(two_targets(armed=100), bar(100, 105, 99, 104))
    assert [shown[0] for shown in told(result)] == ["target-1", "target-2"]
    assert states(result)["stop"] == "cancelled"


def test_legs_arm_with_each_partial_fill_and_targets_share_it_in_sequence():
    rules = replace(NO_COSTS, participation_e6=50_000)
    result = play(
        [entry(OrderType.LIMIT, 100), *two_targets()], bar(100, 101, 99, 100, volume=1_400), rules=rules
    )
    assert told(result) == [("entry", 70, 100, True)]
    open_e4 = {each.client_order_id: fillable_e4(result.orders, each) for each in result.orders}
    assert open_e4 == {
        "entry": 30 * SHARE,
        "stop": 70 * SHARE,
        "target-1": 50 * SHARE,
        "target-2": 20 * SHARE,
    }


def test_the_first_exit_cancels_what_is_left_of_the_entry():
    rules = replace(NO_COSTS, participation_e6=50_000)
    first = play([entry(), *bracket()], bar(100, 101, 99, 100, volume=800), rules=rules)
    second = play(first.orders, bar(97, 98, 96, 97, volume=100_000), rules=rules)
    assert told(second) == [("stop", 40, 97, True)]
    assert states(second) == {"entry": "cancelled", "stop": "filled", "target-1": "cancelled"}
    assert second.orders[0].reason == "exit_began"


def test_a_market_exit_of_the_group_goes_before_its_limits():
    legs = [*bracket(armed=100), leg("exit", OrderType.MARKET, None, ignores_participation=True, armed=100)]
    result = play(legs, bar(105, 106, 104, 105))
    assert [shown[0] for shown in told(result)] == ["exit"]
    assert states(result) == {"stop": "cancelled", "target-1": "cancelled", "exit": "filled"}


def test_cancelling_the_entry_ends_legs_that_have_nothing_to_protect():
    ended = cancel([entry(), *bracket()], "entry", "cancelled")
    assert [each.state for each in ended] == [OrderState.CANCELLED] * 3
    assert [each.reason for each in ended] == ["cancelled", "entry_ended", "entry_ended"]


def test_cancelling_a_partly_filled_entry_shrinks_the_legs_to_the_position():
    partly = replace(entry(), filled_e4=40 * SHARE, state=OrderState.PARTIALLY_FILLED)
    ended = cancel([partly, *bracket(armed=40)], "entry")
    assert [each.quantity_e4 // SHARE for each in ended] == [100, 40, 40]
    assert cancel(ended, "entry") == ended


def test_settling_cuts_from_the_last_target():
    cut = settle(
        [
            leg("target-1", OrderType.LIMIT, 102, 50, armed=60),
            leg("target-2", OrderType.LIMIT, 104, 50, armed=60),
        ]
    )
    assert [each.quantity_e4 // SHARE for each in cut] == [50, 10]


def test_a_cut_leg_that_has_fills_ends_filled():
    partly = leg(
        "stop", OrderType.STOP, 98, armed=60, filled_e4=40 * SHARE, state=OrderState.PARTIALLY_FILLED
    )
    ended = play(
        [partly, leg("target-1", OrderType.LIMIT, 104, 60, armed=60)], bar(104, 105, 103, 104)
    ).orders[0]
    assert (ended.state, ended.quantity_e4) == (OrderState.FILLED, 40 * SHARE)


# ---------------------------------------------------------------- participation


def test_a_minute_gives_five_percent_of_its_volume_in_whole_lots():
    result = play([entry()], bar(100, 101, 99, 100, volume=1_999), rules=CostRules())
    assert told(result)[0][1] == 99
    assert result.orders[0].state is OrderState.PARTIALLY_FILLED


def test_a_minute_too_thin_for_a_lot_fills_nothing():
    assert told(play([entry()], bar(100, 101, 99, 100, volume=19), rules=CostRules())) == []


def test_a_fractional_lot_takes_what_there_is():
    lots = match_symbol(
        [entry()],
        bar(100, 101, 99, 100, volume=19),
        session=SESSION,
        instrument=replace(XYZ, lot_e4=1),
        rules=CostRules(),
    )
    assert lots.fills[0].quantity_e4 == 9_500


def test_exits_take_the_volume_before_entries():
    out = order("out", Side.SELL, OrderType.STOP, 60, price=101, is_exit=True)
    result = play([entry(), out], bar(100, 101, 99, 100, volume=1_600), rules=CostRules())
    assert [shown[:2] for shown in told(result)] == [("out", 60), ("entry", 20)]


def test_flatten_ignores_participation_and_uses_it_up():
    out = order("out", Side.SELL, OrderType.MARKET, 500, is_exit=True, ignores_participation=True)
    result = play([entry(), out], bar(100, 101, 99, 100, volume=1_000), rules=CostRules())
    assert [shown[:2] for shown in told(result)] == [("out", 500)]


def test_a_triggered_stop_left_over_is_a_market_order_in_the_next_bar():
    rules = replace(NO_COSTS, participation_e6=50_000)
    first = play(bracket(armed=100), bar(100, 101, 97, 98, volume=1_000), rules=rules)
    assert told(first) == [("stop", 50, 98, False)]
    second = play(first.orders, bar(103, 106, 102, 103), rules=rules)
    assert told(second) == [("stop", 50, 103, True)]


def test_a_stop_triggered_in_a_minute_without_volume_is_remembered():
    rules = replace(NO_COSTS, participation_e6=50_000)
    first = play(
        [order("x", Side.SELL, OrderType.STOP, price=98, is_exit=True)],
        bar(100, 101, 97, 99, volume=0),
        rules=rules,
    )
    assert (told(first), first.orders[0].is_triggered) == ([], True)
    assert told(play(first.orders, bar(101, 102, 100.5, 101))) == [("x", 100, 101, True)]


def test_an_entry_without_volume_inside_the_bar_plays_no_exits():
    rules = replace(NO_COSTS, participation_e6=50_000)
    assert (
        told(play([entry(OrderType.LIMIT, 99.5), *bracket()], bar(100, 105, 97, 99, volume=0), rules=rules))
        == []
    )


# ---------------------------------------------------------------- the last bar


def test_open_exits_close_at_the_last_close_less_the_penalty():
    result = play(
        bracket(armed=100),
        bar(100, 101, 99, 100.5),
        rules=CostRules(has_regulatory_fees=False),
        is_last_bar=True,
    )
    fill = only(result)
    assert (fill.client_order_id, fill.price_e4, fill.reference_e4) == ("stop", 999_900, 1_005_000)
    assert (fill.is_forced_close, fill.at_ms) == (True, T0 + 60_000)
    assert states(result) == {"stop": "filled", "target-1": "cancelled"}


def test_what_participation_left_over_is_forced_too():
    out = order("out", Side.SELL, OrderType.MARKET, 100, is_exit=True)
    rules = replace(NO_COSTS, participation_e6=50_000)
    result = play([out], bar(100, 101, 99, 100.5, volume=1_000), rules=rules, is_last_bar=True)
    assert told(result) == [("out", 50, 100, True), ("out", 50, 100.5, False)]


def test_an_entry_expires_with_the_session_and_its_legs_with_it():
    result = play([entry(OrderType.LIMIT, 90), *bracket()], bar(100, 101, 99, 100), is_last_bar=True)
    assert states(result) == {"entry": "expired", "stop": "cancelled", "target-1": "cancelled"}
    assert told(result) == []


def test_an_exit_accepted_during_the_last_bar_still_closes_at_its_end():
    out = order("out", Side.SELL, OrderType.MARKET, at_ms=T0 + 30_000, is_exit=True)
    assert told(play([out], bar(100, 101, 99, 100.5), is_last_bar=True)) == [("out", 100, 100.5, False)]
    late = replace(out, accepted_at_ms=T0 + 60_001)
    assert states(play([late], bar(100, 101, 99, 100.5), is_last_bar=True)) == {"out": "expired"}


def test_a_symbol_without_a_last_bar_closes_at_its_newest_price():
    result = force_close(
        bracket(armed=100), bar(100, 101, 99, 100.5), session=SESSION, instrument=XYZ, rules=NO_COSTS
    )
    fill = only(result)
    assert (fill.price_e4, fill.at_ms, fill.is_forced_close) == (1_005_000, SESSION.close_ms, True)


def test_expiring_leaves_what_is_over():
    over = replace(entry(), state=OrderState.FILLED)
    assert [each.state for each in expire([over, *bracket()])] == ["filled", "expired", "expired"]


def test_an_order_without_its_price_is_named():
    with pytest.raises(ValueError, match="order one is a limit order without its price"):
        play([order("one", Side.BUY, OrderType.LIMIT)], bar(100, 101, 99, 100))
