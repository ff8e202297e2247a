"""The queue as it should behave, in plain Python: one dictionary of jobs and the rules of queue.md."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from finagent.queue.job import Job, JobTypes, Lease, NewJob, backoff_s

FINAL = ("done", "dead", "cancelled")
Key = tuple[str, str]


@dataclass
class ModelJob:
    """What is known of one job."""

    id: int
    new: NewJob
    status: str
    priority: int
    run_at_ms: int
    max_attempts: int
    attempts: int = 0
    failures: int = 0
    lease: Lease | None = None
    lease_seq: int = 0
    lease_until_ms: int = 0
    finished_at_ms: int | None = None
    error: str | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        return self.priority, self.run_at_ms, self.id

    def end(self, status: str, now_ms: int, error: str | None = None) -> None:
        self.status, self.lease, self.finished_at_ms, self.error = status, None, now_ms, error


@dataclass
class Model:
    """Jobs, facts, row versions and cron ticks as they must be after each commit."""

    types: JobTypes
    now_ms: int
    monotonic_ms: int
    epoch: int = 1
    jobs: dict[int, ModelJob] = field(default_factory=dict)
    keys: dict[Key, int] = field(default_factory=dict)
    pruned: dict[int, str] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    ticks: set[tuple[str, int]] = field(default_factory=set)

    # ------------------------------------------------------------ requests
    def publish(self, new: NewJob, job_id: int, created: bool) -> None:
        """The answer of one publish: a new id, or the one that the key has always had (Q6)."""
        key = (new.type, new.idem_key)
        if key in self.keys:
            assert (job_id, created) == (self.keys[key], False), f"{key} answered {job_id}, {created}"
            return
        assert created, f"{key} was never published and the queue says it was"
        assert job_id not in self.jobs, f"the id {job_id} was given twice"
        assert job_id not in self.pruned, f"the id {job_id} of a pruned job was given again"
        self.store(new, job_id)

    def store(self, new: NewJob, job_id: int) -> None:
        """A row that must exist from now on."""
        policy = self.types.policy(new.type)
        run_at_ms = self.now_ms if new.run_at_ms is None else new.run_at_ms
        self.keys[new.type, new.idem_key] = job_id
        self.jobs[job_id] = ModelJob(
            id=job_id,
            new=new,
            status="ready" if run_at_ms <= self.now_ms else "scheduled",
            priority=policy.priority if new.priority is None else new.priority,
            run_at_ms=run_at_ms,
            max_attempts=new.max_attempts or policy.max_attempts,
        )

    def holds(self, job: Job) -> bool:
        """Whether this claim is still the live one (Q3)."""
        found = self.jobs.get(job.id)
        return found is not None and found.status == "leased" and found.lease == job.lease

    def done(self, job: Job) -> None:
        self.jobs[job.id].end("done", self.now_ms)

    def fail(self, job: Job, outcome: str, retry_after_s: float | None) -> str:
        """The status after a recorded failure."""
        found = self.jobs[job.id]
        found.lease = None
        if outcome == "return":
            found.attempts -= 1
            found.status = "ready"
            return found.status
        found.failures += 1
        if outcome in ("dead", "cancelled") or found.attempts >= found.max_attempts:
            found.end("cancelled" if outcome == "cancelled" else "dead", self.now_ms, "failed")
            return found.status
        wait_s = retry_after_s
        if wait_s is None:
            policy = self.types.policy(job.type)
            wait_s = backoff_s(policy, idem_key=job.idem_key, failure=found.failures)
        wait_ms = max(0, round(wait_s * 1000))
        found.status = "ready" if wait_ms == 0 else "scheduled"
        found.run_at_ms = found.run_at_ms if wait_ms == 0 else self.now_ms + wait_ms
        return found.status

    def extend(self, job: Job) -> None:
        self.jobs[job.id].lease_until_ms = self.monotonic_ms + self.timeout_ms(job.type)

    def cancel(self, job_id: int) -> bool:
        found = self.jobs[job_id]
        if found.status not in ("scheduled", "ready"):
            return False
        found.end("cancelled", self.now_ms, "cancelled by hand")
        return True

    def retry(self, job_id: int) -> bool:
        if self.jobs[job_id].status not in ("scheduled", "dead", "cancelled"):
            return False
        self._revive(self.jobs[job_id])
        return True

    def redrive(self, job_type: str | None) -> int:
        dead = [
            job for job in self.jobs.values() if job.status == "dead" and job_type in (None, job.new.type)
        ]
        for job in dead:
            self._revive(job)
        return len(dead)

    def prune(self, older_than_ms: int) -> int:
        newest = max(self.jobs, default=0)
        old = [
            job
            for job in self.jobs.values()
            if job.status in ("done", "cancelled")
            and job.finished_at_ms is not None
            and job.finished_at_ms < older_than_ms
            and job.id != newest
        ]
        for job in old:
            self.pruned[job.id] = job.status
            del self.jobs[job.id]
        return len(old)

    def bump(self, rows: Iterable[str]) -> None:
        self.rows.update(set(rows))

    # ------------------------------------------------------------ what a commit does by itself
    def sweep(self, alive_until_ms: dict[int, int]) -> None:
        """Expire, promote, cancel what is late: all before anything is claimed (Q8)."""
        for job in self.leased():
            if job.lease_until_ms <= self.monotonic_ms:
                until_ms = alive_until_ms.get(job.id, 0)
                if until_ms > self.monotonic_ms:
                    job.lease_until_ms = until_ms
                else:
                    self._lose(job)
        for job in self.jobs.values():
            if job.status == "scheduled" and job.run_at_ms <= self.now_ms:
                job.status = "ready"
            late = job.new.deadline_at_ms is not None and job.new.deadline_at_ms < self.now_ms
            if late and job.status in ("scheduled", "ready"):
                job.end("cancelled", self.now_ms, "too_late")

    def claimed(self, job: Job) -> None:
        """A job was handed over: it was its turn, it is in time, its key is free, its attempt is counted."""
        found = self.jobs[job.id]
        assert found.status == "ready", f"job {job.id} was claimed while {found.status} ({found.error})"
        assert found.new.key is None or found.new.key not in self.leased_keys(), f"{found.new.key} runs twice"
        found.status = "leased"
        found.attempts += 1
        found.lease_seq += 1
        found.error = None
        assert job.lease is not None
        assert (job.lease.epoch, job.lease.seq) == (self.epoch, found.lease_seq)
        assert job.attempts == found.attempts <= found.max_attempts
        found.lease = job.lease
        found.lease_until_ms = self.monotonic_ms + self.timeout_ms(job.type)

    def check_order(self, taken: Iterable[Job]) -> None:
        """Nobody who could have run was overtaken by one of his type; called when all were handed over."""
        waiting = self.claimable()
        for job in taken:
            order = self.jobs[job.id].order
            ahead = [other.id for other in waiting if other.new.type == job.type and other.order < order]
            assert not ahead, f"job {job.id} overtook {ahead}"

    def crash(self) -> None:
        """The next boot: every lease returned at once, the attempt counted."""
        for job in self.leased():
            self._lose(job)
        self.epoch += 1

    # ------------------------------------------------------------ questions
    def leased(self) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status == "leased"]

    def leased_keys(self) -> set[str]:
        return {job.new.key for job in self.leased() if job.new.key is not None}

    def claimable(self) -> list[ModelJob]:
        """Ready jobs that no running job of the same key holds up."""
        taken = self.leased_keys()
        return [job for job in self.jobs.values() if job.status == "ready" and job.new.key not in taken]

    def timeout_ms(self, job_type: str) -> int:
        return round(self.types.policy(job_type).timeout_s * 1000)

    def copy_of(self, job_id: int) -> ModelJob:
        return replace(self.jobs[job_id])

    def _lose(self, job: ModelJob) -> None:
        if job.attempts >= job.max_attempts:
            job.end("dead", self.now_ms, "lost")
        else:
            job.status, job.lease = "ready", None

    def _revive(self, job: ModelJob) -> None:
        job.status, job.run_at_ms, job.failures = "ready", self.now_ms, 0
        job.attempts = min(job.attempts, job.max_attempts - 1, 1)
        job.finished_at_ms, job.error, job.lease = None, None, None
