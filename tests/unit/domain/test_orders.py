"""Orders: identities, generations and the states of an order."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import InvalidTransitionError
from finagent.domain.market import Side
from finagent.domain.orders import (
    ORDER_MOVES,
    TERMINAL_ORDER_STATES,
    BrokerFill,
    OrderIntent,
    OrderState,
    OrderType,
    OwnOrder,
    Scope,
    StillLive,
    body_hash,
    can_move,
    client_order_id,
    filled_state,
    is_ours,
    next_generation,
    next_order_state,
    plan_id,
    trade_id,
)

SCOPE = Scope()
TICK = {"session": "2018-02-20", "scan_tick": "09:31", "symbol": "WMT"}
WORDS = st.text(max_size=12)
INPUTS = st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS, WORDS, WORDS, st.integers(1, 5_000))


def intent(leg: str = "entry", *, generation: int = 1, **changes: object) -> OrderIntent:
    base = OrderIntent(
        client_order_id=f"fa-{leg}-{generation}",
        plan_id="pl_1",
        symbol="WMT",
        leg=leg,
        generation=generation,
        side=Side.BUY if leg == "entry" else Side.SELL,
        type=OrderType.STOP if leg == "stop" else OrderType.LIMIT,
        quantity_e4=100_0000,
        limit_e4=100_0000,
    )
    return replace(base, **changes)


def fill(execution_id: str, quantity_e4: int) -> BrokerFill:
    return BrokerFill(
        execution_id=execution_id,
        client_order_id="fa-entry-1",
        symbol="WMT",
        side=Side.BUY,
        quantity_e4=quantity_e4,
        price_e4=100_0000,
        at_ms=1,
    )


def minted(values: tuple[str, str, str, str, str, str, str, int]) -> str:
    generation, account, deployment, session, scan_tick, symbol, leg, number = values
    scope = Scope(generation=generation, account=account, deployment=deployment)
    return client_order_id(
        scope, session=session, scan_tick=scan_tick, symbol=symbol, leg=leg, generation=number
    )


def test_order_id_reads_as_day_symbol_leg_generation():
    found = client_order_id(SCOPE, **TICK, leg="entry", generation=1)
    assert found.startswith("fa-20180220-WMT-entry-1-")
    assert found == "fa-20180220-WMT-entry-1-" + found[-16:]
    assert client_order_id(SCOPE, **{**TICK, "symbol": "BRK.B"}, leg="stop", generation=2)[:24] == (
        "fa-20180220-BRKB-stop-2-"
    )


def test_ids_are_the_same_in_every_process():
    """A changed constant here would orphan the orders of a running account."""
    assert plan_id(SCOPE, **TICK, version=1) == "pl_ceed281814c3a5fbac47"
    assert trade_id(SCOPE, **TICK) == "tr_06dfe58f01e97d1e17ea"
    assert (
        client_order_id(SCOPE, **TICK, leg="entry", generation=1)
        == "fa-20180220-WMT-entry-1-1b6fb8091305a8df"
    )


@given(INPUTS)
def test_any_order_id_is_short_clean_ours_and_stable(values):
    found = minted(values)
    assert len(found) <= 48
    assert is_ours(found)
    assert set(found) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
    assert found == minted(values)


@given(INPUTS, INPUTS)
def test_different_inputs_never_share_an_order_id(left, right):
    assert (minted(left) == minted(right)) == (left == right)


@given(st.tuples(*[WORDS] * 6, st.integers(1, 9)), st.tuples(*[WORDS] * 6, st.integers(1, 9)))
def test_different_inputs_never_share_a_plan_or_trade_id(left, right):
    def both(values):
        scope = Scope(generation=values[0], account=values[1], deployment=values[2])
        tick = {"session": values[3], "scan_tick": values[4], "symbol": values[5]}
        return plan_id(scope, **tick, version=values[6]), trade_id(scope, **tick)

    assert (both(left)[0] == both(right)[0]) == (left == right)
    assert (both(left)[1] == both(right)[1]) == (left[:6] == right[:6])


def test_inputs_that_run_together_differ():
    one = plan_id(Scope(generation="a", account="bc"), **TICK, version=1)
    assert one != plan_id(Scope(generation="ab", account="c"), **TICK, version=1)


@pytest.mark.parametrize(
    "foreign", ["", "fa-", "fa-20180220-WMT-entry-1-zz", "x" * 48, "fa-20180220-WMT-entry-1-" + "0" * 40]
)
def test_foreign_ids_are_not_ours(foreign):
    assert not is_ours(foreign)


@pytest.mark.parametrize("field", [field.name for field in fields(OrderIntent)])
def test_body_hash_changes_with_every_field_that_is_sent(field):
    current = getattr(intent(), field)
    special = {
        "side": Side.SELL,
        "type": OrderType.STOP,
        "parent_id": "fa-other",
        "ignores_participation": True,
    }
    changed = special.get(field, f"{current}x" if isinstance(current, str) else 7)
    is_same = body_hash(replace(intent(), **{field: changed})) == body_hash(intent())
    assert is_same == (field in ("created_at_ms", "reason"))


def test_body_hash_covers_attached_legs():
    entry, stop = intent(), intent("stop")
    assert len({body_hash(entry), body_hash(entry, [stop]), body_hash(stop, [entry])}) == 3


def test_terminal_orders_never_move_and_every_other_state_reaches_one():
    for state in OrderState:
        assert (ORDER_MOVES[state] == ()) == (state in TERMINAL_ORDER_STATES)
        if state not in TERMINAL_ORDER_STATES:
            assert any(move in TERMINAL_ORDER_STATES for move in ORDER_MOVES[state])


def test_only_an_unknown_order_may_turn_out_never_arrived():
    sources = [state for state in OrderState if can_move(state, OrderState.NEVER_ARRIVED)]
    assert sources == [OrderState.UNKNOWN]


@given(st.sampled_from(OrderState), st.sampled_from(OrderState))
def test_steps_outside_the_table_raise(start, end):
    if can_move(start, end):
        assert next_order_state(start, end) is end
    else:
        with pytest.raises(InvalidTransitionError, match=f"from {start} to {end}"):
            next_order_state(start, end)


def test_filled_state_needs_the_whole_quantity():
    partial = filled_state(OrderState.UNKNOWN, quantity_e4=2, filled_e4=1)
    assert partial is OrderState.PARTIALLY_FILLED
    assert filled_state(OrderState.INTENT, quantity_e4=2, filled_e4=2) is OrderState.FILLED


def test_order_that_was_filled_whole_is_filled_whatever_was_recorded_before():
    assert filled_state(OrderState.CANCELLED, quantity_e4=2, filled_e4=2) is OrderState.FILLED
    assert filled_state(OrderState.CANCELLED, quantity_e4=2, filled_e4=1) is OrderState.CANCELLED
    assert can_move(OrderState.PARTIALLY_FILLED, OrderState.REJECTED)


def test_first_generation_is_one_and_other_legs_do_not_count():
    others = [OwnOrder(intent=intent("stop")), OwnOrder(intent=intent(plan_id="pl_2"))]
    assert next_generation(others, plan_id="pl_1", leg="entry") == 1


@given(st.sampled_from(OrderState))
def test_next_generation_waits_until_the_one_before_is_terminal(state):
    orders = [
        OwnOrder(intent=intent("stop"), state=OrderState.CANCELLED),
        OwnOrder(intent=intent("stop", generation=2), state=state),
    ]
    found = next_generation(orders, plan_id="pl_1", leg="stop")
    if state in TERMINAL_ORDER_STATES:
        assert found == 3
    else:
        assert found == StillLive("fa-stop-2", state)


@given(st.sampled_from(OrderState))
def test_replacement_needs_an_order_that_the_broker_holds(state):
    found = next_generation(
        [OwnOrder(intent=intent("stop"), state=state)], plan_id="pl_1", leg="stop", is_replacement=True
    )
    assert (found == 2) == (state not in (OrderState.INTENT, OrderState.UNKNOWN))
