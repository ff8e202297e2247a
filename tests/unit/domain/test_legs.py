"""The orders of a plan's legs: sides, parents, whole lots that add up, ids per generation."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.domain.legs import (
    ENTRY,
    EXIT,
    STOP,
    entry_intents,
    entry_side,
    exit_intent,
    exit_side,
    order_id,
    stop_intent,
    target_parts,
)
from finagent.domain.market import Direction, Side
from finagent.domain.orders import OrderType, TimeInForce, body_hash
from finagent.domain.plan import AUCTION_NOTE, ExitLeg, Plan
from tests.unit.domain.plan_builders import SCOPE, candidate, planned

SHARE = 10_000


def made(**changes: object) -> Plan:
    """A long plan at 100 with a stop at 97 and one target."""
    plan = planned()
    assert isinstance(plan, Plan)
    return replace(plan, quantity_e4=100 * SHARE, **changes)  # type: ignore[arg-type]


def short() -> Plan:
    plan = planned(of=candidate(Direction.SHORT))
    assert isinstance(plan, Plan)
    return plan


TWO = (
    ExitLeg(leg="target-1", share_e6=500_000, price_e4=1_030_000),
    ExitLeg(leg="target-2", share_e6=500_000, price_e4=1_060_000),
)


def test_sides_follow_the_direction() -> None:
    assert (entry_side(made()), exit_side(made())) == (Side.BUY, Side.SELL)
    assert (entry_side(short()), exit_side(short())) == (Side.SELL, Side.BUY)


def test_entry_comes_first_and_carries_its_stop_and_targets() -> None:
    plan = made(targets=TWO)
    entry, stop, first, second = entry_intents(
        plan, 100 * SHARE, scope=SCOPE, now_ms=5, time_to_live_ms=60_000
    )
    assert (entry.leg, entry.type, entry.parent_id, entry.time_to_live_ms) == (
        ENTRY,
        OrderType.MARKET,
        None,
        60_000,
    )
    assert (stop.leg, stop.stop_e4, stop.quantity_e4) == (STOP, plan.stop_e4, 100 * SHARE)
    assert [(t.leg, t.limit_e4, t.quantity_e4) for t in (first, second)] == [
        ("target-1", 1_030_000, 50 * SHARE),
        ("target-2", 1_060_000, 50 * SHARE),
    ]
    assert {leg.parent_id for leg in (stop, first, second)} == {entry.client_order_id}
    assert {leg.side for leg in (stop, first, second)} == {Side.SELL}


def test_entry_with_a_limit_is_a_limit_order() -> None:
    entry = entry_intents(made(limit_e4=1_001_000), SHARE, scope=SCOPE, now_ms=5, time_to_live_ms=1)[0]
    assert (entry.type, entry.limit_e4) == (OrderType.LIMIT, 1_001_000)


def test_share_without_a_whole_lot_is_left_out_and_the_last_takes_the_rest() -> None:
    assert target_parts(made(targets=TWO), SHARE) == [("target-2", 1_060_000, SHARE)]
    assert target_parts(made(targets=TWO), 3 * SHARE) == [
        ("target-1", 1_030_000, SHARE),
        ("target-2", 1_060_000, 2 * SHARE),
    ]


@settings(deadline=None)
@given(
    quantity=st.integers(1, 10**9),
    lot=st.sampled_from([1, SHARE]),
    shares=st.lists(st.integers(1, 1_000_000), min_size=1, max_size=5),
)
def test_targets_are_whole_lots_and_add_up_to_the_whole(quantity: int, lot: int, shares: list[int]) -> None:
    quantity_e4 = max(lot, quantity // lot * lot)
    legs = tuple(
        ExitLeg(leg=f"target-{n}", share_e6=share, price_e4=1_000_000 + n)
        for n, share in enumerate(shares, 1)
    )
    parts = [part for _, _, part in target_parts(made(targets=legs, lot_e4=lot), quantity_e4)]
    assert sum(parts) == quantity_e4
    assert all(part > 0 and part % lot == 0 for part in parts)


def test_stop_of_another_generation_has_another_id() -> None:
    plan = made()
    first, second = (
        stop_intent(plan, SHARE, 980_000, generation=n, parent_id="p", scope=SCOPE, now_ms=1) for n in (1, 2)
    )
    assert first.client_order_id == order_id(plan, STOP, 1, SCOPE)
    assert first.client_order_id != second.client_order_id
    assert (second.type, second.stop_e4, second.parent_id) == (OrderType.STOP, 980_000, "p")


def test_exit_is_a_market_order_of_its_own_that_ignores_participation() -> None:
    intent = exit_intent(short(), SHARE, generation=3, reason="time", scope=SCOPE, now_ms=9)
    assert (intent.leg, intent.type, intent.side, intent.generation) == (EXIT, OrderType.MARKET, Side.BUY, 3)
    assert (intent.parent_id, intent.ignores_participation, intent.reason) == (None, True, "time")


def test_body_is_the_same_whenever_it_is_written() -> None:
    """A retry sends the bytes that were approved: time is no part of the body."""
    bodies = {
        body_hash(intents[0], intents[1:])
        for now_ms in (1, 2)
        for intents in [entry_intents(made(), SHARE, scope=SCOPE, now_ms=now_ms, time_to_live_ms=1)]
    }
    assert len(bodies) == 1


def test_entry_alone_leaves_without_its_exits() -> None:
    (entry,) = entry_intents(
        made(targets=TWO), 100 * SHARE, scope=SCOPE, now_ms=5, time_to_live_ms=60_000, is_alone=True
    )
    assert (entry.leg, entry.parent_id) == (ENTRY, None)


def test_limit_that_risk_asks_for_takes_the_place_of_the_plans() -> None:
    plan = made()
    entry, stop, *_ = entry_intents(plan, SHARE, scope=SCOPE, now_ms=1, time_to_live_ms=1, limit_e4=101_0000)
    assert (entry.type, entry.limit_e4) == (OrderType.LIMIT, 101_0000)
    assert stop.stop_e4 == plan.stop_e4


def test_entry_of_the_auction_works_in_the_auction_alone() -> None:
    made_before_the_open = made(notes=(AUCTION_NOTE,))
    for plan, expected in ((made_before_the_open, TimeInForce.OPENING), (made(), TimeInForce.DAY)):
        entry, *exits = entry_intents(plan, 100 * SHARE, scope=SCOPE, now_ms=5, time_to_live_ms=60_000)
        assert entry.time_in_force is expected
        assert {leg.time_in_force for leg in exits} == {TimeInForce.DAY}


def test_exit_with_a_limit_is_a_limit_order_of_the_same_leg() -> None:
    intent = exit_intent(made(), SHARE, generation=1, reason="stop", scope=SCOPE, now_ms=9, limit_e4=940_500)
    assert (intent.leg, intent.type, intent.limit_e4) == (EXIT, OrderType.LIMIT, 940_500)
    assert intent.ignores_participation
