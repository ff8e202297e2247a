"""Whole sessions on the built-in market through the run's own driver: every invariant holds, twice the same."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap.runs import RunPlan, forget, play, read_result
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import load_world
from finagent.context import SurfaceError
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import Settings
from tests.integration.services.invariants import violations

FIRST, LAST = "2026-06-01", "2026-06-03"


async def run(home: Path, name: str, **sections: Any) -> dict[str, Any]:
    """Three sessions into a file of their own."""
    settings = Settings(data={"symbols": 60}, scan={"min_gap_pct": 2, "min_rvol": 1}, **sections)
    world = load_world(settings, home, vendor="simulated", seed=11)
    path = home / name / "finagent.db"
    path.parent.mkdir()
    plan = RunPlan(sessions=chosen_sessions(world.calendar, FIRST, LAST), result_id=name, path=path)
    await play(settings, world, plan, ImmediatePacer())
    assert violations(path, is_day_over=True) == []
    return dict(await read_result(plan, elapsed_ms=0))


@pytest.mark.parametrize("preset", ["classic", "structure"])
async def test_three_sessions_end_flat_with_every_plan_in_one_state(home: Path, preset: str) -> None:
    result = await run(home, "one", planning={"preset": preset, "trail_after_r": 1, "trail_atr": "0.5"})
    assert [day["flat"] for day in result["sessions"]] == [True] * 3
    assert result["jobs"]["dead"] == result["jobs"]["live"] == 0
    assert sum(day["plans"] for day in result["sessions"]) > 0


@pytest.mark.parametrize("preset", ["classic", pytest.param("structure", marks=pytest.mark.full)])
async def test_three_sessions_with_separate_exits_keep_every_invariant(home: Path, preset: str) -> None:
    result = await run(
        home,
        "one",
        planning={"preset": preset, "trail_after_r": 1, "trail_atr": "0.5"},
        execution={"exits": "separate", "participation_pct": 1},
    )
    assert [day["flat"] for day in result["sessions"]] == [True] * 3
    assert result["jobs"]["dead"] == result["jobs"]["live"] == 0
    assert len(result["trades"]) > 0


async def test_run_killed_before_its_first_migration_begins_anew(home: Path) -> None:
    """Seen in the kill harness (FINAGENT_CRASH_SEED=718430503): a file without a table was an error."""
    path = home / "killed" / "finagent.db"
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    settings = Settings(data={"symbols": 60})
    world = load_world(settings, home, vendor="simulated", seed=11)
    plan = RunPlan(sessions=chosen_sessions(world.calendar, FIRST, FIRST), result_id="killed", path=path)
    await forget(path, only_finished=True)
    assert path.exists()
    await play(settings, world, plan, ImmediatePacer())
    assert violations(path, is_day_over=True) == []


@pytest.mark.full
async def test_same_seed_gives_the_same_outcome(home: Path) -> None:
    first, second = await run(home, "one"), await run(home, "two")
    assert first["outcome_hash"] == second["outcome_hash"]
    assert len(first["trades"]) > 0


async def test_micro_account_keeps_its_invariants(home: Path) -> None:
    result = await run(home, "one", risk={"profile": "micro"}, universe={"fractional": True})
    assert [day["flat"] for day in result["sessions"]] == [True] * 3


def test_range_without_a_session_is_told_with_the_next_one(home: Path) -> None:
    world = load_world(Settings(), home, vendor="simulated")
    with pytest.raises(SurfaceError, match="no session from"):
        chosen_sessions(world.calendar, "2026-06-06", "2026-06-07")
    with pytest.raises(SurfaceError, match="before"):
        chosen_sessions(world.calendar, LAST, FIRST)
