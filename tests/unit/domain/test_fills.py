"""The fill model, rule by rule: who takes part, at which price, and what one bar does to a bracket."""

from dataclasses import replace

import pytest

from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OrderType
from tests.unit.domain.fills_builders import (
    OPEN_MS,
    T0,
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

# ---------------------------------------------------------------- when an order takes part


def test_order_fills_from_the_first_bar_that_starts_at_its_acceptance_or_later():
    assert told(play([entry(at_ms=T0)], bar(100, 101, 99, 100))) == [("entry", 100, 100, True)]
    assert told(play([entry(at_ms=T0 + 1)], bar(100, 101, 99, 100))) == []


def test_fill_at_the_open_carries_the_bars_start_and_any_other_its_end():
    assert only(play([entry()], bar(100, 101, 99, 100))).at_ms == T0
    assert only(play([entry(OrderType.LIMIT, 99.5)], bar(100, 101, 99, 100))).at_ms == T0 + 60_000


def test_terminal_orders_never_fill():
    assert told(play([replace(entry(), state=OrderState.CANCELLED)], bar(100, 101, 99, 100))) == []


# ---------------------------------------------------------------- prices


def test_market_order_fills_at_the_open_with_slippage():
    fill = only(play([entry()], bar(100, 101, 99, 100), rules=CostRules()))
    assert (fill.price_e4, fill.reference_e4, fill.fees_e8) == (1_000_500, 1_000_000, 0)


def test_slippage_is_tripled_in_the_first_five_minutes():
    first = bar(100, 101, 99, 100, start_ms=OPEN_MS)
    assert only(play([entry(at_ms=OPEN_MS)], first, rules=CostRules())).price_e4 == 1_001_500


def test_a_quoted_spread_sets_the_slippage():
    assert (
        only(play([entry()], bar(100, 101, 99, 100), rules=CostRules(), spread_e4=400)).price_e4 == 1_000_200
    )


@pytest.mark.parametrize(
    ("side", "kind", "price", "a_bar", "expected"),
    [
        (Side.BUY, OrderType.LIMIT, 99, (100, 101, 98.5, 100), 99),
        (Side.BUY, OrderType.LIMIT, 99, (98, 99, 97, 98), 98),
        (Side.BUY, OrderType.LIMIT, 99, (100, 101, 99.01, 100), None),
        (Side.SELL, OrderType.LIMIT, 101, (100, 101, 99, 100), 101),
        (Side.SELL, OrderType.LIMIT, 101, (102, 103, 101, 102), 102),
        (Side.BUY, OrderType.STOP, 101, (100, 101.5, 99, 100), 101),
        (Side.BUY, OrderType.STOP, 101, (103, 104, 102, 103), 103),
        (Side.BUY, OrderType.STOP, 101, (100, 100.99, 99, 100), None),
        (Side.SELL, OrderType.STOP, 99, (100, 101, 98, 100), 99),
        (Side.SELL, OrderType.STOP, 99, (95, 96, 94, 95), 95),
    ],
)
def test_limits_fill_at_their_price_or_a_better_open_and_stops_at_theirs_or_a_worse(
    side, kind, price, a_bar, expected
):
    result = play([order("one", side, kind, price=price)], bar(*a_bar))
    assert [shown[2] for shown in told(result)] == ([] if expected is None else [expected])


def test_limits_pay_no_slippage_and_stops_do():
    rules = CostRules(has_regulatory_fees=False)
    limit = only(play([entry(OrderType.LIMIT, 99)], bar(100, 101, 98, 100), rules=rules))
    stop = only(
        play(
            [order("x", Side.SELL, OrderType.STOP, price=99, is_exit=True)],
            bar(100, 101, 98, 100),
            rules=rules,
        )
    )
    assert (limit.price_e4, stop.price_e4, stop.reference_e4) == (990_000, 989_500, 990_000)


def test_sales_carry_their_fees():
    fill = only(
        play(
            [order("x", Side.SELL, OrderType.MARKET, is_exit=True)], bar(100, 101, 99, 100), rules=CostRules()
        )
    )
    assert fill.fees_e8 == 24_000_000 + 2_000_000


# ---------------------------------------------------------------- brackets


def test_stop_and_target_in_one_bar_stop_first_and_both_bounds_are_told():
    fill = only(play(bracket(armed=100), bar(100, 105, 97, 100)))
    assert (fill.client_order_id, fill.price_e4) == ("stop", 980_000)
    assert (fill.is_ambiguous, fill.best_e4, fill.worst_e4) == (True, 1_040_000, 980_000)


@pytest.mark.parametrize("ambiguity", [Ambiguity.TARGET_FIRST, Ambiguity.PATH])
def test_stop_and_target_in_one_bar_of_a_long_when_the_high_comes_first(ambiguity):
    fill = only(play(bracket(armed=100), bar(100, 105, 97, 100), ambiguity=ambiguity))
    assert (fill.client_order_id, fill.price_e4, fill.is_ambiguous) == ("target-1", 1_040_000, True)


def test_path_reaches_the_stop_of_a_short_first():
    legs = [
        leg("stop", OrderType.STOP, 102, side=Side.BUY, armed=100),
        leg("target-1", OrderType.LIMIT, 96, side=Side.BUY, armed=100),
    ]
    fill = only(play(legs, bar(100, 103, 95, 100), ambiguity=Ambiguity.PATH))
    assert (fill.client_order_id, fill.best_e4, fill.worst_e4) == ("stop", 960_000, 1_020_000)


def test_gap_through_the_stop_fills_at_the_open_and_cancels_the_target():
    result = play(bracket(armed=100), bar(95, 105, 94, 100))
    assert told(result) == [("stop", 100, 95, True)]
    assert states(result) == {"stop": "filled", "target-1": "cancelled"}
    assert result.orders[1].reason == "oco"
    assert not result.fills[0].is_ambiguous


def test_gap_through_the_target_fills_at_the_open():
    assert told(play(bracket(armed=100), bar(106, 107, 97, 100))) == [("target-1", 100, 106, True)]


def test_legs_do_nothing_before_their_entry():
    assert told(play([entry(OrderType.LIMIT, 90), *bracket()], bar(100, 105, 97, 100))) == []


def test_entry_bar_is_checked_for_the_stop_after_an_entry_at_the_open():
    result = play([entry(), *bracket()], bar(100, 101, 97, 100))
    assert told(result) == [("entry", 100, 100, True), ("stop", 100, 98, False)]
    assert states(result) == {"entry": "filled", "stop": "filled", "target-1": "cancelled"}


def test_entry_bar_is_checked_for_the_target_after_an_entry_at_the_open():
    assert told(play([entry(), *bracket()], bar(100, 105, 99, 100)))[1] == ("target-1", 100, 104, False)


def test_entry_at_an_open_beyond_its_stop_leaves_at_the_same_open():
    assert told(play([entry(), *bracket()], bar(97, 105, 96, 100))) == [
        ("entry", 100, 97, True),
        ("stop", 100, 97, True),
    ]


def test_entry_bar_with_both_levels_is_ambiguous():
    assert play([entry(), *bracket()], bar(100, 105, 97, 100)).fills[1].is_ambiguous


# ---------------------------------------------------------------- entries inside the bar


def test_limit_entry_inside_the_bar_surely_meets_its_stop_behind_it():
    result = play([entry(OrderType.LIMIT, 99.5), *bracket()], bar(100, 101, 97, 99))
    assert told(result) == [("entry", 100, 99.5, False), ("stop", 100, 98, False)]
    assert not any(fill.is_ambiguous for fill in result.fills)


def test_limit_entry_inside_the_bar_does_not_take_a_target_that_may_have_come_before_it():
    result = play([entry(OrderType.LIMIT, 99.5), *bracket()], bar(100, 105, 99, 100))
    fill = only(result)
    assert fill.client_order_id == "entry"
    assert (fill.is_ambiguous, fill.best_e4, fill.worst_e4) == (True, 1_040_000, 1_000_000)


def test_limit_entry_inside_the_bar_takes_a_target_that_the_close_proves():
    result = play([entry(OrderType.LIMIT, 99.5), *bracket()], bar(100, 105, 99, 104.5))
    assert told(result)[1] == ("target-1", 100, 104, False)
    assert not result.fills[1].is_ambiguous


def test_target_first_takes_a_target_that_may_have_come_after_the_entry():
    result = play(
        [entry(OrderType.LIMIT, 99.5), *bracket()], bar(100, 105, 99, 100), ambiguity=Ambiguity.TARGET_FIRST
    )
    assert told(result)[1][0] == "target-1"
    assert result.fills[1].is_ambiguous


def test_stop_entry_inside_the_bar_surely_meets_its_target_behind_it():
    result = play([entry(OrderType.STOP, 101), *bracket()], bar(100, 105, 99, 102))
    assert told(result) == [("entry", 100, 101, False), ("target-1", 100, 104, False)]
    assert not result.fills[1].is_ambiguous


def test_stop_entry_inside_the_bar_takes_a_stop_that_may_have_come_before_it():
    fill = play([entry(OrderType.STOP, 101), *bracket()], bar(100, 102, 97, 101)).fills[1]
    assert (fill.client_order_id, fill.is_ambiguous) == ("stop", True)
    assert (fill.best_e4, fill.worst_e4) == (1_010_000, 980_000)


def test_stop_entry_whose_close_lies_beyond_the_stop_is_no_doubt():
    fill = play([entry(OrderType.STOP, 101), *bracket()], bar(100, 102, 97, 97.5)).fills[1]
    assert (fill.client_order_id, fill.is_ambiguous) == ("stop", False)


def test_stop_entry_with_both_levels_stops_first():
    fill = play([entry(OrderType.STOP, 101), *bracket()], bar(100, 105, 97, 101)).fills[1]
    assert (fill.client_order_id, fill.best_e4, fill.worst_e4) == ("stop", 1_040_000, 980_000)


@pytest.mark.parametrize(
    ("kind", "price", "a_bar", "expected"),
    [
        (OrderType.STOP, 101, (100, 105, 97, 101), "target-1"),  # open, entry, target, then the low
        (OrderType.LIMIT, 99.5, (100, 105, 97, 101), "stop"),  # high, entry, then the low
        (OrderType.LIMIT, 99.5, (100, 105, 99, 104.5), "target-1"),  # high, entry, low, then the close
        (OrderType.LIMIT, 99.5, (100, 105, 99, 101), None),  # the high came before the entry
    ],
)
def test_path_plays_only_what_follows_the_entry(kind, price, a_bar, expected):
    result = play([entry(kind, price), *bracket()], bar(*a_bar), ambiguity=Ambiguity.PATH)
    assert [shown[0] for shown in told(result)[1:]] == ([] if expected is None else [expected])


def test_path_of_a_short_entered_by_a_limit_meets_its_stop_first():
    legs = [
        leg("stop", OrderType.STOP, 102, side=Side.BUY),
        leg("target-1", OrderType.LIMIT, 96, side=Side.BUY),
    ]
    short = entry(OrderType.LIMIT, 100.5, side=Side.SELL)
    assert told(play([short, *legs], bar(100, 103, 95, 97), ambiguity=Ambiguity.PATH))[1][0] == "stop"
