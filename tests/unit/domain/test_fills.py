"""The fill model, rule by rule: long at 100, stop 98, target 104 unless a test says otherwise."""

from dataclasses import replace

import pytest

from finagent.domain.costs import NO_COSTS, CostRules
from finagent.domain.fills import Ambiguity, MatchResult, ModelFill, force_close, match_symbol
from finagent.domain.market import Bar, Instrument, Session, Side
from finagent.domain.orders import OrderState, OrderType
from finagent.domain.working_orders import WorkingOrder, cancel, expire, fillable_e4, settle

SHARE = 10_000
OPEN_MS = 1_519_137_000_000
SESSION = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * 60_000, previous="2018-02-16")
T0 = OPEN_MS + 30 * 60_000
XYZ = Instrument(symbol="XYZ")


def bar(open_, high, low, close, volume=1_000_000, start_ms=T0) -> Bar:
    prices = [round(price * 10_000) for price in (open_, high, low, close)]
    return Bar(start_ms, *prices, volume)


def order(order_id, side, kind, shares=100, *, at_ms=T0, price=None, **more) -> WorkingOrder:
    price_e4 = None if price is None else round(price * 10_000)
    return WorkingOrder(
        client_order_id=order_id,
        symbol="XYZ",
        side=side,
        type=kind,
        quantity_e4=shares * SHARE,
        accepted_at_ms=at_ms,
        limit_e4=price_e4 if kind is OrderType.LIMIT else None,
        stop_e4=price_e4 if kind is OrderType.STOP else None,
        sequence=more.pop("sequence", {"entry": 1, "stop": 2, "target-1": 3, "target-2": 4}.get(order_id, 9)),
        **more,
    )


def entry(kind=OrderType.MARKET, price=None, shares=100, side=Side.BUY, **more) -> WorkingOrder:
    return order("entry", side, kind, shares, price=price, **more)


def leg(order_id, kind, price, shares=100, *, side=Side.SELL, armed=0, **more) -> WorkingOrder:
    return order(
        order_id,
        side,
        kind,
        shares,
        price=price,
        parent_id="entry",
        is_exit=True,
        armed_e4=armed * SHARE,
        **more,
    )


def bracket(armed=0, shares=100, stop=98, target=104) -> list[WorkingOrder]:
    return [
        leg("stop", OrderType.STOP, stop, shares, armed=armed),
        leg("target-1", OrderType.LIMIT, target, shares, armed=armed),
    ]


def play(orders, a_bar, *, rules=NO_COSTS, **more) -> MatchResult:
    return match_symbol(orders, a_bar, session=SESSION, instrument=XYZ, rules=rules, **more)


def told(result: MatchResult) -> list[tuple[str, float, float, bool]]:
    """Each fill as (order, shares, price, at the open)."""
    return [
        (fill.client_order_id, fill.quantity_e4 / SHARE, fill.price_e4 / 10_000, fill.at_ms == T0)
        for fill in result.fills
    ]


def states(result: MatchResult) -> dict[str, str]:
    return {each.client_order_id: each.state.value for each in result.orders}


def only(result: MatchResult) -> ModelFill:
    assert len(result.fills) == 1
    return result.fills[0]


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
