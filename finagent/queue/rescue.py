"""Who judges whether a handler hangs: progress stamps in memory, own stalls forgiven first."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from finagent.queue.job import Job

FORGIVEN_SLACK_MS = 250


@dataclass(slots=True)
class Held:
    """A job in a worker's hands: since when, its last progress (machinery milliseconds), and who runs it.

    `is_waiting`: no handler is at work on it yet. `is_decided`: the handler is through and the commit is asked
    for; nothing hangs any more but the disk.
    `has_moved`: its handler has got on since the judge last looked, which is all that costs it.
    """

    job: Job
    began_ms: int
    stamp_ms: int
    timeout_ms: int
    task: "asyncio.Task[None] | None" = None
    has_moved: bool = False
    is_waiting: bool = False
    is_decided: bool = False
    is_hung: bool = False
    is_alone: bool = False
    tries: int = 0

    def progress(self) -> None:
        """The handler has got on."""
        self.has_moved = True

    def log_fields(self) -> Mapping[str, object]:
        """What a line says that is logged about it."""
        job = self.job
        fields: dict[str, object] = {"job_id": job.id, "job_type": job.type}
        return fields if job.trace_id is None else {**fields, "trace_id": job.trace_id}


class HangJudge:
    """Keeps a progress stamp per running job and names those that made none for longer than their time-out.

    A stalled event loop stops handlers and judge alike. So the judge first measures how late it comes itself
    and adds that time to every stamp: nobody is condemned for time in which nobody could run.
    """

    def __init__(self, *, period_ms: int) -> None:
        self._period_ms = period_ms
        self._watched: dict[int, Held] = {}
        self._last_ms: int | None = None

    def start(self, job: Job, *, timeout_ms: int, now_ms: int) -> Held:
        """Begin to watch a job that was handed out; its first progress is now."""
        held = self._watched[job.id] = Held(job, now_ms, now_ms, timeout_ms)
        return held

    def stop(self, held: Held) -> None:
        """This try of the job is over; a later one, claimed meanwhile, is watched on."""
        if self._watched.get(held.job.id) is held:
            del self._watched[held.job.id]

    def alive_until_ms(self, *, now_ms: int) -> Mapping[int, int]:
        """Job id -> machinery time until which its lease is kept, own stall forgiven.

        Twice the time-out: a hung handler is stopped first and records its own failure; the lease is only
        taken away from one that does not even react to that.
        """
        self._forgive(now_ms)
        return {
            job_id: (now_ms if held.is_waiting or held.is_decided else held.stamp_ms) + 2 * held.timeout_ms
            for job_id, held in self._watched.items()
        }

    def hung(self, *, now_ms: int) -> list[Job]:
        """Jobs without progress for longer than their time-out, own stall forgiven. Call once per period."""
        self._forgive(now_ms)
        return [
            held.job
            for held in self._watched.values()
            if not held.is_decided and now_ms - held.stamp_ms > held.timeout_ms
        ]

    def _forgive(self, now_ms: int) -> None:
        stall_ms = 0
        if self._last_ms is not None:
            late_ms = now_ms - self._last_ms - self._period_ms
            stall_ms = late_ms if late_ms > FORGIVEN_SLACK_MS else 0
        self._last_ms = now_ms
        for held in self._watched.values():
            held.stamp_ms = now_ms if held.has_moved else min(now_ms, held.stamp_ms + stall_ms)
            held.has_moved = False
