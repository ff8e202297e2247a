"""What code inside the writer's transaction may do: publish, apply facts, check and move row versions."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from finagent.adapters.sqlite.publish import insert, insert_many, shared_type
from finagent.queue.errors import GuardFailedError
from finagent.queue.job import EncodedJob, Job, JobTypes, NewJob
from finagent.queue.port import CronTick, Published

BUMP = """
INSERT INTO row_version (row, version) VALUES (?, 1)
ON CONFLICT (row) DO UPDATE SET version = version + 1"""
FIRE = "INSERT OR IGNORE INTO cron_fire (name, fire_at, fired_at, skipped) VALUES (?, ?, ?, ?)"


class WriteSession:
    """One batch's open transaction. Never keep it, never commit: the writer does.

    `scratch` is a place for what a store wants to remember between the facts of one batch (the last journal
    sequence, say); it is emptied whenever something is rolled back.
    """

    __slots__ = ("_apply_fact", "_types", "conn", "job", "now_ms", "ready_types", "scratch")

    def __init__(
        self,
        conn: sqlite3.Connection,
        *,
        now_ms: int,
        types: JobTypes,
        apply_fact: "ApplyFact",
        ready_types: set[str],
    ) -> None:
        self.conn = conn
        self.now_ms = now_ms
        self.job: Job | None = None
        self.scratch: dict[str, object] = {}
        self.ready_types = ready_types
        self._types = types
        self._apply_fact = apply_fact

    def publish(self, job: NewJob) -> Published:
        """Publish a job with this commit; raises UnknownJobTypeError or PayloadError."""
        return self.insert(self._types.encode(job))

    def insert(self, new: EncodedJob) -> Published:
        """Publish a job that was encoded before."""
        self.ready_types.add(new.job.type)
        return insert(self.conn, new, now_ms=self.now_ms, parent=self.job)

    def insert_all(self, new: Sequence[EncodedJob]) -> list[Published]:
        """Publish several encoded jobs, in few statements where none of them exists."""
        job_type = shared_type(new) if len(new) > 1 else None
        if job_type is not None:
            self.conn.execute("SAVEPOINT jobs")
            first_id = insert_many(self.conn, new, now_ms=self.now_ms, parent=self.job)
            if first_id is None:
                self.conn.execute("ROLLBACK TO jobs")
            self.conn.execute("RELEASE jobs")
            if first_id is not None:
                self.ready_types.add(job_type)
                return [Published(first_id + place, created=True) for place in range(len(new))]
        return [self.insert(job) for job in new]

    def apply(self, fact: object) -> None:
        """Store a business fact through the injected store."""
        self._apply_fact(self, fact)

    def row_version(self, row: str) -> int:
        """The version of a guarded row as of this moment of the transaction, 0 when never written."""
        found = self.conn.execute("SELECT version FROM row_version WHERE row = ?", (row,)).fetchone()
        return 0 if found is None else int(found[0])

    def expect(self, row: str, version: int) -> None:
        """Check a row's version and give it the next one; raises GuardFailedError."""
        found = self.row_version(row)
        if found != version:
            raise GuardFailedError(row, expected=version, found=found)
        self.touch(row)

    def touch(self, row: str) -> None:
        """Give a row its next version."""
        self.conn.execute(BUMP, (row,))

    def guard(self, expected: Iterable[tuple[str, int]], touched: Iterable[str]) -> None:
        """Check all guards first, then move each row once, however often it was named."""
        rows: dict[str, None] = {}
        for row, version in expected:
            found = self.row_version(row)
            if found != version:
                raise GuardFailedError(row, expected=version, found=found)
            rows[row] = None
        rows.update(dict.fromkeys(touched))
        for row in rows:
            self.touch(row)

    def fire(self, tick: CronTick, jobs: Iterable[NewJob], *, skipped: str | None = None) -> bool:
        """Record a cron tick and publish its jobs; False, and nothing published, when it fired before."""
        recorded = self.conn.execute(FIRE, (tick.name, tick.fire_at_ms, self.now_ms, skipped)).rowcount == 1
        if recorded and skipped is None:
            self.insert_all([self._types.encode(job) for job in jobs])
        return recorded


ApplyFact = Callable[[WriteSession, object], None]


def refuse_facts(session: WriteSession, fact: object) -> None:
    """The store of a queue that was given none."""
    raise TypeError(f"no store was given for facts, got {type(fact).__name__}: pass apply_fact to the queue")
