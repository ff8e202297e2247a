"""Statements over job rows; each runs inside the writer's transaction or on the reader, none commits."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from finagent.queue.errors import JobNotFoundError, LeaseLostError
from finagent.queue.job import Job, JobStatus, JobTypes, JsonValue, Lease, NewJob, backoff_s
from finagent.queue.port import FailOutcome, Published

COLUMNS = (
    "id, type, key, payload, payload_version, status, priority, run_at, deadline_at, attempts, failures,"
    " max_attempts, epoch, lease_seq, lease_until, idem_key, trace_id, parent_id, created_at, started_at,"
    " finished_at, error"
)
TOO_LATE = "too_late"
STATUSES = {str(status): status for status in JobStatus}
DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class EncodedJob:
    """A new job whose type and payload were checked on the loop, before it reached the writer."""

    job: NewJob
    payload: str
    priority: int
    max_attempts: int


def encode(types: JobTypes, job: NewJob) -> EncodedJob:
    """Check and encode; raises UnknownJobTypeError or PayloadError."""
    payload, policy = types.encode(job), types.policy(job.type)
    priority = policy.priority if job.priority is None else job.priority
    return EncodedJob(job, payload, priority, job.max_attempts or policy.max_attempts)


def job_from_row(row: Sequence[object]) -> Job:
    """A row of `COLUMNS` as a job; `lease` is set while it is leased."""
    values = cast("Sequence[int]", row)  # SQLite is dynamically typed; STRICT tables vouch for the columns
    texts = cast("Sequence[str]", row)
    leased = row[5] == "leased"
    return Job(
        id=values[0],
        type=texts[1],
        key=texts[2],
        payload=cast("Mapping[str, JsonValue]", DECODER.decode(texts[3])),
        payload_version=values[4],
        status=STATUSES[texts[5]],
        priority=values[6],
        run_at_ms=values[7],
        deadline_at_ms=values[8],
        attempts=values[9],
        failures=values[10],
        max_attempts=values[11],
        lease=Lease(values[12], values[13]) if leased else None,
        idem_key=texts[15],
        trace_id=texts[16],
        parent_id=values[17],
        created_at_ms=values[18],
        started_at_ms=values[19],
        finished_at_ms=values[20],
        error=texts[21],
    )


INTO = """
INSERT INTO job_queue (type, key, payload, payload_version, status, priority, run_at, deadline_at,
                       max_attempts, idem_key, trace_id, parent_id, created_at)"""
INSERT = f"""{INTO}
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
WHERE NOT EXISTS (SELECT 1 FROM job_key WHERE type = ?1 AND idem_key = ?10)
ON CONFLICT (type, idem_key) DO NOTHING"""
MANY = (64, 16, 4)
INSERT_MANY = {
    count: f"""{INTO}
SELECT * FROM (VALUES {", ".join(["(" + ", ".join("?" * 13) + ")"] * count)})
WHERE NOT EXISTS (SELECT 1 FROM job_key WHERE type = column1 AND idem_key = column10)
ON CONFLICT (type, idem_key) DO NOTHING"""
    for count in MANY
}
"""Several rows in one step; the interpreter's lock is given away once, not once per row."""
EXISTING = """
SELECT id FROM job_queue WHERE type = ?1 AND idem_key = ?2
UNION ALL SELECT job_id FROM job_key WHERE type = ?1 AND idem_key = ?2"""


def insert(connection: sqlite3.Connection, new: EncodedJob, *, now_ms: int, parent: Job | None) -> Published:
    """Publish one job, or find the one that took its idempotency key (pruned ones too)."""
    job = new.job
    cursor = connection.execute(INSERT, _values(new, now_ms, parent))
    if cursor.rowcount == 1:
        return Published(cast("int", cursor.lastrowid), created=True)
    return Published(connection.execute(EXISTING, (job.type, job.idem_key)).fetchone()[0], created=False)


def _values(new: EncodedJob, now_ms: int, parent: Job | None) -> tuple[str | int | None, ...]:
    job = new.job
    run_at_ms = now_ms if job.run_at_ms is None else job.run_at_ms
    status = "ready" if run_at_ms <= now_ms else "scheduled"
    trace_id, parent_id = job.trace_id, None
    if parent is not None:
        trace_id, parent_id = trace_id or parent.trace_id, parent.id
    return (job.type, job.key, new.payload, job.payload_version, status, new.priority, run_at_ms,
            job.deadline_at_ms, new.max_attempts, job.idem_key, trace_id, parent_id, now_ms)  # fmt: skip


def insert_many(
    connection: sqlite3.Connection, new: Sequence[EncodedJob], *, now_ms: int, parent: Job | None
) -> list[Published] | None:
    """Publish jobs in few steps; None when one of them exists already: roll back, then insert one by one."""
    found: list[Published] = []
    start = 0
    for count in MANY:
        while len(new) - start >= count:
            chunk = new[start : start + count]
            cursor = connection.execute(
                INSERT_MANY[count], [value for job in chunk for value in _values(job, now_ms, parent)]
            )
            if cursor.rowcount != count:
                return None
            # Rows get max(id) + 1 each, in the order of VALUES.
            first = cast("int", cursor.lastrowid) - count + 1
            found += [Published(job_id, created=True) for job_id in range(first, first + count)]
            start += count
    for job in new[start:]:
        found.append(insert(connection, job, now_ms=now_ms, parent=parent))
    return found


FINISH = """
UPDATE job_queue SET status = 'done', finished_at = ?, lease_until = NULL
WHERE id = ? AND epoch = ? AND lease_seq = ? AND status = 'leased'"""


def finish(connection: sqlite3.Connection, job: Job, *, now_ms: int) -> None:
    """Mark the job done if its lease still holds; raises LeaseLostError."""
    lease = held_lease(job)
    if connection.execute(FINISH, (now_ms, job.id, lease.epoch, lease.seq)).rowcount != 1:
        raise LeaseLostError(job.id)


FINISH_MANY = """
UPDATE job_queue SET status = 'done', finished_at = ?, lease_until = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND epoch = ? AND lease_seq = ? AND status = 'leased'"""


def finish_many(connection: sqlite3.Connection, done: Sequence[Job], *, now_ms: int) -> bool:
    """Mark the jobs done in one step per lease; False when one lease is lost: roll back, then one by one."""
    by_lease: dict[Lease, list[int]] = {}
    for job in done:
        by_lease.setdefault(held_lease(job), []).append(job.id)
    return all(
        connection.execute(FINISH_MANY, (now_ms, str(ids), lease.epoch, lease.seq)).rowcount == len(ids)
        for lease, ids in by_lease.items()
    )


def held_lease(job: Job) -> Lease:
    """The lease that came with the job; raises LeaseLostError for a job that was never claimed."""
    if job.lease is None:
        raise LeaseLostError(job.id)
    return job.lease


RELEASE = """
UPDATE job_queue SET status = ?, run_at = ?, attempts = attempts - ?, failures = failures + ?,
                     lease_until = NULL, finished_at = ?, error = ?
WHERE id = ? AND epoch = ? AND lease_seq = ? AND status = 'leased'"""
ATTEMPT = """
INSERT INTO job_attempt (job_id, attempt, epoch, lease_seq, started_at, finished_at, outcome, error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def release(
    connection: sqlite3.Connection,
    job: Job,
    error: str,
    *,
    outcome: FailOutcome,
    wait_ms: int,
    now_ms: int,
) -> JobStatus:
    """Give a leased job back with its failure recorded; raises LeaseLostError."""
    lease = held_lease(job)
    status, run_at_ms = JobStatus.READY, job.run_at_ms
    if outcome in ("dead", "cancelled"):
        status = JobStatus(outcome)
    elif outcome == "retry" and job.attempts >= job.max_attempts:
        status, error = JobStatus.DEAD, f"{error} (attempt {job.attempts} of {job.max_attempts}, the last)"
    elif outcome == "retry" and wait_ms > 0:
        status, run_at_ms = JobStatus.SCHEDULED, now_ms + wait_ms
    is_return = outcome == "return"
    finished_ms = now_ms if status in (JobStatus.DEAD, JobStatus.CANCELLED) else None
    changed = connection.execute(
        RELEASE,
        (
            status,
            run_at_ms,
            int(is_return),
            int(not is_return),
            finished_ms,
            error,
            job.id,
            lease.epoch,
            lease.seq,
        ),
    ).rowcount
    if changed != 1:
        raise LeaseLostError(job.id)
    recorded = "dead" if status is JobStatus.DEAD else outcome
    connection.execute(
        ATTEMPT,
        (job.id, job.attempts, lease.epoch, lease.seq, job.started_at_ms, now_ms, recorded, error),
    )
    return status


def retry_wait_ms(types: JobTypes, job: Job, retry_after_s: float | None) -> int:
    """Milliseconds until the next try: what the other side asked for, or the type's back-off."""
    if retry_after_s is None:
        retry_after_s = backoff_s(types.policy(job.type), idem_key=job.idem_key, failure=job.failures + 1)
    return max(0, round(retry_after_s * 1000))


EXTEND = """
UPDATE job_queue SET lease_until = ? WHERE id = ? AND epoch = ? AND lease_seq = ? AND status = 'leased'"""


def extend(connection: sqlite3.Connection, job: Job, *, lease_until_ms: int) -> None:
    """Prolong the lease; raises LeaseLostError."""
    lease = held_lease(job)
    if connection.execute(EXTEND, (lease_until_ms, job.id, lease.epoch, lease.seq)).rowcount != 1:
        raise LeaseLostError(job.id)


def promote_due(connection: sqlite3.Connection, *, now_ms: int) -> set[str]:
    """Make due jobs ready; gives their types."""
    sql = "UPDATE job_queue SET status = 'ready' WHERE status = 'scheduled' AND run_at <= ? RETURNING type"
    return {row[0] for row in connection.execute(sql, (now_ms,)).fetchall()}


CANCEL_LATE = """
UPDATE job_queue SET status = 'cancelled', finished_at = ?1, error = 'too_late'
WHERE deadline_at IS NOT NULL AND status IN ('scheduled', 'ready') AND deadline_at < ?1"""


def cancel_late(connection: sqlite3.Connection, *, now_ms: int) -> None:
    """Cancel every waiting job whose deadline has passed; one that runs may finish."""
    connection.execute(CANCEL_LATE, (now_ms,))


def cancel(connection: sqlite3.Connection, job_id: int, *, now_ms: int) -> bool:
    """Cancel a waiting job; False when it runs or is over. Raises JobNotFoundError."""
    _require(connection, job_id)
    sql = (
        "UPDATE job_queue SET status = 'cancelled', finished_at = ?, error = 'cancelled by hand'"
        " WHERE id = ? AND status IN ('scheduled', 'ready')"
    )
    return connection.execute(sql, (now_ms, job_id)).rowcount == 1


REVIVE = """
UPDATE job_queue SET status = 'ready', run_at = ?1, attempts = 0, failures = 0, finished_at = NULL,
                     started_at = NULL, error = NULL"""


def revive(connection: sqlite3.Connection, job_id: int, *, now_ms: int) -> str | None:
    """Make one scheduled, dead or cancelled job ready; gives its type. Raises JobNotFoundError."""
    _require(connection, job_id)
    sql = f"{REVIVE} WHERE id = ?2 AND status IN ('scheduled', 'dead', 'cancelled') RETURNING type"
    rows = connection.execute(sql, (now_ms, job_id)).fetchall()
    return rows[0][0] if rows else None


def revive_dead(connection: sqlite3.Connection, job_type: str | None, *, now_ms: int) -> list[str]:
    """Make all dead jobs (of one type) ready; gives their types, one each."""
    sql = f"{REVIVE} WHERE status = 'dead' AND (?2 IS NULL OR type = ?2) RETURNING type"
    return [row[0] for row in connection.execute(sql, (now_ms, job_type)).fetchall()]


def _require(connection: sqlite3.Connection, job_id: int) -> None:
    if connection.execute("SELECT 1 FROM job_queue WHERE id = ?", (job_id,)).fetchone() is None:
        raise JobNotFoundError(job_id)


PRUNABLE = """
SELECT id FROM job_queue
WHERE finished_at < ?1 AND status IN ('done', 'cancelled') AND id < (SELECT max(id) FROM job_queue)
ORDER BY finished_at LIMIT ?2"""


def prune(connection: sqlite3.Connection, *, older_than_ms: int, limit: int) -> int:
    """Drop old finished jobs and keep their keys; dead ones stay for a redrive.

    The newest row stays too: SQLite would give its id to the next job.
    """
    ids = [row[0] for row in connection.execute(PRUNABLE, (older_than_ms, limit)).fetchall()]
    chosen = json.dumps(ids)
    connection.execute(
        "INSERT OR IGNORE INTO job_key (type, idem_key, job_id, status, finished_at)"
        " SELECT type, idem_key, id, status, finished_at FROM job_queue"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (chosen,),
    )
    connection.execute("DELETE FROM job_attempt WHERE job_id IN (SELECT value FROM json_each(?))", (chosen,))
    connection.execute("DELETE FROM job_queue WHERE id IN (SELECT value FROM json_each(?))", (chosen,))
    return len(ids)
