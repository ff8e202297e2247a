"""A live engine with a broker outside and positions open, on a disk that fills up."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from finagent.domain.broker_event import fill_payload
from finagent.ports import NewJob
from finagent.runtime.tasks import spawn
from tests.integration.locked.stage import LockedStage
from tests.integration.services.world import DAY, PATIENCE_S
from tests.proof.queue.small_disk import fill

LOAD_BYTES = 100_000
LIMITLESS = 1 << 30
SETTINGS = {
    "planning": {"time_stop_minutes": None},
    "risk": {"max_open_positions": 5, "max_trades_per_day": 5},
}


class FullStage(LockedStage):
    """Its end is the engine's own: ``reason`` is what the process would say."""

    reason: str | None
    notes = 0
    """How many were acknowledged, by whichever process."""

    async def start(self) -> None:
        """As any, and hear when the ballast goes."""
        self.reason = None
        self.on_freed: Callable[[], None] = lambda: None
        self.freed = 0
        # The broker's own file is on another disk than ours.
        broker = self.path.with_name("broker.json")
        if self.path.parent.is_mount() and not broker.is_symlink():
            broker.symlink_to(self.path.parent.parent / f"{self.path.parent.name}-broker.json")
        await super().start()
        desk = self.engine.full_disk
        assert desk is not None
        tell = desk.on_full

        def heard() -> None:
            tell()
            self.freed += 1
            self.on_freed()

        desk.on_full = heard  # type: ignore[method-assign]

    @property
    def ballast(self) -> Path:
        return self.path.with_name("ballast")

    async def note(self) -> None:
        """Something long is committed; counted once it is acknowledged."""
        await self.engine.queue.note("load", {"text": "x" * LOAD_BYTES})
        self.notes += 1

    async def fill(self) -> None:
        """The disk is full, and commits go on until one finds no room."""
        fill(self.path.parent)
        await self._until_freed()

    async def fill_file(self) -> None:
        """The file may get no longer, and commits go on until one would make it so."""
        self.allow_pages(int(await self.value("PRAGMA page_count")))
        await self._until_freed()

    async def _until_freed(self) -> None:
        before = self.freed
        async with asyncio.timeout(PATIENCE_S):
            while self.freed == before:
                await self.note()

    def allow_pages(self, pages: int) -> None:
        """From the next thing that the writing connection does."""
        pragma = f"PRAGMA max_page_count = {pages}"
        spawn(self.engine.database.write_fn(lambda c: c.execute(pragma).fetchone()), "pages")

    async def sell(self) -> None:
        """Every execution reaches us, until the engine ends by itself."""
        assert self._running is not None
        told: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while not self._running.done():
                for each in await self.broker.fills(session=DAY):
                    order = await self.engine.store.order(each.client_order_id)
                    if each.execution_id in told or order is None:
                        continue
                    told.add(each.execution_id)
                    plan_id = order.intent.plan_id
                    job = NewJob("broker_event", fill_payload(each), idem_key=each.execution_id, key=plan_id)
                    await self.engine.queue.publish(job)
                await asyncio.wait({self._running}, timeout=0.01)

    async def ended(self) -> str:
        """Why the engine has ended by itself."""
        assert self._running is not None
        reason = await asyncio.wait_for(self._running, PATIENCE_S)
        assert reason is not None
        return reason

    async def stop(self) -> None:
        """As the agent stops after its services have ended."""
        assert self.engine.supervisor is not None
        assert self._running is not None
        self.engine.supervisor.request_stop()
        self.reason = await asyncio.wait_for(self._running, PATIENCE_S)
        await self.engine.close()


def selling(stage: FullStage) -> "asyncio.Task[None]":
    """The broker's stream, beside whatever the test does."""
    return spawn(stage.sell(), "stream")
