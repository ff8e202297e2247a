"""Preset classic: next open and opening-range break, tighter stop, 3 R, windows, rounding."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from finagent.domain.errors import SettingsValueError
from finagent.domain.gap import IndicationSource
from finagent.domain.market import Direction, Instrument
from finagent.domain.orders import plan_id
from finagent.domain.planning import (
    ExitLeg,
    Management,
    NoPlan,
    NotYet,
    Plan,
    PlanningRules,
    Setup,
    validate_planning,
)
from finagent.domain.shorts import ShortRules, ShortTerms
from tests.unit.domain.plan_builders import OPEN_MS, SCOPE, WINDOWS, at, bar, candidate, cents, planned

ORB = PlanningRules(classic_entry=Setup.OPENING_RANGE_BREAK)
PREMARKET = candidate(indication_source=IndicationSource.PREMARKET, as_of_ms=at(-5), last_price_e4=99_0000)
SHORT = candidate(Direction.SHORT, gap_e6=-50_000)
RANGE = cents(*[(10_000, 10_050 + i, 9_950, 10_000) for i in range(5)])
"""Five minutes between 99.50 and 100.54."""


def test_next_open_enters_at_the_next_bar_with_the_tighter_stop_and_3_r():
    """3 % of 100 is 3.00 and 2 ATR are 4.00: the stop is 97.00, the target 109.00."""
    assert planned() == Plan(
        plan_id=plan_id(SCOPE, session="2018-02-20", scan_tick="09:31", symbol="WMT", version=1),
        version=1,
        session="2018-02-20",
        scan_tick="09:31",
        symbol="WMT",
        rank=1,
        preset="classic",
        setup=Setup.NEXT_OPEN,
        direction=Direction.LONG,
        score_e6=700_000,
        reference_e4=100_0000,
        stop_e4=97_0000,
        targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=109_0000),),
        management=Management(time_stop_minutes=60),
        decided_at_ms=at(1),
        entry_from_ms=at(1),
        entry_until_ms=at(90),
        adv_shares=1_000_000,
        spread_e6=500,
    )


def test_stop_of_two_atr_counts_when_it_is_tighter():
    found = planned(of=candidate(atr_e4=1_0000))
    assert (found.stop_e4, found.targets[0].price_e4) == (98_0000, 106_0000)


@pytest.mark.parametrize("atr_e4", [None, 0])
def test_unknown_atr_leaves_the_percentage_and_is_noted(atr_e4):
    found = planned(of=candidate(atr_e4=atr_e4))
    assert (found.stop_e4, found.notes) == (97_0000, ("atr_unknown",))


def test_short_is_the_mirror_image():
    found = planned(of=SHORT)
    assert (found.direction, found.stop_e4, found.targets[0].price_e4) == (Direction.SHORT, 103_0000, 91_0000)


def test_reference_is_the_close_of_the_last_ended_bar():
    bars = [bar(0, 100_0000, 101_0000, 99_0000, 100_5000), bar(1, 100_5000, 102_0000, 100_0000, 101_0000)]
    assert planned(bars=bars, now_ms=at(1)).reference_e4 == 100_0000, "known at the scan"
    assert planned(bars=bars, now_ms=at(2)).reference_e4 == 101_0000
    assert planned(bars=bars, now_ms=at(2) - 1).reference_e4 == 100_0000, "the second bar has not ended"


@given(st.integers(1, 1_000_000), st.integers(0, 1_000_000))
def test_bars_that_have_not_ended_change_nothing(high_e4, low_e4):
    future = [bar(minute, high_e4, high_e4, low_e4, low_e4) for minute in range(5, 9)]
    for rules in (ORB, PlanningRules()):
        assert planned(rules, bars=RANGE, now_ms=at(5)) == planned(rules, bars=RANGE + future, now_ms=at(5))


def test_version_is_part_of_the_id():
    assert planned(version=2).plan_id != planned().plan_id
    assert planned(version=2).version == 2


def test_trailing_needs_its_rules_and_a_known_atr():
    rules = PlanningRules(trail_after_r_e6=1_000_000, trail_distance_atr_e6=500_000, time_stop_minutes=None)
    on = planned(rules).management
    assert (on.trail_after_r_e6, on.trail_distance_e4, on.time_stop_minutes) == (1_000_000, 1_0000, None)
    off = planned(rules, of=candidate(atr_e4=None)).management
    assert (off.trail_after_r_e6, off.trail_distance_e4) == (None, None)


def test_premarket_indication_enters_at_the_opening_auction():
    found = planned(of=PREMARKET, now_ms=at(-5))
    assert (found.reference_e4, found.entry_from_ms, found.entry_until_ms) == (100_0000, OPEN_MS, at(90))
    assert found.notes == ("opening_auction",)


def test_window_that_is_open_before_the_open_lets_the_auction_order_leave_at_once():
    found = planned(of=PREMARKET, now_ms=at(-5), windows=[(at(-10), at(90))])
    assert found.entry_from_ms == at(-5)


def test_from_the_open_on_a_plan_waits_for_the_first_ended_bar():
    assert planned(of=PREMARKET, now_ms=OPEN_MS) == NotYet("WMT", at(1), "before_open")
    first = bar(0, 101_0000, 101_0000, 98_0000, 98_5000)
    assert planned(of=PREMARKET, bars=[first], now_ms=at(1)).reference_e4 == 98_5000


def test_account_may_bring_its_own_lot():
    assert (planned().lot_e4, planned(lot_e4=1).lot_e4) == (10_000, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"of": candidate(as_of_ms=at(-5)), "now_ms": at(-5)}, NotYet("WMT", at(1), "before_open")),
        ({"of": PREMARKET, "now_ms": at(-5), "windows": [WINDOWS[1]]}, NotYet("WMT", at(165), "before_open")),
        ({"now_ms": at(100)}, NotYet("WMT", at(165), "outside_entry_window")),
        ({"now_ms": at(90)}, NotYet("WMT", at(165), "outside_entry_window")),
        ({"rules": ORB, "now_ms": at(1)}, NotYet("WMT", at(5), "opening_range")),
        ({"rules": ORB, "now_ms": at(1), "windows": [WINDOWS[1]]}, NotYet("WMT", at(165), "opening_range")),
    ],
)
def test_planner_says_when_to_ask_again(changes, expected):
    assert planned(**changes) == expected


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("outside_entry_window", {"now_ms": at(270)}),
        ("outside_entry_window", {"windows": []}),
        ("no_setup", {"rules": ORB, "windows": [(at(0), at(4))]}),
        ("no_level", {"rules": ORB, "now_ms": at(5), "bars": [bar(6, 1, 1, 1, 1)]}),
        ("past_stop", {"rules": ORB, "now_ms": at(6), "bars": [*RANGE, bar(5, 1, 1, 1, 97_5400)]}),
        ("past_trigger", {"rules": ORB, "now_ms": at(6), "bars": [*RANGE, bar(5, 1, 1, 1, 100_8600)]}),
        ("past_target", {"rules": ORB, "now_ms": at(6), "bars": [*RANGE, bar(5, 1, 1, 1, 109_5800)]}),
        ("stop_too_tight", {"of": candidate(last_price_e4=2_0000, atr_e4=1)}),
        ("stop_too_tight", {"of": candidate(last_price_e4=10_0050, atr_e4=5)}),
        ("no_room", {"of": candidate(last_price_e4=2_0000), "rules": PlanningRules(target_r_e6=100_000)}),
        (
            "no_room",
            {"of": replace(SHORT, atr_e4=99_0000), "rules": PlanningRules(stop_e6=500_000)},
        ),
        ("shorts_off", {"of": SHORT, "allow_shorts": False}),
        ("not_borrowable", {"of": replace(SHORT, instrument=Instrument(symbol="WMT", shortable=False))}),
        ("not_borrowable", {"of": replace(SHORT, instrument=Instrument(symbol="WMT", easy_to_borrow=False))}),
        ("short_restriction_unknown", {"of": replace(SHORT, is_short_restricted=None)}),
        ("borrow_unknown", {"of": replace(SHORT, instrument=Instrument(symbol="WMT"))}),
    ],
)
def test_each_reason_for_no_plan(reason, changes):
    found = planned(**changes)
    assert isinstance(found, NoPlan)
    assert (found.symbol, found.reason) == ("WMT", reason)
    assert found.detail


def test_unknown_borrow_is_assumed_where_nobody_can_be_asked_and_noted():
    assumed = ShortRules(is_borrow_assumed=True, borrow_fee_e6=5_000)
    found = planned(of=replace(SHORT, instrument=Instrument(symbol="WMT")), shorts=assumed)
    assert found.notes == ("borrow_assumed",)
    assert (found.short.is_borrow_assumed, found.short.borrow_fee_e6) == (True, 5_000)
    assert planned(of=SHORT, shorts=assumed).short.is_borrow_assumed is False


def test_short_plan_says_what_it_was_made_under():
    """Previous close 95.25: at 85.72 and below the restriction begins."""
    found = planned(of=SHORT)
    assert found.short == ShortTerms(
        is_restricted=False, restricted_at_e4=85_7250, is_borrow_assumed=False, borrow_fee_e6=3_000
    )
    split = replace(SHORT, adjusted_numerator=100_0000, adjusted_denominator=3)
    assert planned(of=split).short.restricted_at_e4 == 30_0000
    assert planned().short is None


def test_restricted_short_is_planned_and_noted_but_not_for_the_auction():
    restricted = replace(SHORT, is_short_restricted=True)
    found = planned(of=restricted)
    assert (found.short.is_restricted, found.notes) == (True, ("short_restricted",))
    early = replace(restricted, indication_source=IndicationSource.PREMARKET, as_of_ms=at(-30))
    waits = planned(of=early, now_ms=at(-30))
    assert (waits.reason, waits.at_ms) == ("before_open", at(1))
    free = replace(early, is_short_restricted=False)
    assert planned(of=free, now_ms=at(-30)).notes == ("opening_auction",)


def test_second_window_can_still_plan():
    found = planned(now_ms=at(165))
    assert (found.entry_from_ms, found.entry_until_ms) == (at(165), at(270))


def test_opening_range_break_triggers_one_tick_above_the_range_and_caps_at_a_tenth_of_r():
    """High 100.54, trigger 100.55, 3 % below is 97.5335 and rounds up to 97.54: R = 3.01, limit + 0.30."""
    found = planned(ORB, bars=RANGE, now_ms=at(5))
    assert (found.setup, found.reference_e4, found.trigger_e4) == (
        Setup.OPENING_RANGE_BREAK,
        100_5500,
        100_5500,
    )
    assert (found.stop_e4, found.limit_e4, found.targets[0].price_e4) == (97_5400, 100_8500, 109_5800)
    assert (found.entry_from_ms, found.entry_until_ms) == (at(5), at(90))


def test_opening_range_break_of_a_short_triggers_below_the_range():
    found = planned(ORB, of=SHORT, bars=RANGE, now_ms=at(5))
    assert (found.trigger_e4, found.stop_e4, found.limit_e4) == (99_4900, 102_4700, 99_2000)


@pytest.mark.parametrize("minutes", [1, 5, 15, 30])
def test_opening_range_ends_after_its_minutes(minutes):
    rules = replace(ORB, opening_range_minutes=minutes)
    bars = cents(*[(10_000, 10_010 + i, 9_990, 10_000) for i in range(40)])
    assert planned(rules, bars=bars, now_ms=at(minutes) - 1) == NotYet("WMT", at(minutes), "opening_range")
    assert planned(rules, bars=bars, now_ms=at(minutes)).trigger_e4 == 100 * (10_010 + minutes)


def test_later_look_keeps_the_opening_range():
    bars = cents(*[(10_000, 10_010, 9_990, 10_000)] * 5, *[(10_000, 10_500, 9_990, 10_000)] * 200)
    assert planned(ORB, bars=bars, now_ms=at(200)).trigger_e4 == 100_1100


@given(
    price=st.integers(1, 5_000_000),
    atr=st.none() | st.integers(0, 200_000),
    stop=st.integers(1, 400_000),
    target=st.integers(100_000, 5_000_000),
    direction=st.sampled_from(Direction),
    setup=st.sampled_from([Setup.NEXT_OPEN, Setup.OPENING_RANGE_BREAK]),
)
def test_stops_and_targets_lie_on_the_grid_and_round_towards_the_entry(
    price, atr, stop, target, direction, setup
):
    rules = PlanningRules(classic_entry=setup, stop_e6=stop, target_r_e6=target)
    found = planned(
        rules,
        of=candidate(direction, last_price_e4=price, atr_e4=atr),
        bars=[bar(minute, price, price, price, price) for minute in range(5)],
        now_ms=at(5),
    )
    assume(isinstance(found, Plan))
    sign, entry = direction.sign, found.reference_e4
    widths = [entry * stop] + ([atr * 2_000_000] if atr else [])
    exact_stop_e10 = entry * 1_000_000 - sign * min(widths)
    exact_target_e10 = entry * 1_000_000 + sign * found.risk_per_share_e4 * target
    prices = [found.stop_e4, found.targets[0].price_e4]
    for planned_e4, exact_e10 in zip(prices, [exact_stop_e10, exact_target_e10], strict=True):
        tick = 100 if planned_e4 >= 10_000 else 1
        assert planned_e4 % tick == 0
        wider_e10 = abs(exact_e10 - entry * 1_000_000) - abs(planned_e4 - entry) * 1_000_000
        assert 0 <= wider_e10 < 100 * 1_000_000, "never wider, and less than a tick narrower"
    assert sign * found.stop_e4 < sign * entry < sign * found.targets[0].price_e4
    if found.trigger_e4 is not None:
        assert sign * price < sign * found.trigger_e4 <= sign * found.limit_e4
        assert abs(found.limit_e4 - found.trigger_e4) * 10 <= found.risk_per_share_e4


def test_default_rules_are_valid():
    rules = PlanningRules(trail_after_r_e6=1, trail_distance_atr_e6=1, time_stop_minutes=None)
    assert validate_planning(rules) is rules
    assert validate_planning(PlanningRules()) == PlanningRules()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preset", "modern"),
        ("classic_entry", Setup.VWAP_RECLAIM),
        ("setup", Setup.NEXT_OPEN),
        ("opening_range_minutes", 10),
        ("stop_e6", 0),
        ("stop_e6", 1_000_000),
        ("stop_atr_e6", 0),
        ("target_r_e6", 0),
        ("structure_stop_min_atr_e6", 0),
        ("structure_stop_min_atr_e6", 1_000_001),
        ("first_target_share_e6", 0),
        ("first_target_share_e6", 1_000_000),
        ("first_target_r_e6", 0),
        ("first_target_r_e6", 2_000_000),
        ("break_even_after_r_e6", 0),
        ("limit_slack_r_e6", -1),
        ("time_stop_minutes", 0),
        ("trail_after_r_e6", 0),
        ("trail_distance_atr_e6", -1),
    ],
)
def test_rule_that_cannot_work_is_named_with_its_value(field, value):
    with pytest.raises(SettingsValueError, match=f"planning.{field} is {value}; set it to"):
        validate_planning(replace(PlanningRules(), **{field: value}))


def test_trailing_is_set_whole_or_not_at_all():
    with pytest.raises(SettingsValueError, match="set both or none"):
        validate_planning(PlanningRules(trail_after_r_e6=1_000_000))
