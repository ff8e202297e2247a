"""The look that follows a start: all of a long journal, slowly and beside the day; damage shuts the entry gate."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

from finagent.adapters.sqlite.database import connect_reader
from finagent.adapters.sqlite.integrity import STATE_ENTRIES, whole_fault
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.identity import code_identity
from finagent.bootstrap.starting import tell_damage
from finagent.runtime.tasks import spawn

REST_EVERY = 100
REST_S = 0.02
"""The reading thread leaves the loop most of a core: a short rest after each so many entries."""


class JournalGuard:
    """Once after a start: what the start had no time for."""

    name = "journal_guard"
    needs = ("processor",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; the look itself is made once."""
        await self.run_once(stop)
        await stop.wait()

    async def run_once(self, stop: asyncio.Event) -> bool:
        """Look at all of it; False where the start has seen it all, or a stop came first."""
        rows = await self._engine.database.read("SELECT count(*) FROM journal")
        if int(str(rows[0][0])) <= STATE_ENTRIES:
            return False
        halt = threading.Event()
        looking = spawn(asyncio.to_thread(_look, self._engine.options.path, halt), self.name)
        stopped = spawn(_until(stop), f"{self.name}-stop")
        try:
            await asyncio.wait([looking, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            halt.set()
            stopped.cancel()
        fault = await looking
        if fault is not None:
            await tell_damage(self._engine, fault)
        return True


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


class _HaltedError(Exception):
    """The agent stops: nothing more is looked at."""


def _look(path: Path, halt: threading.Event) -> str | None:
    told = 0

    def rest(_done: int, _total: int) -> None:
        nonlocal told
        told += 1
        if told % REST_EVERY == 0 and halt.wait(REST_S):
            raise _HaltedError

    try:
        with contextlib.closing(connect_reader(path)) as connection:
            return whole_fault(connection, code=code_identity(), told=rest)
    except _HaltedError:
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
