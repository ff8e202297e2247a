"""What the watches of an armed plan, an open position and the day's loss decide at the end of a bar."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.manage import (
    ArmedAction,
    MoveStop,
    OpenState,
    StopMoveReason,
    TimeStop,
    advance,
    armed_action,
    evaluate,
    is_managed,
)
from finagent.domain.market import Bar, Direction
from finagent.domain.plan import Management, Plan
from finagent.domain.setups import Setup

T0 = 1_519_137_000_000
MINUTE = 60_000
LONG = Plan(
    plan_id="pl_1",
    version=1,
    session="2018-02-20",
    scan_tick="scan",
    symbol="XYZ",
    rank=1,
    preset="classic",
    setup=Setup.OPENING_RANGE_BREAK,
    direction=Direction.LONG,
    score_e6=500_000,
    reference_e4=1_000_000,
    stop_e4=980_000,
    targets=(),
    management=Management(
        break_even_after_r_e6=1_000_000,
        trail_after_r_e6=1_500_000,
        trail_distance_e4=15_050,
        time_stop_minutes=30,
    ),
    decided_at_ms=T0,
    entry_from_ms=T0,
    entry_until_ms=T0 + 60 * MINUTE,
    trigger_e4=1_010_000,
    limit_e4=1_012_000,
)
SHORT = replace(LONG, direction=Direction.SHORT, stop_e4=1_020_000, trigger_e4=990_000, limit_e4=988_000)


def bar(high, low, close=None, minute=1):
    prices = [round(price * 10_000) for price in (low, high, low, low if close is None else close)]
    return Bar(T0 + minute * MINUTE, *prices, 1_000)


def state(best, *, entry=100.0, stop=98.0) -> OpenState:
    return OpenState(
        entry_e4=round(entry * 10_000),
        best_e4=round(best * 10_000),
        stop_e4=round(stop * 10_000),
        opened_at_ms=T0,
    )


def test_the_best_price_follows_bars_since_the_entry():
    start = OpenState(entry_e4=1_000_500, best_e4=1_000_500, stop_e4=980_000, opened_at_ms=T0 + MINUTE)
    assert advance(LONG, start, bar(103, 99)).best_e4 == 1_030_000
    assert advance(LONG, start, bar(100, 99)).best_e4 == 1_000_500
    assert advance(LONG, start, bar(103, 99, minute=0)) == start
    assert advance(SHORT, start, bar(103, 99)).best_e4 == 990_000


def test_time_stop_fires_when_half_an_r_was_never_reached():
    after = T0 + 30 * MINUTE
    assert evaluate(LONG, state(100.99), bar(100.5, 100), after) == (TimeStop(),)
    assert evaluate(LONG, state(100.99), bar(100.5, 100), after - 1) == ()
    assert evaluate(LONG, state(101), bar(100.5, 100), after) == ()


def test_without_rules_nothing_happens():
    quiet = replace(LONG, management=Management())
    assert evaluate(quiet, state(120), bar(120, 119), T0 + 10**9) == ()


def test_break_even_moves_the_stop_to_the_entry_on_the_winning_side():
    moved = evaluate(LONG, state(102.01, entry=100.004), bar(102.01, 101), T0)
    assert moved == (MoveStop(new_stop_e4=1_000_100, reason=StopMoveReason.BREAK_EVEN),)
    short = evaluate(SHORT, state(97.99, entry=99.996, stop=102), bar(99, 97.99), T0)
    assert short == (MoveStop(new_stop_e4=999_900, reason=StopMoveReason.BREAK_EVEN),)


def test_trailing_keeps_its_distance_rounded_towards_the_entry():
    moved = evaluate(LONG, state(104), bar(104, 103), T0)
    assert moved == (MoveStop(new_stop_e4=1_024_900, reason=StopMoveReason.TRAILING),)
    short = evaluate(SHORT, state(96, stop=102), bar(97, 96), T0)
    assert short == (MoveStop(new_stop_e4=975_100, reason=StopMoveReason.TRAILING),)


def test_the_closer_of_two_stops_wins():
    wide = replace(LONG, management=replace(LONG.management, trail_distance_e4=50_000))
    assert evaluate(wide, state(104), bar(104, 103), T0)[0].reason is StopMoveReason.BREAK_EVEN


def test_trailing_needs_its_distance():
    unset = replace(LONG, management=Management(trail_after_r_e6=1))
    assert evaluate(unset, state(104), bar(104, 103), T0) == ()


def test_a_stop_never_moves_away_and_waits_behind_the_price():
    assert evaluate(LONG, state(104, stop=102.49), bar(104, 103), T0) == ()
    assert evaluate(LONG, state(102), bar(102, 99, close=100), T0) == ()


@given(
    st.sampled_from([LONG, SHORT]),
    st.integers(9_000, 11_000),
    st.integers(0, 1_000),
    st.integers(9_000, 11_000),
    st.integers(9_000, 11_000),
)
def test_a_moved_stop_lies_on_the_grid_between_the_old_one_and_the_price(plan, entry, gain, stop, close):
    sign = plan.direction.sign
    now = OpenState(
        entry_e4=entry * 100 + 37, best_e4=(entry + sign * gain) * 100, stop_e4=stop * 100, opened_at_ms=T0
    )
    for move in evaluate(plan, now, Bar(T0, close * 100, close * 100, close * 100, close * 100, 1), T0):
        assert move.new_stop_e4 % 100 == 0
        assert sign * stop * 100 < sign * move.new_stop_e4 < sign * close * 100


def test_an_armed_plan_triggers_on_a_touch_inside_its_window_and_expires_behind_it():
    touched = bar(101, 100)
    assert armed_action(LONG, touched, touched.end_ms) is ArmedAction.TRIGGER
    assert armed_action(LONG, bar(100.99, 100), touched.end_ms) is None
    assert armed_action(LONG, None, touched.end_ms) is None
    assert armed_action(SHORT, bar(100, 99), touched.end_ms) is ArmedAction.TRIGGER
    assert armed_action(LONG, touched, LONG.entry_until_ms) is ArmedAction.EXPIRE


@given(
    st.builds(
        Management,
        break_even_after_r_e6=st.none() | st.integers(0, 1),
        trail_after_r_e6=st.none() | st.integers(0, 1),
        trail_distance_e4=st.none() | st.integers(1, 50_000),
        time_stop_minutes=st.none() | st.integers(1, 3),
    ),
    st.integers(90, 120),
    st.integers(0, 4),
)
def test_nothing_is_ever_done_with_a_position_that_no_rule_manages(rules, best, minute):
    plan = replace(LONG, management=rules)
    found = evaluate(plan, state(best), bar(best, 90, 119, minute), T0 + (minute + 1) * MINUTE)
    assert is_managed(plan) or found == ()
    assert is_managed(LONG)
