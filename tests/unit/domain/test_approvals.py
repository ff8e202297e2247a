"""Approvals: once, for exactly the plan shown, in time, at a price that still holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.approvals import (
    Accepted,
    Answer,
    ApprovalState,
    RefusedAnswer,
    Verdict,
    approval_nonce,
    is_fresh_plan_due,
    is_stale,
    judge,
    make_request,
    price_refusal,
    seal_refusal,
)
from finagent.domain.market import Direction
from finagent.domain.orders import Scope
from finagent.domain.planning import ExitLeg, Management, Plan, Setup, plan_hash, with_size

SCOPE = Scope()
PLAN = Plan(
    plan_id="pl_1",
    version=2,
    session="2018-02-20",
    scan_tick="09:31",
    symbol="WMT",
    rank=1,
    preset="structure",
    setup=Setup.PREMARKET_BREAK,
    direction=Direction.LONG,
    score_e6=500_000,
    reference_e4=100_0000,
    stop_e4=98_0000,
    targets=(
        ExitLeg(leg="target-1", share_e6=500_000, price_e4=102_0000),
        ExitLeg(leg="target-2", share_e6=500_000, price_e4=104_0000),
    ),
    management=Management(),
    decided_at_ms=1_000,
    entry_from_ms=1_000,
    entry_until_ms=5_400_000,
    quantity_e4=10_0000,
)
SHORT = replace(
    PLAN,
    direction=Direction.SHORT,
    stop_e4=102_0000,
    targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=98_0000),),
)
REQUEST = make_request(PLAN, SCOPE, now_ms=1_000, ttl_ms=600_000)
ANSWER = Answer(
    verdict=Verdict.APPROVE,
    channel="cli",
    identity="local",
    at_ms=2_000,
    plan_hash=REQUEST.plan_hash,
    nonce=REQUEST.nonce,
)


def judged(answer: Answer = ANSWER, state: ApprovalState = ApprovalState.PENDING, **changes: object):
    context = {"now_ms": 2_000, "plan": PLAN, "price_e4": 100_0000, "price_at_ms": 2_000, **changes}
    return judge(REQUEST, state, answer, **context)


def test_request_carries_the_hash_of_the_sized_plan_and_ends_with_its_window():
    assert REQUEST.plan_hash == plan_hash(PLAN)
    assert REQUEST.expires_at_ms == 601_000
    assert make_request(PLAN, SCOPE, now_ms=5_000_000, ttl_ms=600_000).expires_at_ms == 5_400_000


def test_nonce_is_stable_and_belongs_to_one_body_in_one_database():
    assert make_request(PLAN, SCOPE, now_ms=1_000, ttl_ms=600_000) == REQUEST
    other = make_request(with_size(PLAN, 9_0000), SCOPE, now_ms=1_000, ttl_ms=600_000)
    foreign = make_request(PLAN, Scope(generation="other"), now_ms=1_000, ttl_ms=600_000)
    assert len({REQUEST.nonce, other.nonce, foreign.nonce}) == 3
    assert approval_nonce(SCOPE, plan_id="pl_1", plan_hash=REQUEST.plan_hash) == REQUEST.nonce


def test_approval_in_time_at_a_good_price_counts():
    assert judged() == Accepted(
        plan_id="pl_1",
        version=2,
        plan_hash=REQUEST.plan_hash,
        state=ApprovalState.APPROVED,
        channel="cli",
        identity="local",
        at_ms=2_000,
    )


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("expired", {"now_ms": 601_000}),
        ("hash_mismatch", {"answer": replace(ANSWER, plan_hash="0" * 64)}),
        ("hash_mismatch", {"plan": with_size(PLAN, 20_0000)}),
        ("nonce_mismatch", {"answer": replace(ANSWER, nonce="0" * 32)}),
        ("stale_quote", {"price_e4": None}),
        ("stale_quote", {"price_at_ms": None}),
        ("stale_quote", {"now_ms": 302_001}),
        ("past_stop", {"price_e4": 98_0000}),
        ("past_target", {"price_e4": 102_0000}),
        ("price_moved", {"price_e4": 100_5001}),
    ],
)
def test_each_refusal_has_its_reason(reason, changes):
    found = judged(**changes)
    assert isinstance(found, RefusedAnswer)
    assert (found.plan_id, found.reason) == ("pl_1", reason)
    assert found.detail


@pytest.mark.parametrize(
    ("now_ms", "price_at_ms", "is_old"),
    [
        (61_000, 1_000, False),
        (61_001, 1_000, True),
        (61_000, None, True),
        (100_000, 0, False),
        (101_000, 1, True),
    ],
)
def test_price_is_stale_behind_its_age_which_may_be_more_before_the_window(now_ms, price_at_ms, is_old):
    """Decided at 1 s, to enter from 101 s on: until then 100 s more."""
    plan = PLAN if price_at_ms == 1_000 else replace(PLAN, entry_from_ms=101_000)
    assert is_stale(plan, price_at_ms, now_ms=now_ms, max_price_age_ms=60_000) is is_old


@pytest.mark.parametrize("changes", [{"price_e4": 100_5000}, {"price_e4": 98_0001}, {"now_ms": 302_000}])
def test_values_at_their_limits_count(changes):
    assert isinstance(judged(**changes), Accepted)


@pytest.mark.parametrize(
    ("price_e4", "reason"),
    [
        (102_0000, "past_stop"),
        (98_0000, "past_target"),
        (99_4999, "price_moved"),
        (99_5000, None),
        (101_9999, None),
    ],
)
def test_short_is_judged_the_other_way_round(price_e4, reason):
    refusal = price_refusal(SHORT, price_e4)
    assert (refusal and refusal[0]) == reason


def test_rejection_needs_no_price():
    found = judged(replace(ANSWER, verdict=Verdict.REJECT), price_e4=None, price_at_ms=None)
    assert isinstance(found, Accepted)
    assert found.state is ApprovalState.REJECTED


@given(st.lists(st.tuples(st.sampled_from(Verdict), st.integers(1_000, 700_000)), max_size=8))
def test_request_leaves_pending_once_whatever_is_answered(answers):
    state, accepted = ApprovalState.PENDING, []
    for verdict, now_ms in answers:
        found = judged(replace(ANSWER, verdict=verdict), state, now_ms=now_ms, price_at_ms=now_ms)
        if isinstance(found, Accepted):
            accepted.append(found)
            state = found.state
        else:
            assert found.reason in ("already_answered", "expired")
    assert len(accepted) <= 1
    assert (state is ApprovalState.PENDING) == (not accepted)


def test_only_a_price_that_does_not_hold_brings_a_fresh_plan():
    reasons = ("price_moved", "past_stop", "past_target", "stale_quote")
    assert all(is_fresh_plan_due(reason) for reason in reasons)
    assert not any(is_fresh_plan_due(reason) for reason in ("already_answered", "expired", "hash_mismatch"))


def test_only_the_body_that_was_sealed_and_said_yes_to_may_enter():
    sealed = plan_hash(PLAN)
    assert seal_refusal(PLAN, sealed, None) is None
    assert seal_refusal(PLAN, sealed, ("approved", sealed)) is None
    assert seal_refusal(with_size(PLAN, 11_0000), sealed, None) == "plan_changed"
    assert seal_refusal(PLAN, sealed, ("approved", "0" * 64)) == "not_approved"
    for state in ("pending", "rejected", "expired", "superseded"):
        assert seal_refusal(PLAN, sealed, (state, sealed)) == "not_approved"
