"""Settings become exact values: nothing rounded, the profile kept where a key is null, half of it in auto."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap import rules
from finagent.bootstrap.runs import result_id
from finagent.domain.fills import Ambiguity
from finagent.domain.risk import micro_profile, standard_profile
from finagent.domain.steps import PRIORITY, Step
from finagent.settings import Settings, SettingsError


def of(**sections: Any) -> Settings:
    return Settings(**sections)


def with_value(section: str, key: str, value: object) -> Settings:
    """Settings that no file could bring: the sections' own bounds are passed by."""
    return of().model_copy(update={section: getattr(of(), section).model_copy(update={key: value})})


def test_defaults_are_the_standard_profile() -> None:
    assert rules.risk_profile(of()) == standard_profile()
    assert rules.start_equity_e8(of()) == 100_000 * 10**8


def test_given_limits_replace_those_of_the_profile() -> None:
    given = {
        "risk_per_trade_pct": "0.25",
        "max_position_pct": 10,
        "max_open_positions": 7,
        "max_trades_per_day": 9,
        "pause_loss_pct": 1,
        "flatten_loss_pct": "1.2",
        "max_adv_share_pct": "0.1",
        "max_orders_per_minute": 3,
        "allow_shorts": True,
    }
    profile = rules.risk_profile(of(risk=given))
    assert (profile.risk_per_trade_e6, profile.max_position_e6, profile.max_adv_share_e6) == (
        2_500,
        100_000,
        1_000,
    )
    assert (profile.max_open_positions, profile.max_trades_per_day, profile.max_orders_per_minute) == (
        7,
        9,
        3,
    )
    assert (profile.pause_loss_e6, profile.flatten_loss_e6, profile.allow_shorts) == (10_000, 12_000, True)


def test_every_limit_may_be_given() -> None:
    given = {
        "max_order_usd": 5000,
        "max_exposure_pct": 60,
        "max_sector_pct": 25,
        "max_spread_pct": "0.2",
        "max_spread_cost_pct": 10,
        "price_band_pct": 5,
        "max_rejected_in_a_row": 2,
        "max_losses_in_a_row": 4,
        "day_trade_rule": "none",
    }
    profile = rules.risk_profile(of(risk=given))
    assert (profile.max_order_notional_e8, profile.max_exposure_e6, profile.max_sector_e6) == (
        5_000 * 10**8,
        600_000,
        250_000,
    )
    assert (profile.max_spread_e6, profile.max_spread_cost_e6, profile.price_band_e6) == (
        2_000,
        100_000,
        50_000,
    )
    assert (profile.max_rejected_in_a_row, profile.max_losses_in_a_row) == (2, 4)
    assert profile.day_trade_rule == "none"


def test_auto_trades_within_its_own_smaller_limits() -> None:
    profile = rules.risk_profile(of(account={"mode": "auto"}))
    assert (profile.risk_per_trade_e6, profile.max_position_e6) == (2_500, 100_000)
    assert (profile.max_open_positions, profile.max_trades_per_day) == (2, 3)
    micro = rules.risk_profile(of(account={"mode": "auto"}, risk={"profile": "micro"}))
    assert (micro.risk_per_trade_e6, micro.max_position_e6) == (7_500, None)
    assert (micro.max_position_notional_e8, micro.max_open_positions) == (125 * 10**8, 1)


def test_auto_limits_may_be_given_up_to_those_of_a_person() -> None:
    given = {
        "auto_risk_per_trade_pct": "0.1",
        "auto_max_position_pct": 20,
        "auto_max_open_positions": 3,
        "auto_max_trades_per_day": 1,
    }
    profile = rules.risk_profile(of(account={"mode": "auto"}, risk=given))
    assert (profile.risk_per_trade_e6, profile.max_position_e6) == (1_000, 200_000)
    assert (profile.max_open_positions, profile.max_trades_per_day) == (3, 1)
    assert rules.risk_profile(of(risk=given)) == standard_profile()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"auto_max_position_pct": 21},
            r"auto_max_position_pct is 21; set it to at most risk.max_position_pct \(20\)",
        ),
        ({"auto_max_trades_per_day": 6}, "auto_max_trades_per_day is 6"),
        (
            {"risk_per_trade_pct": "0.2", "auto_risk_per_trade_pct": "0.25"},
            "auto_risk_per_trade_pct is 0.25; set it to at most risk.risk_per_trade_pct",
        ),
    ],
)
def test_auto_limit_above_that_of_a_person_is_refused_in_any_mode(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        rules.checked(of(risk=given))


def test_smaller_limit_of_a_person_is_that_of_auto_too() -> None:
    given = {"risk_per_trade_pct": "0.2", "max_position_pct": 5, "max_open_positions": 1}
    profile = rules.risk_profile(of(account={"mode": "auto"}, risk=given))
    assert (profile.risk_per_trade_e6, profile.max_position_e6, profile.max_open_positions) == (
        2_000,
        50_000,
        1,
    )


def test_replay_has_full_limits_whoever_approves() -> None:
    auto = of(account={"mode": "auto"})
    assert rules.risk_profile(auto, is_run=True) == standard_profile()


def test_fractions_need_their_switch() -> None:
    assert rules.risk_profile(of()).lot_e4 == 10_000
    assert rules.risk_profile(of(universe={"fractional": True})).lot_e4 == 1


def test_micro_account_is_at_most_its_bankroll() -> None:
    assert rules.start_equity_e8(of(risk={"profile": "micro"})) == micro_profile().bankroll_e8
    small = of(risk={"profile": "micro"}, account={"start_equity": 300})
    assert rules.start_equity_e8(small) == 300 * 10**8


def test_ratios_and_prices_are_exact() -> None:
    gap = rules.gap_rules(
        of(scan={"min_gap_pct": "3.9999", "max_spread_pct": "0.25"}, universe={"exclude": ["ZZZ", "AAA"]})
    )
    assert (gap.min_gap_e6, gap.max_spread_e6, gap.min_price_e4) == (39_999, 2_500, 20_000)
    assert gap.exclude == ("AAA", "ZZZ")
    weights = rules.score_weights(of())
    assert (weights.volatility_e6, weights.catalyst_e6) == (400_000, 300_000)
    costs = rules.cost_rules(of(execution={"slippage_bps": "2.5", "commission_per_share": "0.005"}))
    assert (costs.slippage_e6, costs.commission_per_share_e8) == (250, 500_000)
    assert (costs.slippage_range_e6, costs.slippage_impact_e6) == (0, 0)
    costs = rules.cost_rules(of(execution={"slippage_range_pct": "10.5", "slippage_impact_bps": "100"}))
    assert (costs.slippage_range_e6, costs.slippage_impact_e6) == (105_000, 10_000)


def test_each_term_of_slippage_names_another_run() -> None:
    given: tuple[dict[str, str], ...] = ({}, {"slippage_range_pct": "1"}, {"slippage_impact_bps": "1"})
    found = [
        result_id(of(execution=each), data_id="d", first="2018-02-16", last="2018-02-16", at=None)
        for each in given
    ]
    assert len(set(found)) == 3


def test_more_places_than_a_value_can_hold_are_refused() -> None:
    with pytest.raises(SettingsError, match="more decimal places"):
        rules.cost_rules(with_value("execution", "slippage_bps", Decimal("0.001")))


def test_planning_keeps_its_break_even_where_the_key_is_null() -> None:
    assert rules.planning_rules(of()).break_even_after_r_e6 == 1_000_000
    given = {"break_even_after_r": 2, "trail_after_r": "1.5", "trail_atr": 1, "time_stop_minutes": None}
    plan = rules.planning_rules(of(planning=given))
    assert (plan.break_even_after_r_e6, plan.trail_after_r_e6, plan.time_stop_minutes) == (
        2_000_000,
        1_500_000,
        None,
    )


def test_venue_takes_what_the_account_may() -> None:
    settings = of(execution={"ambiguity": "path"}, universe={"fractional": True}, risk={"allow_shorts": True})
    venue = rules.venue_rules(settings, rules.risk_profile(settings))
    assert (venue.lot_e4, venue.allow_shorts, venue.ambiguity) == (1, True, Ambiguity.PATH)


def test_one_instant_replaces_all_scans() -> None:
    assert [s.name for s in rules.schedule_rules(of()).scans] == [
        "watchlist",
        "reprice",
        "open",
        "second-look",
    ]
    (scan,) = rules.schedule_rules(of(), at="10:15").scans
    assert (scan.name, scan.when, scan.kind) == ("at-1015", "10:15", "plan")


def test_no_trade_days_are_read_sorted_without_comments(tmp_path: Path) -> None:
    days = tmp_path / "days.csv"
    days.write_text("# fed\n2018-03-21,fed\n\n2018-01-31\n")
    assert rules.schedule_rules(of(schedule={"no_trade_days": days})).no_trade_days == (
        "2018-01-31",
        "2018-03-21",
    )


def test_no_trade_windows_reach_the_schedule_and_bad_rows_the_check(tmp_path: Path) -> None:
    days = tmp_path / "days.csv"
    days.write_text("2018-03-21,13:45,15:00,Fed\n")
    assert rules.schedule_rules(of(schedule={"no_trade_days": days})).no_trade_windows == (
        ("2018-03-21", "13:45", "15:00"),
    )
    days.write_text("21.03.2018\n")
    with pytest.raises(SettingsError, match=r"line 1: '21\.03\.2018' is no date"):
        rules.checked(of(schedule={"no_trade_days": days}))


def test_values_that_only_the_rules_can_judge_are_settings_errors() -> None:
    rules.checked(of())
    with pytest.raises(SettingsError, match="max_price_e4"):
        rules.checked(with_value("scan", "max_price", Decimal(1)))


def test_every_step_is_a_job_type_and_a_send_outlives_its_time_to_live() -> None:
    types = rules.job_types()
    assert set(types) == set(PRIORITY)
    send = types.policy(Step.SEND)
    shortest_s = (
        sum(min(send.backoff_cap_s, send.backoff_base_s * 2**n) for n in range(send.max_attempts - 1)) / 3
    )
    assert shortest_s > 60
    assert types.policy(Step.RISK).credits == 1


def test_no_step_is_buried_by_an_evening_of_kills() -> None:
    """A kill counts as an attempt: 25 in the same step must leave its job alive."""
    types = rules.job_types()
    assert all(types.policy(step).max_attempts > 25 for step in types)


def test_the_most_commission_reaches_the_costs() -> None:
    """0.1 % of a fill; off where nothing is said."""
    settings = of(execution={"commission_max_pct": "0.1"})
    assert rules.cost_rules(settings).commission_max_e6 == 1_000
    assert rules.cost_rules(Settings()).commission_max_e6 is None
