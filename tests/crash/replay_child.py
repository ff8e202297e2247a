"""A process made to be killed: it replays sessions in a home from wherever they stand, and tells how it ended.

Called with one JSON document (`Errand`); a planted bug or a slow database thread is switched on by it alone, so
that what is killed is otherwise the program itself.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from finagent.adapters.sqlite import database, queue
from finagent.bootstrap import runs
from finagent.bootstrap.world import World, load_world
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import Settings, load_settings
from tests.crash.mutants import MUTANTS, TracedRunner
from tests.crash.slow_door import slow_door
from tests.proof.points import watch_deliveries

READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What to replay, with which settings (as the environment gives them), and with what planted bug or stress."""

    home: str
    vendor: str
    first: str
    last: str
    mode: str = "policy"
    settings: Mapping[str, str] = field(default_factory=dict)
    mutant: str = ""
    stall_seed: int | None = None

    def dumps(self) -> str:
        return json.dumps(asdict(self))


async def run(errand: Errand) -> float:
    """Replay to the end; the seconds from the first step to the last."""
    os.environ.update(errand.settings)
    settings, home = load_settings(), Path(errand.home)
    world = load_world(settings, home, vendor=errand.vendor)
    plan = plan_of(settings, world, home, errand.first, errand.last)
    print(READY, flush=True)
    began_s = time.perf_counter()
    engine = await runs.open_run(settings, world, plan, approval_mode=lambda: errand.mode)
    try:
        await runs.drive(engine, plan, ImmediatePacer(), progress=None)
    finally:
        await engine.close()
    return time.perf_counter() - began_s


def plan_of(settings: Settings, world: World, home: Path, first: str, last: str) -> runs.RunPlan:
    """The run of a range of sessions, in the folder that the command would give it."""
    identity = runs.result_id(settings, data_id=world.data_id, first=first, last=last, at=None)
    path = runs.run_path(home, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    sessions = runs.chosen_sessions(world.calendar, first, last)
    return runs.RunPlan(sessions=sessions, result_id=identity, path=path)


def main() -> None:
    errand = Errand(**json.loads(sys.argv[1]))
    watch_deliveries()
    queue.BatchRunner = TracedRunner  # type: ignore[attr-defined]
    if errand.mutant:
        MUTANTS[errand.mutant].plant()
    if errand.stall_seed is not None:
        database.ThreadedDoor = slow_door(errand.stall_seed)  # type: ignore[attr-defined]
    played_s = asyncio.run(run(errand))
    counted = {"commits": TracedRunner.commits, "jobs": TracedRunner.finished}
    print(json.dumps({"played_s": played_s, **counted}))


if __name__ == "__main__":
    main()
