"""Flag files: an order to stop that could not be answered is obeyed as soon as the agent can act."""

import json
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap.agent import open_local, start_agent
from finagent.cli.agent import leave_flag
from finagent.context import SurfaceError
from finagent.domain.book import Control
from finagent.settings import Settings


async def flattened(home: Path) -> tuple[list[Any], Control]:
    """An agent starts and obeys what lies there: the journal's rows of it, and what is switched then."""
    agent = await start_agent(Settings(), home)
    try:
        await agent.flags.run_once()
        entries = (await agent.context.views.journal(kind="flatten"))["entries"]
        control = await agent.engine.store.control()
    finally:
        await agent.stop()
    assert isinstance(entries, list)
    return entries, control


async def test_kill_left_as_a_flag_is_obeyed_by_the_next_start(tmp_path: Path) -> None:
    """Nobody answered when it was given: the agent that starts later locks before it trades."""
    leave_flag(tmp_path, "kill", {"identity": "cli:test", "reason": "smoke"})
    agent = await start_agent(Settings(), tmp_path)
    try:
        await agent.flags.run_once()
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
        await agent.flags.run_once()
    finally:
        await agent.stop()
    async with open_local(Settings(), tmp_path) as context:
        status = await context.views.status()
    assert json.dumps(status["control"]).count('"paused": true') == 1


async def test_flatten_flag_names_its_symbol(tmp_path: Path) -> None:
    """Only the symbol's own entries and positions are in scope, so nothing is paused."""
    leave_flag(tmp_path, "flatten", {"identity": "cli:test", "symbol": "EXK"})
    entries, control = await flattened(tmp_path)
    assert len(entries) == 1
    assert not control.is_paused


async def test_second_order_to_flatten_replaces_no_other(tmp_path: Path) -> None:
    """Everything, then one symbol, then another, while nobody answers: all three are obeyed."""
    for symbol in (None, "EXK", "BRK/B"):
        leave_flag(tmp_path, "flatten", {"identity": "cli:test", "symbol": symbol})
    entries, control = await flattened(tmp_path)
    assert {str(each["data"]["symbol"]) for each in entries} == {"None", "EXK", "BRK/B"}
    assert control.is_paused
    assert not list((tmp_path / "flags").glob("*.json"))


async def test_clock_behind_the_last_commit_is_refused(tmp_path: Path) -> None:
    """Exits would be dated before their entries."""
    agent = await start_agent(Settings(), tmp_path, at="2026-11-20T09:20")
    await agent.stop()
    with pytest.raises(SurfaceError, match="behind the last commit") as refused:
        await start_agent(Settings(), tmp_path, at="2026-11-19T09:20")
    assert refused.value.hint
    again = await start_agent(Settings(), tmp_path, at="2026-11-20T09:25")
    await again.stop()


async def test_emptied_database_is_not_a_new_account(tmp_path: Path) -> None:
    """Its generation lies beside it: the ids of the lost day must not be minted again."""
    agent = await start_agent(Settings(), tmp_path)
    await agent.stop()
    for part in tmp_path.glob("finagent.db*"):
        part.unlink()
    (tmp_path / "finagent.db").touch()
    with pytest.raises(SurfaceError, match="is empty"):
        await start_agent(Settings(), tmp_path)
