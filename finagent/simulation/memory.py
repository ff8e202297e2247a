"""The agent's disk in memory: one database that outlives the process, behind doors that die with it."""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from finagent.adapters.sqlite.connection import Door
from finagent.adapters.sqlite.database import MEMORY, Database, connect_writer
from finagent.adapters.sqlite.migrate import migrate
from finagent.ports import Clock
from finagent.runtime.append_log import Line
from finagent.services.emergency import StopOrder

T = TypeVar("T")
WRITER, READER = "writer", "reader"


@cache
def template() -> bytes:
    """An empty database of this program's version; the script that makes it takes fifty times as long."""
    connection = connect_writer(MEMORY)
    try:
        migrate(connection, MEMORY, now_ms=0)
        return connection.serialize()
    finally:
        connection.close()


class Trouble(Protocol):
    """What may happen around a piece of work at the database."""

    async def before(self, door: str) -> bool:
        """Wait as a slow disk does; False when the process died. Raises what SQLite would."""

    def after(self, door: str) -> bool:
        """The work is done, and committed if it wrote; False when the process died before it could answer."""


class Disk:
    """What is left of the agent when its process has died: the database and the emergency log."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(
            MEMORY, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        self.connection.deserialize(template())
        for pragma in (
            "synchronous = OFF",
            "journal_mode = MEMORY",
            "temp_store = MEMORY",
            "foreign_keys = ON",
        ):
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        self.exit_log = MemoryLog()
        self.asked: list[StopOrder] = []

    def close(self) -> None:
        """Forget everything."""
        self.connection.close()


class MemoryLog:
    """An append-only log that survives the process."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    def append(self, line: Line) -> None:
        """Keep one line."""
        self._lines.append(dict(line))

    def lines(self) -> list[Line]:
        """All lines in order."""
        return list(self._lines)

    def retire(self, name: str) -> None:
        """They are safe elsewhere."""
        self._lines.clear()


class SimulatedDoor:
    """A door of one life: one hop, whatever trouble there is, and no answer once the process has died."""

    def __init__(self, connection: sqlite3.Connection, name: str, trouble: Trouble) -> None:
        self._connection = connection
        self._name = name
        self._trouble = trouble

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function, whole."""
        if not await self._trouble.before(self._name):
            await _never()
        result = work(self._connection)
        if not self._trouble.after(self._name):
            await _never()
        return result

    async def close(self) -> None:
        """The disk stays."""


async def _never() -> None:
    """A dead process waits for ever."""
    await asyncio.get_running_loop().create_future()


class MemoryStorage:
    """The storage of one life over a disk."""

    ballast: Path | None = None

    def __init__(self, disk: Disk, trouble: Trouble) -> None:
        self._disk = disk
        self._trouble = trouble
        self.exit_log = disk.exit_log

    async def open_database(self, *, clock: Clock) -> Database:
        """The database as the last commit left it."""
        return Database(None, writer=self._door(WRITER), reader=self._door(READER), lock=None)

    async def make_room(self) -> bool:
        """Memory has no ballast."""
        return True

    def stop_orders(self) -> list[StopOrder]:
        """What a person has asked for past the database."""
        return list(self._disk.asked)

    def _door(self, name: str) -> Door:
        return SimulatedDoor(self._disk.connection, name, self._trouble)
