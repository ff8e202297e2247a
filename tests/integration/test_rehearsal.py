"""A rehearsed clock belongs to the agent that holds the home."""

from pathlib import Path

import pytest

from finagent.bootstrap.agent import start_agent
from finagent.context import SurfaceError
from finagent.runtime.clock import PacedClock
from finagent.settings import Settings


async def test_start_that_is_refused_leaves_the_clock_of_the_running_agent(tmp_path: Path) -> None:
    """Else each command would tell another time than the agent, and a restart would go back in time."""
    agent = await start_agent(Settings(), tmp_path, at="2026-11-23T12:00")
    try:
        before = (tmp_path / "clock.json").read_text(encoding="utf-8")
        with pytest.raises(SurfaceError) as refused:
            await start_agent(Settings(), tmp_path, at="2026-11-23T09:24")
    finally:
        await agent.stop()
    assert refused.value.code == "home_in_use"
    assert (tmp_path / "clock.json").read_text(encoding="utf-8") == before


async def test_rehearsal_at_a_pace_goes_on_at_it_after_a_restart(tmp_path: Path) -> None:
    agent = await start_agent(Settings(), tmp_path, at="2026-11-23T12:00", pace=60)
    before_ms = agent.engine.clock.now_ms()
    await agent.stop()
    again = await start_agent(Settings(), tmp_path)
    try:
        clock = again.engine.clock
        assert isinstance(clock, PacedClock)
        assert (clock.pace, clock.now_ms() > before_ms) == (60, True)
    finally:
        await again.stop()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at_ms": 1, "since_ms": 1, "pace": 0}'])
async def test_damaged_clock_is_named_with_its_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text, encoding="utf-8")
    with pytest.raises(SurfaceError, match=r"clock\.json is damaged"):
        await start_agent(Settings(), tmp_path)
