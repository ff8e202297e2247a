"""One scan of a whole market as a job of the real engine: python -m benchmarks.scan_job HOME SESSION."""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.probe import Probe
from finagent.bootstrap.engine import EngineOptions, open_engine
from finagent.bootstrap.world import load_world
from finagent.domain.market import MINUTE_MS
from finagent.domain.orders import Scope
from finagent.domain.steps import Step
from finagent.ports import NewJob
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.tasks import spawn
from finagent.settings import load_settings


async def scan_job(home: Path, date: str, folder: Path) -> dict[str, float]:
    """Seconds from publishing to the commit with the follow-up: first with nothing read, then once more."""
    settings = load_settings()
    world = load_world(settings, home, vendor="replay")
    session = world.calendar.session(date)
    if session is None:
        raise SystemExit(f"{date} is no session")
    clock = VirtualClock(session.open_ms + MINUTE_MS)
    options = EngineOptions(
        path=folder / "finagent.db", scope=Scope(), approval_mode=lambda: "policy", is_virtual=True
    )
    engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    probe = Probe(engine)
    probe.attach()
    supervisor = engine.supervise()
    running = spawn(supervisor.run(), "supervisor")
    try:
        first_s, all_s = await _scan(probe, date, "first")
        again_s, _ = await _scan(probe, date, "again")
    finally:
        supervisor.request_stop()
        await running
        await engine.close()
    return {
        "first_s": first_s,
        "again_s": again_s,
        "to_quiescence_s": all_s,
        "universe": probe.universe,
        "candidates": probe.candidates,
    }


async def _scan(probe: Probe, date: str, tick: str) -> tuple[float, float]:
    """Seconds to the scan's commit, and until all that followed from it was committed as well."""
    queue, key = probe.engine.queue, f"{date}/{tick}"
    began_s = time.perf_counter()
    await queue.publish(NewJob(Step.SCAN, {"session": date, "tick": tick, "kind": "plan"}, idem_key=key))
    await queue.wait_quiescent()
    return probe.committed_at_s[f"{Step.SCAN}:{key}"] - began_s, time.perf_counter() - began_s


def main(home: str, date: str) -> None:
    """Print the seconds as JSON."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        print(json.dumps(asyncio.run(scan_job(Path(home), date, Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
