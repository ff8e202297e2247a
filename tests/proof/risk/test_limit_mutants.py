"""Each limit switched off in the running rules makes some test fail: a limit that no test would miss protects nobody.

The names are those of the rules, or read from their source, so a new limit without a test that misses it fails here.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from _pytest.outcomes import Failed
from hypothesis import HealthCheck, Phase, given, seed, settings

from finagent.domain import limits, order_check, risk, shorts
from tests.unit.domain import test_limits, test_order_check, test_risk, test_shorts

NAME = re.compile(r'^\s+\("(\w+)", ', re.MULTILINE)
Named = tuple[tuple[str, Any], ...]


def names_in(*functions: Callable[..., object]) -> list[str]:
    """What a rule may answer, as its source lists it."""
    return sorted({name for function in functions for name in NAME.findall(inspect.getsource(function))})


def cases_of(test: Callable[..., object]) -> list[tuple[Any, ...]]:
    """The parameters of a parametrized test."""
    return list(next(mark for mark in test.pytestmark if mark.name == "parametrize").args[1])  # type: ignore[attr-defined]


SEEDS = range(8)
"""A property that meets its case from most seeds meets it from one of these."""


def caught(check: Callable[[], object]) -> bool:
    """Whether a check fails now."""
    try:
        check()
    except (AssertionError, ArithmeticError, IndexError, Failed, TypeError, ValueError):
        return True
    return False


def from_seed(number: int, check: Callable[..., object], *drawn: Any) -> Callable[[], object]:
    """The property over examples of this seed: the same ones everywhere, whatever profile is loaded."""
    fresh = given(*drawn)(check.hypothesis.inner_test)  # type: ignore[attr-defined]
    only = settings(
        max_examples=300, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    return seed(number)(only(fresh))


def without(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A rule that never gives one of its names."""

    def plant(rule: Callable[..., Any]) -> Callable[..., Any]:
        def planted(*args: Any, **kwargs: Any) -> Any:
            found = rule(*args, **kwargs)
            return tuple(each for each in found if (each if isinstance(each, str) else each[0]) != name)

        return planted

    return plant


REFUSALS = sorted(risk._REFUSALS)
CAPS = names_in(risk._caps)
LOOKS = names_in(order_check.order_check, order_check._malformed, order_check._short, order_check._priced)
SHORTS = names_in(shorts.short_refusals)
OTHER_REFUSALS: Mapping[str, Callable[[], object]] = {
    "bad_plan": lambda: test_risk.test_plan_whose_prices_cannot_be_is_refused({"stop": 0}),
    "past_stop": lambda: test_risk.test_price_at_or_behind_the_stop_is_refused(97_0000),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_that_is_gone_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        (lambda case=case: test_risk.test_each_refusal_has_its_reason(*case))
        for case in cases_of(test_risk.test_each_refusal_has_its_reason)
        if case[0] == name
    ] or [OTHER_REFUSALS[name]]
    assert not any(caught(check) for check in asked)
    monkeypatch.setattr(risk, "_refusals", without(name)(risk._refusals))
    assert any(caught(check) for check in asked)


@pytest.mark.parametrize("name", CAPS)
def test_cap_that_is_gone_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        (lambda case=case: test_risk.test_each_cap_can_bind(*case))
        for case in cases_of(test_risk.test_each_cap_can_bind)
        if case[0] == name
    ]
    assert asked
    assert not any(caught(check) for check in asked)
    monkeypatch.setattr(risk, "_caps", without(name)(risk._caps))
    assert all(caught(check) for check in asked)


@pytest.mark.parametrize("name", LOOKS)
def test_look_at_an_order_that_is_gone_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        (lambda test=test, case=case: test(*case))
        for test in (
            test_order_check.test_last_look_at_an_order,
            test_order_check.test_restricted_short_leaves_as_a_limit_above_the_bid_or_not_at_all,
        )
        for case in cases_of(test)
        if name in case[0]
    ] + [
        test_order_check.test_order_is_never_larger_than_its_plan,
        test_order_check.test_one_order_has_its_own_cap,
    ]
    assert not any(caught(check) for check in asked)
    monkeypatch.setattr(test_order_check, "order_check", without(name)(order_check.order_check))
    assert any(caught(check) for check in asked)


@pytest.mark.parametrize("name", SHORTS)
def test_rule_of_shorts_that_is_gone_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        (lambda case=case: test_shorts.test_what_is_against_a_short_has_its_reason(*case))
        for case in cases_of(test_shorts.test_what_is_against_a_short_has_its_reason)
        if name in case[0]
    ]
    assert asked
    monkeypatch.setattr(test_shorts, "short_refusals", without(name)(shorts.short_refusals))
    assert all(caught(check) for check in asked)


@pytest.mark.parametrize("name", ["rejected_orders", "losses_in_a_row"])
def test_breaker_that_is_gone_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_limits, "breakers", without(name)(limits.breakers))
    cases = cases_of(test_limits.test_breaker_opens_at_its_count)
    assert any(caught(lambda case=case: test_limits.test_breaker_opens_at_its_count(*case)) for case in cases)


@pytest.mark.parametrize("cap", ["daily_loss", "exposure", "sector", "symbol_notional"])
def test_property_of_g5_or_of_sizing_misses_the_cap(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The properties alone, over any plans and accounts, find what was taken away."""
    monkeypatch.setattr(risk, "_caps", without(cap)(risk._caps))
    if cap == "daily_loss":
        check, plans = (
            test_risk.test_realised_loss_and_worst_cases_stay_within_the_daily_limit,
            test_risk.PLAN_LISTS,
        )
    else:
        check, plans = test_risk.test_sizing_never_exceeds_any_cap, test_risk.PLANS
    drawn = (plans, test_risk.ACCOUNTS, test_risk.PROFILES, test_risk.SLIPPAGE)
    assert any(caught(from_seed(number, check, *drawn)) for number in SEEDS)


def test_worst_case_without_its_half_r_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """G5's stated bound: the reservation goes 0.5 R beyond the stop."""
    sizing = risk._sizing

    def planted(plan: Any, profile: Any, **more: Any) -> Any:
        from dataclasses import replace

        return sizing(plan, replace(profile, worst_case_extra_r_e6=0), **more)

    monkeypatch.setattr(risk, "_sizing", planted)
    assert caught(test_risk.test_quantity_is_the_risk_per_trade_over_the_risk_per_share)
    assert caught(test_risk.test_sizing_never_exceeds_any_cap)
