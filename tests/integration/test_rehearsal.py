"""A rehearsed clock belongs to the agent that holds the home."""

from pathlib import Path

import pytest

from finagent.bootstrap.agent import start_agent
from finagent.context import SurfaceError
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
