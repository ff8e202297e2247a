"""Hours of a made-up market through scanner, scoring, planner and risk: no deadlock, no lost job, bounded memory.

The real engine on a virtual clock, one instant per bar of every watched stock, session after session: six hours and
more of business time each. CI plays a few; the full form plays for FINAGENT_STATEFUL_MINUTES (10) of the wall's clock,
several sessions to an engine, with stops that move and so ten times the jobs.
"""

import asyncio
import gc
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.runs import RunPlan, drive, open_run
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import load_world
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import load_settings

FIRST, LAST = "2026-09-01", "2027-08-31"
CI_SESSIONS = 2
MINUTES_VARIABLE = "FINAGENT_STATEFUL_MINUTES"
FULL_MINUTES = 10.0
SESSIONS_TO_AN_ENGINE = 5
SESSION_LIMIT_S = 120.0
VIRTUAL_HOURS = 6.0
GROWTH_CI = 16_000_000
GROWTH_FULL = 32_000_000
SLOPE_FULL = 100_000
"""Bytes a session: with 200 sessions to ten minutes, less than the margin of a process that stays for a year."""
STAGES = ("scan", "score", "plan", "risk")
BUSY = {"FINAGENT__PLANNING__TRAIL_AFTER_R": "0.5", "FINAGENT__PLANNING__TRAIL_ATR": "0.3"}


class Feed:
    """Plays sessions into homes of their own, each group through one engine."""

    def __init__(self, home: Path) -> None:
        self.settings = load_settings()
        self.world = load_world(self.settings, home, vendor="simulated")
        self.sessions = chosen_sessions(self.world.calendar, FIRST, LAST)
        self.home = home
        self.played = 0
        self.jobs = 0
        self.virtual_ms = 0

    async def play(self, count: int = 1) -> None:
        """So many more sessions in one engine and one file; every claim is about that file when time has ended."""
        sessions = tuple(self.sessions[self.played : self.played + count])
        path = self.home / f"from-{self.played}" / "finagent.db"
        path.parent.mkdir()
        plan = RunPlan(sessions=sessions, result_id="0" * 16, path=path)
        engine = await open_run(
            self.settings, self.world, plan, approval_mode=lambda: "policy", is_every_bar=True
        )
        began_ms = engine.clock.now_ms()
        try:
            # A deadlock is a run whose time never ends.
            limit_s = SESSION_LIMIT_S * len(sessions)
            await asyncio.wait_for(drive(engine, plan, ImmediatePacer(), progress=None), limit_s)
            await self.check(engine)
        finally:
            await engine.close()
        self.virtual_ms += min(engine.clock.now_ms() - began_ms, len(sessions) * 24 * 3_600_000)
        assert engine.clock.now_ms() - began_ms >= VIRTUAL_HOURS * 3_600_000 * len(sessions)
        self.played += len(sessions)
        shutil.rmtree(path.parent)

    async def check(self, engine: Engine) -> None:
        """Q2 at the end of a day: all that was published is over, none of it dead, every stage had work."""
        stats = await engine.queue.stats()
        over = stats.by_status["done"] + stats.by_status["cancelled"]
        assert stats.published == over + sum(stats.pruned.values()), stats.by_status
        assert list(stats.dead) == []
        assert not any(stats.by_status[status] for status in ("scheduled", "ready", "leased"))
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
    await feed.play(CI_SESSIONS)
    grown = resident_bytes() - began
    print(told(feed), f"resident {grown:+}")
    assert grown < CI_SESSIONS * GROWTH_CI
    record_property("stateful.sessions", feed.played)


@pytest.mark.full
async def test_minutes_of_a_made_up_feed_keep_memory_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Group after group of sessions: after the first third the process grows no more."""
    minutes = float(os.environ.get(MINUTES_VARIABLE, "") or FULL_MINUTES)
    for name, value in BUSY.items():
        monkeypatch.setenv(name, value)
    load_calendar(tmp_path)
    feed, end_s = Feed(tmp_path), time.monotonic() + 60 * minutes
    series: list[int] = []
    while time.monotonic() < end_s and feed.played < len(feed.sessions):
        await feed.play(SESSIONS_TO_AN_ENGINE)
        gc.collect()
        series.append(resident_bytes())
    steady = series[len(series) // 3 :]
    assert len(steady) >= 3, f"too few groups of sessions in {minutes:g} minutes to judge by"
    slope = statistics.linear_regression(range(len(steady)), steady).slope / SESSIONS_TO_AN_ENGINE
    print(
        f"{told(feed)} in {minutes:g} minutes, resident {series[0]} first, {steady[0]} to {steady[-1]} bytes,"
        f" slope {slope:+.0f} bytes a session"
    )
    assert max(steady) - steady[0] < GROWTH_FULL
    assert slope < SLOPE_FULL


def told(feed: Feed) -> str:
    return f"{feed.played} sessions, {feed.virtual_ms / 3_600_000:.1f} virtual hours, {feed.jobs} jobs"
