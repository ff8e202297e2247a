"""An agent that is killed: opens a position, says so, and acts past the lock when it is told."""

import asyncio
import sys
from pathlib import Path

from tests.integration.locked.stage import SETTINGS, LockedStage


async def main(home: Path) -> None:
    """Lines of stdin are the cues; the failpoint of the environment ends the process."""
    stage = LockedStage(home, settings=SETTINGS)
    await stage.start()
    await stage.open_position()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    stage.at("15:45")
    await stage.waited(31.0)
    print("sent", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await stage.waited(0.0)
    await stage.flat()
    print("flat", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
