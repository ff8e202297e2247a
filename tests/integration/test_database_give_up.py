"""After a failed disk the database is left as it is: no last word, no checkpoint, and a typed error."""

import sqlite3
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.runtime.clock import VirtualClock
from finagent.runtime.errors import HaltError

PUT = "INSERT INTO meta (key, value) VALUES (?, ?)"


async def opened(path: Path, *, threaded: bool) -> Database:
    return await Database.open(path, clock=VirtualClock(1_000), threaded=threaded)


def put(connection: sqlite3.Connection, key: str, size: int = 1) -> None:
    connection.execute(PUT, (key, "x" * size))


def fill(connection: sqlite3.Connection) -> None:
    """SQLite's own limit stands for the disk's: the same error code."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 1}").fetchone()
    put(connection, "too much", 1_000_000)


@pytest.mark.parametrize("threaded", [True, False])
async def test_close_after_a_halt_on_a_full_disk_leaves_the_log_as_it_is(
    tmp_path: Path, threaded: bool
) -> None:
    """A checkpoint would write and sync; what was committed is in the log, for the next start."""
    path = tmp_path / "finagent.db"
    database = await opened(path, threaded=threaded)
    await database.write_fn(lambda connection: put(connection, "kept"))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await database.write_fn(fill)
    database.give_up()
    before = path.read_bytes()
    await database.close()
    assert path.read_bytes() == before
    assert database.wal_bytes() > 0
    again = await opened(path, threaded=threaded)
    assert await again.read("SELECT key FROM meta") == [("kept",)]
    await again.close()
    assert again.wal_bytes() == 0


async def test_full_disk_that_has_room_again_ends_nothing(tmp_path: Path) -> None:
    """Whoever asked may make room and ask again: a write that found none is no failed sync."""
    async with await opened(tmp_path / "finagent.db", threaded=True) as database:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await database.write_fn(fill)
        await database.write_fn(
            lambda connection: connection.execute("PRAGMA max_page_count = 10000").fetchone()
        )
        await database.write_fn(lambda connection: put(connection, "again", 1_000_000))
    assert database.wal_bytes() == 0, "closed in order"


async def test_last_word_after_a_halt_is_nothing(tmp_path: Path) -> None:
    """An owner that closes after the halt writes no more."""
    database = await opened(tmp_path / "finagent.db", threaded=True)
    database.give_up()
    assert await database.write_last(lambda connection: put(connection, "late")) is None
    assert await database.read("SELECT key FROM meta") == []
    await database.close()


async def test_last_word_on_a_full_disk_is_a_halt_not_an_error_of_sqlite(tmp_path: Path) -> None:
    """The halt carries the mend, and nothing is tried again."""
    database = await opened(tmp_path / "finagent.db", threaded=True)
    with pytest.raises(HaltError, match=r"the disk is full .* then start again"):
        await database.write_last(fill)
    assert await database.write_last(lambda connection: put(connection, "late")) is None
    await database.close()


async def test_broken_constraint_is_no_failed_disk(tmp_path: Path) -> None:
    """An error of a statement leaves the database in use; closing it checkpoints."""
    database = await opened(tmp_path / "finagent.db", threaded=True)
    await database.write_fn(lambda connection: put(connection, "once"))
    with pytest.raises(sqlite3.IntegrityError):
        await database.write_fn(lambda connection: put(connection, "once"))
    await database.write_last(lambda connection: put(connection, "twice"))
    await database.close()
    assert database.wal_bytes() == 0
