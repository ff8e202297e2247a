"""Who judges whether a handler hangs: progress stamps in memory, own stalls forgiven first."""

from collections.abc import Mapping
from dataclasses import dataclass

from finagent.queue.job import Job

FORGIVEN_SLACK_MS = 250


@dataclass(slots=True)
class _Watch:
    job: Job
    stamp_ms: int
    timeout_ms: int


class HangJudge:
    """Keeps a progress stamp per running job and names those that made none for longer than their time-out.

    A stalled event loop stops handlers and judge alike. So the judge first measures how late it comes itself
    and adds that time to every stamp: nobody is condemned for time in which nobody could run.
    """

    def __init__(self, *, period_ms: int) -> None:
        self._period_ms = period_ms
        self._watched: dict[int, _Watch] = {}
        self._last_ms: int | None = None

    def start(self, job: Job, *, timeout_s: float, now_ms: int) -> None:
        """Begin to watch a job that was handed out; its first progress is now."""
        self._watched[job.id] = _Watch(job, now_ms, round(timeout_s * 1000))

    def progress(self, job_id: int, *, now_ms: int) -> None:
        """The job's handler has got on."""
        watch = self._watched.get(job_id)
        if watch is not None:
            watch.stamp_ms = now_ms

    def stop(self, job: Job) -> None:
        """This try of the job is over; a later one, claimed meanwhile, is watched on."""
        watch = self._watched.get(job.id)
        if watch is not None and watch.job.lease == job.lease:
            del self._watched[job.id]

    def alive_until_ms(self, *, now_ms: int) -> Mapping[int, int]:
        """Job id -> machinery time until which its lease is kept, own stall forgiven.

        Twice the time-out: a hung handler is stopped first and records its own failure; the lease is only
        taken away from one that does not even react to that.
        """
        self._forgive(now_ms)
        return {job_id: watch.stamp_ms + 2 * watch.timeout_ms for job_id, watch in self._watched.items()}

    def hung(self, *, now_ms: int) -> list[Job]:
        """Jobs without progress for longer than their time-out, own stall forgiven. Call once per period."""
        self._forgive(now_ms)
        return [watch.job for watch in self._watched.values() if now_ms - watch.stamp_ms > watch.timeout_ms]

    def _forgive(self, now_ms: int) -> None:
        stall_ms = 0
        if self._last_ms is not None:
            late_ms = now_ms - self._last_ms - self._period_ms
            stall_ms = late_ms if late_ms > FORGIVEN_SLACK_MS else 0
        self._last_ms = now_ms
        for watch in self._watched.values():
            watch.stamp_ms = min(now_ms, watch.stamp_ms + stall_ms)
