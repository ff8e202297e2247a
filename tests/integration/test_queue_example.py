"""The example of docs/queue.md runs as it stands there."""

import asyncio
import re
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.service import ServiceContract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "queue.md"
GREETED: list[object] = []


class Greeter:
    """Notes a name and ends the example."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    async def handle(self, job: Job, tx: Tx) -> None:
        GREETED.append(job.payload["name"])
        self._stop.set()


NAMES = {
    "asyncio": asyncio,
    "Database": Database,
    "EventLoopProcessor": EventLoopProcessor,
    "Greeter": Greeter,
    "JobPolicy": JobPolicy,
    "JobTypes": JobTypes,
    "NewJob": NewJob,
    "ServiceContract": ServiceContract,
    "SqliteJobQueue": SqliteJobQueue,
    "SystemClock": SystemClock,
    "SystemTicker": SystemTicker,
}


async def test_example_of_the_page_publishes_handles_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    GREETED.clear()
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = dict(NAMES)
    exec(code, names)
    main = names["main"]
    assert callable(main)
    await asyncio.wait_for(main(), 30)
    assert GREETED == ["Ada"]
    async with await Database.open("jobs.db", clock=SystemClock(), create=False) as database:
        assert await database.read("SELECT status, attempts FROM job_queue") == [("done", 1)]
