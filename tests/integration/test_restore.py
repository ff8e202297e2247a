"""Restores: a verified copy in the database's place or no change at all, the old file kept, the entry gate shut."""

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from finagent.adapters.sqlite.backup import BackupDamagedError, BackupError, back_up, sum_of
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError, migrations
from finagent.adapters.sqlite.store import SqliteStore
from finagent.bootstrap.agent import open_local, start_agent
from finagent.bootstrap.safekeeping import database_backup, database_restore, restore_rehearsal
from finagent.context import SurfaceError
from finagent.queue.port import Tx
from finagent.runtime.clock import VirtualClock
from finagent.runtime.lock import FileLock, HomeInUseError
from finagent.settings import Settings
from tests.contract.queue_world import START_MS, job
from tests.integration.backup_world import (
    WALL_MS,
    Journalling,
    faults,
    finagent,
    restored,
    small_database,
    states,
    was_killed,
)

FLIPS = 60
CUTS = 40


async def pair(folder: Path) -> tuple[Path, Path]:
    """A backup and, in a home of its own, a later database."""
    home = folder / "home"
    home.mkdir()
    path, backup = home / "finagent.db", folder / "backup.db"
    await small_database(path)
    back_up(path, backup)
    async with Journalling(path) as world:
        await world.queue.publish(job("later"))
    return backup, path


async def refused(backup: Path, path: Path, kind: type[Exception]) -> str:
    """The restore is refused and has changed nothing; what it says."""
    before = {
        each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith(".lock")
    }
    with pytest.raises(kind) as caught:
        restored(backup, path, renew=lambda: pytest.fail("the generation was renewed for nothing"))
    after = {
        each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith(".lock")
    }
    assert after == before
    return str(caught.value)


async def test_restore_puts_the_backup_in_place_and_keeps_what_was_there(tmp_path: Path) -> None:
    backup, path = await pair(tmp_path)
    renewed: list[str] = []
    report = restored(backup, path, renew=lambda: renewed.append("generation"))
    assert states(path) == states(backup)
    assert report.kept_aside is not None
    assert "later" in states(report.kept_aside)
    assert renewed == ["generation"]
    assert faults(path) == []
    again = restored(backup, path)
    assert again.kept_aside != report.kept_aside
    assert "later" in states(report.kept_aside)


async def test_restore_keeps_the_log_of_a_killed_home_with_its_file(tmp_path: Path) -> None:
    """What is only in the log of the old file is in the copy kept, and never played into the new one."""
    backup, path = await pair(tmp_path)
    killed = tmp_path / "killed" / "finagent.db"
    killed.parent.mkdir()
    async with Journalling(path) as world:
        await world.queue.publish(job("only in the log"))
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(path.name + suffix), killed.with_name(killed.name + suffix))
    report = restored(backup, killed)
    assert report.kept_aside is not None
    assert "only in the log" in states(report.kept_aside)
    assert states(killed) == states(backup)
    assert faults(killed) == []


async def test_restore_shuts_the_entry_gate_until_a_person_rearms(tmp_path: Path) -> None:
    """And says in the operations journal who restored what."""
    backup, path = await pair(tmp_path)
    restored(backup, path)
    async with await Database.open_readonly(path) as database:
        control = await SqliteStore(database, start_equity_e8=0).control()
        notes = await database.read("SELECT at_wall_ms, data FROM operations_journal WHERE kind = 'restore'")
    assert (control.needs_rearm, control.is_paused) == (True, True)
    assert control.pause_reason == "restored from a backup"
    assert notes == [
        (WALL_MS, f'{{"backup": "{backup}", "by": "test", "schema_version": {len(migrations())}}}')
    ]


async def test_restored_home_starts_with_shut_entries_new_ids_and_opens_on_rearm(tmp_path: Path) -> None:
    """The whole way of a person: agent, backup beside it, stop, restore, start, rearm."""
    agent = await start_agent(Settings(), tmp_path)
    generation = (tmp_path / "generation").read_text()
    document = database_backup(tmp_path)
    with pytest.raises(SurfaceError, match=r"in use by process \d+") as caught:
        database_restore(tmp_path, Path(str(document["file"])), identity="test")
    assert caught.value.code == "home_in_use"
    await agent.stop()
    database_restore(tmp_path, Path(str(document["file"])), identity="test")
    assert (tmp_path / "generation").read_text() != generation
    agent = await start_agent(Settings(), tmp_path)
    control = await agent.engine.store.control()
    await agent.stop()
    assert control.needs_rearm
    async with open_local(Settings(), tmp_path) as context:
        assert context.commands is not None
        assert (await context.commands.resume(identity="ann")).code != "resumed"
        assert (await context.commands.rearm(identity="ann")).is_done
        status = await context.views.status()
    assert isinstance(status["control"], dict)
    assert (status["control"]["needs_rearm"], status["control"]["paused"]) == (False, False)


async def test_restore_while_the_database_is_held_names_the_holder(tmp_path: Path) -> None:
    backup, path = await pair(tmp_path)
    lock = FileLock(path)
    lock.acquire()
    try:
        said = await refused(backup, path, HomeInUseError)
    finally:
        lock.release()
    assert "is in use by process" in said


async def test_queue_goes_on_after_a_restore(tmp_path: Path) -> None:
    """Leases of the backup's epoch are returned, what was done before stays done, no job is lost."""
    path, backup = tmp_path / "finagent.db", tmp_path / "backup.db"
    async with Journalling(path) as world:
        hands = world.hands()
        for number in range(12):
            await world.queue.publish(job(f"job-{number}"))
        for _ in range(4):
            await world.queue.complete(await hands.take(), Tx())
        await world.write("a")
        held = {each.idem_key for each in hands.jobs}
        back_up(path, backup)
        for each in list(hands.jobs):
            await world.queue.complete(each, Tx())
    before = states(backup)
    done = {name for name, status in before.items() if status == "done"}
    leased = {name for name, status in before.items() if status == "leased"}
    assert (len(done), leased) == (4, held)
    restored(backup, path)
    async with Journalling(path) as world:
        hands = world.hands()
        hands.credits["work"] = 99
        world.queue.poke()
        run = set()
        for _ in range(12 - len(done)):
            each = await hands.take()
            run.add(each.idem_key)
            assert each.attempts == (2 if each.idem_key in leased else 1)
            await world.queue.complete(each, Tx())
        stats = await world.queue.stats()
    assert run == before.keys() - done
    assert (stats.published, stats.by_status["done"]) == (12, 12)
    assert faults(path) == []


async def test_every_flipped_bit_is_seen_by_the_sum(tmp_path: Path) -> None:
    """One bit anywhere; SQLite's own check misses most of them."""
    backup, path = await pair(tmp_path)
    data, chance = backup.read_bytes(), random.Random(8)
    for _ in range(FLIPS):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        backup.write_bytes(data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :])
        said = await refused(backup, path, BackupDamagedError)
        assert "SHA-256" in said
    backup.write_bytes(data)
    restored(backup, path)


async def test_changed_journal_is_seen_without_a_sum(tmp_path: Path) -> None:
    backup, path = await pair(tmp_path)
    sum_of(backup).unlink()
    backup.write_bytes(backup.read_bytes().replace(b"d" * 20, b"d" * 19 + b"D"))
    assert "journal entry 4 was changed" in await refused(backup, path, BackupDamagedError)


async def test_truncated_backup_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    """With no sum beside it, too."""
    backup, path = await pair(tmp_path)
    sum_of(backup).unlink()
    data, chance = backup.read_bytes(), random.Random(8)
    for _ in range(CUTS):
        backup.write_bytes(data[: chance.randrange(1, len(data))])
        said = await refused(backup, path, Exception)
        assert "damaged" in said or "not a finagent database" in said
    backup.write_bytes(b"")
    assert "empty" in await refused(backup, path, BackupDamagedError)


async def test_foreign_newer_and_missing_files_are_refused(tmp_path: Path) -> None:
    backup, path = await pair(tmp_path)
    foreign, newer = tmp_path / "foreign.db", tmp_path / "newer.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")
    connection.close()
    assert "not a finagent database" in await refused(foreign, path, ForeignDatabaseError)
    foreign.write_text("a letter to my aunt " * 500)
    assert "no SQLite file" in await refused(foreign, path, ForeignDatabaseError)
    shutil.copy(backup, newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("INSERT INTO schema_migration VALUES (99, 'future', 0)")
    connection.close()
    assert "schema version 99" in await refused(newer, path, DatabaseTooNewError)
    assert "there is no backup" in await refused(tmp_path / "absent.db", path, BackupError)


POINTS = ("prepared", "decided", "linked", "kept_aside", "in_place")


@pytest.mark.parametrize("point", POINTS)
async def test_restore_killed_anywhere_is_undone_or_finished_by_the_next_open(
    tmp_path: Path, point: str
) -> None:
    """Before it is decided the old database is untouched; from then on whoever opens it gets the new one, whole."""
    backup, path = await pair(tmp_path)
    (path.parent / "generation").write_text("old\n")
    with sqlite3.connect(path, isolation_level=None) as connection:  # a log that must not reach the new file
        connection.execute("INSERT INTO meta (key, value) VALUES ('log', 'x')")
        shutil.copy(f"{path}-wal", tmp_path / "log")
    connection.close()
    shutil.copy(tmp_path / "log", f"{path}-wal")
    ended = finagent(path.parent, "db", "restore", str(backup), "--yes", failpoint=f"restore.{point}@1=kill")
    assert was_killed(ended), ended.stderr
    database = await Database.open(path, clock=VirtualClock(START_MS))
    keys = {str(key) for (key,) in await database.read("SELECT idem_key FROM job_queue")}
    gate = await database.read("SELECT needs_rearm FROM control")
    await database.close()
    assert faults(path) == []
    is_decided = point != "prepared"
    assert ("later" in keys, gate) == (not is_decided, [(int(is_decided),)])
    assert not list(path.parent.glob("finagent.db.restore-*"))
    if is_decided:
        assert (path.parent / "generation").read_text() != "old\n"
        (aside,) = path.parent.glob("finagent.db.before-restore-*Z")
        assert "later" in states(aside)


def test_dry_run_reads_the_whole_backup_and_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source = tmp_path / "source.db"
    asyncio.run(small_database(source))
    backup = tmp_path / "kept.db"
    back_up(source, backup)
    found = restore_rehearsal(home, backup)
    assert found["is_sum_checked"] is True
    assert list(home.glob("finagent.db*")) == []
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)
    with pytest.raises(SurfaceError) as refused:
        restore_rehearsal(home, backup)
    assert refused.value.code == "damaged"
    with pytest.raises(SurfaceError) as missing:
        restore_rehearsal(home, tmp_path / "nothing.db")
    assert missing.value.code == "backup"


def test_backup_into_a_folder_that_is_not_there_is_refused_and_makes_none(tmp_path: Path) -> None:
    asyncio.run(small_database(tmp_path / "finagent.db"))
    with pytest.raises(SurfaceError) as refused:
        database_backup(tmp_path, tmp_path / "typo" / "kept.db")
    assert refused.value.code == "backup"
    assert "there is no folder" in refused.value.message
    assert not (tmp_path / "typo").exists()


async def copied_in(home: Path, *, entries: int = 0) -> Path:
    """A backup of the first run, after whose end the home has run once more; copied over the database by hand."""
    agent = await start_agent(Settings(), home)
    backup = home / "by-hand.db"
    back_up(home / "finagent.db", backup)
    for number in range(entries):
        await agent.control.note(f"later {number}", ref="", identity="ann")
    await agent.stop()
    if not entries:
        agent = await start_agent(Settings(), home)
        await agent.stop()
    shutil.copy(backup, home / "finagent.db")
    return backup


@pytest.mark.parametrize("entries", [0, 3])
async def test_backup_copied_in_by_hand_shuts_the_gate_until_it_is_restored(
    tmp_path: Path, entries: int
) -> None:
    """One of an earlier run, and one of the very run whose later entries are gone."""
    backup = await copied_in(tmp_path, entries=entries)
    for _ in range(2):
        agent = await start_agent(Settings(), tmp_path)
        await agent.control.rearm(identity="ann")
        assert (await agent.engine.store.control()).gate_reason == "older_database"
        problems = (await agent.context.views.status())["problems"]
        assert "finagent db restore FILE" in str(problems)
        await agent.stop()
    database_restore(tmp_path, backup, identity="test")
    agent = await start_agent(Settings(), tmp_path)
    control = await agent.engine.store.control()
    await agent.stop()
    assert (control.gate_reason, control.needs_rearm) == (None, True)


async def test_home_that_runs_on_or_begins_anew_is_no_older_copy(tmp_path: Path) -> None:
    for _ in range(2):
        agent = await start_agent(Settings(), tmp_path)
        await agent.control.note("on", ref="", identity="ann")
        assert (await agent.engine.store.control()).gate_reason is None
        await agent.stop()
    (tmp_path / "last-seen.json").write_text("{", encoding="utf-8")
    agent = await start_agent(Settings(), tmp_path)
    await agent.stop()
    for name in ("finagent.db", "generation"):
        (tmp_path / name).unlink()
    agent = await start_agent(Settings(), tmp_path)
    assert (await agent.engine.store.control()).gate_reason is None
    await agent.stop()


async def test_rearm_waits_for_the_first_comparison_after_a_restore(tmp_path: Path) -> None:
    agent = await start_agent(Settings(), tmp_path)
    await agent.stop()
    document = database_backup(tmp_path)
    database_restore(tmp_path, Path(str(document["file"])), identity="test")
    async with open_local(Settings(), tmp_path) as context:
        assert context.commands is not None
        refused = await context.commands.rearm(identity="ann")
    assert refused.code == "not_rearmed"
    assert "Start the agent" in refused.message
