"""A disk that fills up: a clear halt, nothing acknowledged lost, and a start that works once there is room."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.queue.errors import GuardFailedError
from finagent.queue.job import NewJob
from finagent.queue.port import Published, Tx
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import HaltError
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import TYPES, Hands, QueueWorld, job
from tests.proof.queue.family import count_fact
from tests.proof.queue.full_disk_load import HALTED
from tests.proof.queue.nursery import ROOT
from tests.proof.queue.small_disk import enlarge, mounted, unmount
from tests.proof.queue.witness import read_witness

SMALL = "3m"
BALLAST_BYTES = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, f"size={SMALL}"):
        pytest.skip("no tmpfs can be mounted here: the full file system is NOT TESTED, the file limit is")
    yield folder
    unmount(folder)


def fill(path: Path, witness: Path, most_bytes: int) -> str:
    """Run the load to its halt; what it said."""
    command = [
        sys.executable,
        "-m",
        "tests.proof.queue.full_disk_load",
        str(path),
        str(witness),
        str(most_bytes),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == HALTED, f"exit {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


async def check_goes_on(path: Path, witness: Path) -> int:
    """Everything acknowledged is there and new work is taken; how much there was."""
    database = await Database.open(path, clock=SystemClock())
    stored = {f"{kind}:{key}" for kind, key in await database.read("SELECT type, idem_key FROM job_queue")}
    assert await database.read("PRAGMA integrity_check") == [("ok",)]
    await database.close()
    published = set(read_witness(witness)["published"])
    assert published <= stored
    world = QueueWorld(path, threaded=True)
    await world.open()
    assert (await world.queue.publish(job("afterwards"))).created
    await world.close()
    return len(published)


async def test_full_file_system_ends_with_a_clear_halt_and_loses_nothing(
    small_disk: Path, tmp_path: Path
) -> None:
    """The ballast is freed for the way out; with a larger disk the queue goes on."""
    path, witness = small_disk / "jobs.db", tmp_path / "witness"
    (small_disk / "ballast").write_bytes(b"\0" * BALLAST_BYTES)
    told = fill(path, witness, 0)
    assert "the disk is full" in told
    assert "free space" in told
    assert "ballast: False" in told
    assert "freed: 1" in told
    assert int(told.partition("acknowledged with its room: ")[2].split()[0]) > 10
    enlarge(small_disk)
    assert await check_goes_on(path, witness) > 100


async def test_file_that_may_not_grow_ends_with_a_clear_halt_and_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, which any user can set: the write fails in another way, the outcome is the same."""
    path, witness = tmp_path / "jobs.db", tmp_path / "witness"
    told = fill(path, witness, 2_000_000)
    assert "the disk" in told
    assert "start again" in told
    assert await check_goes_on(path, witness) > 100


async def test_batch_that_found_no_room_runs_again_once_and_whole(tmp_path: Path) -> None:
    """Completions with effects, publishes and a bad request in one commit: each is answered as if nothing had been."""
    ballast, freed, halts, hands = tmp_path / "ballast", list[bool](), list[str](), Hands()
    ballast.write_bytes(b"x")
    async with await Database.open(tmp_path / "jobs.db", clock=SystemClock()) as database:

        def allow(pages: int) -> "asyncio.Task[object]":
            pragma = f"PRAGMA max_page_count = {pages}"
            return spawn(database.write_fn(lambda connection: connection.execute(pragma).fetchone()), "allow")

        def full() -> None:
            freed.append(not ballast.exists())
            allow(1 << 30)

        queue = SqliteJobQueue(
            database, TYPES, SystemClock(), SystemTicker(),
            apply_fact=count_fact, on_halt=halts.append, on_full=full, ballast=ballast,
        )  # fmt: skip
        await queue.start()
        queue.attach(hands)
        await queue.publish_many([job(f"held-{number}") for number in range(4)])
        held = [await hands.take() for _ in range(4)]
        await allow(int(str((await database.read("PRAGMA page_count"))[0][0])))
        refused = Tx()
        refused.expect("row", 7)
        answers = await asyncio.gather(
            *(queue.complete(each, effect(each.idem_key)) for each in held),
            *(queue.publish(heavy(f"job-{number}")) for number in range(50)),
            queue.commit(refused),
            return_exceptions=True,
        )
        assert freed == [True], "the room was there before the batch ran again, and it was told once"
        checkpoint = await database.write_fn(lambda c: c.execute("PRAGMA wal_autocheckpoint").fetchone())
        assert checkpoint == (0,), "a checkpoint would spend the log's room on the database"
        assert [isinstance(answer, Published) and answer.created for answer in answers[4:-1]] == [True] * 50
        assert answers[:4] == [None] * 4
        assert isinstance(answers[-1], GuardFailedError)
        assert dict(await database.read("SELECT key, value FROM meta WHERE key LIKE 'held-%'")) == {
            each.idem_key: "x" for each in held
        }
        stats = await queue.stats()
        assert (stats.published, stats.by_status["done"]) == (54, 4)
        await allow(int(str((await database.read("PRAGMA page_count"))[0][0])))
        with pytest.raises(HaltError, match=r"the disk is full \("):
            await asyncio.gather(*(queue.publish(heavy(f"more-{number}")) for number in range(50)))
        assert (len(freed), len(halts)) == (1, 1), "there is but one ballast"
        await queue.close()


def heavy(name: str) -> NewJob:
    """A job of some pages."""
    return NewJob("idle", {"text": "x" * 9_000}, name)


def effect(name: str) -> Tx:
    """A fact that counts how often it was applied."""
    tx = Tx()
    tx.put(name)
    return tx


async def test_read_only_home_is_refused_with_a_typed_error(tmp_path: Path) -> None:
    """A file system mounted read-only: an OSError that names the path, and no hang."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=1m,ro"):
        pytest.skip("no tmpfs can be mounted here: the read-only home is NOT TESTED")
    try:
        with pytest.raises(OSError, match=r"Read-only file system.*jobs\.db"):
            await Database.open(folder / "jobs.db", clock=SystemClock())
    finally:
        unmount(folder)
