"""Accepted limits: lowering is free, a raise waits, switching a limit off is a raise."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.accepted_limits import (
    RULES_BY_FREEDOM,
    RaisedLimit,
    in_force,
    limits_of,
    raised,
    stricter,
    with_limits,
)
from finagent.domain.risk import RiskProfile, micro_profile, standard_profile
from finagent.domain.risk_profile import DAY_TRADE_RULES, micro_auto, standard_auto

STANDARD = limits_of(standard_profile(), standard_auto())
NO_LIMIT = {"name", "lot_e4", "worst_case_extra_r_e6", "borrow_fee_e6"}
"""Fields of a profile that allow nothing by being larger."""


def test_every_limit_of_a_profile_is_guarded() -> None:
    """A new limit must be said here, or raising it would need nobody."""
    assert set(RiskProfile.__dataclass_fields__) - NO_LIMIT == {
        n for n in STANDARD if not n.startswith("auto_")
    }
    assert set(RULES_BY_FREEDOM) == set(DAY_TRADE_RULES)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ()),
        ({"risk_per_trade_e6": 4_000}, ()),
        ({"risk_per_trade_e6": 6_000}, (RaisedLimit("risk_per_trade_e6", 5_000, 6_000),)),
        ({"max_sector_e6": None}, (RaisedLimit("max_sector_e6", 400_000, None),)),
        ({"max_losses_in_a_row": 3}, ()),
        ({"allow_shorts": True}, (RaisedLimit("allow_shorts", 0, 1),)),
        ({"day_trade_rule": "none"}, (RaisedLimit("day_trade_rule", 1, 2),)),
        ({"day_trade_rule": "cash_settled"}, ()),
    ],
)
def test_looser_is_a_raise_and_stricter_is_none(
    changes: dict[str, object], found: tuple[RaisedLimit, ...]
) -> None:
    wanted = limits_of(replace(standard_profile(), **changes), standard_auto())  # type: ignore[arg-type]
    assert raised(STANDARD, wanted) == found


def test_raise_of_what_auto_may_do_is_one() -> None:
    wanted = limits_of(standard_profile(), replace(standard_auto(), max_open_positions=3))
    assert raised(STANDARD, wanted) == (RaisedLimit("auto_max_open_positions", 2, 3),)


def test_limit_that_nobody_was_asked_about_is_no_raise() -> None:
    assert raised({}, STANDARD) == ()
    assert in_force({}, STANDARD) == STANDARD


@pytest.mark.parametrize("profile", [standard_profile(), micro_profile()])
def test_limits_go_back_into_their_profile(profile: RiskProfile) -> None:
    auto = micro_auto()
    assert with_limits(profile, auto, limits_of(profile, auto)) == (profile, auto)


VALUES = st.none() | st.integers(1, 10)


@given(VALUES, VALUES)
def test_stricter_of_two_is_one_of_them_and_no_looser_than_either(
    first: int | None, second: int | None
) -> None:
    found = stricter(first, second)
    assert found in (first, second)
    assert all(other is None or (found is not None and found <= other) for other in (first, second))
    assert stricter(second, first) == found
