"""Cron lines in exchange time: DST, relative lines, misfires."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.queue.port import CronTick
from finagent.queue.scheduler import CronLine, CronLineError, CronScheduler, grace

NEW_YORK = ZoneInfo("America/New_York")


def utc_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, NEW_YORK).strftime("%m-%d %H:%M %Z")


def fires(when: str, after: str, until: str) -> list[str]:
    scheduler = CronScheduler([CronLine(name="a", when=when)])
    return [local(tick.fire_at_ms) for tick in scheduler.between(utc_ms(after), utc_ms(until))]


def session_edge(anchor: str, day: str) -> int | None:
    """Sessions on 6 and 7 July 2020 only, the second a half day."""
    edges = {
        ("open", "2020-07-06"): "2020-07-06 13:30",
        ("close", "2020-07-06"): "2020-07-06 20:00",
        ("open", "2020-07-07"): "2020-07-07 13:30",
        ("close", "2020-07-07"): "2020-07-07 17:00",
    }
    return utc_ms(edges[anchor, day]) if (anchor, day) in edges else None


def test_line_fires_at_its_local_time_in_winter_and_summer() -> None:
    assert fires("25 9 * * 1-5", "2024-01-05 12:00", "2024-01-08 23:00") == [
        "01-05 09:25 EST",
        "01-08 09:25 EST",
    ]
    assert fires("25 9 * * 1-5", "2024-07-05 12:00", "2024-07-05 23:00") == ["07-05 09:25 EDT"]


def test_time_that_does_not_exist_fires_once_at_the_shifted_instant() -> None:
    assert fires("30 2 * * *", "2024-03-09 12:00", "2024-03-11 12:00") == [
        "03-10 03:30 EDT",
        "03-11 02:30 EDT",
    ]
    assert fires("*/30 2 * * *", "2024-03-10 05:00", "2024-03-10 12:00") == [
        "03-10 03:00 EDT",
        "03-10 03:30 EDT",
    ]
    assert fires("0,30 2,3 * * *", "2024-03-10 05:00", "2024-03-10 12:00") == [
        "03-10 03:00 EDT",
        "03-10 03:30 EDT",
    ]


def test_time_that_exists_twice_fires_once_at_its_first() -> None:
    assert fires("30 1 * * *", "2024-11-03 04:00", "2024-11-04 05:00") == ["11-03 01:30 EDT"]
    assert fires("*/30 1 * * *", "2024-11-03 04:00", "2024-11-03 12:00") == [
        "11-03 01:00 EDT",
        "11-03 01:30 EDT",
    ]


def test_line_of_every_hour_runs_through_real_hours() -> None:
    assert fires("0 * * * *", "2024-11-03 04:30", "2024-11-03 07:30") == [
        "11-03 01:00 EDT",
        "11-03 01:00 EST",
        "11-03 02:00 EST",
    ]


def test_lines_relative_to_open_and_close_follow_the_sessions() -> None:
    lines = [CronLine(name="early", when="open-30m"), CronLine(name="flatten", when="close-3h45m")]
    scheduler = CronScheduler(lines, resolve=session_edge)
    ticks = list(scheduler.between(utc_ms("2020-07-05 00:00"), utc_ms("2020-07-30 00:00")))
    assert [(tick.name, local(tick.fire_at_ms)) for tick in ticks] == [
        ("early", "07-06 09:00 EDT"),
        ("flatten", "07-06 12:15 EDT"),
        ("early", "07-07 09:00 EDT"),
        ("flatten", "07-07 09:15 EDT"),
    ]
    assert scheduler.next_after(utc_ms("2020-07-30 00:00")) == []


def test_ticks_of_one_instant_come_together_in_the_order_of_the_lines() -> None:
    lines = [
        CronLine(name="b", when="0 9 * * *"),
        CronLine(name="a", when="open+30m"),
        CronLine(name="c", when="open"),
    ]
    scheduler = CronScheduler(lines, resolve=session_edge)
    assert scheduler.names == ("b", "a", "c")
    assert [tick.name for tick in scheduler.next_after(utc_ms("2020-07-06 13:00"))] == ["c"]
    assert [tick.name for tick in scheduler.next_after(utc_ms("2020-07-06 12:00"))] == ["b"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (CronLine(name="a", when="61 9 * * *"), "Bad minute"),
        (CronLine(name="a", when="0 0 30 2 *"), "day-of-month"),
        (CronLine(name="a", when="* * * * * *"), "five"),
        (CronLine(name="a", when="open-"), "write five"),
        (CronLine(name="a", when="open-30m"), "no session calendar"),
        (CronLine(name="a", when="0 9 * * *", zone="Mars/Base"), "Mars/Base"),
    ],
)
def test_line_that_cannot_be_read_is_refused_with_its_mend(line: CronLine, text: str) -> None:
    with pytest.raises(CronLineError, match=text):
        CronScheduler([line])


def test_two_lines_of_one_name_are_refused() -> None:
    with pytest.raises(CronLineError, match="rename one"):
        CronScheduler([CronLine(name="a", when="0 9 * * *")] * 2)


@given(
    st.integers(utc_ms("2024-01-01"), utc_ms("2025-01-01")),
    st.sampled_from(["30 2 * * *", "15 1,2 * * 0", "0 * * * *"]),
)
def test_next_tick_lies_after_and_no_tick_lies_between(after_ms: int, when: str) -> None:
    scheduler = CronScheduler([CronLine(name="a", when=when)])
    (tick,) = scheduler.next_after(after_ms)
    assert tick.fire_at_ms > after_ms
    assert scheduler.next_after(tick.fire_at_ms - 1) == [tick]


def test_grace_runs_a_late_tick_and_skips_a_later_one() -> None:
    judge = grace(600_000)
    tick = CronTick(name="a", fire_at_ms=0)
    assert judge(tick, 600_000) is None
    assert judge(tick, 600_001) == "missed by 600 s, grace is 600 s"
