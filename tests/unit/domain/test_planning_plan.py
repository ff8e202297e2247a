"""A plan: its hash, its trigger, its states, its next version."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import InvalidTransitionError
from finagent.domain.market import Direction
from finagent.domain.plan import is_edited, next_version_id
from finagent.domain.planning import (
    PLAN_MOVES,
    TERMINAL_PLAN_STATES,
    ExitLeg,
    Management,
    NoPlan,
    Plan,
    PlanState,
    Setup,
    armed_trigger_fires,
    can_move,
    next_plan_state,
    plan_hash,
    revise,
    with_size,
)
from tests.unit.domain.plan_builders import SCOPE, at, bar, planned

PLAN = with_size(planned(), 100_0000)
ARMED = replace(PLAN, trigger_e4=100_5000, limit_e4=100_8000, entry_from_ms=at(5), entry_until_ms=at(90))
OTHER = {
    "setup": Setup.VWAP_RECLAIM,
    "direction": Direction.SHORT,
    "targets": (ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=109_0100),),
    "management": Management(time_stop_minutes=61),
    "notes": ("x",),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Plan)])
def test_hash_changes_with_every_field(field):
    current = getattr(PLAN, field)
    if field in OTHER:  # noqa: SIM108  # three cases in one line would hide the middle one
        changed = OTHER[field]
    else:
        changed = f"{current}x" if isinstance(current, str) else (current or 0) + 1
    assert plan_hash(replace(PLAN, **{field: changed})) != plan_hash(PLAN)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_hash_changes_with_the_quantity_and_only_then(left, right):
    assert (plan_hash(with_size(PLAN, left)) == plan_hash(with_size(PLAN, right))) == (left == right)
    assert with_size(PLAN, left).plan_id == PLAN.plan_id


def test_hash_is_the_same_in_every_process():
    """A changed constant here would make open approvals worthless."""
    assert plan_hash(PLAN) == "61789f8bca6e7f5b56395d849c92128f36bbd0950a9f5190acb31ef04ee33e2b"


@pytest.mark.parametrize(
    ("minute", "high_e4", "is_fired"),
    [
        (5, 100_5000, True),
        (5, 100_4999, False),
        (4, 101_0000, False),
        (89, 101_0000, False),
        (88, 101_0000, True),
    ],
)
def test_armed_long_fires_when_a_bar_in_the_window_trades_at_its_trigger(minute, high_e4, is_fired):
    assert armed_trigger_fires(ARMED, bar(minute, 100_0000, high_e4, 99_0000, 100_0000)) is is_fired


def test_bar_that_runs_while_the_plan_is_armed_counts():
    armed = replace(ARMED, entry_from_ms=at(5) + 250)
    assert armed_trigger_fires(armed, bar(5, 100_0000, 100_5000, 99_0000, 100_0000))


@pytest.mark.parametrize(("low_e4", "is_fired"), [(100_5000, True), (100_5001, False)])
def test_armed_short_fires_at_or_below_its_trigger(low_e4, is_fired):
    short = replace(ARMED, direction=Direction.SHORT)
    assert armed_trigger_fires(short, bar(5, 101_0000, 101_0000, low_e4, 101_0000)) is is_fired


def test_plan_without_a_trigger_never_fires():
    assert not armed_trigger_fires(PLAN, bar(5, 100_0000, 200_0000, 1, 100_0000))


@given(st.lists(st.sampled_from(PlanState), max_size=60))
def test_any_history_passes_at_most_one_terminal_state_and_ends_there(wishes):
    state, ends = PlanState.PLANNED, []
    for wish in wishes:
        if can_move(state, wish):
            state = next_plan_state(state, wish)
            ends += [state] if state in TERMINAL_PLAN_STATES else []
        else:
            with pytest.raises(InvalidTransitionError, match=f"from {state} to {wish}"):
                next_plan_state(state, wish)
    assert ends == ([state] if state in TERMINAL_PLAN_STATES else [])


def longest(state: PlanState) -> int:
    return 1 + max((longest(move) for move in PLAN_MOVES[state]), default=0)


def test_every_state_leads_to_a_terminal_one_without_a_cycle():
    assert longest(PlanState.PLANNED) == 7
    for state in PlanState:
        assert (PLAN_MOVES[state] == ()) == (state in TERMINAL_PLAN_STATES)


def test_every_terminal_state_can_be_reached():
    reached = {move for moves in PLAN_MOVES.values() for move in moves}
    assert reached == set(PlanState) - {PlanState.PLANNED}


def test_revised_plan_is_a_new_version_with_less_risk():
    found = revise(PLAN, SCOPE, quantity_e4=50_0000, stop_e4=98_0000)
    assert (found.version, found.quantity_e4, found.stop_e4) == (2, 50_0000, 98_0000)
    assert (found.reference_e4, found.targets) == (PLAN.reference_e4, PLAN.targets)
    assert found.plan_id != PLAN.plan_id
    assert found == replace(PLAN, plan_id=found.plan_id, version=2, quantity_e4=50_0000, stop_e4=98_0000)
    assert revise(PLAN, SCOPE).quantity_e4 == PLAN.quantity_e4


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("quantity_grows", {"quantity_e4": 101_0000}),
        ("quantity_grows", {"quantity_e4": 0}),
        ("quantity_grows", {"quantity_e4": 5_000}),
        ("stop_widens", {"stop_e4": 96_9900}),
        ("stop_widens", {"stop_e4": 100_0000}),
        ("stop_widens", {"stop_e4": 98_0050}),
    ],
)
def test_revision_that_is_more_risk_or_no_order_is_refused(reason, changes):
    found = revise(PLAN, SCOPE, **changes)
    assert isinstance(found, NoPlan)
    assert (found.symbol, found.reason) == ("WMT", reason)


@pytest.mark.parametrize(
    ("quantity_e4", "stop_e4", "is_other"),
    [
        (None, None, False),
        (PLAN.quantity_e4, PLAN.stop_e4, False),
        (PLAN.quantity_e4 - 1_0000, None, True),
        (None, PLAN.stop_e4 + 100, True),
        (PLAN.quantity_e4, PLAN.stop_e4 + 100, True),
    ],
)
def test_edit_is_what_differs_from_the_plan(quantity_e4, stop_e4, is_other):
    assert is_edited(PLAN, quantity_e4=quantity_e4, stop_e4=stop_e4) is is_other


def test_next_version_is_named_before_it_is_made():
    found = revise(PLAN, SCOPE, quantity_e4=50_0000)
    assert next_version_id(PLAN, SCOPE) == found.plan_id
    assert next_version_id(found, SCOPE) not in (PLAN.plan_id, found.plan_id)
