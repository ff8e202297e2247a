"""Backups: made beside a running writer, whole or absent, and never in the place of something else."""

import asyncio
import resource
import sqlite3
from pathlib import Path

import pytest

from finagent.adapters.sqlite import backup as backups
from finagent.adapters.sqlite.backup import BackupDamagedError, BackupExistsError, back_up, prune
from finagent.adapters.sqlite.database import DatabaseMissingError
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError, migrations
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import job
from tests.integration.backup_world import (
    Journalling,
    faults,
    finagent,
    restored,
    small_database,
    states,
    was_killed,
)

IN_FLIGHT = 64


async def test_backup_under_full_load_has_everything_acknowledged_before_it_began(tmp_path: Path) -> None:
    """64 publishers never pause; the copy is of one instant, and nothing waits for it."""
    path, target = tmp_path / "finagent.db", tmp_path / "copy.db"
    acknowledged: set[str] = set()
    async with Journalling(path) as world:
        for start in range(0, 20_000, 2_000):  # enough pages for many steps
            await world.queue.publish_many([job(f"old-{n}") for n in range(start, start + 2_000)])
        is_over, is_busy = asyncio.Event(), asyncio.Event()

        async def publish(lane: int) -> None:
            number = 0
            while not is_over.is_set():
                name = f"{lane}-{number}"
                await world.queue.publish(job(name))
                acknowledged.add(name)
                number += 1
                if len(acknowledged) >= 500:
                    is_busy.set()

        publishers = [spawn(publish(lane), "publisher") for lane in range(IN_FLIGHT)]
        await asyncio.wait_for(is_busy.wait(), 30)
        before = set(acknowledged)
        steps: list[tuple[int, int]] = []
        report = await asyncio.to_thread(
            back_up, path, target, progress=lambda done, total: steps.append((done, total))
        )
        after = set(acknowledged)
        is_over.set()
        await asyncio.gather(*publishers)
    found = states(target)
    assert before <= found.keys()
    assert len(after) > len(before), "the writer stood still during the backup"
    assert len({total for _, total in steps}) == 1, "a commit of the writer started the copy over"
    assert len(steps) > 3
    assert faults(target) == []
    assert report.jobs == len(found)
    home = tmp_path / "home"
    restored(target, home / "finagent.db")
    async with Journalling(home / "finagent.db") as world:
        assert (await world.queue.stats()).published == report.jobs
        assert not (await world.queue.publish(job(sorted(before)[0]))).created
        assert (await world.queue.publish(job("afterwards"))).created
    assert faults(home / "finagent.db") == []


async def test_backup_of_a_killed_home_has_what_is_only_in_its_log(tmp_path: Path) -> None:
    """No agent runs, the last commits were never checkpointed: they are in the copy."""
    path, killed = tmp_path / "finagent.db", tmp_path / "killed"
    killed.mkdir()
    async with Journalling(path) as world:
        await world.queue.publish(job("in the log"))
        for suffix in ("", "-wal"):
            (killed / f"finagent.db{suffix}").write_bytes(path.with_name(path.name + suffix).read_bytes())
    back_up(killed / "finagent.db", tmp_path / "copy.db")
    assert "in the log" in states(tmp_path / "copy.db")
    assert faults(tmp_path / "copy.db") == []


async def test_backup_is_one_file_that_opens_by_itself(tmp_path: Path) -> None:
    """Rollback mode, owner only, with its sum beside it in the form of sha256sum."""
    path, target = tmp_path / "finagent.db", tmp_path / "copy.db"
    await small_database(path)
    report = back_up(path, target)
    assert target.read_bytes()[18:20] == b"\x01\x01"
    assert target.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copy.db.sha256").read_text() == f"{report.sha256}  copy.db\n"
    assert sorted(each.name for each in tmp_path.iterdir() if "copy" in each.name) == [
        "copy.db",
        "copy.db.sha256",
    ]
    assert (report.journal_entries, report.jobs, report.schema_version) == (10, 40, len(migrations()))


async def test_backup_never_overwrites_without_being_told(tmp_path: Path) -> None:
    path, target = tmp_path / "finagent.db", tmp_path / "copy.db"
    await small_database(path)
    target.write_text("mine")
    with pytest.raises(BackupExistsError, match=r"copy\.db exists: .*--force"):
        back_up(path, target)
    assert target.read_text() == "mine"
    back_up(path, target, is_overwriting=True)
    assert faults(target) == []


async def test_backup_keeps_the_newest_and_touches_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    names = [f"finagent-2026112{day}T060000Z.db" for day in range(1, 6)]
    for name in [*names, "finagent-mine.db", "notes.txt"]:
        (folder / name).write_text("x")
        (folder / f"{name}.sha256").write_text("x")
    assert [path.name for path in prune(folder, keep=2)] == names[:3]
    left = {path.name for path in folder.iterdir() if not path.name.endswith(".sha256")}
    assert left == {*names[3:], "finagent-mine.db", "notes.txt"}
    assert not backups.sum_of(folder / names[0]).exists()


async def test_damaged_database_gives_no_backup(tmp_path: Path) -> None:
    """A copy of a broken chain would push good backups out."""
    path = tmp_path / "finagent.db"
    await small_database(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"d" * 20, b"d" * 19 + b"D"))
    with pytest.raises(BackupDamagedError, match="journal entry 4 was changed"):
        back_up(path, tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy*"))


async def test_what_is_no_database_of_ours_is_not_backed_up(tmp_path: Path) -> None:
    path, target = tmp_path / "finagent.db", tmp_path / "copy.db"
    with pytest.raises(DatabaseMissingError):
        back_up(path, target)
    path.write_text("no database, but long enough to be looked at " * 100)
    with pytest.raises(ForeignDatabaseError):
        back_up(path, target)
    path.unlink()
    await small_database(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_migration VALUES (99, 'future', 0)")
    connection.close()
    with pytest.raises(DatabaseTooNewError):
        back_up(path, target)
    assert not list(tmp_path.glob("*copy*"))


@pytest.mark.parametrize("point", ["backup.step@2", "backup.before_name@1", "backup.named@1"])
async def test_backup_killed_anywhere_leaves_the_old_file_or_a_whole_new_one(
    tmp_path: Path, point: str
) -> None:
    """SIGKILL while it copies, before and after the name: never half a file, and nothing is left over."""
    await small_database(tmp_path / "finagent.db", jobs=4_000)
    target = tmp_path / "copy.db"
    target.write_text("old")
    ended = finagent(tmp_path, "db", "backup", str(target), "--force", failpoint=f"{point}=kill")
    assert was_killed(ended), ended.stderr
    if "named" in point:
        assert faults(target) == []
    else:
        assert target.read_text() == "old"
    assert finagent(tmp_path, "db", "backup", str(target), "--force").returncode == 0
    assert faults(target) == []
    assert not list(tmp_path.glob(".*partial*"))


async def test_disk_that_fills_up_under_a_backup_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    """A limit of the file size stands for the disk: the write fails in the middle."""
    await small_database(tmp_path / "finagent.db", jobs=4_000)
    target = tmp_path / "copy.db"
    target.write_text("old")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ended = finagent(tmp_path, "db", "backup", str(target), "--force", preexec_fn=limited)
    assert ended.returncode == 1
    assert "the copy to" in ended.stderr
    assert "Free space" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1 or "%" in ended.stderr
    assert target.read_text() == "old"
    assert not list(tmp_path.glob(".*partial*"))


async def test_backup_without_room_for_it_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fills the disk would stop the agent beside it: some room is always left."""
    await small_database(tmp_path / "finagent.db")
    monkeypatch.setattr(backups, "SPARE_BYTES", 1 << 60)
    with pytest.raises(backups.BackupError, match=r"MiB free, the copy needs \d+ MiB"):
        back_up(tmp_path / "finagent.db", tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy*"))
