"""The group-commit writer: closed requests in, one batch and one commit at a time, answers after COMMIT."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finagent.adapters.sqlite.batch import BatchRunner
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.faults import error_code, halt_error, is_full
from finagent.adapters.sqlite.jobs import release as release_job
from finagent.adapters.sqlite.publish import shared_type
from finagent.adapters.sqlite.requests import (
    AnyRequest,
    BatchOrder,
    BatchResult,
    Failed,
    Finish,
    Publish,
    QueueState,
    Request,
    Stage,
    Work,
)
from finagent.adapters.sqlite.session import WriteSession
from finagent.queue.credits import Credits
from finagent.queue.errors import QueueClosedError
from finagent.queue.job import EncodedJob, Job
from finagent.queue.port import Consumer, OnEnd, Published
from finagent.runtime.clock import Clock, Ticker
from finagent.runtime.errors import HaltError
from finagent.runtime.failpoints import hit
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn

LOG = logging.getLogger(__name__)
MAX_BATCH = 512
MAX_PENDING = 8192
BUSY_PAUSE_S = 0.05


@dataclass(slots=True)
class WriterCounters:
    """What the writer has done since it started."""

    commits: int = 0
    requests: int = 0
    busy_retries: int = 0


class GroupCommitWriter:
    """Drains requests into batches without waiting for more; delivers claims to the attached consumer.

    `is_serial` leases one job at a time. `on_halt` is told when the disk failed: from then on every request
    is refused with HaltError, and nothing is tried again (a failed fsync cannot be repeated). `on_busy` gets
    the seconds for which another program's lock has held the present batch up, and 0 once it got through.
    `make_room` is asked when the disk is full: True, it has made some, lets the same batch run again.
    """

    def __init__(
        self,
        database: Database,
        runner: BatchRunner,
        *,
        clock: Clock,
        ticker: Ticker,
        now_ms: int,
        on_halt: Callable[[HaltError], None],
        on_busy: Callable[[float], None],
        make_room: Callable[[], bool],
        metrics: Metrics | None,
    ) -> None:
        self.consumer: Consumer | None = None
        self.is_serial = False
        self.state = QueueState()
        self.counters = WriterCounters()
        self.next_run_moved = asyncio.Event()
        self._database = database
        self._runner = runner
        self._clock = clock
        self._ticker = ticker
        self._on_halt = on_halt
        self._on_busy = on_busy
        self._make_room = make_room
        self._metrics = metrics
        self._now_ms = now_ms
        self.waiting_publishers = 0
        self._loop = asyncio.get_running_loop()
        self._pending: deque[AnyRequest] = deque()
        self._is_pass_wanted = False
        self._is_closing = False
        self._halted: HaltError | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._quiescent = asyncio.Event()
        if metrics is not None:
            metrics.queue_pending_requests.set_function(lambda: len(self._pending))
            metrics.queue_waiting_publishers.set_function(lambda: self.waiting_publishers)
        self._task = spawn(self._run(), "sqlite-writer")

    async def submit(self, stage: Stage, work: Work, *, frees: str | None = None) -> object:
        """Run `work` in the next batch and return its result once it is on disk; raises what it raised."""
        if not self.has_room:
            await self.wait_for_room()
        future: asyncio.Future[object] = self._loop.create_future()
        self._ask(Request(stage, work, future, frees))
        return await future

    def publish(self, new: Sequence[EncodedJob]) -> "asyncio.Future[Sequence[Published]]":
        """Store jobs in the next batch, all of them or, with an exception, none. Ask for room before."""
        future: asyncio.Future[Sequence[Published]] = self._loop.create_future()
        self._ask(Publish(new, future, shared_type(new)))
        return future

    @property
    def has_room(self) -> bool:
        """Whether publishers need not wait."""
        return self._room.is_set()

    def finish(self, jobs: Sequence[Job], effects: Work | None, on_end: OnEnd) -> None:
        """Complete jobs in the next batch; `on_end` is told. There is always room: it makes more of it."""
        self._ask(Finish(jobs, effects, on_end))

    async def wait_for_room(self) -> None:
        self.waiting_publishers += 1
        try:
            while not self._room.is_set():
                await self._room.wait()
        finally:
            self.waiting_publishers -= 1

    def _ask(self, request: AnyRequest) -> None:
        if self._halted is not None:
            raise self._halted
        if self._is_closing:
            raise QueueClosedError
        pending = self._pending
        pending.append(request)
        if len(pending) == 1:
            self._quiescent.clear()
            self._wake.set()
        elif len(pending) >= MAX_PENDING:
            self._room.clear()

    def poke(self) -> None:
        """Ask for a pass over due jobs, deadlines, expired leases and free credits."""
        self._is_pass_wanted = True
        self._wake.set()

    @property
    def is_idle(self) -> bool:
        """Whether `wait_quiescent` would return at once."""
        return self._quiescent.is_set()

    async def wait_quiescent(self) -> None:
        """Return when nothing is ready, leased, queued or under way.

        Raises HaltError after a failed disk, QueueClosedError when it ended before that.
        """
        await self._quiescent.wait()
        if self._halted is not None:
            raise self._halted
        if self._task.done() and not self.state.is_idle:
            raise QueueClosedError

    async def close(self) -> None:
        """Commit what is queued, then stop; later requests raise QueueClosedError."""
        self._is_closing = True
        self._wake.set()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while not (self._is_closing and not self._pending):
                await self._wake.wait()
                self._wake.clear()
                while self._pending or self._is_pass_wanted:
                    await self._run_batch()
        except asyncio.CancelledError:
            self._halt(HaltError("the writer was cancelled"), [])
            raise
        finally:
            self._quiescent.set()  # nothing will change any more

    async def _run_batch(self) -> None:
        self._is_pass_wanted = False
        now_ms = max(self._now_ms, self._clock.now_ms())
        monotonic_ms = self._ticker.monotonic_ms()
        is_sweep_due = self._is_sweep_due(now_ms, monotonic_ms)
        if not self._pending and not is_sweep_due and not (self.state.has_ready and self._can_claim()):
            self._settle()
            return
        requests = self._drain()
        self._room.set()
        order = BatchOrder(
            requests=requests,
            now_ms=now_ms,
            monotonic_ms=monotonic_ms,
            credits=self.consumer.free_credits() if self.consumer is not None else Credits({}),
            alive_until_ms=self._alive_if_overdue(monotonic_ms),
            is_serial=self.is_serial,
            is_sweep_due=is_sweep_due,
        )
        self._quiescent.clear()
        try:
            result = await self._execute(order)
            self._now_ms = now_ms
            self._publish_result(order, result)
        except asyncio.CancelledError:
            self._halt(HaltError("the writer was cancelled in the middle of a commit"), requests)
            raise
        except Exception as error:
            self._halt(halt_error(error), requests)

    def _drain(self) -> list[AnyRequest]:
        """What is there, without waiting for more; a request of many jobs counts as so many."""
        pending = self._pending
        requests: list[AnyRequest] = []
        weight = 0
        while pending and weight < MAX_BATCH:
            request = pending.popleft()
            weight += len(request.new) if isinstance(request, Publish) else 1
            requests.append(request)
        return requests

    async def _execute(self, order: BatchOrder) -> BatchResult:
        """Run the batch; a busy database is no disk error, the batch is kept and tried again.

        So it is on a full disk, of which nothing was committed, if there is room to be made.
        """
        busy_since_ms: int | None = None
        while True:
            asked_ms = self._ticker.monotonic_ms()
            try:
                result = await self._database.write_fn(lambda connection: self._runner.run(connection, order))
            except sqlite3.OperationalError as error:
                if is_full(error) and self._make_room():
                    await self._database.stop_checkpoints()
                    continue
                if error_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                if self._is_closing:
                    raise HaltError(
                        "another program has locked the database, and this one has to stop: what was asked for"
                        " and not answered is not stored; end the other program, then start again"
                    ) from error
            else:
                if busy_since_ms is not None:
                    self._on_busy(0.0)
                return result
            busy_since_ms = asked_ms if busy_since_ms is None else busy_since_ms
            self.counters.busy_retries += 1
            self._on_busy((self._ticker.monotonic_ms() - busy_since_ms) / 1000)
            await self._ticker.sleep(BUSY_PAUSE_S)

    def _publish_result(self, order: BatchOrder, result: BatchResult) -> None:
        before = self.state.next_run_at_ms
        self.state = result.state
        after = self.state.next_run_at_ms
        if after is not None and (before is None or after < before):
            self.next_run_moved.set()
        self.counters.commits += result.committed
        self.counters.requests += len(order.requests)
        if self._metrics is not None and result.committed:
            self._metrics.db_commit_seconds.observe(result.seconds)
        hit("writer.before_deliver", result.kinds)
        if result.claims and self.consumer is not None:
            self.consumer.deliver(result.claims)
        elif result.claims:
            self._return_unharmed(result.claims)
        for request, outcome in zip(order.requests, result.outcomes, strict=True):
            self._tell(request, outcome)
        self._settle()

    @staticmethod
    def _tell(request: AnyRequest, outcome: object) -> None:
        """One owner that cannot take its answer must not keep the others from theirs."""
        try:
            request.answer(outcome)
        except Exception:
            LOG.exception("queue.answer_refused")

    def _return_unharmed(self, claims: Sequence[Job]) -> None:
        """Whoever asked for them has gone meanwhile: no attempt may count that nobody made."""

        def release(session: WriteSession) -> None:
            for job in claims:
                session.ready_types.add(job.type)
                release_job(
                    session.conn, job, "nobody took it", outcome="return", wait_ms=0, now_ms=session.now_ms
                )

        self._quiescent.clear()
        returned: asyncio.Future[object] = self._loop.create_future()
        returned.add_done_callback(lambda future: future.exception())  # an expired lease is nobody's error
        self._pending.append(Request(Stage.FINISH, release, returned))

    def _settle(self) -> None:
        if not self._pending and self.state.is_idle:
            self._quiescent.set()

    def _is_sweep_due(self, now_ms: int, monotonic_ms: int) -> bool:
        state = self.state
        return (
            (state.next_run_at_ms is not None and state.next_run_at_ms <= now_ms)
            or (state.next_deadline_ms is not None and state.next_deadline_ms < now_ms)
            or (state.next_lease_until_ms is not None and state.next_lease_until_ms <= monotonic_ms)
        )

    def _can_claim(self) -> bool:
        if self.consumer is None or (self.is_serial and self.state.next_lease_until_ms is not None):
            return False
        return self.consumer.free_credits().has_room()

    def _alive_if_overdue(self, monotonic_ms: int) -> dict[int, int] | None:
        until_ms = self.state.next_lease_until_ms
        if until_ms is None or until_ms > monotonic_ms:
            return None
        return dict(self.consumer.alive_until_ms()) if self.consumer is not None else {}

    def _halt(self, halted: HaltError, requests: Sequence[AnyRequest]) -> None:
        if self._halted is not None:
            return
        self._halted = halted
        waiting = [*requests, *self._pending]
        self._pending.clear()
        for request in waiting:
            self._tell(request, Failed(halted))
        self._room.set()
        self._quiescent.set()
        self._is_closing = True
        self._wake.set()
        self._on_halt(halted)
