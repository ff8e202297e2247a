"""Profiles: the shipped ones work, and one that cannot work is named with its value."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import SettingsValueError
from finagent.domain.risk import micro_profile, standard_profile, validate_profile
from finagent.domain.risk_profile import AutoLimits, auto_profile, micro_auto, standard_auto
from tests.unit.domain.risk_builders import USD


@pytest.mark.parametrize("profile", [standard_profile(), micro_profile()])
def test_shipped_profiles_are_valid(profile):
    assert validate_profile(profile) is profile


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("risk_per_trade_e6", 0),
        ("risk_per_trade_e6", 1_000_001),
        ("max_adv_share_e6", 0),
        ("max_position_e6", 0),
        ("max_position_notional_e8", -1),
        ("max_exposure_e6", 0),
        ("max_order_notional_e8", 0),
        ("max_spread_cost_e6", 0),
        ("max_spread_cost_e6", 1_000_001),
        ("max_sector_e6", 0),
        ("max_rejected_in_a_row", 0),
        ("max_losses_in_a_row", -1),
        ("bankroll_e8", 0),
        ("max_spread_e6", 0),
        ("price_band_e6", 0),
        ("max_open_positions", 0),
        ("max_trades_per_day", 0),
        ("max_orders_per_minute", 0),
        ("borrow_fee_e6", -1),
        ("lot_e4", 0),
        ("lot_e4", 10_001),
        ("worst_case_extra_r_e6", -1),
        ("day_trade_rule", "pattern_day_trader"),
        ("pause_loss_e6", 0),
        ("flatten_loss_e6", 1_000_001),
        ("pause_loss_e8", 0),
        ("flatten_loss_e8", 0),
        ("pause_loss_e6", 20_001),
    ],
)
def test_profile_that_cannot_work_is_named_with_its_value(field, value):
    with pytest.raises(SettingsValueError, match=f"risk.{field} is {value}; set it to"):
        validate_profile(replace(standard_profile(), **{field: value}))


def test_pause_comes_before_flatten_and_shorts_need_margin():
    with pytest.raises(SettingsValueError, match="at most flatten_loss_e8"):
        validate_profile(replace(micro_profile(), pause_loss_e8=34 * USD))
    with pytest.raises(SettingsValueError, match="margin account"):
        validate_profile(replace(micro_profile(), allow_shorts=True))


def test_auto_trades_the_smaller_of_each_limit():
    auto = auto_profile(standard_profile(), standard_auto())
    assert (auto.risk_per_trade_e6, auto.max_position_e6) == (2_500, 100_000)
    assert (auto.max_open_positions, auto.max_trades_per_day) == (2, 3)
    changed = {"risk_per_trade_e6", "max_position_e6", "max_open_positions", "max_trades_per_day"}
    kept = [f for f in auto.__dataclass_fields__ if f not in changed]
    assert all(getattr(auto, name) == getattr(standard_profile(), name) for name in kept)
    small = auto_profile(micro_profile(), micro_auto())
    assert (small.max_position_e6, small.max_position_notional_e8) == (None, 125 * USD)


@given(st.integers(1, 50_000), st.none() | st.integers(1, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_auto_is_never_above_what_a_person_may_approve(risk, position, most_open, most_trades):
    asked = AutoLimits(
        risk_per_trade_e6=risk,
        max_position_e6=position,
        max_open_positions=most_open,
        max_trades_per_day=most_trades,
    )
    full, auto = standard_profile(), auto_profile(standard_profile(), asked)
    assert auto.risk_per_trade_e6 <= full.risk_per_trade_e6
    assert auto.max_position_e6 <= full.max_position_e6
    assert auto.max_open_positions <= full.max_open_positions
    assert auto.max_trades_per_day <= full.max_trades_per_day
