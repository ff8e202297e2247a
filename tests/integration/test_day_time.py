"""When things happen: half days, both sides of a clock change, late scans, days without trades, the day's close."""

import json
from pathlib import Path

import pytest

from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, NEXT, Stage

WINTER, SUMMER, HALF = "2018-03-09", "2018-03-12", "2018-11-23"
PATIENT = {"planning": {"time_stop_minutes": None}}
FOUR = {
    "schedule": {
        "scans": [
            {"name": "watchlist", "at": "09:00", "kind": "watchlist"},
            {"name": "open", "at": "09:31", "kind": "plan"},
            {"name": "second-look", "at": "12:15", "kind": "second_look"},
        ]
    },
    **PATIENT,
}


async def test_half_day_is_flattened_before_its_own_close(home: Path) -> None:
    async with Stage(home, dates=(HALF,), half=(HALF,), settings=FOUR) as stage:
        stage.market.day("AAA", HALF)
        await stage.until("12:44")
        assert await stage.states(HALF) == {"AAA": "open"}
        await stage.until("12:46")
        assert await stage.states(HALF) == {"AAA": "closed flatten"}
        await stage.until("13:02")
        assert await stage.value("SELECT closed_at FROM day") == local(HALF, "13:02")
        await stage.finish()
        skipped = {ref: json.loads(data)["reason"] for ref, data in await stage.journal("scan_skipped")}
        assert skipped[f"{HALF}/second-look"] == "too close to the flatten ladder"
    assert violations(stage.path, is_day_over=True) == []


async def test_scan_is_at_half_past_nine_and_one_on_both_sides_of_a_clock_change(home: Path) -> None:
    async with Stage(home, dates=(WINTER, SUMMER)) as stage:
        stage.market.day("AAA", WINTER, {"09:45": (100, 110, 100, 108)})
        stage.market.day("AAA", SUMMER, {"09:45": (100, 110, 100, 108)})
        await stage.finish()
        rows = await stage.engine.database.read("SELECT session, as_of FROM scan ORDER BY session")
        assert rows == [(WINTER, local(WINTER, "09:31")), (SUMMER, local(SUMMER, "09:31"))]
        assert int(rows[1][1]) - int(rows[0][1]) == (72 - 1) * 3_600_000  # type: ignore[call-overload]
        assert await stage.value("SELECT count(*) FROM trade") == 2
    assert violations(stage.path, is_day_over=True) == []


@pytest.mark.parametrize(("woken_at", "is_run"), [("09:41", True), ("09:42", False)])
async def test_late_scan_runs_within_ten_minutes_and_is_skipped_later(
    home: Path, woken_at: str, is_run: bool
) -> None:
    """Asleep over 09:31: one tick brings everything missed."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.engine.driver.tick(local(DAY, "09:30"))
        await stage.quiet()
        await stage.engine.driver.tick(local(DAY, woken_at))
        await stage.quiet()
        skipped = [json.loads(data) for _, data in await stage.journal("scan_skipped")]
        assert (await stage.value("SELECT count(*) FROM scan") == 1) is is_run
        assert skipped == ([] if is_run else [{"reason": "missed by 11 min"}])
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_scan_too_near_to_the_ladder_is_skipped_and_told(home: Path) -> None:
    late = {"schedule": {"scans": [{"name": "late", "at": "14:46", "kind": "plan"}]}}
    async with Stage(home, settings=late) as stage:
        stage.market.day("AAA", DAY)
        await stage.finish()
        assert await stage.value("SELECT count(*) FROM scan") == 0
        ((ref, data),) = await stage.journal("scan_skipped")
        assert (ref, json.loads(data)["reason"]) == (f"{DAY}/late", "too close to the flatten ladder")


async def test_no_trade_day_scans_nothing_and_still_closes(home: Path) -> None:
    days = home / "days.csv"
    days.write_text(f"# holidays of the desk\n{DAY},fed\n")
    schedule = {"schedule": {**FOUR["schedule"], "no_trade_days": days}}
    async with Stage(home, settings=schedule) as stage:
        stage.market.day("AAA", DAY)
        await stage.finish()
        reasons = {json.loads(data)["reason"] for _, data in await stage.journal("scan_skipped")}
        assert reasons == {"no-trade day"}
        assert await stage.value("SELECT count(*) FROM day") == 1
    assert violations(stage.path, is_day_over=True) == []


async def test_watchlist_is_scored_and_plans_nothing(home: Path) -> None:
    async with Stage(home, settings=FOUR) as stage:
        stage.market.day("AAA", DAY)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        stage.market.bars[DAY, "AAA"] = [
            bar for bar in stage.market.bars[DAY, "AAA"] if bar.start_ms != local(DAY, "09:25")
        ]
        await stage.until("09:01")
        assert await stage.value("SELECT count(*) FROM scan WHERE kind = 'watchlist'") == 1
        assert await stage.plans() == []


async def test_second_look_at_a_quarter_past_twelve_enters_in_the_second_window(home: Path) -> None:
    async with Stage(home, settings=FOUR) as stage:
        stage.market.day("AAA", DAY, {"09:33": (100, 100, 96, 97)})
        stage.market.day("BBB", DAY, open_at=49, previous=48)
        await stage.until("12:14")
        stage.market.day("CCC", DAY, {"11:00": (50, 53, 50, 53)}, open_at=50, previous=45)
        await stage.until("12:17")
        assert (await stage.states())["CCC"] == "open"
        assert await stage.value("SELECT kind FROM scan WHERE tick = 'second-look'") == "second_look"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_lines_relative_to_open_and_close_follow_the_session(home: Path) -> None:
    relative = {
        "schedule": {
            "scans": [
                {"name": "early", "at": "open+1m", "kind": "plan"},
                {"name": "late", "at": "close-2h", "kind": "plan"},
            ]
        }
    }
    async with Stage(home, dates=(HALF,), half=(HALF,), settings=relative) as stage:
        stage.market.day("AAA", HALF)
        await stage.finish()
        rows = await stage.engine.database.read("SELECT tick, as_of FROM scan ORDER BY as_of")
        assert rows == [("early", local(HALF, "09:31")), ("late", local(HALF, "11:00"))]


async def test_next_ticks_are_told_by_name(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings=FOUR) as stage:
        names = [name for name, _ in stage.engine.schedule.upcoming(local(DAY, "12:00"), 7)]
        assert names == [
            "scan:second-look",
            *(f"flatten:{n}" for n in (1, 2, 3, 4)),
            "day_close",
            "scan:watchlist",
        ]
        assert stage.engine.schedule.next_ms(local(NEXT, "16:02")) is None


async def test_day_without_any_data_is_told_and_closed(home: Path) -> None:
    async with Stage(home) as stage:
        await stage.finish()
        ((_, data),) = await stage.journal("scan_skipped")
        assert "no bars for session" in data
        assert await stage.value("SELECT trades FROM day") == 0
    assert violations(stage.path, is_day_over=True) == []


async def test_day_close_ends_every_plan_in_exactly_one_state(home: Path) -> None:
    """One traded, one refused, one asked and never answered because its window is the whole day."""
    all_day = {
        **FOUR,
        "schedule": {**FOUR["schedule"], "entry_windows": [{"start": "09:30", "end": "17:00"}]},
        "approval": {"ttl_minutes": 240},
        "risk": {"max_open_positions": 2},
    }
    async with Stage(home, mode="approve", settings=all_day) as stage:
        for number, symbol in enumerate(("AAA", "BBB", "CCC")):
            stage.market.day(symbol, DAY, previous=95 - number)
        await stage.until("09:32")
        pending = [p for p in await stage.plans() if p.state == "pending"]
        assert len(pending) == 2
        await stage.answer(pending[0].plan.plan_id)
        await stage.finish()
        ended = sorted(f"{p.state} {p.reason}" for p in await stage.plans())
        assert len(ended) == 6
        assert not [
            line for line in ended if line.split()[0] in ("planned", "pending", "approved", "armed", "open")
        ]
        ((_, report),) = await stage.journal("day_report")
        assert sum(json.loads(report)["plans"].values()) == 6
    assert violations(stage.path, is_day_over=True) == []


async def test_day_close_expires_what_was_left_with_its_question(home: Path) -> None:
    """The ladder and the cut-off leave nothing that waits; the day's close does not rely on them."""
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("16:01")
        await stage.forge(
            "UPDATE plan SET state = 'pending'", "UPDATE approval SET state = 'pending', answered_at = NULL"
        )
        await stage.finish()
        assert await stage.states() == {"AAA": "expired day_over"}
        assert await stage.value("SELECT state FROM approval") == "expired"
    assert violations(stage.path, is_day_over=True) == []
