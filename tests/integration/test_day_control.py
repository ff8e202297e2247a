"""What stops trading: people's switches, the day's loss, limits in rank; entries end, exits never do."""

import json
from pathlib import Path

import pytest

from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, NEXT, Stage

SCANS = {
    "schedule": {
        "scans": [
            {"name": "open", "at": "09:31", "kind": "plan"},
            {"name": "second-look", "at": "12:15", "kind": "second_look"},
        ]
    },
    "planning": {"time_stop_minutes": None},
}
BOLD = {"risk": {"risk_per_trade_pct": 1.5, "max_position_pct": 100}, "planning": {"time_stop_minutes": None}}
"""444 shares: the flatten limit of 2,000 holds a loss of 4.50 a share."""


async def test_pause_blocks_entries_and_lets_exits_go_on(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY, {"10:00": (100, 100, 96, 96)})
        await stage.until("09:40")
        await stage.control.pause(reason="lunch", identity="ann")
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.finish()
        assert next((p.plan.symbol, p.state, p.reason) for p in await stage.plans()) == (
            "AAA",
            "closed",
            "stop",
        )
        assert (await stage.states())["BBB"] == "refused paused"
    assert violations(stage.path, is_day_over=True) == []


async def test_resume_lets_entries_in_again(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY)
        await stage.control.pause(reason="lunch", identity="ann")
        await stage.until("10:00")
        assert await stage.states() == {"AAA": "refused paused"}
        assert await stage.control.resume(identity="ann") is None
        await stage.until("12:16")
        assert await stage.states() == {"AAA": "open"}


async def test_resume_undoes_only_a_persons_pause(home: Path) -> None:
    async with Stage(home, settings=BOLD) as stage:
        stage.market.day("AAA", DAY, {"10:00": (96.4, 96.4, 96.4, 96.4)})
        await stage.until("10:02")
        control = await stage.engine.store.control()
        assert (control.is_paused, control.paused_by, control.needs_rearm) == (True, "risk", False)
        await stage.control.pause(reason="me too", identity="ann")
        assert await stage.control.resume(identity="ann") == "daily loss pause"
        assert (await stage.engine.store.control()).is_paused


@pytest.mark.parametrize("how", ["pause", "flatten"])
async def test_persons_pause_beside_the_days_loss_outlives_the_session(home: Path, how: str) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings=BOLD) as stage:
        stage.market.day("AAA", DAY, {"10:00": (96.4, 96.4, 96.4, 96.4)})
        stage.market.day("AAA", NEXT, previous=95)
        await stage.until("10:02")
        assert (await stage.engine.store.control()).paused_by == "risk"
        if how == "pause":
            await stage.control.pause(reason="holiday", identity="ann")
        else:
            await stage.control.flatten(symbol=None, identity="ann", pause_reason="holiday")
        await stage.until("16:05")
        control = await stage.engine.store.control()
        assert (control.is_paused, control.paused_by, control.pause_reason) == (True, "person", "holiday")
        await stage.finish()
        assert await stage.states(NEXT) == {"AAA": "refused paused"}
    assert violations(stage.path, is_day_over=True) == []


async def test_daily_loss_pauses_first_and_the_next_day_starts_free(home: Path) -> None:
    """A gap to 96.40 loses 1,598: over 1.5 % and under 2 %."""
    async with Stage(home, dates=(DAY, NEXT), settings=BOLD) as stage:
        stage.market.day("AAA", DAY, {"10:00": (96.4, 96.4, 96.4, 96.4)})
        stage.market.day("AAA", NEXT, previous=95)
        await stage.until("16:01")
        assert [data for _, data in await stage.journal("limit")] == ['{"tier":"pause"}']
        await stage.until("16:05")
        assert not (await stage.engine.store.control()).is_paused
        await stage.finish()
        assert await stage.states(NEXT) == {"AAA": "closed flatten"}
    assert violations(stage.path, is_day_over=True) == []


async def test_daily_loss_beyond_the_limit_flattens_everything_else(home: Path) -> None:
    """AAA gaps to 90 and loses 4,440; BBB, untouched, is closed at the next open."""
    both = {
        "risk": {"risk_per_trade_pct": 0.7, "max_position_pct": 40},
        "planning": {"time_stop_minutes": None},
    }
    async with Stage(home, settings=both) as stage:
        stage.market.day("AAA", DAY, {"10:00": (88, 88, 88, 88)})
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("10:03")
        control = await stage.engine.store.control()
        assert (control.is_paused, control.needs_rearm, control.paused_by) == (True, True, "risk")
        assert await stage.states() == {"AAA": "closed stop", "BBB": "closed flatten"}
        assert [data for _, data in await stage.journal("limit")] == ['{"tier":"flatten"}']
        assert await stage.control.resume(identity="ann") == "rearm_needed"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_open_loss_counts_before_anything_is_sold(home: Path) -> None:
    """The stop at 97 has not been touched, the open loss of two positions already reaches the pause."""
    bold = {**BOLD, "risk": {**BOLD["risk"], "pause_loss_pct": 0.5}}
    async with Stage(home, settings=bold) as stage:
        stage.market.day("AAA", DAY, {"10:00": (97.5, 97.5, 97.5, 97.5)})
        await stage.until("10:01")
        assert (await stage.engine.store.control()).pause_reason == "daily loss pause"
        assert await stage.states() == {"AAA": "open"}


async def test_simulated_day_after_a_loss_limit_starts_armed(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings=BOLD) as stage:
        stage.market.day("AAA", DAY, {"10:00": (88, 88, 88, 88)})
        stage.market.day("AAA", NEXT, previous=95)
        await stage.until("16:05")
        control = await stage.engine.store.control()
        assert (control.needs_rearm, control.is_paused) == (False, False)
        await stage.finish()
        assert await stage.states(NEXT) == {"AAA": "closed flatten"}
    assert violations(stage.path, is_day_over=True) == []


async def test_live_loss_limit_waits_for_a_person(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings=BOLD, is_live=True) as stage:
        stage.market.day("AAA", DAY, {"10:00": (88, 88, 88, 88)})
        stage.market.day("AAA", NEXT, previous=95)
        await stage.until("09:32", NEXT)
        assert await stage.states(NEXT) == {"AAA": "refused entry_gate"}
        await stage.control.rearm(identity="ann")
        control = await stage.engine.store.control()
        assert (control.needs_rearm, control.is_paused, control.is_killed) == (False, False, False)
        await stage.finish()


async def test_loss_limit_leaves_a_persons_pause_a_persons(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings=BOLD) as stage:
        stage.market.day("AAA", DAY, {"10:00": (88, 88, 88, 88)})
        stage.market.day("AAA", NEXT, previous=95)
        await stage.until("09:50")
        await stage.control.pause(reason="holiday", identity="ann")
        await stage.until("09:32", NEXT)
        control = await stage.engine.store.control()
        assert (control.is_paused, control.pause_reason, control.paused_by) == (True, "holiday", "person")
        assert await stage.states(NEXT) == {"AAA": "refused paused"}
        await stage.finish()


async def test_kill_cancels_closes_and_locks_until_rearmed(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        assert await stage.control.kill(reason="fire", identity="ann") == 1
        assert not await stage.control.is_flat()
        await stage.until("09:42")
        assert await stage.states() == {"AAA": "closed kill"}
        assert await stage.control.is_flat()
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("12:16")
        assert (await stage.states())["BBB"] == "refused entry_gate, killed, paused"
        assert await stage.control.resume(identity="ann") == "rearm_needed"
        await stage.control.rearm(identity="ann")
        assert not (await stage.engine.store.control()).is_killed
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_kill_survives_the_day_even_where_nobody_rearms(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT)) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("AAA", NEXT)
        await stage.until("09:40")
        await stage.control.kill(reason="fire", identity="ann")
        await stage.finish()
        control = await stage.engine.store.control()
        assert (control.is_killed, control.needs_rearm) == (True, True)
    assert violations(stage.path, is_day_over=True) == []


@pytest.mark.parametrize("verb", ["kill", "flatten"])
async def test_entry_that_a_person_takes_back_ends_with_the_persons_word(home: Path, verb: str) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        if verb == "kill":
            await stage.control.kill(reason="fire", identity="ann")
        else:
            await stage.control.flatten(symbol=None, identity="ann")
        await stage.quiet()
        assert await stage.states() == {"AAA": f"not_filled {verb}"}
        assert [json.loads(data)["reason"] for _, data in await stage.journal("cancelled")] == [verb]
        assert set((await stage.venue_states()).values()) == {"cancelled"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_flatten_of_one_symbol_leaves_the_others_and_entries_alone(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("09:40")
        assert await stage.control.flatten(symbol="AAA", identity="ann") == 1
        await stage.until("09:42")
        assert await stage.states() == {"AAA": "closed flatten", "BBB": "open"}
        assert not (await stage.engine.store.control()).is_paused
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_flatten_without_a_symbol_pauses_too(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("09:40")
        assert await stage.control.flatten(symbol=None, identity="ann") == 2
        await stage.until("09:42")
        assert await stage.states() == {"AAA": "closed flatten", "BBB": "closed flatten"}
        control = await stage.engine.store.control()
        assert (control.is_paused, control.paused_by) == (True, "person")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_flatten_in_another_symbol_leaves_working_entries_and_waiting_plans(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("09:32")
        await stage.answer((await stage.plan("AAA")).plan.plan_id)
        await stage.control.flatten(symbol="CCC", identity="ann")
        await stage.quiet()
        assert await stage.states() == {"AAA": "entering", "BBB": "pending"}


async def test_locked_symbol_is_not_entered_until_unlocked(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY)
        await stage.control.lock("AAA", is_locked=True, identity="ann")
        await stage.until("09:32")
        assert await stage.states() == {"AAA": "refused symbol_locked"}
        await stage.control.lock("AAA", is_locked=False, identity="ann")
        await stage.until("12:16")
        assert await stage.states() == {"AAA": "open"}
        assert [data for _, data in await stage.journal("unlock")] == ['{"by":"ann","detail":"AAA"}']


async def test_note_of_a_person_is_journalled(home: Path) -> None:
    async with Stage(home) as stage:
        await stage.control.note("odd tape", ref="AAA", identity="ann")
        assert await stage.journal("note") == [("AAA", '{"by":"ann","text":"odd tape"}')]


async def test_second_in_rank_is_refused_when_one_position_is_allowed(home: Path) -> None:
    async with Stage(home, settings={"risk": {"max_open_positions": 1}}) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, open_at=100, previous=90)
        await stage.until("09:31")
        plans = sorted(await stage.plans(), key=lambda each: -each.plan.score_e6)
        assert [(p.state, p.reason) for p in plans] == [("entering", ""), ("refused", "open_positions")]
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_later_ranks_get_what_exposure_and_the_days_loss_leave(home: Path) -> None:
    """Every reservation is seen by the next decision of the same tick: never more than the limits together."""
    tight = {"risk": {"max_position_pct": 60, "risk_per_trade_pct": 2, "max_open_positions": 5}}
    async with Stage(home, settings=tight) as stage:
        for number, symbol in enumerate(("AAA", "BBB", "CCC", "DDD")):
            stage.market.day(symbol, DAY, previous=95 - number)
        await stage.until("09:31")
        reserved = await stage.engine.database.read(
            "SELECT notional, worst_case FROM reservation WHERE released_at IS NULL"
        )
        assert sum(int(notional) for notional, _ in reserved) <= 100_000 * 10**8  # type: ignore[call-overload]
        assert sum(int(worst) for _, worst in reserved) <= 2_000 * 10**8  # type: ignore[call-overload]
        states = [p.state.value for p in await stage.plans()]
        assert "entering" in states
        assert "refused" in states
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_entries_of_a_minute_are_counted(home: Path) -> None:
    async with Stage(home, settings={"risk": {"max_orders_per_minute": 1}}) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, previous=90)
        await stage.until("09:31")
        states = sorted((await stage.states()).values())
        assert states == ["entering", "refused orders_per_minute"]
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_symbol_is_entered_once_a_day(home: Path) -> None:
    async with Stage(home, settings=SCANS) as stage:
        stage.market.day("AAA", DAY, {"10:00": (100, 100, 96, 100)})
        await stage.finish()
        first, second = await stage.plans()
        assert (first.state, second.state, second.reason) == ("closed", "refused", "symbol_today")
    assert violations(stage.path, is_day_over=True) == []
