"""A process made to be killed: it computes one job and says on its output where it is."""

import asyncio
import sys
from pathlib import Path

from finagent.runtime.tasks import spawn
from tests.integration.compute.engine import Engine


async def main(folder: Path, name: str) -> None:
    engine = Engine(folder, (name,), workers=1)
    await engine.open()
    job_id = await engine.publish(
        name, "job", until=6, pause_at=3, gate=str(folder / "gate"), witness=str(folder / "witness")
    )

    async def tell() -> None:
        print(f"worker {await engine.running(job_id)}", flush=True)

    telling = spawn(tell(), "tell")
    job = await engine.over(job_id)
    telling.cancel()
    await engine.close()
    print(f"over {job.status} {job.attempts}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
