"""Where an engine keeps what must survive its process: a home's files, or memory in the simulated world."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from finagent.adapters.sqlite import ballast
from finagent.adapters.sqlite.database import Database
from finagent.bootstrap.flags import FOLDER, flags_in, read_flag
from finagent.ports import Clock
from finagent.runtime.append_log import AppendLog, Line
from finagent.services.emergency import StopOrder, Trigger

LOG_NAME, FOLDED_NAME = "emergency.log", "emergency.log.folded"


class LineLog(Protocol):
    """Lines that survive once `append` has returned; `AppendLog` is one."""

    def append(self, line: Line) -> None:
        """Write one line."""

    def lines(self) -> Sequence[Line]:
        """Every whole line in order."""

    def retire(self, name: str) -> None:
        """The lines are safe elsewhere."""


class Storage(Protocol):
    """A database and what lies beside it."""

    @property
    def exit_log(self) -> LineLog:
        """Where exits are written while the database cannot be."""

    @property
    def ballast(self) -> Path | None:
        """The file that is given up when the disk is full; None where no disk can be."""

    async def open_database(self, *, clock: Clock) -> Database:
        """Open it, brought to this program's version."""

    async def make_room(self) -> bool:
        """See that the ballast is there; False where the disk has no room for it."""

    def stop_orders(self) -> list[StopOrder]:
        """What a person has asked for where the database could not take it."""


class FolderStorage:
    """The folder of one database file."""

    def __init__(self, path: Path, *, is_virtual: bool) -> None:
        self._path = path
        self._is_virtual = is_virtual
        self._flags = path.parent / FOLDER
        self.exit_log = AppendLog(path.parent / LOG_NAME)
        self.ballast = None if is_virtual else path.with_name("ballast")

    async def open_database(self, *, clock: Clock) -> Database:
        """Lock, migrate and open; raises what ``Database.open`` raises."""
        return await Database.open(self._path, clock=clock, is_roomy=not self._is_virtual)

    async def make_room(self) -> bool:
        """Beside a run's database there is no ballast."""
        return self.ballast is None or await asyncio.to_thread(ballast.make, self.ballast)

    def stop_orders(self) -> list[StopOrder]:
        """What the flag files ask for; they stay until their command is committed."""
        found = []
        for verb, path in flags_in(self._flags):
            if verb in (Trigger.KILL.value, Trigger.FLATTEN.value):
                symbol = read_flag(path).get("symbol") if verb == Trigger.FLATTEN.value else None
                found.append(StopOrder(verb, symbol or None))
        return found
