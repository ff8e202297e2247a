"""One stop for what no other exit has claimed, from whatever orders there are; never more out than held."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.book import StoredOrder
from finagent.domain.legs import ENTRY, EXIT, exit_intent, order_id, stop_intent
from finagent.domain.market import Direction, Side
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderIntent, OrderState, OrderType, OwnOrder
from finagent.domain.plan import ExitLeg, Plan
from finagent.domain.protection import (
    CloseOut,
    FreeQuantity,
    PlaceStop,
    ResizeStop,
    WaitFor,
    can_replace,
    free_e4,
    is_attached,
    is_bare,
    is_stuck,
    protection_of,
    target_shares,
    touched_targets,
)
from tests.unit.domain.plan_builders import SCOPE, at, bar, candidate, planned

SHARE = 10_000
TWO = (
    ExitLeg(leg="target-1", share_e6=500_000, price_e4=1_030_000),
    ExitLeg(leg="target-2", share_e6=500_000, price_e4=1_060_000),
)


def made(direction: Direction = Direction.LONG) -> Plan:
    plan = planned(of=candidate(direction))
    assert isinstance(plan, Plan)
    return replace(plan, quantity_e4=100 * SHARE, targets=TWO)


PLAN = made()


def entry(filled: int, state: OrderState = OrderState.FILLED, quantity: int = 100) -> OwnOrder:
    intent = OrderIntent(
        client_order_id=order_id(PLAN, ENTRY, 1, SCOPE),
        plan_id=PLAN.plan_id,
        symbol=PLAN.symbol,
        leg=ENTRY,
        generation=1,
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity_e4=quantity * SHARE,
    )
    return OwnOrder(intent=intent, state=state, filled_e4=filled * SHARE)


def stop(
    quantity: int, state: OrderState = OrderState.ACCEPTED, *, generation: int = 1, filled: int = 0
) -> OwnOrder:
    intent = stop_intent(
        PLAN, quantity * SHARE, PLAN.stop_e4, generation=generation, parent_id=None, scope=SCOPE, now_ms=0
    )
    return OwnOrder(intent=intent, state=state, filled_e4=filled * SHARE)


def leave(
    quantity: int,
    leg: str = EXIT,
    state: OrderState = OrderState.ACCEPTED,
    *,
    filled: int = 0,
    side: Side | None = None,
) -> OwnOrder:
    intent = exit_intent(
        PLAN, quantity * SHARE, generation=1, reason="time", scope=SCOPE, now_ms=0, leg=leg, side=side
    )
    return OwnOrder(intent=intent, state=state, filled_e4=filled * SHARE)


def test_bare_position_gets_a_stop_for_all_of_it() -> None:
    assert protection_of([entry(100)], held_e4=100 * SHARE) == PlaceStop(100 * SHARE)


def test_stop_that_fits_is_left_alone() -> None:
    assert protection_of([entry(100), stop(100)], held_e4=100 * SHARE) is None
    assert protection_of([entry(100)], held_e4=0) is None


def test_stop_grows_in_one_step_with_a_further_fill() -> None:
    resting = stop(40)
    assert protection_of([entry(70), resting], held_e4=70 * SHARE) == ResizeStop(resting, 70 * SHARE)


def test_stop_covers_only_what_other_exits_leave() -> None:
    resting = stop(100)
    orders = [entry(100), resting, leave(50, "target-1")]
    assert protection_of(orders, held_e4=100 * SHARE) == ResizeStop(resting, 50 * SHARE)
    assert protection_of([entry(100), stop(50), leave(50, "target-1")], held_e4=100 * SHARE) is None
    resting = stop(50)
    assert protection_of([entry(100), resting, leave(100)], held_e4=100 * SHARE) == FreeQuantity((resting,))
    assert protection_of([entry(100), leave(100)], held_e4=100 * SHARE) is None


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.UNKNOWN])
def test_stop_on_its_way_is_waited_for(state: OrderState) -> None:
    resting = stop(40, state)
    assert protection_of([entry(70), resting], held_e4=70 * SHARE) == WaitFor(resting)


def test_flat_position_keeps_nothing_at_the_broker() -> None:
    resting = stop(100)
    assert protection_of([entry(100), resting], held_e4=0) == FreeQuantity((resting,))


def test_stop_whose_shares_are_all_claimed_is_freed() -> None:
    resting = stop(100)
    orders = [entry(100), resting, leave(60, "target-1"), leave(40, "target-2")]
    assert protection_of(orders, held_e4=100 * SHARE) == FreeQuantity((resting,))


def test_refused_replacement_leads_to_cancel_and_a_new_stop() -> None:
    resting, refused = stop(40), stop(70, OrderState.REJECTED, generation=2)
    assert not can_replace([resting, refused], resting)
    assert protection_of([entry(70), resting, refused], held_e4=70 * SHARE) == PlaceStop(
        70 * SHARE, free=(resting,)
    )
    newer = stop(70, generation=3)
    assert can_replace([refused, newer], newer)


def test_two_resting_stops_become_one() -> None:
    both = (stop(40), stop(70, generation=2))
    assert protection_of([entry(70), *both], held_e4=70 * SHARE) == PlaceStop(70 * SHARE, free=both)


def test_what_a_triggered_stop_does_not_cover_leaves_at_the_market() -> None:
    filling = stop(40, OrderState.PARTIALLY_FILLED, filled=10)
    assert protection_of([entry(70), filling], held_e4=60 * SHARE) == CloseOut()
    assert protection_of([entry(40), filling], held_e4=30 * SHARE) is None
    orders = [entry(40), filling, leave(10, "target-1")]
    assert protection_of(orders, held_e4=30 * SHARE) == PlaceStop(20 * SHARE, free=(filling,))


def test_exits_for_more_than_is_held_are_all_freed() -> None:
    orders = [entry(100), stop(50), leave(60, "target-1")]
    assert protection_of(orders, held_e4=50 * SHARE) == FreeQuantity((stop(50), leave(60, "target-1")))


def test_oversold_position_comes_back_once() -> None:
    oversold = [
        entry(100),
        leave(100, state=OrderState.FILLED, filled=100),
        stop(100, OrderState.FILLED, filled=50),
    ]
    assert protection_of(oversold, held_e4=-50 * SHARE) == CloseOut()
    back = replace(leave(50, side=Side.BUY), intent=replace(leave(50, side=Side.BUY).intent, generation=2))
    assert protection_of([*oversold, back], held_e4=-50 * SHARE) is None
    assert protection_of([*oversold, leave(50)], held_e4=-50 * SHARE) == CloseOut()


def test_free_is_what_is_held_and_not_claimed() -> None:
    resting = stop(60)
    orders = [entry(100), resting, leave(30, "target-1", filled=10), leave(20, state=OrderState.CANCELLED)]
    assert free_e4(orders, held_e4=90 * SHARE) == 10 * SHARE
    assert free_e4(orders, held_e4=90 * SHARE, without=[resting.intent.client_order_id]) == 70 * SHARE
    assert free_e4(orders, held_e4=0) == 0


def test_targets_share_what_has_entered_and_count_what_is_under_way() -> None:
    assert target_shares(PLAN, [entry(60)]) == (("target-1", 30 * SHARE), ("target-2", 30 * SHARE))
    orders = [entry(60), leave(30, "target-1", filled=10)]
    assert target_shares(PLAN, orders) == (("target-1", 0), ("target-2", 30 * SHARE))
    cancelled = leave(30, "target-1", OrderState.CANCELLED, filled=10)
    assert target_shares(PLAN, [entry(60), cancelled])[0] == ("target-1", 20 * SHARE)


def test_target_is_touched_by_a_bar_that_began_after_the_entry() -> None:
    orders, opened = [entry(100)], at(3)
    assert touched_targets(
        PLAN, orders, bar(3, 100_0000, 103_0000, 100_0000, 101_0000), opened_at_ms=opened
    ) == ("target-1",)
    assert (
        touched_targets(PLAN, orders, bar(2, 100_0000, 103_0000, 100_0000, 101_0000), opened_at_ms=opened)
        == ()
    )
    assert touched_targets(
        PLAN, orders, bar(4, 100_0000, 107_0000, 100_0000, 101_0000), opened_at_ms=opened
    ) == (
        "target-1",
        "target-2",
    )
    assert (
        touched_targets(PLAN, orders, bar(4, 100_0000, 102_9999, 100_0000, 101_0000), opened_at_ms=opened)
        == ()
    )
    leaving = [*orders, leave(100)]
    assert touched_targets(PLAN, leaving, bar(4, 100_0000, 107_0000, 1, 1), opened_at_ms=opened) == ()


def test_short_targets_lie_below() -> None:
    plan = replace(
        made(Direction.SHORT), targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=970_000),)
    )
    orders = [entry(100)]
    assert touched_targets(plan, orders, bar(4, 98_0000, 98_0000, 97_0000, 98_0000), opened_at_ms=0) == (
        "target-1",
    )
    assert touched_targets(plan, orders, bar(4, 98_0000, 99_0000, 97_0001, 98_0000), opened_at_ms=0) == ()


def test_stored_order_is_looked_at_as_an_own_one() -> None:
    own = stop(40, OrderState.PARTIALLY_FILLED, filled=10)
    stored = StoredOrder(
        intent=own.intent, session=PLAN.session, state=own.state, filled_e4=own.filled_e4, accepted_at_ms=1,
        reason="", body_hash="",
    )  # fmt: skip
    assert stored.own == own


def test_bare_and_attached_are_told_from_the_orders() -> None:
    assert is_bare([entry(100)])
    assert is_bare([entry(100), stop(100, OrderState.CANCELLED)])
    assert not is_bare([entry(100), stop(100, OrderState.UNKNOWN)])
    assert not is_attached([entry(100), stop(100)])
    own = stop(100)
    assert is_attached([replace(own, intent=replace(own.intent, parent_id="fa"))])


STATES = st.sampled_from(
    [
        OrderState.ACCEPTED,
        OrderState.CANCELLED,
        OrderState.FILLED,
        OrderState.REJECTED,
        OrderState.PARTIALLY_FILLED,
    ]
)


@given(held=st.integers(0, 100), claims=st.lists(st.tuples(st.integers(1, 100), STATES), max_size=3))
def test_free_and_claimed_never_exceed_the_position(held: int, claims: list[tuple[int, OrderState]]) -> None:
    orders = [stop(quantity, state, generation=n) for n, (quantity, state) in enumerate(claims, 1)]
    free = free_e4(orders, held_e4=held * SHARE)
    claimed = sum(quantity for quantity, state in claims if state not in TERMINAL_ORDER_STATES)
    assert free == max(0, held - claimed) * SHARE


@given(
    held=st.integers(0, 100),
    stops=st.lists(st.tuples(st.integers(1, 100), STATES), max_size=3),
    taken=st.lists(st.tuples(st.integers(1, 50), STATES), max_size=2),
)
def test_following_the_steps_ends_with_exits_for_exactly_what_is_held(
    held: int, stops: list[tuple[int, OrderState]], taken: list[tuple[int, OrderState]]
) -> None:
    """Every step done at a broker that obeys: after a few of them nothing is left to do, and nothing is bare."""
    orders = [entry(100)]
    orders += [stop(quantity, state, generation=n) for n, (quantity, state) in enumerate(stops, 1)]
    orders += [leave(quantity, f"target-{n}", state) for n, (quantity, state) in enumerate(taken, 1)]
    for _ in range(6):
        step = protection_of(orders, held_e4=held * SHARE)
        if step is None:
            break
        assert not isinstance(step, WaitFor | CloseOut)
        freed: tuple[OwnOrder, ...] = ()
        placed = 0
        if isinstance(step, FreeQuantity):
            freed = step.orders
        elif isinstance(step, ResizeStop):
            freed, placed = (step.stop,), step.quantity_e4
        else:
            freed, placed = step.free, step.quantity_e4
        orders = [replace(o, state=OrderState.CANCELLED) if o in freed else o for o in orders]
        if placed:
            orders.append(stop(placed // SHARE, generation=len(orders) + 10))
    assert step is None
    assert sum(order.remaining_e4 for order in orders if order.is_exit) == held * SHARE


@pytest.mark.parametrize(
    ("others", "order", "is_it"),
    [
        ([], leave(100, state=OrderState.UNKNOWN), False),
        ([], leave(101, state=OrderState.UNKNOWN), True),
        ([stop(100, OrderState.UNKNOWN)], leave(100, state=OrderState.UNKNOWN), True),
        ([stop(100, OrderState.ACCEPTED)], leave(100, state=OrderState.UNKNOWN), False),
        ([stop(40, OrderState.UNKNOWN)], leave(60, state=OrderState.UNKNOWN), False),
    ],
)
def test_exit_in_doubt_is_stuck_where_it_is_too_large_or_another_in_doubt_has_its_shares(
    others: list[OwnOrder], order: OwnOrder, is_it: bool
) -> None:
    orders = [entry(100), *others, order]
    assert is_stuck(orders, order, held_e4=100 * SHARE) is is_it
    assert not is_stuck(orders, order, held_e4=0), "nothing is bare"
