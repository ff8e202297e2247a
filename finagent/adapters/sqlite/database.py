"""One database file: its lock, its pragmas, its writing connection and its reading one."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from finagent.adapters.sqlite import wal
from finagent.adapters.sqlite.connection import Connect, Door, InlineDoor, ThreadedDoor
from finagent.adapters.sqlite.faults import error_code, halt_error, is_disk_error, is_full
from finagent.adapters.sqlite.migrate import check_version, migrate
from finagent.adapters.sqlite.swap import finish_restore
from finagent.runtime.clock import Clock
from finagent.runtime.lock import FileLock

T = TypeVar("T")
Row = tuple[object, ...]
Value = None | int | float | str | bytes
MEMORY = ":memory:"
WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 8000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",  # KiB: what the log holds between two checkpoints stays at hand
    "PRAGMA foreign_keys = ON",
)
READER_PRAGMAS = ("PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0", "PRAGMA busy_timeout = 5000")


class DatabaseMissingError(Exception):
    """There is no database at this path."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"there is no database at {path}: start the agent once, or give another --home")


class ReadOnlyError(Exception):
    """This database was opened for reading only."""

    def __init__(self) -> None:
        super().__init__("this database was opened for reading only: open it with Database.open to write")


class Database:
    """A database file that is open; `open` for the one process that writes, `open_readonly` for any other."""

    def __init__(
        self, path: Path | None, *, writer: Door | None, reader: Door, lock: FileLock | None
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._closed = False
        self._is_given_up = False

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        clock: Clock,
        lock: bool = True,
        create: bool = True,
        threaded: bool = True,
        is_roomy: bool = False,
    ) -> "Database":
        """Lock, migrate and open; `:memory:` and `threaded=False` stay on the loop's thread.

        `is_roomy` makes the log 33 MB long at once, for a process that runs long: its commits sync faster.

        Raises HomeInUseError, DatabaseMissingError (with `create=False`), DatabaseTooNewError,
        ForeignDatabaseError.
        """
        if str(path) == MEMORY:
            memory = connect_writer(MEMORY)
            migrate(memory, MEMORY, now_ms=clock.now_ms())
            return cls(None, writer=InlineDoor(memory), reader=InlineDoor(memory, owns=False), lock=None)
        path = Path(path)
        if not create and not path.exists():
            raise DatabaseMissingError(path)
        held = FileLock(path) if lock else None
        if held is not None:
            held.acquire()
        try:
            if held is not None:
                finish_restore(path)
            writer = await _door(lambda: connect_writer(path), threaded)
            try:
                now_ms = clock.now_ms()
                await writer.run(lambda connection: migrate(connection, path, now_ms=now_ms))
                if is_roomy:
                    await writer.run(lambda connection: wal.reserve_alone(connection, path))
                reader = await _door(lambda: connect_reader(path), threaded)
            except BaseException:
                await writer.close()
                raise
        except BaseException:
            if held is not None:
                held.release()
            raise
        return cls(path, writer=writer, reader=reader, lock=held)

    @classmethod
    async def open_readonly(cls, path: Path | str) -> "Database":
        """Read beside a running agent: takes no lock, never writes or checkpoints.

        Raises DatabaseMissingError, DatabaseTooNewError, ForeignDatabaseError.
        """
        path = Path(path)
        if not path.exists():
            raise DatabaseMissingError(path)
        connection = connect_reader(path)
        try:
            check_version(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(path, writer=None, reader=InlineDoor(connection), lock=None)

    async def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """All rows of one short statement, from the last commit."""
        return await self._reader.run(lambda connection: connection.execute(sql, params).fetchall())

    async def read_fn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Several statements in one hop, all of one snapshot."""

        def snapshot(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        return await self._reader.run(snapshot)

    async def write_fn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the writing connection; only the group-commit writer may call this.

        A full disk does not end it, the caller may make room and run the function again; a failed one does.
        """
        if self._writer is None:
            raise ReadOnlyError
        try:
            return await self._writer.run(work)
        except sqlite3.Error as error:
            if is_disk_error(error) and not is_full(error):
                self.give_up()
            raise

    async def stop_checkpoints(self) -> None:
        """Keep what room is left for the log: a checkpoint would spend it on making the database longer."""
        await self.write_fn(lambda connection: connection.execute("PRAGMA wal_autocheckpoint = 0").fetchone())

    async def write_last(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The last word of an owner that closes: nothing after a halt or while another program holds the lock.

        Raises HaltError, never an error of SQLite's.
        """
        if self._is_given_up:
            return None
        try:
            return await self.write_fn(work)
        except sqlite3.Error as error:
            if error_code(error) == sqlite3.SQLITE_BUSY:
                return None
            self.give_up()
            raise halt_error(error) from error

    def give_up(self) -> None:
        """The disk failed, or is full for good: nothing of this file is written or synced any more, not by `close`.

        A failed fsync cannot be repeated: the kernel may have dropped the pages it could not write, and a
        second one that succeeds would say that they are safe.
        """
        self._is_given_up = True

    async def clock_ms(self) -> int:
        """Where the business clock stood at the last commit, 0 before any: a replay goes on from here."""
        rows = await self.read("SELECT now_ms FROM clock")
        return int(str(rows[0][0]))

    @property
    def is_writable(self) -> bool:
        return self._writer is not None

    def wal_bytes(self) -> int:
        """Size of the write-ahead log, 0 when there is none."""
        if self.path is None:
            return 0
        return wal.wal_bytes(self.path)

    async def close(self) -> None:
        """Close the reader, then the writer (which checkpoints), then free the lock. Twice does nothing.

        After `give_up` the writer goes first: SQLite checkpoints only when the last connection closes, and the
        last one then is the reader's, which cannot write. Python 3.11 cannot set NO_CKPT_ON_CLOSE.
        """
        if self._closed:
            return
        self._closed = True
        doors = [self._reader, *([self._writer] if self._writer is not None else [])]
        try:
            for door in reversed(doors) if self._is_given_up else doors:
                await door.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect_writer(path: Path | str) -> sqlite3.Connection:
    """A connection in autocommit mode with the writer's pragmas; the caller holds the file's lock."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    try:
        # A foreign file must not be touched, not even turned into WAL, before its identity is known.
        check_version(connection, path)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in WRITER_PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; with no log, in a folder closed to it, it reads the file alone."""
    uri = path.resolve().as_uri()
    try:
        return _reader(f"{uri}?mode=ro")
    except sqlite3.OperationalError:
        if path.with_name(path.name + "-wal").exists():
            raise
        return _reader(f"{uri}?mode=ro&immutable=1")


def _reader(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        for pragma in READER_PRAGMAS:
            connection.execute(pragma)
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_NOTADB:
            connection.close()
            raise
    return connection


async def _door(connect: Connect, threaded: bool) -> Door:
    if threaded:
        return await ThreadedDoor.open(connect)
    return InlineDoor(connect())
