"""When an exit has had its time, and which one it is."""

from dataclasses import replace

import pytest

from finagent.domain.escalation import WORKED_MS, is_overdue, working_exit
from finagent.domain.legs import exit_intent
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, OwnOrder
from finagent.domain.plan import Plan
from tests.unit.domain.plan_builders import SCOPE, planned


def leaving(state: OrderState = OrderState.ACCEPTED, leg: str = "exit") -> OwnOrder:
    plan = planned()
    assert isinstance(plan, Plan)
    intent = exit_intent(plan, 10_000, generation=1, reason="time", scope=SCOPE, now_ms=5, leg=leg)
    return OwnOrder(intent=intent, state=state)


@pytest.mark.parametrize("state", [OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED])
def test_exit_at_the_broker_is_overdue_after_a_minute(state: OrderState) -> None:
    assert not is_overdue(leaving(state), now_ms=5 + WORKED_MS - 1)
    assert is_overdue(leaving(state), now_ms=5 + WORKED_MS)


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.UNKNOWN])
def test_exit_that_is_not_known_to_be_there_is_never_overdue(state: OrderState) -> None:
    assert not is_overdue(leaving(state), now_ms=10**9)


def test_working_exit_is_of_everything_on_that_side_and_not_over() -> None:
    order = leaving()
    assert working_exit([leaving(leg="target-1"), order], Side.SELL) == order
    assert working_exit([order], Side.BUY) is None
    assert working_exit([replace(order, state=OrderState.FILLED)], Side.SELL) is None
