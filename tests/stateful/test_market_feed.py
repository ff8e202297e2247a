"""Hours of a made-up market through scanner, scoring, planner and risk: no deadlock, no lost job, bounded memory.

The real engine on a virtual clock, one instant per bar of every watched stock, session after session: six hours
and more of business time each. CI plays two sessions; FINAGENT_FULL plays for ten minutes of the wall's clock.
"""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.runs import RunPlan, chosen_sessions, drive, open_run
from finagent.bootstrap.world import load_world
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import load_settings

FIRST, LAST = "2026-09-01", "2027-08-31"
CI_SESSIONS = 2
FULL_S = 600.0
SESSION_LIMIT_S = 120.0
VIRTUAL_HOURS = 6.0
GROWTH_CI = 16_000_000
GROWTH_FULL = 32_000_000
STAGES = ("scan", "score", "plan", "risk")


class Feed:
    """Plays one session after another into the same home, each through an engine of its own."""

    def __init__(self, home: Path) -> None:
        self.settings = load_settings()
        self.world = load_world(self.settings, home, vendor="simulated")
        self.sessions = chosen_sessions(self.world.calendar, FIRST, LAST)
        self.home = home
        self.played = 0
        self.jobs = 0
        self.virtual_ms = 0

    async def play(self) -> None:
        """One more session, in a file of its own; every claim is about that file when time has ended."""
        session = self.sessions[self.played]
        path = self.home / f"day-{self.played}" / "finagent.db"
        path.parent.mkdir()
        plan = RunPlan(sessions=(session,), result_id="0" * 16, path=path)
        engine = await open_run(
            self.settings, self.world, plan, approval_mode=lambda: "policy", is_every_bar=True
        )
        began_ms = engine.clock.now_ms()
        try:
            # A deadlock is a run whose time never ends.
            await asyncio.wait_for(drive(engine, plan, ImmediatePacer(), progress=None), SESSION_LIMIT_S)
            await self.check(engine)
        finally:
            await engine.close()
        self.virtual_ms += min(engine.clock.now_ms() - began_ms, 24 * 3_600_000)
        assert engine.clock.now_ms() - began_ms >= VIRTUAL_HOURS * 3_600_000
        self.played += 1

    async def check(self, engine: Engine) -> None:
        """Q2 at the end of a day: all that was published is over, none of it dead, every stage had work."""
        stats = await engine.queue.stats()
        over = stats.by_status["done"] + stats.by_status["cancelled"]
        assert stats.published == over + sum(stats.pruned.values()), stats.by_status
        assert list(stats.dead) == []
        missing = [stage for stage in STAGES if not stats.by_type.get(stage)]
        assert missing == [], f"nothing went through {missing}: {sorted(stats.by_type)}"
        unanswered = await engine.database.read(
            "SELECT count(*) FROM job_queue parent WHERE parent_id IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM job_queue WHERE id = parent.parent_id)"
        )
        assert unanswered == [(0,)], "a job without the job that asked for it"
        self.jobs += stats.published


def resident_bytes() -> int:
    """Memory of this process, as Linux tells it."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def test_sessions_of_a_made_up_feed_lose_no_job_and_keep_memory_bounded(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The reduced form of CI: a session to warm up, then as many as fit, each complete."""
    load_calendar(tmp_path)
    feed = Feed(tmp_path)
    await feed.play()
    began = resident_bytes()
    for _ in range(CI_SESSIONS):
        await feed.play()
    grown = resident_bytes() - began
    print(told(feed), f"resident {grown:+}")
    assert grown < CI_SESSIONS * GROWTH_CI
    record_property("stateful.sessions", feed.played)


@pytest.mark.full
async def test_ten_minutes_of_a_made_up_feed(tmp_path: Path) -> None:
    """Session after session for ten minutes: memory at the end is that of the first third, but for a margin."""
    load_calendar(tmp_path)
    feed, end_s = Feed(tmp_path), time.monotonic() + FULL_S
    series = []
    while time.monotonic() < end_s and feed.played < len(feed.sessions):
        await feed.play()
        gc.collect()
        series.append(resident_bytes())
    third = max(1, len(series) // 3)
    print(told(feed), f"resident {series[third]} to {series[-1]} bytes")
    assert max(series[third:]) - series[third] < GROWTH_FULL


def told(feed: Feed) -> str:
    return f"{feed.played} sessions, {feed.virtual_ms / 3_600_000:.1f} virtual hours, {feed.jobs} jobs"
