"""A full disk: shuts entries at once, closes what is open with the room of the ballast, then ends the process."""

import asyncio
import logging
from collections.abc import Callable

from finagent.bootstrap.recording import in_journal
from finagent.domain.market import Session
from finagent.domain.orders import TERMINAL_ORDER_STATES
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    HaltError,
    Job,
    JobQueue,
    JobStatus,
    RetryError,
    Store,
    Ticker,
    Tx,
)
from finagent.queue.errors import QueueClosedError
from finagent.queue.handler import JobHandler
from finagent.runtime.tasks import spawn
from finagent.services.control import ControlService

LOG = logging.getLogger(__name__)
ENTRIES = (Step.EXECUTE, Step.SEND)
ENTRY_AGAIN_S = 60.0
LOOK_AGAIN_S = 1.0
FLATTEN_AGAIN_S = 60.0
SHORTEST_S = 60.0
REASON = "the disk is full"
MEND = "free space on the home's disk, then start again"


class FullDiskDesk:
    """Hears from the queue that the ballast was given up, and leaves in order while its room lasts.

    Entries are shut in memory before anything else is committed, then by a pause that outlives the process. The
    end comes when nothing is open and nothing works at the broker, or after as long as the flatten ladder of a
    day takes: then it says what is left. A disk that is full again meanwhile halts everything at once.
    """

    def __init__(
        self,
        *,
        queue: JobQueue,
        store: Store,
        calendar: CalendarPort,
        clock: Clock,
        ticker: Ticker,
        flatten_from_ms: Callable[[Session], int],
        on_end: Callable[[str], None],
    ) -> None:
        self.is_shut = False
        self._queue, self._store, self._calendar = queue, store, calendar
        self._clock, self._ticker = clock, ticker
        self._flatten_from_ms = flatten_from_ms
        self._on_end = on_end
        self._control = in_journal(ControlService(store, queue, calendar, clock))
        self._is_attended = False
        self._leaving: asyncio.Task[None] | None = None

    def on_full(self) -> None:
        """The disk was full, and the ballast's room is all that is left."""
        self.is_shut = True
        LOG.critical("disk.full", extra={"entries": "shut", "mend": MEND})
        self._leave_if_due()

    def attend(self) -> None:
        """The services are there: positions can be closed from now on."""
        self._is_attended = True
        self._leave_if_due()

    async def close(self) -> None:
        """End what is under way; its jobs and its pause are in the database."""
        if self._leaving is not None and not self._leaving.done():
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)

    def _leave_if_due(self) -> None:
        if self.is_shut and self._is_attended and self._leaving is None:
            self._leaving = spawn(self._leave(), "full-disk")

    async def _leave(self) -> None:
        try:
            is_flat = await self._flattened()
            left = "entries were shut and positions closed" if is_flat else await self._left()
        except (HaltError, QueueClosedError):
            return  # who halted has said why
        except Exception as error:
            LOG.exception("disk.full.not_flat")
            left = f"entries were shut, closing positions failed ({type(error).__name__}: {error})"
        self._on_end(f"{REASON}: {left}; {MEND}")

    async def _flattened(self) -> bool:
        """Ask for a flatten, and again each minute, until everything is closed or the time is over."""
        begun_ms = self._ticker.monotonic_ms()
        session = self._calendar.session_at(self._clock.now_ms())
        ladder_s = (session.close_ms - self._flatten_from_ms(session)) / 1000
        asked = 0
        while (passed_s := (self._ticker.monotonic_ms() - begun_ms) / 1000) < max(SHORTEST_S, ladder_s):
            if passed_s >= asked * FLATTEN_AGAIN_S:
                await self._control.flatten(
                    symbol=None, identity="full disk", reason="flatten", pause_reason=REASON
                )
                asked += 1
            if await self._is_through():
                return True
            await self._ticker.sleep(LOOK_AGAIN_S)
        return await self._control.is_flat()

    async def _is_through(self) -> bool:
        """Flat, and every job that could change it or record it has run."""
        for status in (JobStatus.READY, JobStatus.LEASED):
            if await self._queue.list(status=status, limit=1):
                return False
        return await self._control.is_flat()

    async def _left(self) -> str:
        """What is still open, and what works at the broker."""
        held = sorted(each.plan.symbol for each in await self._store.open_positions())
        working = sorted(
            order.intent.client_order_id
            for order in await self._store.live_orders()
            if order.state not in TERMINAL_ORDER_STATES
        )
        return (
            f"entries were shut, but not all could be closed in time: open are {', '.join(held) or 'none'},"
            f" working orders {', '.join(working) or 'none'}"
        )


class NoEntries:
    """A handler that refuses an entry's job while the disk is full."""

    def __init__(self, handler: JobHandler, desk: FullDiskDesk) -> None:
        self._handler = handler
        self._desk = desk

    async def handle(self, job: Job, tx: Tx) -> None:
        """As the handler's own."""
        if self._desk.is_shut and job.type in ENTRIES:
            raise RetryError(f"entries are shut: {REASON}", retry_after_s=ENTRY_AGAIN_S)
        await self._handler.handle(job, tx)
