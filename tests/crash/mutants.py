"""Planted bugs of the durable path, each invisible until a process dies at the wrong instant."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from finagent.adapters.sqlite import batch, day, queue
from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.requests import BatchOrder, BatchResult, Failed, Request, Stage
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.credits import Credits
from finagent.queue.job import Job, NewJob
from finagent.queue.port import OnEnd, Tx
from finagent.runtime.failpoints import hit

AFTER_FINISH = "child.after_finish"


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is wrong in one sentence, and how the running process is made so."""

    bug: str
    plant: Callable[[], None]


class TracedRunner(BatchRunner):
    """The real runner, counting commits and finished jobs, with a failpoint after each commit that finished one."""

    commits: ClassVar[int] = 0
    finished: ClassVar[int] = 0

    def run(self, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        result = super().run(connection, order)
        TracedRunner.commits += 1
        if any(request.stage is Stage.FINISH for request in order.requests):
            TracedRunner.finished += 1
            hit(AFTER_FINISH)
        return result


class LateJobsRunner(TracedRunner):
    """Commits what a handler did and its completion, then its follow-up jobs in a commit of their own."""

    late: ClassVar[list[NewJob]] = []
    loop: ClassVar[asyncio.AbstractEventLoop]

    def run(self, connection: sqlite3.Connection, order: BatchOrder) -> BatchResult:
        if not self.late or all(request.stage is not Stage.FINISH for request in order.requests):
            return super().run(connection, order)
        jobs, self.late[:] = list(self.late), []

        def publish(session: WriteSession) -> None:
            for job in jobs:
                session.publish(job)

        first = super().run(connection, replace(order, credits=Credits({})))
        credits = order.credits.copy()
        for request, outcome in zip(order.requests, first.outcomes, strict=True):
            if request.frees is not None and not isinstance(outcome, Failed):
                credits.take(request.frees, -1)
        late = Request(Stage.BUSINESS, publish, asyncio.Future(loop=self.loop))
        second = super().run(connection, replace(order, requests=[late], credits=credits))
        return replace(second, outcomes=first.outcomes, seconds=first.seconds + second.seconds)


def publish_beside() -> None:
    """Follow-up jobs leave the transaction of their parent."""
    finish = SqliteJobQueue.finish

    def late(self: SqliteJobQueue, jobs: Sequence[Job], tx: Tx, on_end: OnEnd) -> None:
        LateJobsRunner.loop = asyncio.get_running_loop()
        LateJobsRunner.late[:] = tx.jobs
        tx.jobs.clear()
        finish(self, jobs, tx, on_end)

    queue.BatchRunner = LateJobsRunner  # type: ignore[attr-defined]
    SqliteJobQueue.finish = late  # type: ignore[method-assign]


def clock_beside(every: int) -> Callable[[], None]:
    """The clock's and the feed's row are written in a commit of their own, after every so manieth tick."""

    def plant() -> None:
        set_feed, tick_clock, tick = day.SET_FEED, batch.TICK_CLOCK, day.DayDriver.tick
        ticks = 0

        async def beside(self: day.DayDriver, T_ms: int) -> None:
            nonlocal ticks
            await tick(self, T_ms)
            ticks += 1
            if ticks % every == 0:
                await self._queue.call(write(T_ms))

        def write(T_ms: int) -> Callable[[WriteSession], None]:
            def rows(session: WriteSession) -> None:
                session.conn.execute(set_feed, (day.FEED, T_ms))
                session.conn.execute(tick_clock, (T_ms,))

            return rows

        day.SET_FEED = "SELECT ?, ?"
        batch.TICK_CLOCK = "SELECT ?"
        day.DayDriver.tick = beside  # type: ignore[method-assign]

    return plant


MUTANTS = {
    "publish_beside": Mutant("a follow-up job published outside the transaction", publish_beside),
    "clock_beside": Mutant("the clock committed beside every fifth tick", clock_beside(5)),
}
