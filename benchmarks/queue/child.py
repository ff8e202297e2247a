"""One measurement in a process of its own: `python -m benchmarks.queue.child NAME FOLDER JOBS IN_FLIGHT`."""

import asyncio
import sys
from pathlib import Path

from benchmarks.queue import bulk, ours, raw
from benchmarks.queue.workload import Sample

HISTORY_ROWS = 500_000


def measure(name: str, path: Path, jobs: int, in_flight: int) -> Sample:
    """Run the measurement called `name` on a new file."""
    if name == "raw":
        return raw.fused(path, jobs=jobs - jobs % in_flight, batch=in_flight)
    if name == "reclaim":
        return bulk.reclaim(path, jobs=jobs)
    if name == "history":
        bulk.fill(path, HISTORY_ROWS, status="done")
        return asyncio.run(ours.cycle(path, jobs=jobs, in_flight=in_flight))
    if name == "bulk":
        return asyncio.run(bulk.bulk(path, jobs=jobs))
    run = {
        "cycle": ours.cycle,
        "latency": ours.latency,
        "grouped": bulk.grouped,
        "ungrouped": bulk.ungrouped,
    }[name]
    return asyncio.run(run(path, jobs=jobs, in_flight=in_flight))


if __name__ == "__main__":
    print(measure(sys.argv[1], Path(sys.argv[2]) / "jobs.db", int(sys.argv[3]), int(sys.argv[4])).line())
