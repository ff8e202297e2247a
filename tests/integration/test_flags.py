"""Flag files: an order to stop that could not be answered is obeyed as soon as the agent can act."""

import json
from pathlib import Path

from finagent.bootstrap.agent import open_local, start_agent
from finagent.bootstrap.flags import FlagWatch
from finagent.cli.agent import leave_flag
from finagent.settings import Settings


async def test_kill_left_as_a_flag_is_obeyed_by_the_next_start(tmp_path: Path) -> None:
    """Nobody answered when it was given: the agent that starts later locks before it trades."""
    leave_flag(tmp_path, "kill", {"identity": "cli:test", "reason": "smoke"})
    agent = await start_agent(Settings(), tmp_path)
    try:
        watch = FlagWatch(tmp_path, agent.control, agent.engine.ticker)
        await watch.run_once()
        control = await agent.engine.store.control()
    finally:
        await agent.stop()
    assert control.is_killed
    assert control.needs_rearm
    assert not list((tmp_path / "flags").glob("*.json"))


async def test_pause_flag_that_is_damaged_still_pauses(tmp_path: Path) -> None:
    """Half a file says enough: its name."""
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / "pause.json").write_text('{"identity": "cl', encoding="utf-8")
    agent = await start_agent(Settings(), tmp_path)
    try:
        await FlagWatch(tmp_path, agent.control, agent.engine.ticker).run_once()
    finally:
        await agent.stop()
    async with open_local(Settings(), tmp_path) as context:
        status = await context.views.status()
    assert json.dumps(status["control"]).count('"paused": true') == 1


async def test_flatten_flag_names_its_symbol(tmp_path: Path) -> None:
    """Only the symbol's own entries and positions are in scope, so nothing is paused."""
    leave_flag(tmp_path, "flatten", {"identity": "cli:test", "symbol": "EXK"})
    agent = await start_agent(Settings(), tmp_path)
    try:
        await FlagWatch(tmp_path, agent.control, agent.engine.ticker).run_once()
        entries = (await agent.context.views.journal(kind="flatten"))["entries"]
        control = await agent.engine.store.control()
    finally:
        await agent.stop()
    assert isinstance(entries, list)
    assert len(entries) == 1
    assert not control.is_paused
