"""What a start looks at: a short journal whole, a long one from where it was verified last, the rest beside the day."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finagent.adapters.sqlite import integrity
from finagent.adapters.sqlite.integrity import VERIFIED, look, whole_fault
from finagent.bootstrap.agent import Agent, start_agent
from finagent.bootstrap.homes import DATABASE
from finagent.bootstrap.identity import code_identity
from finagent.bootstrap.journal_guard import JournalGuard
from finagent.settings import Settings
from tests.integration.journal.damage import damage, value

CODE = code_identity()


def looked(path: Path, code: str | None = CODE) -> integrity.StartCheck:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        return look(connection, code=code)


def verified_to(path: Path, seq: int) -> None:
    """As if a start had verified the journal up to an entry."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (digest,) = connection.execute("SELECT hash FROM journal WHERE seq = ?", (seq,)).fetchone()
        connection.execute(integrity.PUT, (VERIFIED, f"{seq}:{digest}"))


def test_short_journal_is_looked_at_whole(copy: Path) -> None:
    found = looked(copy)
    assert (found.fault, found.is_whole) == (None, True)
    assert found.verified[0] == value(copy, "SELECT max(seq) FROM journal")
    damage(copy, "UPDATE plan SET state = 'open' WHERE symbol = 'AAA'")
    assert "state is open" in str(looked(copy).fault)
    assert looked(copy, code="another program").fault is None, "after an update a row may be another"


def test_long_journal_is_looked_at_from_its_last_verified_entry(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "WHOLE_ENTRIES", 5)
    monkeypatch.setattr(integrity, "STATE_ENTRIES", 5)
    verified_to(copy, 10)
    found = looked(copy)
    assert (found.fault, found.is_whole) == (None, False)
    damage(copy, "UPDATE journal SET data = '{}' WHERE seq = 4")
    assert looked(copy).fault is None, "before the anchor only the look that follows sees it"
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        assert "entry 4 was changed" in str(whole_fault(connection, code=CODE))
    damage(
        copy, "DELETE FROM journal_input WHERE lower(hex(hash)) = (SELECT inputs FROM journal WHERE seq = 20)"
    )
    assert "is missing" in str(looked(copy).fault)


@pytest.mark.parametrize("anchor", ["10:" + "0" * 64, "x", "99999:ab", ""])
def test_anchor_that_is_not_the_journals_is_no_anchor(
    copy: Path, monkeypatch: pytest.MonkeyPatch, anchor: str
) -> None:
    monkeypatch.setattr(integrity, "WHOLE_ENTRIES", 5)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(integrity.PUT, (VERIFIED, anchor))
    damage(copy, "UPDATE journal SET data = '{}' WHERE seq = 4")
    assert "entry 4 was changed" in str(looked(copy).fault)


async def _gate(agent: Agent) -> str | None:
    return (await agent.engine.store.control()).gate_reason


async def test_start_remembers_how_far_it_verified_and_the_guard_finds_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage before the anchor of a long journal: the start passes, the look that follows shuts the gate."""
    agent = await start_agent(Settings(), tmp_path)
    for number in range(8):
        await agent.control.note(f"note {number}", ref="", identity="ann")
    await agent.stop()
    agent = await start_agent(Settings(), tmp_path)
    assert await _gate(agent) is None
    await agent.stop()
    path = tmp_path / DATABASE
    verified = str(value(path, "SELECT value FROM meta WHERE key = ?", VERIFIED))
    assert int(verified.partition(":")[0]) >= 8
    monkeypatch.setattr(integrity, "WHOLE_ENTRIES", 2)
    monkeypatch.setattr(integrity, "STATE_ENTRIES", 2)
    monkeypatch.setattr("finagent.bootstrap.journal_guard.STATE_ENTRIES", 2)
    damage(path, "UPDATE journal SET data = replace(data, 'note 3', 'note x') WHERE data LIKE '%note 3%'")
    agent = await start_agent(Settings(), tmp_path)
    try:
        await JournalGuard(agent.engine).run_once(asyncio.Event())
        assert await _gate(agent) == "damage"
    finally:
        await agent.stop()


async def test_guard_has_nothing_to_do_for_a_short_journal_and_ends_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await start_agent(Settings(), tmp_path)
    try:
        assert not await JournalGuard(agent.engine).run_once(asyncio.Event())
        await agent.control.note("one", ref="", identity="ann")
        monkeypatch.setattr("finagent.bootstrap.journal_guard.STATE_ENTRIES", 0)
        stop = asyncio.Event()
        stop.set()
        assert await JournalGuard(agent.engine).run_once(stop)
        assert await _gate(agent) is None
    finally:
        await agent.stop()
