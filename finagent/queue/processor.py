"""EventLoopProcessor: claims by commit, hands jobs to the services' queues, and polls as a fallback."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from finagent.queue.credits import Credits
from finagent.queue.handler import BatchHandler, JobHandler
from finagent.queue.job import Job, JobTypes
from finagent.queue.port import JobQueue
from finagent.queue.rescue import HangJudge
from finagent.queue.tally import JobTally
from finagent.queue.worker import ServiceWorker, WorkerTools
from finagent.runtime.clock import Clock, Ticker
from finagent.runtime.metrics import Metrics
from finagent.runtime.service import ServiceContract
from finagent.runtime.tasks import wait_first

LOG = logging.getLogger(__name__)
UNJUDGED_MS = 3_600_000
DAY_MS = 86_400_000
PRUNE_PAUSE_S = 60.0


class EventLoopProcessor:
    """Consumer of a JobQueue; itself a service, and the maker of one `ServiceWorker` per service.

    A commit pushes claimed jobs at once; with `poll` a pass each `poll_s` and at the earliest `run_at` is the
    fallback, on machinery time. `serial` (replay) leases one job at a time over all types; there the timeline
    moves time, so `poll=False`. `total_credits` bounds all jobs in flight; a type's `reserve` comes on top.
    Finished jobs older than `keep_days` are dropped while nothing else is to do; None keeps them for ever.
    """

    name = "processor"
    needs: tuple[str, ...] = ()

    def __init__(
        self,
        queue: JobQueue,
        types: JobTypes,
        *,
        clock: Clock,
        ticker: Ticker,
        on_halt: Callable[[str], None],
        serial: bool = False,
        poll: bool = True,
        poll_s: float = 0.25,
        guard_retries: int = 10,
        total_credits: int = 512,
        keep_days: float | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._queue = queue
        self._types = types
        self._clock = clock
        self._ticker = ticker
        self._is_serial = serial
        self._is_polling = poll
        self._poll_s = poll_s
        self._total_credits = total_credits
        self._keep_ms = None if keep_days is None else round(keep_days * DAY_MS)
        self._judge = HangJudge(period_ms=round(poll_s * 1000))
        self._workers: dict[str, ServiceWorker] = {}
        self._reserves: dict[str, int] = {}
        self._most_shared = 0
        self._is_attached = False
        self._tools = WorkerTools(
            queue=queue,
            types=types,
            ticker=ticker,
            judge=self._judge,
            on_halt=on_halt,
            guard_retries=guard_retries,
            tally=JobTally(metrics),
        )

    def worker(self, contract: ServiceContract, handler: JobHandler | BatchHandler) -> ServiceWorker:
        """The worker of one service.

        Raises UnknownJobTypeError, or ValueError for a type consumed twice or a handler that cannot take what
        the type's policy hands over.
        """
        if isinstance(cast("object", contract.consumes), str):
            raise ValueError(f"consumes={contract.consumes!r} is a text: write ({contract.consumes!r},)")
        for job_type in contract.consumes:
            needed = BatchHandler if self._types.policy(job_type).batch > 1 else JobHandler
            if not isinstance(handler, needed):
                raise ValueError(
                    f"the handler of {contract.name!r} for {job_type!r} is a {type(handler).__name__}, it needs"
                    f" {'handle_many(jobs, tx)' if needed is BatchHandler else 'handle(job, tx)'}"
                )
            if job_type in self._workers:
                owner = self._workers[job_type].name
                raise ValueError(
                    f"job type {job_type!r} is consumed by {owner!r} and {contract.name!r}: drop one"
                )
        needs = tuple(dict.fromkeys((*contract.needs, self.name)))
        worker = ServiceWorker(contract.name, needs, contract.consumes, handler, self._tools)
        self._workers.update(dict.fromkeys(contract.consumes, worker))
        for job_type in contract.consumes:
            policy = self._types.policy(job_type)
            self._reserves[job_type] = policy.reserve
            self._most_shared += max(0, policy.credits - policy.reserve)
        return worker

    def unserved_types(self) -> tuple[str, ...]:
        """Registered job types that no worker consumes: their jobs would wait for ever."""
        return tuple(job_type for job_type in self._types if job_type not in self._workers)

    async def run(self, stop: asyncio.Event) -> None:
        """Attach to the queue and, with `poll`, keep up the fallback until `stop` is set."""
        self._queue.attach(self, serial=self._is_serial)
        try:
            if self._is_polling:
                await wait_first(
                    self._poll_forever(),
                    self._wait_for_due(),
                    self._drop_old(),
                    _until_set(stop),
                    name=self.name,
                )
            else:
                await stop.wait()
        finally:
            self._queue.detach()

    def run_once(self) -> None:
        """One fallback pass: judge hung handlers, then promote, expire, cancel late and claim."""
        for job in self._judge.hung(now_ms=self._ticker.monotonic_ms()):
            worker = self._workers[job.type]
            if worker.expire(job.id):
                LOG.warning("job.hung", extra={"job_id": job.id, "job_type": job.type})
        self._queue.poke()

    # ------------------------------------------------------------ Consumer
    def free_credits(self) -> Credits:
        """Per type of a running worker; types share the total in order of priority, reserves come on top."""
        free = {
            job_type: worker.free(job_type) for job_type, worker in self._workers.items() if worker.is_open
        }
        if self._most_shared <= self._total_credits:
            return Credits(free)
        used = {
            job_type: count
            for worker in _each_once(self._workers)
            for job_type, count in worker.in_flight.items()
        }
        shared = self._total_credits - sum(
            max(0, count - self._reserves[job_type]) for job_type, count in used.items()
        )
        return Credits(free, shared, self._reserves, used)

    def deliver(self, jobs: Sequence[Job]) -> None:
        now_ms, workers = self._ticker.monotonic_ms(), self._workers
        for job in jobs:
            workers[job.type].deliver(job, now_ms)

    def alive_until_ms(self) -> Mapping[int, int]:
        now_ms = self._ticker.monotonic_ms()
        alive = self._judge.alive_until_ms(now_ms=now_ms)
        if not self._is_polling:  # nobody judges hanging here, so nobody may lose a lease for it
            return dict.fromkeys(alive, now_ms + UNJUDGED_MS)
        return alive

    async def _poll_forever(self) -> None:
        while True:
            await self._ticker.sleep(self._poll_s)
            self.run_once()

    async def _drop_old(self) -> None:
        """A slice of old jobs per idle poll; when there are none, look again in a minute."""
        while True:
            await self._ticker.sleep(self._poll_s)
            if self._keep_ms is None or not self._queue.is_idle():
                continue
            dropped = await self._queue.prune(older_than_ms=self._clock.now_ms() - self._keep_ms)
            if not dropped:
                await self._ticker.sleep(PRUNE_PAUSE_S)

    async def _wait_for_due(self) -> None:
        """Poke at the instant of the earliest scheduled job; the poll bounds how wrong this can be."""
        while True:
            due_ms = self._queue.next_run_at_ms()
            if due_ms is None:
                await self._queue.wait_next_run_change()
                continue
            wait_s = min(self._poll_s, (due_ms - self._clock.now_ms()) / 1000)
            if wait_s > 0:
                await wait_first(
                    self._ticker.sleep(wait_s), self._queue.wait_next_run_change(), name="next-run"
                )
                continue
            self._queue.poke()
            await self._ticker.sleep(0.001)


def _each_once(workers: Mapping[str, ServiceWorker]) -> list[ServiceWorker]:
    """Each worker once, in order of registration."""
    return list({id(worker): worker for worker in workers.values()}.values())


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
