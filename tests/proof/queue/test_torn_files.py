"""Copies of the database and its log, cut wherever a power failure may cut them, open again and hold what they must."""

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finagent.queue.port import Tx
from tests.contract.queue_world import QueueWorld, job

PAGE = 4096
CI_CUTS = 100
FULL_CUTS = 1_000


@dataclass
class Recording:
    """A database as it stood when the workload began, its log, and which acknowledgement needs how much log."""

    before: bytes = b""
    after: bytes = b""
    wal: bytes = b""
    published: list[tuple[int, str]] = field(default_factory=list)
    done: list[tuple[int, str]] = field(default_factory=list)


async def record(folder: Path) -> Recording:
    """A few hundred commits of every kind over a file that was checkpointed before."""
    recording, path = Recording(), folder / "jobs.db"
    world = QueueWorld(path, threaded=False)
    await world.open()
    await world.queue.publish_many([job(f"old-{number}") for number in range(50)])
    recording.published += [(0, f"old-{number}") for number in range(50)]
    await world.close()
    recording.before = path.read_bytes()
    await world.open()
    hands = world.hands()
    for number in range(120):
        names = [f"new-{number}-{side}" for side in range(number % 3 + 1)]
        await world.queue.publish_many([job(name) for name in names])
        recording.published += [(world.database.wal_bytes(), name) for name in names]
        claimed = await hands.take()
        tx = Tx()
        tx.put(claimed.idem_key)
        if number % 4 == 0:
            tx.enqueue(job(f"child-{number}"))
        await world.queue.complete(claimed, tx)
        hands.credits[claimed.type] += 1
        recording.done.append((world.database.wal_bytes(), claimed.idem_key))
    recording.wal = path.with_name("jobs.db-wal").read_bytes()
    assert path.read_bytes()[PAGE:] == recording.before[PAGE:], "a checkpoint ran: record a smaller workload"
    await world.close()
    recording.after = path.read_bytes()
    return recording


async def check(folder: Path, recording: Recording, kept: int) -> None:
    """The copy opens as any database does, is sound, and holds all that needed at most `kept` bytes of log."""
    world = QueueWorld(folder / "jobs.db", threaded=False)
    await world.open()
    try:
        read = world.database.read
        assert await read("PRAGMA integrity_check") == [("ok",)]
        assert await read("PRAGMA foreign_key_check") == []
        stats = await world.queue.stats()
        statuses = {
            str(name): status for name, status in await read("SELECT idem_key, status FROM job_queue")
        }
        facts = await world.stored_facts()
    finally:
        await world.close()
    assert stats.published == len(statuses) == sum(stats.by_status.values())  # Q2
    assert stats.by_status["leased"] == 0, "a lease outlived its process"
    assert {name for need, name in recording.published if need <= kept} <= set(statuses)
    assert {name for need, name in recording.done if need <= kept} <= {
        name for name, status in statuses.items() if status == "done"
    }
    assert facts == {name: 1 for name, status in statuses.items() if status == "done"}, "half a commit"
    stored = Counter(name.rpartition("-")[0] for name in statuses if name.startswith("new-"))
    assert all(count == int(name.split("-")[1]) % 3 + 1 for name, count in stored.items()), "half a commit"


def lay(folder: Path, database: bytes, wal: bytes) -> None:
    folder.mkdir()
    (folder / "jobs.db").write_bytes(database)
    (folder / "jobs.db-wal").write_bytes(wal)


def torn(chance: random.Random, wal: bytes) -> tuple[bytes, int]:
    """A log cut at a random byte; now and then the last sectors before the cut are rubbish. And what must survive."""
    cut = chance.randint(0, len(wal))
    kept, text = cut, bytearray(wal[:cut])
    if chance.random() < 0.5 and cut > 512:
        kept = max(0, cut - 512 * chance.randint(1, 16))
        for start in range(kept, cut, 512):
            if chance.random() < 0.6:
                text[start : start + 512] = chance.randbytes(len(text[start : start + 512]))
    return bytes(text), kept


def half_copied(chance: random.Random, recording: Recording) -> bytes:
    """A database in the middle of a checkpoint: some pages are new, some old, the last one may be missing."""
    pages = []
    for start in range(0, len(recording.after), PAGE):
        old, new = recording.before[start : start + PAGE], recording.after[start : start + PAGE]
        pages.append(new if chance.random() < 0.5 or not old else old)
    return b"".join(pages)[: max(len(recording.before), PAGE * chance.randint(1, len(pages)))]


async def test_database_with_a_torn_log_opens_and_holds_what_was_synced(
    tmp_path: Path, chance: random.Random, is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Whole commits survive or vanish; each acknowledged one whose log is whole survives."""
    (tmp_path / "origin").mkdir()
    recording = await record(tmp_path / "origin")
    cuts = FULL_CUTS if is_full else CI_CUTS
    for number in range(cuts):
        folder = tmp_path / f"cut-{number}"
        if number % 5 == 4:  # the whole log, the database half way through a checkpoint
            lay(folder, half_copied(chance, recording), recording.wal)
            kept = len(recording.wal)
        else:
            wal, kept = torn(chance, recording.wal)
            lay(folder, recording.before, wal)
        await check(folder, recording, kept)
        shutil.rmtree(folder)
    record_property("proof.torn copies recovered", cuts)


async def test_check_of_torn_copies_sees_a_lost_commit(tmp_path: Path) -> None:
    """A check that cannot fail proves nothing: one row taken away is noticed."""
    (tmp_path / "origin").mkdir()
    recording = await record(tmp_path / "origin")
    lay(tmp_path / "copy", recording.before, recording.wal)
    connection = sqlite3.connect(tmp_path / "copy" / "jobs.db")
    connection.execute("DELETE FROM job_queue WHERE idem_key = 'new-2-1'")
    connection.commit()
    connection.close()
    with pytest.raises(AssertionError):
        await check(tmp_path / "copy", recording, len(recording.wal))
