"""Preset structure: each setup's definition, the width of its stop, two targets and break-even."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.gap import Levels
from finagent.domain.market import Bar, Direction
from finagent.domain.planning import ExitLeg, NoPlan, NotYet, Plan, PlanningRules, Setup
from tests.unit.domain.plan_builders import at, bar, candidate, cents, mirrored, planned

AROUND_E4 = 100_0000
BASE = cents((10_000, 10_020, 9_980, 10_010), (10_010, 10_030, 9_990, 10_020))
IMPULSE = cents(
    (10_000, 10_040, 9_990, 10_035), (10_035, 10_100, 10_030, 10_090), (10_090, 10_090, 10_070, 10_075)
)
SHALLOW = [
    *IMPULSE[:2],
    bar(2, 100_9000, 100_9000, 100_8000, 100_9000),
    bar(3, 100_9000, 100_9000, 100_7500, 100_8000),
]
FALLING = cents((10_000, 10_000, 9_900, 9_990), *[(9_980, 9_990, 9_970, 9_980)] * 2)
PULLBACK = [*IMPULSE, bar(3, 100_7500, 100_8000, 100_6000, 100_7000)]
TREND = cents(*[(10_000 + 10 * i, 10_015 + 10 * i, 10_000 + 10 * i, 10_012 + 10 * i) for i in range(8)])
TOUCH = [*TREND, bar(8, 100_7000, 100_7500, 100_2000, 100_6000)]
CLOSE_BELOW = [*TREND, bar(8, 100_7000, 100_7500, 100_2000, 100_2000)]
BELOW = cents((10_000, 10_010, 9_950, 9_990), *[(9_980, 9_985, 9_960 - i, 9_965 - i) for i in range(3)])
RECLAIM = [*BELOW, bar(4, 99_7000, 100_2000, 99_6500, 100_1500)]
NO_TREND = [*RECLAIM, bar(5, 100_0000, 100_0000, 99_0000, 100_0000)]
SHORT_RUN = [BELOW[0], *[replace(each, start_ms=each.start_ms - 60_000) for each in RECLAIM[2:]]]
FADE = cents(*[(10_000, 10_020, 9_980, 10_000)] * 5)
LEVELS = {
    Setup.PREMARKET_BREAK: (BASE, 100_5100, 99_7900),
    Setup.FIRST_PULLBACK: (PULLBACK, 100_8100, 100_5900),
    Setup.VWAP_PULLBACK: (TOUCH, 100_7600, 100_1900),
    Setup.VWAP_RECLAIM: (RECLAIM, 100_2100, 99_5700),
    Setup.GAP_FILL_FADE: (FADE, 100_2100, 99_7900),
}
"""Bars, trigger and stop of each setup as a long."""


def rules(setup: Setup, **changes: object) -> PlanningRules:
    return replace(PlanningRules(preset="structure", setup=setup), structure_stop_min_atr_e6=1, **changes)


def seen(setup: Setup, direction: Direction = Direction.LONG, **changes: object):
    """A candidate with levels around 100, gapping against the trade for a fade."""
    sign = direction.sign
    levels = Levels(
        premarket_high_e4=100_5000, premarket_low_e4=99_5000, gap_fill_e4=AROUND_E4 + sign * 5_0000
    )
    gap_e6 = -sign * 50_000 if setup is Setup.GAP_FILL_FADE else sign * 50_000
    return candidate(direction, **{"as_of_ms": at(0), "gap_e6": gap_e6, "levels": levels, **changes})


def found(setup: Setup, bars, *, direction: Direction = Direction.LONG, **changes: object):
    of = changes.pop("of", seen(setup, direction))
    return planned(
        changes.pop("rules", rules(setup)),
        of=of,
        bars=bars,
        now_ms=changes.pop("now_ms", bars[-1].end_ms if bars else at(1)),
        **changes,
    )


@pytest.mark.parametrize("setup", LEVELS)
def test_setup_enters_one_tick_beyond_its_level_and_stops_one_tick_beyond_the_other(setup):
    bars, trigger_e4, stop_e4 = LEVELS[setup]
    plan = found(setup, bars)
    assert isinstance(plan, Plan)
    assert (plan.preset, plan.setup) == ("structure", setup)
    assert (plan.trigger_e4, plan.reference_e4, plan.stop_e4) == (trigger_e4, trigger_e4, stop_e4)


@pytest.mark.parametrize("setup", LEVELS)
def test_short_is_the_mirror_image_of_the_long(setup):
    bars, trigger_e4, stop_e4 = LEVELS[setup]
    plan = found(setup, mirrored(bars, AROUND_E4), direction=Direction.SHORT)
    assert (plan.trigger_e4, plan.stop_e4) == (2 * AROUND_E4 - trigger_e4, 2 * AROUND_E4 - stop_e4)


def test_half_comes_off_at_1_r_the_rest_at_2_r_and_the_stop_goes_to_break_even():
    plan = found(Setup.PREMARKET_BREAK, BASE)
    assert plan.targets == (
        ExitLeg(leg="target-1", share_e6=500_000, price_e4=101_2300),
        ExitLeg(leg="target-2", share_e6=500_000, price_e4=101_9500),
    )
    assert plan.management.break_even_after_r_e6 == 1_000_000
    assert plan.limit_e4 == 100_5800


@pytest.mark.parametrize(
    ("atr_e4", "reason"),
    [
        (7199, "stop_too_wide"),
        (7200, None),
        (2_8800, None),
        (2_8801, "stop_too_tight"),
        (None, "no_atr"),
        (0, "no_atr"),
    ],
)
def test_stop_is_between_a_quarter_and_one_atr_wide(atr_e4, reason):
    """The stop is 0.72 wide."""
    setup = Setup.PREMARKET_BREAK
    plan = found(
        setup, BASE, of=seen(setup, atr_e4=atr_e4), rules=PlanningRules(preset="structure", setup=setup)
    )
    assert (plan.reason if isinstance(plan, NoPlan) else None) == reason


@pytest.mark.parametrize(
    ("setup", "bars", "reason"),
    [
        (Setup.PREMARKET_BREAK, [], "before_open"),
        (Setup.PREMARKET_BREAK, cents((10_000, 10_100, 9_990, 10_051)), "beyond_level"),
        (Setup.FIRST_PULLBACK, [], "before_open"),
        (Setup.FIRST_PULLBACK, IMPULSE[:2], "no_pullback"),
        (Setup.FIRST_PULLBACK, IMPULSE, "no_pullback"),
        (Setup.FIRST_PULLBACK, SHALLOW, "no_pullback"),
        (
            Setup.FIRST_PULLBACK,
            FALLING,
            "no_pullback",
        ),
        (Setup.VWAP_PULLBACK, [], "too_few_bars"),
        (Setup.VWAP_PULLBACK, TREND[:5], "too_few_bars"),
        (Setup.VWAP_PULLBACK, TREND, "no_pullback"),
        (Setup.VWAP_PULLBACK, CLOSE_BELOW, "no_pullback"),
        (
            Setup.VWAP_PULLBACK,
            NO_TREND,
            "no_pullback",
        ),
        (Setup.VWAP_RECLAIM, [], "below_vwap"),
        (Setup.VWAP_RECLAIM, BELOW, "below_vwap"),
        (Setup.VWAP_RECLAIM, TREND, "no_reclaim"),
        (
            Setup.VWAP_RECLAIM,
            SHORT_RUN,
            "no_reclaim",
        ),
        (Setup.GAP_FILL_FADE, FADE[:4], "opening_range"),
        (Setup.GAP_FILL_FADE, [*FADE, bar(5, 100_0000, 100_5000, 100_0000, 100_3000)], "beyond_level"),
    ],
)
def test_pattern_that_is_not_there_is_asked_for_again_at_the_next_minute_end(setup, bars, reason):
    end_ms = bars[-1].end_ms if bars else at(1)
    assert found(setup, bars) == NotYet("WMT", end_ms + 60_000, reason)


def test_planner_waits_for_the_first_bar_before_the_open():
    assert found(Setup.PREMARKET_BREAK, [], now_ms=at(-5)) == NotYet("WMT", at(1), "before_open")


def test_next_minute_end_is_one_of_the_clock():
    waiting = found(Setup.VWAP_RECLAIM, BELOW, now_ms=at(4) + 250)
    assert waiting == NotYet("WMT", at(5), "below_vwap")


def test_pattern_that_did_not_come_waits_for_the_next_window_and_then_gives_up():
    late = {"windows": [(at(0), at(5)), (at(30), at(40))]}
    assert found(Setup.VWAP_RECLAIM, BELOW, now_ms=at(4), **late) == NotYet("WMT", at(30), "below_vwap")
    assert found(Setup.VWAP_RECLAIM, BELOW, now_ms=at(39), **late) == NoPlan(
        "WMT", "no_setup", "below_vwap until the entry cut-off"
    )


DEEP = [*IMPULSE, bar(3, 100_7500, 100_8000, 100_4400, 100_5000)]
AGAIN = [*PULLBACK, bar(4, 100_7000, 101_5000, 100_7000, 101_4000)]


@pytest.mark.parametrize(
    ("setup", "bars", "reason", "changes"),
    [
        (Setup.PREMARKET_BREAK, BASE, "no_level", {"levels": Levels()}),
        (Setup.FIRST_PULLBACK, DEEP, "no_setup", {}),
        (Setup.FIRST_PULLBACK, AGAIN, "no_setup", {}),
        (Setup.GAP_FILL_FADE, FADE, "no_setup", {"gap_e6": 50_000}),
        (Setup.GAP_FILL_FADE, FADE, "no_level", {"levels": Levels()}),
        (Setup.GAP_FILL_FADE, [bar(6, 100_0000, 100_1000, 99_9000, 100_0000)], "no_level", {}),
        (Setup.GAP_FILL_FADE, FADE, "no_setup", {"levels": Levels(gap_fill_e4=100_2000)}),
        (Setup.GAP_FILL_FADE, FADE, "no_room", {"levels": Levels(gap_fill_e4=100_6000)}),
    ],
)
def test_pattern_that_cannot_come_is_no_plan(setup, bars, reason, changes):
    plan = found(setup, bars, of=replace(seen(setup), **changes))
    assert isinstance(plan, NoPlan)
    assert plan.reason == reason


def test_fade_whose_stop_was_already_passed_is_no_plan():
    """The stop lies a tick below the day's low, so only an unseen price can be beyond it."""
    setup = Setup.GAP_FILL_FADE
    of = seen(setup, as_of_ms=at(6), last_price_e4=99_0000)
    plan = found(setup, FADE, of=of, now_ms=at(6))
    assert plan.reason == "past_stop"


def test_new_high_without_a_pullback_starts_the_impulse_anew():
    bars = cents(
        (10_000, 10_040, 9_990, 10_035), (10_035, 10_035, 10_020, 10_030), (10_030, 10_100, 10_030, 10_090)
    )
    pulled = [*bars, bar(3, 1, 100_9000, 100_6500, 1), bar(4, 1, 100_8000, 100_6000, 1)]
    plan = found(Setup.FIRST_PULLBACK, [replace(each, close_e4=each.low_e4) for each in pulled])
    assert (plan.trigger_e4, plan.stop_e4) == (100_8100, 100_5900)


def made(minute: int, middle: int, up: int, down: int, share: int) -> Bar:
    """A bar around ``middle`` cents that closes ``share`` % of its range below its high."""
    close = 100 * (middle + up - (up + down) * share // 100)
    return bar(minute, 100 * middle, 100 * (middle + up), 100 * (middle - down), close)


SHAPES = st.tuples(st.integers(9_800, 10_200), st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
BARS = st.lists(SHAPES, max_size=12).map(
    lambda rows: [made(minute, *shape) for minute, shape in enumerate(rows)]
)


@given(BARS, st.sampled_from(sorted(LEVELS)), st.sampled_from(Direction))
def test_any_plan_keeps_its_prices_in_order(bars, setup, direction):
    plan = found(setup, bars, direction=direction, now_ms=at(12))
    if isinstance(plan, NotYet):
        assert plan.at_ms == at(13)
    if not isinstance(plan, Plan):
        return
    sign = direction.sign
    prices = [plan.stop_e4, plan.trigger_e4, *(leg.price_e4 for leg in plan.targets)]
    assert [sign * price for price in prices] == sorted(sign * price for price in prices)
    assert all(price % 100 == 0 for price in prices)
    assert plan.risk_per_share_e4 <= 2_0000
    assert all(leg.share_e6 == 500_000 for leg in plan.targets)


@given(BARS, BARS, st.sampled_from(sorted(LEVELS)))
def test_what_comes_later_changes_no_plan(bars, later, setup):
    future = [replace(each, start_ms=each.start_ms + 12 * 60_000) for each in later]
    assert found(setup, bars, now_ms=at(12)) == found(setup, [*bars, *future], now_ms=at(12))
