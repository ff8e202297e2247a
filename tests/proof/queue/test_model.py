"""The queue against its model: any order of requests, clocks, crashes; Q2, Q3, Q6, Q7 and Q8 after every step."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from finagent.queue.errors import GuardFailedError, JobNotFoundError, LeaseLostError
from finagent.queue.job import Job, JobPolicy, JobTypes, NewJob
from finagent.queue.port import CronTick, Published, Tx
from finagent.runtime import failpoints
from finagent.runtime.errors import HaltError
from tests.contract.queue_world import START_MS, Hands, ManualTicker, QueueWorld
from tests.proof.queue.model import FINAL, Model

T = TypeVar("T")
IS_FULL = bool(os.environ.get("FINAGENT_FULL"))
TYPES = JobTypes(
    {
        "exit": JobPolicy(priority=0, credits=2, max_attempts=2, timeout_s=5.0),
        "work": JobPolicy(priority=5, credits=2, max_attempts=3, timeout_s=10.0, backoff_base_s=2.0),
    }
)
IS_SHRINKING = bool(os.environ.get("FINAGENT_MODEL_SHRINK"))
CREDITS = {"exit": 1, "work": 5}
"""Enough of one type that completions of a batch share a statement."""
POINTS = ("writer.after_begin", "writer.before_commit", "writer.after_commit", "writer.before_deliver")
STORED_POINTS = ("writer.after_commit", "writer.before_deliver")

new_jobs = st.builds(
    lambda type, number, key, priority, run_in_ms, deadline_in_ms, most: (
        type,
        f"k{number}",
        key,
        priority,
        run_in_ms,
        deadline_in_ms,
        most,
    ),
    st.sampled_from(["exit", "work"]),
    st.integers(0, 30),
    st.sampled_from([None, None, "A", "B"]),
    st.sampled_from([None, 1, 7]),
    st.sampled_from([None, None, None, -500, 300, 2_000]),
    st.sampled_from([None, None, 0, 400, 6_000]),
    st.sampled_from([None, None, 1]),
)
some = st.integers(0, 1_000)


class QueueMachine(RuleBasedStateMachine):
    """One file, one writer in line, clocks moved by hand; the model says what must come of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="queue-model-", dir=scratch()))
        self.loop = asyncio.new_event_loop()
        self.world = QueueWorld(self.folder / "jobs.db", threaded=False, types=TYPES)
        self.model = Model(TYPES, START_MS, 1_000)
        self.hands = Hands()
        self.held: list[Job] = []
        self.stale: list[Job] = []
        self.facts_given = 0

    @initialize()
    def open(self) -> None:
        self.run(self.world.open())
        self.take_up()

    def teardown(self) -> None:
        failpoints.disarm_all()
        if hasattr(self.world, "database"):
            self.run(self.world.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    # ------------------------------------------------------------ requests
    @rule(job=new_jobs)
    def publish(self, job: tuple[object, ...]) -> None:
        new = self.made(job)
        answer = self.run(self.world.queue.publish(new))
        self.model.publish(new, answer.job_id, answer.created)
        self.settle()

    @rule(jobs=st.lists(new_jobs, min_size=1, max_size=9))
    def publish_many(self, jobs: list[tuple[object, ...]]) -> None:
        new = [self.made(job) for job in jobs]
        self.answered(new, self.run(self.world.queue.publish_many(new)))
        self.settle()

    @rule(jobs=st.lists(new_jobs, min_size=2, max_size=8), ending=st.integers(0, 6), is_stale=st.booleans())
    def one_batch(self, jobs: list[tuple[object, ...]], ending: int, is_stale: bool) -> None:
        """Publishes, completions and what must be refused at once: one commit, the bad ones alone fail."""
        new = [self.made(job) for job in jobs]
        done, self.held = self.held[:ending], self.held[ending:]
        stale = self.stale[-1:] if is_stale else []
        bad = Tx()
        bad.put("bad")
        bad.enqueue(NewJob("work", {}, "from-bad"))

        async def together() -> list[object]:
            queue = self.world.queue
            ends = [queue.complete(each, Tx()) for each in [*done, *stale]]
            asked = [queue.publish(each) for each in new]
            return await asyncio.gather(queue.commit(bad), *ends, *asked, return_exceptions=True)

        refused, *others = self.run(together())
        assert isinstance(refused, ValueError)
        assert others[: len(done)] == [None] * len(done)
        assert all(isinstance(each, LeaseLostError) for each in others[len(done) : len(done) + len(stale)])
        for each in done:
            self.model.done(each)
            self.stale.append(each)
            self.hands.credits[each.type] += 1
        self.answered(new, [each for each in others if isinstance(each, Published)])
        self.settle()

    @rule(jobs=st.lists(new_jobs, max_size=3), is_bad=st.booleans(), lag=st.integers(0, 1))
    def commit(self, jobs: list[tuple[object, ...]], is_bad: bool, lag: int) -> None:
        """Facts and jobs under a guard: all or nothing."""
        tx, new = self.effects(jobs, is_bad=is_bad)
        version = self.model.rows["account"]
        tx.expect("account", version - lag)
        tx.touch("book")
        if lag:
            with pytest.raises(GuardFailedError):
                self.run(self.world.queue.commit(tx))
        elif is_bad:
            with pytest.raises(ValueError, match="bad fact"):
                self.run(self.world.queue.commit(tx))
        else:
            self.run(self.world.queue.commit(tx))
            self.took_effect(tx, new)
            self.model.bump(["account", "book"])
        self.settle()

    @precondition(lambda self: self.held)
    @rule(which=some, jobs=st.lists(new_jobs, max_size=2), is_bad=st.booleans())
    def complete(self, which: int, jobs: list[tuple[object, ...]], is_bad: bool) -> None:
        """Q4: effects, follow-up jobs and completion are one commit, or none of them happened."""
        job = self.held[which % len(self.held)]
        tx, new = self.effects(jobs, is_bad=is_bad)
        if is_bad:
            with pytest.raises(ValueError, match="bad fact"):
                self.run(self.world.queue.complete(job, tx))
        else:
            self.run(self.world.queue.complete(job, tx))
            self.model.done(job)
            self.took_effect(tx, new)
            self.let_go(job)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(
        which=some,
        outcome=st.sampled_from(["retry", "retry", "dead", "cancelled", "return"]),
        retry_after_s=st.sampled_from([None, None, 0.0, 1.5]),
    )
    def fail(self, which: int, outcome: str, retry_after_s: float | None) -> None:
        job = self.held[which % len(self.held)]
        status = self.run(
            self.world.queue.fail(job, "failed", outcome=outcome, retry_after_s=retry_after_s)  # type: ignore[arg-type]
        )
        assert status == self.model.fail(job, outcome, retry_after_s)
        self.let_go(job)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(which=some)
    def extend(self, which: int) -> None:
        job = self.held[which % len(self.held)]
        self.run(self.world.queue.extend(job))
        self.model.extend(job)
        self.settle()

    @precondition(lambda self: self.stale)
    @rule(which=some, action=st.sampled_from(["complete", "fail", "extend"]))
    def stale_owner(self, which: int, action: str) -> None:
        """Q3: who lost its lease changes nothing, and its effects roll back."""
        job = self.stale[which % len(self.stale)]
        queue, tx = self.world.queue, Tx()
        tx.put("stale")
        tx.enqueue(NewJob("work", {}, "from-stale"))
        asks: dict[str, Callable[[], Coroutine[object, object, object]]] = {
            "complete": lambda: queue.complete(job, tx),
            "fail": lambda: queue.fail(job, "stale", outcome="dead"),
            "extend": lambda: queue.extend(job),
        }
        with pytest.raises(LeaseLostError):
            self.run(asks[action]())
        self.settle()

    # ------------------------------------------------------------ control
    @rule(which=some)
    def cancel(self, which: int) -> None:
        self.control(which, "cancel")

    @rule(which=some)
    def retry(self, which: int) -> None:
        self.control(which, "retry")

    @rule(job_type=st.sampled_from([None, "exit", "work"]))
    def redrive(self, job_type: str | None) -> None:
        assert self.run(self.world.queue.redrive(job_type)) == self.model.redrive(job_type)
        self.settle()

    @rule(age_ms=st.sampled_from([0, 100, 3_000]))
    def prune(self, age_ms: int) -> None:
        older_ms = self.model.now_ms - age_ms
        assert self.run(self.world.queue.prune(older_than_ms=older_ms)) == self.model.prune(older_ms)
        self.settle()

    @rule(fire_at_ms=st.integers(1, 3), skipped=st.sampled_from([None, "late"]))
    def cron(self, fire_at_ms: int, skipped: str | None) -> None:
        """Q7: a tick fires once, its jobs with it."""
        tick = CronTick(name="scan", fire_at_ms=fire_at_ms)
        new = NewJob("work", {}, f"tick-{fire_at_ms}")
        fired = self.run(self.world.queue.fire(tick, [new], skipped=skipped))
        assert fired == (("scan", fire_at_ms) not in self.model.ticks)
        self.model.ticks.add(("scan", fire_at_ms))
        if fired and skipped is None:
            self.adopt(new)
        self.settle()

    # ------------------------------------------------------------ time and death
    @rule(ms=st.sampled_from([1, 250, 400, 2_500, 7_000]))
    def business_time(self, ms: int) -> None:
        self.world.clock.advance(self.world.clock.now_ms() + ms)
        self.model.now_ms += ms
        self.settle()

    @rule(ms=st.sampled_from([100, 4_000, 11_000]), alive=st.sets(st.integers(0, 3)))
    def machinery_time(self, ms: int, alive: set[int]) -> None:
        """Leases run out, except for handlers that show progress."""
        self.world.ticker.advance(ms)
        self.model.monotonic_ms += ms
        until_ms = self.model.monotonic_ms + 1_000
        self.hands.alive = {job.id: until_ms for n, job in enumerate(self.held) if n in alive}
        self.settle()

    @rule(ms=st.sampled_from([5_000, 11_000]), late_ms=st.sampled_from([500, 7_000]))
    def both_times(self, ms: int, late_ms: int) -> None:
        """A stall of the whole process: leases and deadlines pass in the same commit."""
        self.world.ticker.advance(ms)
        self.model.monotonic_ms += ms
        self.hands.alive = {}
        self.business_time(late_ms)

    @rule(jobs=st.lists(new_jobs, max_size=2), point=st.sampled_from(POINTS), which=some)
    def crash(self, jobs: list[tuple[object, ...]], point: str, which: int) -> None:
        """Death inside a commit: before COMMIT nothing of it is stored, after it everything is."""
        new = [self.made(job) for job in jobs]
        done = self.held[which % len(self.held)] if self.held else None

        async def die() -> None:
            failpoints.arm(point)
            asked = [self.world.queue.publish(each) for each in new]
            ending = [self.world.queue.complete(done, Tx())] if done is not None else []
            empty = [] if asked or ending else [self.world.queue.call(lambda session: None)]
            answers = await asyncio.gather(*asked, *ending, *empty, return_exceptions=True)
            assert all(isinstance(answer, HaltError) for answer in answers), answers

        self.run(die())
        failpoints.disarm_all()
        if point in STORED_POINTS:
            if done is not None:
                self.model.done(done)
            for each in new:
                self.adopt(each)
        self.reopen(is_surprise=point in STORED_POINTS)

    @rule()
    def power_cut(self) -> None:
        """Death between commits."""
        self.reopen(is_surprise=False)

    # ------------------------------------------------------------ invariants
    @invariant()
    def queue_is_as_the_model_says(self) -> None:
        """Q2, Q3, Q6, Q8: every row, status by status, and every count."""
        if not hasattr(self.world, "database"):
            return
        found = self.rows(
            "SELECT id, type, idem_key, status, run_at, attempts, failures, lease_seq,"
            " lease_until, finished_at, error = 'too_late' FROM job_queue ORDER BY id"
        )
        expected = [
            (
                job.id, job.new.type, job.new.idem_key, job.status, job.run_at_ms, job.attempts, job.failures,
                job.lease_seq, job.lease_until_ms if job.lease is not None else None, job.finished_at_ms,
                None if job.error is None else int(job.error == "too_late"),
            )
            for job in sorted(self.model.jobs.values(), key=lambda job: job.id)
        ]  # fmt: skip
        assert [row[:10] for row in found] == [row[:10] for row in expected]
        finals = [n for n, row in enumerate(expected) if row[3] in FINAL]
        assert [found[n][10] for n in finals] == [expected[n][10] for n in finals]
        stats = self.run(self.world.queue.stats())
        assert stats.published == len(self.model.keys) == len(self.model.jobs) + len(self.model.pruned)
        assert Counter(stats.pruned) == Counter(self.model.pruned.values())
        facts = self.run(self.world.stored_facts())
        assert facts == dict(self.model.facts)
        versions = {row: version for row, version in self.rows("SELECT row, version FROM row_version")}  # noqa: C416
        assert versions == {row: count for row, count in self.model.rows.items() if count}

    @invariant()
    def nothing_claimable_waits_for_a_free_hand(self) -> None:
        """A ready job whose type has a credit and whose key is free was handed over."""
        waiting = {job.new.type for job in self.model.claimable()}
        assert not [job_type for job_type in waiting if self.hands.credits[job_type] > 0]

    # ------------------------------------------------------------ steps
    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    def settle(self) -> None:
        """One more commit, then what it and the one before handed over goes into the model."""
        self.run(self.world.settle())
        self.model.sweep(self.hands.alive)
        self.hands.alive = {}
        lost = [job for job in self.held if not self.model.holds(job)]
        taken, self.hands.jobs = self.hands.jobs, []
        for job in taken:
            self.model.claimed(job)
        self.model.check_order(taken)
        for job in lost:
            self.held.remove(job)
            self.stale.append(job)
            self.hands.credits[job.type] += 1  # its handler has noticed
        self.held += taken
        if lost:
            self.settle()

    def reopen(self, *, is_surprise: bool) -> None:
        """Everything in memory is gone; machinery time starts anew."""
        self.run(self.world.queue._live().close())
        self.run(self.world.database.close())
        claimed_unseen = self.leases() if is_surprise else {}
        for job_id, attempts in claimed_unseen.items():
            self.claimed_unseen(job_id, attempts)
        self.model.crash()
        self.world.ticker = ManualTicker()
        self.model.monotonic_ms = self.world.ticker.monotonic_ms()
        self.stale += self.held
        self.held = []
        self.run(self.world.open())
        self.model.sweep({})
        self.take_up()

    def claimed_unseen(self, job_id: int, attempts: int) -> None:
        """The commit that nobody heard of may have claimed: legal, and its attempt counts."""
        self.model.sweep({})
        job = self.model.jobs[job_id]
        if job.status == "ready":
            assert attempts == job.attempts + 1
            job.status, job.attempts, job.lease_seq = "leased", attempts, job.lease_seq + 1
        assert job.status == "leased"

    def take_up(self) -> None:
        """A consumer with free hands."""
        self.hands = Hands(credits=dict(CREDITS))
        self.world.queue.attach(self.hands)
        self.settle()

    def let_go(self, job: Job) -> None:
        self.held.remove(job)
        self.stale.append(job)
        self.hands.credits[job.type] += 1

    def control(self, which: int, action: str) -> None:
        known = sorted(self.model.jobs)
        job_id = known[which % len(known)] if known and which % 7 else 10_000
        ask = getattr(self.world.queue, action)
        if job_id not in self.model.jobs:
            with pytest.raises(JobNotFoundError):
                self.run(ask(job_id))
        else:
            assert self.run(ask(job_id)) == getattr(self.model, action)(job_id)
        self.settle()

    def made(self, job: tuple[object, ...]) -> NewJob:
        kind, idem, key, priority, run_in_ms, deadline_in_ms, most = job
        now_ms = self.model.now_ms
        return NewJob(
            type=str(kind),
            payload={"n": idem},  # type: ignore[dict-item]
            idem_key=str(idem),
            key=key,  # type: ignore[arg-type]
            priority=priority,  # type: ignore[arg-type]
            run_at_ms=None if run_in_ms is None else now_ms + run_in_ms,  # type: ignore[operator]
            deadline_at_ms=None if deadline_in_ms is None else now_ms + deadline_in_ms,  # type: ignore[operator]
            max_attempts=most,  # type: ignore[arg-type]
        )

    def effects(self, jobs: Sequence[tuple[object, ...]], *, is_bad: bool) -> tuple[Tx, list[NewJob]]:
        tx, new = Tx(), [self.made(job) for job in jobs]
        self.facts_given += 1
        tx.put(f"fact-{self.facts_given}")
        for each in new:
            tx.enqueue(each)
        if is_bad:
            tx.put("bad")
        return tx, new

    def took_effect(self, tx: Tx, new: list[NewJob]) -> None:
        self.model.facts.update(str(fact) for fact in tx.facts)
        for each in new:
            self.adopt(each)

    def adopt(self, new: NewJob) -> None:
        """A job that a commit must have stored, its id read from the file."""
        rows = self.rows("SELECT id FROM job_queue WHERE type = ? AND idem_key = ?", (new.type, new.idem_key))
        known = self.model.keys.get((new.type, new.idem_key))
        if known is None:
            assert len(rows) == 1, f"{new.type} {new.idem_key} was committed and is not there"
            self.model.publish(new, int(str(rows[0][0])), created=True)

    def answered(self, new: Sequence[NewJob], answers: Sequence[Published]) -> None:
        assert len(answers) == len(new)
        for each, answer in zip(new, answers, strict=True):
            self.model.publish(each, answer.job_id, answer.created)

    def leases(self) -> dict[int, int]:
        return {
            int(str(job_id)): int(str(attempts))
            for job_id, attempts in self.rows("SELECT id, attempts FROM job_queue WHERE status = 'leased'")
        }

    def rows(self, sql: str, values: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.world.path)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


def scratch() -> str | None:
    """Memory, where there is some: the model proves logic, other proofs are for disks."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


QueueMachine.TestCase.settings = settings(
    max_examples=300 if IS_FULL else int(os.environ.get("FINAGENT_MODEL_EXAMPLES", "25")),
    stateful_step_count=60 if IS_FULL else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    report_multiple_bugs=False,
    phases=list(Phase) if IS_SHRINKING else [Phase.explicit, Phase.reuse, Phase.generate],
)
TestQueueModel = QueueMachine.TestCase
