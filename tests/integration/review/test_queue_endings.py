"""How things end: refusals, swallowed cancels, answers that raise, rows nobody can read, the last commit."""

import asyncio
import logging
import os
import pickle
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.queue.errors import JobValueError, QueueClosedError
from finagent.queue.job import Job, JobPolicy, JobStatus, JobTypes, Lease
from finagent.queue.port import Tx
from finagent.runtime.clock import VirtualClock
from finagent.runtime.logs import bound_fields
from finagent.runtime.tasks import spawn
from tests.contract.queue_world import START_MS, QueueWorld, job, soon
from tests.integration.review.queue_stage import one_type, opened, staged, turns

ONE_TRY = one_type(JobPolicy(priority=0, credits=1, max_attempts=1))
TRIES = one_type(JobPolicy(priority=0, credits=4, max_attempts=3, backoff_base_s=0.0))
HALF_CHARACTER = "\ud800"


@pytest.fixture
def logged() -> Iterator[list[tuple[str, Mapping[str, object]]]]:
    """(event, bound fields) of each line that a worker logs."""
    lines: list[tuple[str, Mapping[str, object]]] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.getMessage(), dict(bound_fields())))

    logger, catch = logging.getLogger("finagent.queue.worker"), Catch()
    logger.addHandler(catch)
    yield lines
    logger.removeHandler(catch)


async def edit(world: QueueWorld, sql: str, *values: str) -> None:
    """Somebody's own hand on the table, in one commit."""
    await world.queue.call(lambda session: session.conn.execute(sql, values).rowcount)


def unheard(jobs: Sequence[Job], error: Exception | None) -> None:
    """An owner that does not care how it ended."""


# ------------------------------------------------------------ refusals
def test_job_type_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="has no name"):
        JobTypes({"": JobPolicy(priority=1)})


async def test_finishing_no_job_is_refused_and_does_not_halt(tmp_path: Path) -> None:
    async with opened(tmp_path, ONE_TRY) as world:
        tx = Tx()
        tx.put("fact")
        with pytest.raises(JobValueError, match="no job"):
            world.queue.finish([], tx, unheard)
        await world.settle()
        assert world.halts == []
        assert "fact" not in await world.stored_facts()


async def test_finishing_jobs_of_several_types_at_once_is_refused(tmp_path: Path) -> None:
    types = JobTypes({"work": JobPolicy(priority=1), "idle": JobPolicy(priority=2)})
    async with opened(tmp_path, types) as world:
        hands = world.hands()
        await world.queue.publish_many([job("a", "work"), job("b", "idle")])
        both = [await hands.take(), await hands.take()]
        with pytest.raises(JobValueError, match="several types"):
            world.queue.finish(both, Tx(), unheard)
        await world.settle()
        assert [claimed.status for claimed in await world.queue.list()] == [JobStatus.LEASED] * 2


async def test_publish_that_repeats_a_key_leaves_the_completions_beside_it_together(tmp_path: Path) -> None:
    """One commit, every answer right; only the publishes run one by one, each behind its savepoint."""
    async with opened(tmp_path, TRIES) as world:
        hands = world.hands()
        await world.queue.publish_many([job("a"), job("b")])
        claimed = [await hands.take(), await hands.take()]
        statements: list[str] = []
        await world.queue.call(lambda session: session.conn.set_trace_callback(statements.append))
        before = world.queue.counters.commits
        completed = [spawn(world.queue.complete(one, Tx()), "complete") for one in claimed]
        published = await asyncio.gather(*(world.queue.publish(job(name)) for name in ("c", "a", "d")))
        await asyncio.gather(*completed)
        assert world.queue.counters.commits == before + 1
        assert [one.created for one in published] == [True, False, True]
        assert published[1].job_id == claimed[0].id
        assert statements.count("SAVEPOINT request") == 3
        done = await world.queue.list(status=JobStatus.DONE)
        assert {one.idem_key for one in done} == {"a", "b"}


async def test_refused_completion_logs_which_job_it_was(
    tmp_path: Path, logged: list[tuple[str, Mapping[str, object]]]
) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        tx.put("bad")

    async with staged(tmp_path, ONE_TRY, act) as stage:
        published = await stage.world.queue.publish(job("a"))
        await stage.quiet()
    assert [event for event, _ in logged] == ["job.failed", "job.not_done"]
    assert [fields["job_id"] for _, fields in logged] == [published.job_id] * 2


async def test_half_a_character_in_an_error_is_recorded(tmp_path: Path) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        raise ValueError(HALF_CHARACTER)

    async with staged(tmp_path, ONE_TRY, act) as stage:
        published = await stage.world.queue.publish(job("a"))
        await stage.quiet()
        found = await stage.stored(published.job_id)
        assert found.status is JobStatus.DEAD
        assert "ValueError" in (found.error or "")


# ------------------------------------------------------------ cancels
async def test_cancel_that_a_hung_handler_swallowed_is_not_felt_by_later_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hung handler ends in the very turn in which the next job comes, so one lane runs both."""
    hanging, swallowed, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def act(claimed: Job, tx: Tx) -> None:
        if claimed.idem_key == "hangs":
            hanging.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
            await go_on.wait()
        elif claimed.attempts == 1:
            child = spawn(asyncio.Event().wait(), "child")
            child.cancel()
            await child  # a cancel from within: the job is tried again

    async with staged(tmp_path, TRIES, act) as stage:
        deliver = stage.processor.deliver

        def deliver_and_go_on(jobs: Sequence[Job]) -> None:
            if swallowed.is_set():
                go_on.set()
            deliver(jobs)

        monkeypatch.setattr(stage.processor, "deliver", deliver_and_go_on)
        hangs = await stage.world.queue.publish(job("hangs"))
        await soon(hanging)
        assert stage.worker.expire(hangs.job_id)
        await soon(swallowed)
        await stage.world.queue.publish(job("later"))
        await stage.quiet()
        assert await stage.by_status() == {"done": 2}
        assert stage.handler.seen == ["hangs", "later", "later"]


async def test_handler_that_cancels_its_own_task_is_tried_again(tmp_path: Path) -> None:
    async def act(claimed: Job, tx: Tx) -> None:
        task = asyncio.current_task()
        assert task is not None
        if claimed.attempts == 1:
            task.cancel()
            await asyncio.sleep(0)

    async with staged(tmp_path, TRIES, act) as stage:
        await stage.world.queue.publish_many([job(str(n)) for n in range(3)])
        await stage.quiet()
        assert await stage.by_status() == {"done": 3}
        assert sorted(stage.handler.seen) == ["0", "0", "1", "1", "2", "2"]


# ------------------------------------------------------------ answers
async def test_answer_that_raises_keeps_nobody_else_from_theirs(tmp_path: Path) -> None:
    told: list[Exception | None] = []

    def tell(jobs: Sequence[Job], error: Exception | None) -> None:
        told.append(error)
        raise RuntimeError("a bad end")

    async with opened(tmp_path, TRIES) as world:
        hands = world.hands()
        await world.queue.publish_many([job("a"), job("b")])
        one, two = await hands.take(), await hands.take()
        world.queue.finish([one], Tx(), tell)
        second = spawn(world.queue.complete(two, Tx()), "second")
        third = spawn(world.queue.publish(job("c")), "third")
        await turns()
        assert second.done()
        assert third.done()
        assert told == [None]
        assert world.halts == []


async def test_waiting_for_quiet_ends_when_the_queue_closes(tmp_path: Path) -> None:
    async with opened(tmp_path, ONE_TRY) as world:
        await world.queue.publish(job("a"))
        waiter = spawn(world.queue.wait_quiescent(), "waiter")
        await turns(5)
        assert not waiter.done()
        await world.queue.close()
        await turns(5)
        assert waiter.done()
        assert isinstance(waiter.exception(), QueueClosedError)


# ------------------------------------------------------------ what is on the disk
async def test_row_that_cannot_be_read_is_buried_and_stops_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path, TRIES) as world:
        await world.queue.publish_many([job(name) for name in ("a", "bad", "c")])
        await edit(
            world, "UPDATE job_queue SET payload = ? WHERE idem_key = 'bad'", '{"half": "' + r"\ud800" + '"}'
        )
        hands = world.hands()
        world.queue.poke()
        await turns()
        assert [claimed.idem_key for claimed in hands.jobs] == ["a", "c"]
        assert (await world.queue.stats()).by_status["dead"] == 1
        assert world.halts == []


async def test_jobs_can_be_listed_beside_a_row_that_cannot_be_read(tmp_path: Path) -> None:
    async with opened(tmp_path, TRIES) as world:
        await world.queue.publish_many([job(name) for name in ("a", "bad", "c")])
        await edit(
            world,
            "UPDATE job_queue SET payload = '{', status = 'dead', finished_at = 1, error = 'x'"
            " WHERE idem_key = ?",
            "bad",
        )
        assert [listed.idem_key for listed in await world.queue.list()] == ["c", "bad", "a"]
        assert (await world.queue.stats()).by_status["dead"] == 1


async def test_room_in_the_log_is_made_while_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes by hand meanwhile is either turned away or finds what was stored."""
    path, clock = tmp_path / "a.db", VirtualClock(START_MS)
    first = await Database.open(path, clock=clock, threaded=False)  # so that the log stays
    pwrite = os.pwrite
    answers: list[str] = []

    def pwrite_beside_another(file: int, data: bytes, at: int) -> int:
        if not answers:
            try:
                other.execute("INSERT INTO meta (key, value) VALUES ('by hand', 'x')")
                other.commit()
                answers.append("stored")
            except sqlite3.OperationalError as error:
                answers.append(str(error))
        return pwrite(file, data, at)

    with closing(sqlite3.connect(path, timeout=0)) as other:
        monkeypatch.setattr(os, "pwrite", pwrite_beside_another)
        roomy = await Database.open(path, clock=clock, threaded=False, lock=False, is_roomy=True)
        found = await roomy.read("SELECT value FROM meta WHERE key = 'by hand'")
        await roomy.close()
    await first.close()
    assert answers == ["database is locked"] or found == [("x",)]
    assert len(answers) == 1


def test_jobs_and_leases_survive_a_pickle() -> None:
    for value in (job("a"), Lease(1, 2)):
        assert pickle.loads(pickle.dumps(value)) == value
