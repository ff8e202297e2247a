"""A bar with the minutes inside it: they tell whether stop or target came first, and where the price was then."""

import pytest

from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.market import MINUTE_MS, Bar, Side
from finagent.domain.orders import OrderType
from tests.unit.domain.fills_builders import T0, bar, bracket, entry, leg, only, play, states, told

DAY = bar(100, 105, 97, 100)
"""Reaches the stop at 98 and the target at 104."""


def minutes(*rows: tuple[float, float, float]) -> list[Bar]:
    """Open, high and low of the minutes after the bar's first one."""
    return [
        bar(open_, high, low, open_, start_ms=T0 + number * MINUTE_MS)
        for number, (open_, high, low) in enumerate(((100, 100, 100), *rows))
    ]


@pytest.mark.parametrize(
    ("inside", "leg_id", "price", "minute"),
    [
        (((99, 99, 97), (103, 105, 103)), "stop", 98, 1),
        (((103, 105, 103), (99, 99, 97)), "target-1", 104, 1),
        (((99, 101, 99), (97.5, 99, 97), (103, 105, 103)), "stop", 97.5, 2),
        (((99, 101, 99), (104.5, 105, 103), (99, 99, 97)), "target-1", 104.5, 2),
        (((97.5, 105, 97),), "stop", 97.5, 1),
        (((104.5, 105, 97),), "target-1", 104.5, 1),
        (((98, 105, 97),), "stop", 98, 1),
        (((104, 105, 97),), "target-1", 104, 1),
    ],
    ids=[
        "stop", "target", "opens beyond the stop", "opens beyond the target", "opens beyond the stop, then the target",
        "opens beyond the target, then the stop", "opens at the stop", "opens at the target",
    ],
)  # fmt: skip
def test_the_minute_that_comes_to_a_level_first_decides(inside, leg_id, price, minute):
    result = play(bracket(armed=100), DAY, ambiguity=Ambiguity.MINUTES, inside=minutes(*inside))
    fill = only(result)
    assert told(result) == [(leg_id, 100, price, False)]
    assert (fill.is_ambiguous, fill.best_e4, fill.worst_e4) == (False, None, None)
    assert fill.drilled_ms == T0 + minute * MINUTE_MS
    assert fill.at_ms == DAY.end_ms
    assert sorted(states(result).values()) == ["cancelled", "filled"]


@pytest.mark.parametrize(
    "inside",
    [
        (),
        minutes((99, 105, 97)),
        minutes((99, 101, 97), (99, 103.9, 99)),
        minutes((99, 105, 99), (99, 101, 98.1)),
    ],
    ids=["none", "both in one minute", "no minute at the target", "no minute at the stop"],
)
def test_what_the_minutes_do_not_tell_is_stop_first_and_counted(inside):
    fill = only(play(bracket(armed=100), DAY, ambiguity=Ambiguity.MINUTES, inside=inside))
    assert (fill.client_order_id, fill.price_e4, fill.drilled_ms) == ("stop", 980_000, None)
    assert (fill.is_ambiguous, fill.best_e4, fill.worst_e4) == (True, 1_040_000, 980_000)


def test_a_short_mirrors_it():
    legs = [
        leg("stop", OrderType.STOP, 102, side=Side.BUY, armed=100),
        leg("target-1", OrderType.LIMIT, 96, side=Side.BUY, armed=100),
    ]
    inside = minutes((97, 97, 95.5), (101, 103, 101))
    fill = only(play(legs, bar(100, 103, 95.5, 100), inside=inside))
    assert (fill.client_order_id, fill.price_e4) == ("target-1", 960_000)
    inside = minutes((102.5, 103, 101), (97, 97, 95.5))
    fill = only(play(legs, bar(100, 103, 95.5, 100), inside=inside))
    assert (fill.client_order_id, fill.price_e4) == ("stop", 1_025_000)


def test_minutes_are_asked_for_nothing_else():
    """A bar that touched one level alone fills at that level, wherever its minutes open."""
    inside = minutes((97, 99, 97))
    fill = only(play(bracket(armed=100), bar(100, 103, 97, 100), inside=inside))
    assert (fill.price_e4, fill.drilled_ms) == (980_000, None)


def test_slippage_and_volume_are_those_of_the_bar():
    """The stop's minute opens at 97.50: less 10 bps 97.4025, down to 97.40; 5 % of the bar's 1,000 shares are 50."""
    rules = CostRules(slippage_e6=1_000, has_regulatory_fees=False)
    inside = minutes((97.5, 98, 97), (103, 105, 103))
    result = play(bracket(armed=100), bar(100, 105, 97, 100, volume=1_000), rules=rules, inside=inside)
    assert told(result) == [("stop", 50, 97.4, False)]
    assert result.orders[0].is_triggered


def test_an_entry_at_the_open_of_the_bar_is_left_by_its_minutes():
    result = play([entry(), *bracket()], DAY, inside=minutes((103, 105, 103), (99, 99, 97)))
    assert told(result) == [("entry", 100, 100, True), ("target-1", 100, 104, False)]
    assert [fill.drilled_ms for fill in result.fills] == [None, T0 + MINUTE_MS]


def test_an_entry_inside_the_bar_is_not_drilled():
    """When it was reached no minute is asked: the stop behind it is sure, as without any."""
    orders = [entry(OrderType.LIMIT, 99), *bracket()]
    result = play(orders, DAY, inside=minutes((103, 105, 103), (99, 99, 97)))
    assert [fill.drilled_ms for fill in result.fills] == [None, None]


def targets(stop: float = 98) -> list:
    """Half at 104, the rest at 106."""
    return [
        leg("stop", OrderType.STOP, stop, 100, armed=100),
        leg("target-1", OrderType.LIMIT, 104, 50, armed=100),
        leg("target-2", OrderType.LIMIT, 106, 50, armed=100),
    ]


def test_of_several_targets_each_has_its_minute():
    inside = minutes((103, 104, 103), (99, 99, 97), (105, 107, 105))
    result = play(targets(), bar(100, 107, 97, 100), inside=inside)
    assert told(result) == [("target-1", 50, 104, False), ("stop", 50, 98, False)]
    assert [fill.drilled_ms for fill in result.fills] == [T0 + MINUTE_MS, T0 + 2 * MINUTE_MS]


def test_a_minute_may_open_beyond_one_target_and_end_at_the_other():
    result = play(targets(), bar(100, 107, 97, 100), inside=minutes((104.5, 107, 104), (99, 99, 97)))
    assert told(result) == [("target-1", 50, 104.5, False), ("target-2", 50, 106, False)]


def test_after_a_target_one_minute_with_both_is_doubtful_for_the_rest():
    inside = minutes((103, 104, 103), (105, 107, 97))
    result = play(targets(), bar(100, 107, 97, 100), inside=inside)
    assert told(result) == [("target-1", 50, 104, False), ("stop", 50, 98, False)]
    rest = result.fills[1]
    assert (rest.is_ambiguous, rest.best_e4, rest.worst_e4, rest.drilled_ms) == (
        True,
        1_060_000,
        980_000,
        None,
    )
