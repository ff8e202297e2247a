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
SECTOR = 512
HEAD, FRAME = 32, 24 + PAGE
"""Bytes before the first frame of a log, and of a frame: its header and one page."""
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


def size_of(number: int) -> int:
    """How many jobs the call of this number publishes: a few, now and then as many as need several steps."""
    return 70 if number % 20 == 19 else number % 3 + 1


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
        names = [f"new-{number}-{side}" for side in range(size_of(number))]
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
    assert all(count == size_of(int(name.split("-")[1])) for name, count in stored.items()), "half a commit"


def lay(folder: Path, database: bytes, wal: bytes) -> None:
    folder.mkdir()
    (folder / "jobs.db").write_bytes(database)
    (folder / "jobs.db-wal").write_bytes(wal)


def cut(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """The log ends at a random byte."""
    at = chance.randint(0, len(recording.wal))
    return recording.before, recording.wal[:at], at


def cut_in_a_page(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """The log ends in the middle of one write of 4 KiB: the frame's header is there, its page is not whole."""
    start = frame_start(chance, recording)
    at = start + 24 + chance.choice((chance.randint(1, PAGE - 1), SECTOR * chance.randint(1, 7)))
    return recording.before, recording.wal[:at], start


def rubbish(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """Cut, and some of the last sectors before it never reached the disk and hold what was there before."""
    at = chance.randint(SECTOR, len(recording.wal))
    text, kept = bytearray(recording.wal[:at]), max(0, at - SECTOR * chance.randint(1, 16))
    for start in range(kept, at, SECTOR):
        if chance.random() < 0.6:
            text[start : start + SECTOR] = chance.randbytes(len(text[start : start + SECTOR]))
    return recording.before, bytes(text), kept


def zeroed_tail(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """The length was stored and the data was not: from some byte on (or sector, or page) all is zero."""
    at = chance.randint(0, len(recording.wal))
    at -= at % chance.choice((1, SECTOR, PAGE))
    return recording.before, recording.wal[:at] + bytes(len(recording.wal) - at), at


def hole(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """One page in the middle of the log is zero, what comes after it is there: nothing of that may count."""
    start = frame_start(chance, recording)
    text = bytearray(recording.wal)
    text[start + 24 : start + FRAME] = bytes(PAGE)
    return recording.before, bytes(text), start


def half_copied(chance: random.Random, recording: Recording) -> tuple[bytes, bytes, int]:
    """The database in the middle of a checkpoint, the log whole: pages are old, new, or some sectors of both."""
    pages = []
    for start in range(0, len(recording.after), PAGE):
        old, new = recording.before[start : start + PAGE], recording.after[start : start + PAGE]
        if old and chance.random() < 0.2:
            split = SECTOR * chance.randint(1, 7)
            pages.append(new[:split] + old[split:])
        else:
            pages.append(new if chance.random() < 0.5 or not old else old)
    length = max(len(recording.before), PAGE * chance.randint(1, len(pages)) - chance.choice((0, 0, 1_000)))
    return b"".join(pages)[:length], recording.wal, len(recording.wal)


def frame_start(chance: random.Random, recording: Recording) -> int:
    return HEAD + FRAME * chance.randrange((len(recording.wal) - HEAD) // FRAME)


DAMAGES = (cut, cut_in_a_page, rubbish, zeroed_tail, hole, half_copied)


async def test_database_with_a_torn_log_opens_and_holds_what_was_synced(
    tmp_path: Path, chance: random.Random, is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Whole commits survive or vanish; each acknowledged one whose log is whole survives."""
    (tmp_path / "origin").mkdir()
    recording = await record(tmp_path / "origin")
    cuts = FULL_CUTS if is_full else CI_CUTS
    for number in range(cuts):
        damage = DAMAGES[number % len(DAMAGES)]
        database, wal, kept = damage(chance, recording)
        folder = tmp_path / f"{number}-{damage.__name__}"
        lay(folder, database, wal)
        await check(folder, recording, kept)
        shutil.rmtree(folder)
    frames = (len(recording.wal) - HEAD) // FRAME
    print(f"{cuts} copies of {frames} pages of log, damaged in {len(DAMAGES)} ways: all recovered")
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
