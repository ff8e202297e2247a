"""Watching a queue from outside: snapshots of a home's database, or a run's, read beside whoever writes it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from finagent.adapters.sqlite.watch import QueueWatch
from finagent.bootstrap.backtest_jobs import with_progress
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.homes import database_path, stored_clock
from finagent.bootstrap.readers import open_stored
from finagent.context import Document
from finagent.runtime.clock import SystemTicker


def watch_queue(home: Path, run: str | None = None) -> Callable[[], Awaitable[Document]]:
    """A function that takes the next snapshot; SurfaceError where there is nothing to watch.

    Each snapshot opens the file anew: none keeps a log from being checkpointed, and a run that starts over or a
    restored backup is seen.
    """
    watch = QueueWatch(SystemTicker())

    async def look() -> Document:
        path = database_path(home, run)
        database = await open_stored(home, path, run)
        try:
            with reading(path):
                clock = await stored_clock(home, database, run)
                document = await database.read_fn(lambda conn: watch.look(conn, now_ms=clock.now_ms()))
            running = document["running"]
            if isinstance(running, list) and run is None:
                shown = with_progress(home)
                document["running"] = [shown(row) if isinstance(row, dict) else row for row in running]
            return {**document, "wal_bytes": database.wal_bytes(), "database_bytes": path.stat().st_size}
        finally:
            await database.close()

    return look
