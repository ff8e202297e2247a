"""The crash drill: a real agent, a real broker server, real SIGKILLs, and a judge who shares nothing with either."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

from finagent.context import Document, SurfaceError

HIGHEST_SEED = 1_000_000_000


async def run_drill(home: Path, *, kills: int, seed: int | None, progress: Callable[[str], None]) -> Document:
    """Play a drill below ``home/drills`` and write its page there; the document names it as ``report``.

    SurfaceError where the agent of the drill ends by itself, or the folder of this seed is in use already.
    """
    from finagent.simulation.drill.play import Drill, DrillRequest
    from finagent.simulation.drill.report import document, page

    number = random.SystemRandom().randrange(HIGHEST_SEED) if seed is None else seed
    folder = home / "drills" / str(number)
    if folder.exists():
        raise SurfaceError(
            f"{folder} is there already",
            hint="take another --seed, or delete that folder",
            code="drill_exists",
        )
    progress(f"seed {number}, in {folder}")
    outcome = await Drill(DrillRequest(kills=kills, seed=number, folder=folder, progress=progress)).run()
    found = document(outcome)
    report = folder / "report.html"
    await asyncio.to_thread(report.write_text, page(found), "utf-8")
    await asyncio.to_thread((folder / "report.json").write_text, json.dumps(found, indent=1), "utf-8")
    return {**found, "report": str(report)}
