"""The cron service over a real queue: once across restarts, late within grace, skipped and told beyond."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finagent.queue.port import CronTick
from finagent.queue.scheduler import CronLine, CronPolicy, CronScheduler, CronService, grace
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, QueueWorld, job

MINUTE_MS = 60_000
FIRST_MS = START_MS - START_MS % MINUTE_MS + MINUTE_MS


@dataclass
class Schedule:
    world: QueueWorld
    skipped: list[tuple[int, str]] = field(default_factory=list)

    def service(self) -> CronService:
        policy = CronPolicy(
            jobs=lambda tick: [job(f"{tick.name}:{tick.fire_at_ms}")],
            judge=grace(5 * MINUTE_MS),
            on_skip=lambda tick, reason: self.skipped.append((tick.fire_at_ms, reason)),
            look_back_ms=0,
        )
        return CronService(
            CronScheduler([CronLine(name="scan", when="* * * * *", zone="UTC")]),
            policy,
            queue=self.world.queue,
            clock=self.world.clock,
            ticker=self.world.ticker,
        )


@pytest.fixture
async def schedule(tmp_path: Path) -> AsyncIterator[Schedule]:
    world = QueueWorld(tmp_path / "jobs.db", threaded=False)
    await world.open()
    yield Schedule(world)
    await world.close()


def at(ticks: list[CronTick]) -> list[int]:
    return [tick.fire_at_ms for tick in ticks]


async def test_tick_fires_when_due_and_never_again_after_a_restart(schedule: Schedule) -> None:
    service = schedule.service()
    assert await service.run_once() == []
    schedule.world.clock.advance(FIRST_MS)
    assert at(await service.run_once()) == [FIRST_MS]
    assert await service.run_once() == []
    await schedule.world.reopen()
    assert await schedule.service().run_once() == []
    assert (await schedule.world.queue.stats()).published == 1


async def test_tick_missed_while_down_runs_late_within_grace_and_is_skipped_beyond(
    schedule: Schedule,
) -> None:
    schedule.world.clock.advance(FIRST_MS)
    service = schedule.service()
    await service.run_once()
    schedule.world.clock.advance(FIRST_MS + MINUTE_MS)
    assert at(await service.run_once()) == [FIRST_MS + MINUTE_MS]
    schedule.world.clock.advance(FIRST_MS + 8 * MINUTE_MS)
    await schedule.world.reopen()
    ticks = await schedule.service().run_once()
    assert at(ticks) == [FIRST_MS + n * MINUTE_MS for n in range(2, 9)]
    assert [fire_at for fire_at, _ in schedule.skipped] == [FIRST_MS + 2 * MINUTE_MS]
    assert (await schedule.world.queue.stats()).published == 7


async def test_service_waits_for_its_next_tick_on_the_ticker(schedule: Schedule) -> None:
    stop = asyncio.Event()
    task = spawn(schedule.service().run(stop), "schedule")
    await schedule.world.settle()
    schedule.world.clock.advance(FIRST_MS)
    while (await schedule.world.queue.stats()).published == 0:
        schedule.world.ticker.advance(1_000)
    stop.set()
    await asyncio.wait_for(task, 10)
