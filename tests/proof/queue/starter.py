"""A process that wants a home for itself, at an instant that all of them share."""

import asyncio
import fcntl
import os

from finagent.adapters.sqlite.database import Database
from finagent.runtime.clock import SystemClock
from finagent.runtime.lock import HomeInUseError


async def main(arguments: dict[str, str]) -> None:
    """Wait for the gate, open the database, say how it went; who won keeps it until the gate closes."""
    with open(arguments["gate"], "rb") as gate:
        os.write(1, b"ready\n")
        fcntl.flock(gate, fcntl.LOCK_SH)
        try:
            database = await Database.open(arguments["path"], clock=SystemClock())
        except HomeInUseError as error:
            os.write(1, f"refused {os.getpid()} {error.pid}\n".encode())
            return
        os.write(1, f"won {os.getpid()}\n".encode())
    with open(arguments["curtain"], "rb") as curtain:
        await asyncio.to_thread(fcntl.flock, curtain, fcntl.LOCK_SH)
    await database.close()
