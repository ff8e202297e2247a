"""Sessions through the real engine with a probe: python -m benchmarks.sessions HOME VENDOR FIRST LAST."""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.probe import Probe
from finagent.bootstrap.runs import RunPlan, chosen_sessions, drive, open_run
from finagent.bootstrap.world import load_world
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import load_settings


async def run_sessions(home: Path, vendor: str, first: str, last: str, folder: Path) -> dict[str, object]:
    """Milliseconds from each tick (its bars in memory) to the commits of the intents it led to, and commits."""
    settings = load_settings()
    world = load_world(settings, home, vendor=vendor)
    sessions = chosen_sessions(world.calendar, first, last)
    plan = RunPlan(sessions=sessions, result_id="benchmark", path=folder / "finagent.db")
    engine = await open_run(settings, world, plan, approval_mode=lambda: "policy")
    probe = Probe(engine)
    probe.attach()
    began_s = time.perf_counter()
    try:
        await drive(engine, plan, ImmediatePacer(), progress=None)
        seconds = time.perf_counter() - began_s
        probe.count()
    finally:
        await engine.close()
    commits = [probe.commits.get(session.date, 0) for session in sessions]
    return {
        "sessions": len(sessions),
        "seconds": seconds,
        "commits": sum(probe.commits.values()),
        "most_commits": max(commits),
        "scan_to_intent_ms": probe.scan_to_intent_ms,
        "trigger_to_intent_ms": probe.trigger_to_intent_ms,
    }


def main(home: str, vendor: str, first: str, last: str) -> None:
    """Print what was measured as JSON."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        print(json.dumps(asyncio.run(run_sessions(Path(home), vendor, first, last, Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
