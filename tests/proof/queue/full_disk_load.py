"""A process that publishes until its disk is full; the witness stands on another disk."""

import asyncio
import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.queue.job import NewJob
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import HaltError
from tests.proof.queue.family import TYPES
from tests.proof.queue.witness import Witness

HALTED = 3
NOT_FULL = 4
LIMIT = 8_000


async def main(path: Path, witness_path: Path, most_bytes: int) -> None:
    """Eight publishers; what is acknowledged is witnessed; the first halt ends the process."""
    faulthandler.dump_traceback_later(60, exit=True)
    if most_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    witness, told, freed, said = Witness(witness_path), list[str](), list[int](), 0
    database = await Database.open(path, clock=SystemClock())
    ballast = path.with_name("ballast")
    queue = SqliteJobQueue(
        database,
        TYPES,
        SystemClock(),
        SystemTicker(),
        on_halt=told.append,
        on_full=lambda: freed.append(said),
        ballast=ballast,
    )
    await queue.start()

    async def publish(publisher: int) -> None:
        nonlocal said
        for number in range(LIMIT):
            name = f"{publisher}-{number}"
            await queue.publish(NewJob("parent", {"text": "x" * 2_000}, name))
            witness.say(f"published parent:{name}")
            said += 1

    try:
        await asyncio.gather(*(publish(publisher) for publisher in range(8)))
    except HaltError as error:
        print(f"halted: {error}", f"told: {told}", f"ballast: {ballast.exists()}", sep="\n")
        print(
            f"freed: {len(freed)}",
            f"acknowledged with its room: {said - freed[0] if freed else 0}",
            flush=True,
        )
        os._exit(HALTED)
    os._exit(NOT_FULL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
