"""Room in the write-ahead log: it is made at once, means nothing to SQLite, and costs nobody a job."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from finagent.adapters.sqlite import wal
from finagent.adapters.sqlite.database import Database
from finagent.runtime.clock import VirtualClock
from tests.contract.queue_world import START_MS, QueueWorld, job


async def test_roomy_log_is_long_from_the_start_and_gone_after_a_clean_end(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with await Database.open(path, clock=VirtualClock(START_MS), is_roomy=True) as database:
        assert database.wal_bytes() == wal.RESERVE_BYTES
    assert wal.wal_bytes(path) == 0


async def test_process_that_ends_beside_a_roomy_log_loses_nothing(tmp_path: Path) -> None:
    """Copies of db and log, taken after each commit, hold every job that was acknowledged and no other."""
    world = QueueWorld(tmp_path / "a.db", threaded=True)
    await world.open()
    assert wal.reserve(world.path) > 0
    for number in range(12):
        await world.queue.publish(job(f"{number}"))
        if number % 4 == 3:
            folder = tmp_path / f"copy-{number}"
            folder.mkdir()
            for name in ("a.db", "a.db-wal"):
                shutil.copy(tmp_path / name, folder / name)
            copy = QueueWorld(folder / "a.db", threaded=True)
            await copy.open()
            wal.reserve(copy.path)
            assert (await copy.queue.stats()).published == number + 1
            assert not (await copy.queue.publish(job(f"{number}"))).created
            await copy.close()
    await world.close()


def test_log_without_room_on_the_disk_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, written = tmp_path / "a.db", os.pwrite, [0]
    wal.wal_path(path).write_bytes(b"frames")

    def full(file: int, data: bytes, at: int) -> int:
        if written[0] >= 3:
            raise OSError(errno.ENOSPC, "no space left on device")
        written[0] += 1
        return real(file, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    assert wal.reserve(path) == 0
    assert wal.wal_path(path).read_bytes() == b"frames"


def test_folder_that_is_gone_reserves_nothing(tmp_path: Path) -> None:
    assert wal.reserve(tmp_path / "gone" / "a.db") == 0
    assert wal.wal_bytes(tmp_path / "gone" / "a.db") == 0


def test_reserved_length_is_that_of_the_checkpoint() -> None:
    from finagent.adapters.sqlite.database import WRITER_PRAGMAS

    assert f"PRAGMA wal_autocheckpoint = {(wal.RESERVE_BYTES - 32) // wal.FRAME_BYTES}" in WRITER_PRAGMAS
