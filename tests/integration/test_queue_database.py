"""The database file: lock, versions, foreign files, pragmas, readers, and the writer when the disk fails."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import aiosqlite
import pytest

from finagent.adapters.sqlite import batch, jobs, leases, publish, stats
from finagent.adapters.sqlite import connection as connection_module
from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.connection import ThreadedDoor
from finagent.adapters.sqlite.database import Database, DatabaseMissingError, ReadOnlyError
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError, migrate, migrations
from finagent.adapters.sqlite.requests import BatchOrder, BatchResult
from finagent.queue.errors import QueueClosedError
from finagent.runtime.clock import VirtualClock
from finagent.runtime.errors import HaltError
from finagent.runtime.lock import HomeInUseError
from tests.contract.queue_world import START_MS, QueueWorld, job

CLOCK = VirtualClock(START_MS)


def test_seam_of_the_pinned_aiosqlite_is_where_the_door_expects_it() -> None:
    assert aiosqlite.__version__ == "0.22.1"
    assert callable(aiosqlite.Connection._execute)
    assert isinstance(aiosqlite.Connection._conn, property)
    source = Path(connection_module.__file__).parent
    users = [path.name for path in sorted(source.glob("*.py")) if "aiosqlite" in path.read_text()]
    assert [name for name in users if "_execute(" in (source / name).read_text()] == ["connection.py"]


async def test_door_runs_a_whole_function_in_one_hop_and_passes_its_error(tmp_path: Path) -> None:
    door = await ThreadedDoor.open(lambda: sqlite3.connect(tmp_path / "a.db", check_same_thread=False))
    assert await door.run(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]
    with pytest.raises(sqlite3.OperationalError):
        await door.run(lambda connection: connection.execute("SELEKT"))
    await door.close()


@pytest.mark.parametrize("threaded", [True, False])
async def test_second_process_is_refused_with_the_holders_pid(tmp_path: Path, threaded: bool) -> None:
    async with await Database.open(tmp_path / "a.db", clock=CLOCK, threaded=threaded):
        with pytest.raises(HomeInUseError, match=f"process {os.getpid()}"):
            await Database.open(tmp_path / "a.db", clock=CLOCK)
    async with await Database.open(tmp_path / "a.db", clock=CLOCK):
        pass


async def test_writer_has_the_pragmas_that_make_a_commit_durable(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "a.db", clock=CLOCK) as database:

        def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
            names = (
                "journal_mode",
                "synchronous",
                "wal_autocheckpoint",
                "foreign_keys",
                "auto_vacuum",
                "temp_store",
            )
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        assert await database.write_fn(pragmas) == {
            "journal_mode": "wal",
            "synchronous": 2,
            "wal_autocheckpoint": 8000,
            "foreign_keys": 1,
            "auto_vacuum": 2,
            "temp_store": 2,
        }
        assert database.is_writable
        assert database.wal_bytes() > 0


async def test_reader_cannot_write_and_reads_beside_the_writer(tmp_path: Path) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=True)
    await world.open()
    await world.queue.publish(job("a"))
    async with await Database.open_readonly(world.path) as reader:
        assert await reader.read("SELECT idem_key FROM job_queue") == [("a",)]
        assert not reader.is_writable
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.read("DELETE FROM job_queue")
        with pytest.raises(ReadOnlyError):
            await reader.write_fn(lambda connection: None)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await world.database.read("DELETE FROM job_queue")
    await world.close()
    world.path.parent.chmod(0o500)
    try:
        async with await Database.open_readonly(world.path) as reader:
            assert await reader.read("SELECT idem_key FROM job_queue") == [("a",)]
    finally:
        world.path.parent.chmod(0o700)


async def test_memory_database_behaves_like_a_file() -> None:
    async with await Database.open(":memory:", clock=CLOCK) as database:
        assert await database.read("SELECT now_ms FROM clock") == [(0,)]
        assert await database.read_fn(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        assert database.wal_bytes() == 0


async def test_newer_database_is_refused_by_reader_and_writer(tmp_path: Path) -> None:
    path, known = tmp_path / "a.db", len(migrations())
    async with await Database.open(path, clock=CLOCK):
        pass
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO schema_migration VALUES (?, 'later', 0)", (known + 1,))
    raw.commit()
    raw.close()
    text = f"version {known + 1}, this program knows up to {known}"
    with pytest.raises(DatabaseTooNewError, match=text):
        await Database.open(path, clock=CLOCK)
    with pytest.raises(DatabaseTooNewError, match=text):
        await Database.open_readonly(path)


def foreign_database(path: Path) -> None:
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE theirs (a)")
    raw.commit()
    raw.close()


@pytest.mark.parametrize("make", [foreign_database, lambda path: path.write_bytes(b"no database" * 100)])
async def test_foreign_file_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError):
        await Database.open(path, clock=CLOCK)
    with pytest.raises(ForeignDatabaseError):
        await Database.open_readonly(path)
    assert path.read_bytes() == before


async def test_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissingError, match="no database at"):
        await Database.open_readonly(tmp_path / "a.db")
    with pytest.raises(DatabaseMissingError):
        await Database.open(tmp_path / "a.db", clock=CLOCK, create=False)


def test_migration_that_fails_leaves_the_version_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from finagent.adapters.sqlite import migrate as module

    good = migrations()
    bad = module.Migration(len(good) + 1, "bad", "CREATE TABLE half (a); CREATE TABLE half (a);")
    monkeypatch.setattr(module, "migrations", lambda: (*good, bad))
    raw = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(raw, "memory", now_ms=5)
    assert module.schema_version(raw, "memory") == len(good)
    assert raw.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    raw.close()


HOT = {
    "state": (batch.STATE, ()),
    "promote": ("UPDATE job_queue SET status = 'ready' WHERE status = 'scheduled' AND run_at <= ?", (1,)),
    "late": (jobs.CANCEL_LATE, (1,)),
    "finish": (jobs.FINISH, (1, 1, 1, 1)),
    "ready": (leases.READY_OF_TYPE, ("a",)),
    "keys": (leases.LEASED_KEYS, ()),
    "claim": (leases.CLAIM, (1, 1, 1, 1)),
    "existing": (publish.EXISTING, ("a", "b")),
    "prune": (jobs.PRUNABLE, (1, 200)),
    "oldest": (stats.OLDEST_READY, ()),
    "next": (stats.NEXT_RUN, ()),
    "dead": (stats.DEAD, ()),
}


@pytest.mark.parametrize("name", sorted(HOT))
def test_hot_statement_never_reads_the_history(name: str) -> None:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    migrate(raw, "memory", now_ms=0)
    sql, params = HOT[name]
    plan = [str(row[3]) for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
    raw.close()
    whole = [step for step in plan if step.startswith("SCAN job_queue") and "INDEX" not in step]
    assert whole == []


def broken_runner(monkeypatch: pytest.MonkeyPatch, code: int, times: int) -> None:
    """The next `times` commits fail with a SQLite error code."""
    real, left = BatchRunner.run, [times]

    def run(self: BatchRunner, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        if left[0] > 0:
            left[0] -= 1
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = code
            raise error
        return real(self, connection, order)

    monkeypatch.setattr(BatchRunner, "run", run)


@pytest.mark.parametrize(
    ("code", "text"),
    [(sqlite3.SQLITE_IOERR_FSYNC, "the disk failed"), (sqlite3.SQLITE_FULL, "the disk is full")],
)
async def test_disk_fault_halts_at_once_and_nothing_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=False)
    await world.open()
    broken_runner(monkeypatch, code, times=1)
    with pytest.raises(HaltError, match=text):
        await world.queue.publish(job("a"))
    with pytest.raises(HaltError, match=text):
        await world.queue.publish(job("b"))
    with pytest.raises(HaltError, match=text):
        await world.queue.wait_quiescent()
    assert len(world.halts) == 1
    await world.close()
    monkeypatch.undo()
    await world.open()
    assert (await world.queue.stats()).published == 0
    await world.close()


async def test_busy_database_keeps_the_batch_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=False)
    await world.open()
    broken_runner(monkeypatch, sqlite3.SQLITE_BUSY, times=3)
    results = asyncio.gather(world.queue.publish(job("a")), world.queue.publish(job("b")))
    while not results.done():
        world.ticker.advance(50)
        await asyncio.sleep(0)
    assert [published.created for published in await results] == [True, True]
    assert world.queue.counters.busy_retries == 3
    await world.close()


@pytest.mark.parametrize("payload", ["", "{", "no json", ' {"a": NaN}', "[" * 5000])
async def test_job_whose_row_was_damaged_ends_dead_and_stops_nobody(tmp_path: Path, payload: str) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=True)
    await world.open()
    bad, good = await world.queue.publish_many([job("bad"), job("good")])
    await world.queue.call(
        lambda session: session.conn.execute(
            "UPDATE job_queue SET payload = ? WHERE id = ?", (payload, bad.job_id)
        )
    )
    hands = world.hands()
    assert (await hands.take()).id == good.job_id
    rows = await world.database.read("SELECT status, error FROM job_queue WHERE id = ?", (bad.job_id,))
    assert rows[0][0] == "dead"
    assert "its payload cannot be read" in str(rows[0][1])
    (dead,) = (await world.queue.stats()).dead
    assert dead.payload == {"unreadable": payload}
    assert world.halts == []
    await world.close()


async def test_close_does_not_wait_for_ever_for_a_locked_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for and is not stored is refused; nothing is left hanging."""
    world = QueueWorld(tmp_path / "a.db", threaded=False)
    await world.open()
    broken_runner(monkeypatch, sqlite3.SQLITE_BUSY, times=1_000_000)
    waiting = asyncio.ensure_future(world.queue.publish(job("a")))
    while not world.queue.counters.busy_retries:  # noqa: ASYNC110  the count is what it waits for
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(world.queue.close())
    while not closing.done():
        world.ticker.advance(50)
        await asyncio.sleep(0)
    with pytest.raises(HaltError, match="another program has locked the database"):
        await waiting
    await world.database.close()


async def test_clock_row_moves_with_every_commit_and_never_backwards(tmp_path: Path) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=True)
    await world.open()
    world.clock.advance(START_MS + 5)
    await world.queue.publish(job("a"))
    assert await world.database.read("SELECT now_ms FROM clock") == [(START_MS + 5,)]
    before = world.queue.counters.commits
    world.queue.poke()
    await asyncio.sleep(0)
    await world.close()
    world.clock = VirtualClock(START_MS)
    await world.open()
    await world.queue.publish(job("b"))
    assert await world.database.read("SELECT now_ms FROM clock") == [(START_MS + 5,)]
    assert before == 2
    await world.close()


async def test_idle_poke_commits_nothing(tmp_path: Path) -> None:
    world = QueueWorld(tmp_path / "a.db", threaded=False)
    await world.open()
    world.hands()
    await world.settle()
    before = world.queue.counters.commits
    world.queue.poke()
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.queue.counters.commits == before
    await world.queue.note("test", {"a": 1})
    assert (await world.database.read("SELECT kind FROM operations_journal ORDER BY seq"))[-1] == ("test",)
    await world.close()
    with pytest.raises(QueueClosedError):
        world.queue.next_run_at_ms()
