"""When an exit has had its time, and which one it is."""

from dataclasses import replace

import pytest

from finagent.domain.escalation import (
    WORKED_MS,
    band_limit_e4,
    is_beyond_stop,
    is_overdue,
    may_replace,
    working_exit,
)
from finagent.domain.legs import exit_intent
from finagent.domain.market import Direction, Instrument, Side
from finagent.domain.orders import OrderState, OwnOrder
from finagent.domain.plan import Plan
from tests.unit.domain.plan_builders import SCOPE, candidate, planned


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


def limits(number: int, side: Side = Side.SELL) -> list[OwnOrder]:
    plan = planned()
    assert isinstance(plan, Plan)
    made = [
        exit_intent(
            plan, 10_000, generation=n + 1, reason="stop", scope=SCOPE, now_ms=5, side=side, limit_e4=900_000
        )
        for n in range(number)
    ]
    return [OwnOrder(intent=intent, state=OrderState.CANCELLED) for intent in made]


def test_limits_after_a_halt_lie_a_wider_band_beyond_the_price_each_time_and_end_in_a_market_order() -> None:
    instrument = Instrument(symbol="AAA")
    sold = [band_limit_e4(limits(n), Side.SELL, 1_000_100, instrument) for n in range(4)]
    assert sold == [990_000, 980_000, 960_000, None]
    bought = [band_limit_e4(limits(n, Side.BUY), Side.BUY, 1_000_100, instrument) for n in range(4)]
    assert bought == [1_010_200, 1_020_200, 1_040_200, None]


def test_without_a_price_to_measure_from_the_exit_is_a_market_order() -> None:
    assert band_limit_e4([], Side.SELL, None, Instrument(symbol="AAA")) is None
    assert band_limit_e4([], Side.SELL, 1, Instrument(symbol="AAA")) is None, "no limit at nothing"


def test_price_at_the_stop_is_beyond_it() -> None:
    long, short = planned(), planned(of=candidate(Direction.SHORT))
    assert isinstance(long, Plan)
    assert isinstance(short, Plan)
    assert [is_beyond_stop(long, 970_000, price) for price in (970_001, 970_000)] == [False, True]
    assert [is_beyond_stop(short, 1_030_000, price) for price in (1_029_999, 1_030_000)] == [False, True]


def test_exit_makes_room_for_one_that_is_no_softer() -> None:
    market, (limit,) = leaving(), limits(1)
    limit = replace(limit, state=OrderState.ACCEPTED)
    late_ms = 5 + WORKED_MS
    assert may_replace(limit, limit_e4=900_000, now_ms=late_ms)
    assert may_replace(limit, limit_e4=None, now_ms=late_ms)
    assert may_replace(market, limit_e4=None, now_ms=late_ms)
    assert not may_replace(market, limit_e4=900_000, now_ms=late_ms)
    assert not may_replace(limit, limit_e4=None, now_ms=late_ms - 1)
