"""What the clock and the market make due, and the same again from what the journal kept."""

import json
from dataclasses import replace

import pytest

from finagent.domain.book import OpenPosition
from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import resolved
from finagent.domain.legs import EXIT
from finagent.domain.market import Side
from finagent.domain.orders import OwnOrder
from finagent.domain.plan import Management
from finagent.domain.risk import standard_profile
from finagent.domain.steps import Step
from finagent.domain.watch import (
    ArmedWatch,
    Due,
    LimitWatch,
    PositionWatch,
    ScanWatch,
    Watch,
    watch_again,
    watch_evidence,
)
from tests.unit.domain.plan_builders import OPEN_MS, at, bar
from tests.unit.domain.test_book import book, fill, held, plan_of
from tests.unit.domain.test_protection import PLAN, entry, leave, stop

ARMED = plan_of(trigger_e4=1_010_000, limit_e4=1_012_000, entry_until_ms=at(60))
MANAGED = plan_of(
    management=Management(
        break_even_after_r_e6=1_000_000,
        trail_after_r_e6=1_500_000,
        trail_distance_e4=15_000,
        time_stop_minutes=30,
    )
)
HELD = held(MANAGED, replace(fill(MANAGED, 100, 1_000_000), at_ms=at(1)))
TOUCHED = bar(4, 1_000_000, 1_100_000, 990_000, 1_090_000)


def again(watch: Watch, due: Due) -> Due | None:
    """The decision from the watch's evidence alone, read back from its texts."""
    evidence = watch_evidence(watch, due, code="test")
    head = json.loads(evidence.texts[evidence.head])
    assert head["jobs"] == json.loads(json.dumps([job.told() for job in due.jobs]))
    inputs = resolved(head["inputs"], lambda name: json.loads(evidence.texts[name]))
    return watch_again(head["watch"], inputs)


def decided(watch: Watch) -> Due:
    due = watch.decide()
    assert due is not None
    assert again(watch, due) == due
    return due


def test_armed_plan_is_executed_when_its_trigger_was_touched_and_not_chased_later() -> None:
    touched = bar(2, 1_005_000, 1_011_000, 1_004_000, 1_010_500)
    now = ArmedWatch(plan=ARMED, bar=touched, at_ms=at(3), now_ms=at(3))
    due = decided(now)
    assert (due.kind, due.data["is_seen_late"], due.jobs[0].step) == ("trigger", False, Step.EXECUTE)
    late = decided(replace(now, now_ms=at(5)))
    assert (late.data["is_seen_late"], late.jobs[0].step, late.jobs[0].payload["reason"]) == (
        True,
        Step.PLAN_EXPIRY,
        "trigger_passed_unseen",
    )
    assert replace(now, bar=None).decide() is None
    assert replace(now, at_ms=at(60)).decide() is None


def test_time_exit_and_moved_stop_follow_the_bars_since_the_entry() -> None:
    quiet = tuple(bar(minute, 1_000_000, 1_001_000, 999_000, 1_000_500) for minute in range(1, 40))
    watch = PositionWatch(held=HELD, bar=quiet[30], bars=quiet[:31], at_ms=at(32))
    due = decided(watch)
    assert [(job.step, job.key) for job in due.jobs] == [(Step.EXIT, f"{MANAGED.plan_id}/time")]
    asked_again = decided(replace(watch, has_timed_keys=True))
    assert asked_again.jobs[0].key == f"{MANAGED.plan_id}/time@{at(32)}"
    rising = (bar(2, 1_000_000, 1_045_000, 1_000_000, 1_040_000),)
    moved = decided(PositionWatch(held=HELD, bar=rising[0], bars=rising, at_ms=at(3)))
    assert moved.jobs[0].step is Step.MOVE_STOP
    assert moved.data["due"] == [["move_stop", "trailing"]]
    assert PositionWatch(held=HELD, bar=None, bars=(), at_ms=at(3)).decide() is None
    assert PositionWatch(held=HELD, bar=quiet[0], bars=quiet[:1], at_ms=at(3)).decide() is None


def test_exit_heard_before_its_entry_leaves_nothing_to_manage() -> None:
    sold = held(MANAGED, replace(fill(MANAGED, 100, 970_000), side=Side.SELL, at_ms=at(1)))
    bars = tuple(bar(minute, 1_000_000, 1_001_000, 999_000, 1_000_500) for minute in range(1, 40))
    assert PositionWatch(held=sold, bar=bars[-1], bars=bars, at_ms=at(41)).decide() is None


def _watched(*orders: OwnOrder, has_bar: bool = True) -> PositionWatch:
    opened = OpenPosition(position=HELD.position, plan=PLAN, stop_e4=PLAN.stop_e4)
    bars = (TOUCHED,) if has_bar else ()
    return PositionWatch(
        held=opened, bar=TOUCHED if has_bar else None, bars=bars, at_ms=at(5), orders=tuple(orders)
    )


def test_targets_and_a_missing_stop_are_seen_where_the_broker_has_no_attached_exits() -> None:
    due = decided(_watched(entry(100), stop(100)))
    assert (due.jobs[0].step, due.jobs[0].payload["legs"]) == (Step.EXIT, ["target-1", "target-2"])
    bare = decided(_watched(entry(100), has_bar=False))
    assert (bare.jobs[0].step, bare.data["due"]) == (Step.PROTECT, [["protect"]])
    assert _watched(entry(100), stop(100), leave(100, EXIT)).decide() is None
    attached = replace(stop(100), intent=replace(stop(100).intent, parent_id="entry"))
    assert _watched(entry(100), attached).decide() is None


def test_halt_leaves_a_look_at_the_stop() -> None:
    watch = replace(_watched(entry(100), stop(100), has_bar=False), is_halt=True)
    due = decided(watch)
    (job,) = due.jobs
    assert (job.step, job.payload["since_ms"], due.data["due"]) == (Step.HALT_CHECK, at(5), [["halt_check"]])


def test_loss_of_the_day_counts_fills_that_no_job_has_folded() -> None:
    plan = plan_of()
    bought, sold = fill(plan, 1_000, 1_000_000), fill(plan, 1_000, 970_000, opens=False)
    watch = LimitWatch(
        book=book(), fills=((plan, bought), (plan, sold)), marks_e4={}, profile=standard_profile()
    )
    due = decided(watch)
    assert (due.ref, due.data["tiers"]) == (f"{watch.book.session}/limit", ["flatten"])
    opened = LimitWatch(
        book=book(positions=(held(plan, bought),)), fills=((plan, sold),), marks_e4={}, profile=watch.profile
    )
    assert decided(opened).data == due.data
    assert replace(watch, fills=()).decide() is None


def test_breakers_stand_beside_the_tiers() -> None:
    profile = replace(standard_profile(), max_losses_in_a_row=2)
    watch = LimitWatch(book=book(losses_in_a_row=2, rearmed_at_ms=7), fills=(), marks_e4={}, profile=profile)
    assert [job.key for job in decided(watch).jobs] == [f"{watch.book.session}/losses_in_a_row/7"]


SCAN = ScanWatch(
    session="2018-02-20",
    tick="open",
    late_ms=0,
    misfire_ms=600_000,
    to_flatten_ms=9_000_000,
    min_before_flatten_ms=3_600_000,
    is_no_trade_day=False,
)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"late_ms": 660_000}, "missed by 11 min"),
        ({"is_no_trade_day": True}, "no-trade day"),
        ({"to_flatten_ms": 3_599_999}, "too close to the flatten ladder"),
    ],
)
def test_scan_is_skipped_with_its_reason(changes: dict[str, int], reason: str) -> None:
    due = decided(replace(SCAN, **changes))  # type: ignore[arg-type]  # of the right types
    assert (due.kind, due.ref, due.data) == ("scan_skipped", "2018-02-20/open", {"reason": reason})


def test_scan_in_time_is_not_skipped() -> None:
    assert SCAN.decide() is None


def test_a_watch_of_another_program_is_refused() -> None:
    with pytest.raises(PlainDataError, match="has no MoonWatch"):
        watch_again("MoonWatch", {})
    with pytest.raises(PlainDataError):
        watch_again("ScanWatch", {"session": OPEN_MS})
