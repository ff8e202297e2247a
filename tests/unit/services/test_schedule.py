"""The day's lines as pure arithmetic: instants, ladders, windows, and what is skipped."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.queue.scheduler import CronLineError
from finagent.services.schedule import DaySchedule, ScanTime, ScheduleRules, entry_windows, local_ms, without
from tests.integration.services.market import ScriptedCalendar, local

DAY, NEXT, HALF = "2018-02-20", "2018-02-21", "2018-11-23"
ZONE = "America/New_York"
CALENDAR = ScriptedCalendar(DAY, NEXT, HALF, half=(HALF,))


def schedule(*scans: str, day_close: str = "close+2m", **more: object) -> DaySchedule:
    return DaySchedule(
        CALENDAR,
        ScheduleRules(
            zone=ZONE,
            scans=tuple(ScanTime(name=f"s{n}", when=when, kind="plan") for n, when in enumerate(scans)),
            flatten=("close-15m", "close-2m"),
            day_close=day_close,
            misfire_ms=600_000,
            min_before_flatten_ms=3_600_000,
            **more,  # type: ignore[arg-type]
        ),
    )


def test_wall_times_relative_ones_and_cron_fields_name_the_same_instant() -> None:
    for when in ("09:31", "open+1m", "31 9 * * 1-5", "close-6h29m"):
        assert schedule(when).next_ms(local(DAY, "09:30")) == local(DAY, "09:31")


def test_wrong_line_is_refused_by_name() -> None:
    with pytest.raises(CronLineError, match="scan:s0"):
        schedule("25:99")


def test_days_without_a_session_have_no_ticks() -> None:
    """After the 21st the next session is the half day in November."""
    assert schedule("09:00").next_ms(local(NEXT, "17:00")) == local(HALF, "09:00")
    assert schedule("09:31").next_ms(local(HALF, "17:00")) is None
    assert schedule("09:31").due(local(NEXT, "17:00"), local("2018-02-23", "17:00"), now_ms=0) == []


def test_line_that_fires_every_minute_finds_the_next_session_over_any_holiday() -> None:
    """Thousands of ticks lie between two sessions; none of them may end the search."""
    assert schedule("*/1 * * * *").next_ms(local(NEXT, "23:59")) == local(HALF, "00:00")


def test_ladder_hangs_on_the_real_close() -> None:
    half = CALENDAR.session(HALF)
    assert half is not None
    assert schedule("09:31").flatten_start_ms(half) == local(HALF, "12:45")


def test_due_ticks_come_in_order_with_their_jobs() -> None:
    due = schedule("09:31").due(local(DAY, "09:30"), local(DAY, "16:02"), now_ms=local(DAY, "09:31"))
    assert [(each.tick.name, [job.type for job in each.jobs]) for each in due] == [
        ("scan:s0", ["scan"]),
        ("flatten:1", ["flatten"]),
        ("flatten:2", ["flatten"]),
        ("day_close", ["reconcile", "day_close"]),
    ]
    assert len({job.idem_key for each in due for job in each.jobs if job.type == "flatten"}) == 2


def test_tick_is_due_once_whatever_the_slices() -> None:
    """Between two instants the first is excluded and the last included: no tick twice, none lost."""
    day = schedule("09:31", "12:15")
    whole = day.due(local(DAY, "00:00"), local(DAY, "23:00"), now_ms=0)
    sliced = []
    cuts = [local(DAY, time) for time in ("00:00", "09:30", "09:31", "12:00", "15:45", "16:02", "23:00")]
    for first, then in pairwise(cuts):
        sliced += day.due(first, then, now_ms=0)
    assert sliced == list(whole)


@pytest.mark.parametrize(
    ("now", "skipped"), [("09:41", None), ("09:42", "missed by 11 min"), ("14:46", "missed by 315 min")]
)
def test_late_scan_is_skipped_with_its_reason(now: str, skipped: str | None) -> None:
    (scan,) = schedule("09:31").due(local(DAY, "09:30"), local(DAY, "09:31"), now_ms=local(DAY, now))
    assert (scan.skipped, bool(scan.jobs)) == (skipped, skipped is None)


def test_late_flatten_and_day_close_are_never_skipped() -> None:
    due = schedule("09:31").due(local(DAY, "15:00"), local(DAY, "17:00"), now_ms=local(NEXT, "09:00"))
    assert [each.skipped for each in due] == [None, None, None]
    assert all(each.jobs for each in due)


def test_windows_are_cut_at_the_close_and_dropped_behind_it() -> None:
    half = CALENDAR.session(HALF)
    assert half is not None
    assert entry_windows(half, [("09:30", "11:00"), ("12:15", "14:00"), ("14:30", "15:00")], ZONE) == [
        (local(HALF, "09:30"), local(HALF, "11:00")),
        (local(HALF, "12:15"), local(HALF, "13:00")),
    ]


def test_no_trade_window_is_cut_out_of_the_days_entry_windows() -> None:
    day = CALENDAR.session(DAY)
    assert day is not None
    rules = schedule(
        "09:31",
        entry_windows=(("09:30", "11:00"), ("12:15", "15:50")),
        no_trade_windows=((DAY, "10:00", "10:30"), (DAY, "15:00", "16:00"), (NEXT, "09:30", "16:00")),
    )
    assert rules.entry_windows(day) == [
        (local(DAY, "09:30"), local(DAY, "10:00")),
        (local(DAY, "10:30"), local(DAY, "11:00")),
        (local(DAY, "12:15"), local(DAY, "15:00")),
    ]
    seen = [rules.is_no_trade(day, local(DAY, time)) for time in ("09:59", "10:00", "10:29", "10:30")]
    assert seen == [False, True, True, False]
    following = CALENDAR.session(NEXT)
    assert following is not None
    assert rules.entry_windows(following) == []


def test_no_trade_day_has_no_entry_window_at_all() -> None:
    day = CALENDAR.session(DAY)
    assert day is not None
    rules = schedule("09:31", entry_windows=(("09:30", "11:00"),), no_trade_days=(DAY,))
    assert rules.entry_windows(day) == []
    assert rules.is_no_trade(day, local(DAY, "12:00"))


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1])))


@given(SPANS, SPANS)
def test_what_is_cut_out_is_gone_and_the_rest_stays(
    windows: list[tuple[int, int]], cuts: list[tuple[int, int]]
) -> None:
    def covered(spans: list[tuple[int, int]]) -> set[int]:
        return {instant for start, end in spans for instant in range(start, end)}

    left = without(windows, cuts)
    assert covered(left) == covered(windows) - covered(cuts)
    assert all(start < end for start, end in left)


def test_local_time_follows_the_clock_change() -> None:
    assert local_ms("2018-03-12", "09:31", ZONE) - local_ms("2018-03-09", "09:31", ZONE) == 71 * 3_600_000
