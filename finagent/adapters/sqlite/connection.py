"""The one door to SQLite: run a function on a connection, in aiosqlite's thread or in line."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

import aiosqlite

T = TypeVar("T")
Connect = Callable[[], sqlite3.Connection]


class Door(Protocol):
    """A connection behind which one function runs at a time, whole."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T: ...

    async def close(self) -> None: ...


class ThreadedDoor:
    """aiosqlite's thread; one hop per function, whatever number of statements it runs.

    Reaches through `Connection._execute`, a private seam of the pinned aiosqlite 0.22.1 (a test guards it):
    the public methods hop once per statement, which costs a factor of thirty.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, connect: Connect) -> "ThreadedDoor":
        connection = aiosqlite.Connection(connect, iter_chunk_size=64)
        try:
            return cls(await connection)
        except BaseException:
            # aiosqlite ends its thread by itself, but its last word must find the loop still open.
            await asyncio.to_thread(connection._thread.join)
            raise

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._connection._execute(work, self._connection._conn)  # type: ignore[no-untyped-call]
        return result

    async def close(self) -> None:
        await self._connection.close()


class InlineDoor:
    """The loop's own thread, with one hop so that schedules keep their shape; for simulation and readers."""

    def __init__(self, connection: sqlite3.Connection, *, owns: bool = True) -> None:
        self._connection = connection
        self._owns = owns

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await asyncio.sleep(0)
        return work(self._connection)

    async def close(self) -> None:
        if self._owns:
            self._connection.close()
