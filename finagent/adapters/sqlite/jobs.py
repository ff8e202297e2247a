"""Statements over job rows; each runs inside the writer's transaction or on the reader, none commits."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import cast

from finagent.queue.errors import JobNotFoundError, LeaseLostError
from finagent.queue.job import Job, JobStatus, JobTypes, JsonValue, Lease, backoff_s, check_delay
from finagent.queue.payload import loads
from finagent.queue.port import FailOutcome

COLUMNS = (
    "id, type, key, payload, payload_version, status, priority, run_at, deadline_at, attempts, failures,"
    " max_attempts, epoch, lease_seq, lease_until, idem_key, trace_id, parent_id, created_at, started_at,"
    " finished_at, error"
)
TOO_LATE = "too_late"
STATUSES = {str(status): status for status in JobStatus}


UNREADABLE = "unreadable"


def readable_payload(text: str) -> Mapping[str, JsonValue]:
    """The payload of a stored text; one that cannot be read is shown as it stands, under one key."""
    try:
        return cast("Mapping[str, JsonValue]", loads(text))
    except ValueError:
        return {UNREADABLE: text}


def job_from_row(row: Sequence[object], payload: Mapping[str, JsonValue] | None = None) -> Job:
    """A row of `COLUMNS` as a job, its payload read unless it is given; `lease` is set while it is leased."""
    values = cast("Sequence[int]", row)  # SQLite is dynamically typed; STRICT tables vouch for the columns
    texts = cast("Sequence[str]", row)
    return Job(
        values[0],
        texts[1],
        texts[2],
        readable_payload(texts[3]) if payload is None else payload,
        values[4],
        STATUSES[texts[5]],
        values[6],
        values[7],
        values[8],
        values[9],
        values[10],
        values[11],
        Lease(values[12], values[13]) if row[5] == "leased" else None,
        texts[15],
        texts[16],
        values[17],
        values[18],
        values[19],
        values[20],
        texts[21],
    )


FINISH = """
UPDATE job_queue SET status = 'done', finished_at = ?, lease_until = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND epoch = ? AND lease_seq = ? AND status = 'leased'"""


def finish(connection: sqlite3.Connection, done: Sequence[Job], *, now_ms: int) -> None:
    """Mark jobs done, one step for all of a lease number; raises LeaseLostError, then some may be marked."""
    by_lease: dict[Lease, list[int]] = {}
    for job in done:
        by_lease.setdefault(job.lease or held_lease(job), []).append(job.id)
    for lease, ids in by_lease.items():
        cursor = connection.execute(FINISH, (now_ms, str(ids), lease.epoch, lease.seq))
        if cursor.rowcount != len(ids):
            raise LeaseLostError(ids[0] if len(ids) == 1 else _lost_one(connection, ids, lease, now_ms))


def _lost_one(connection: sqlite3.Connection, ids: Sequence[int], lease: Lease, now_ms: int) -> int:
    """Which of the jobs this batch could not finish, or the one that was named twice."""
    sql = "SELECT 1 FROM job_queue WHERE id = ? AND epoch = ? AND lease_seq = ? AND finished_at = ?"
    for job_id in ids:
        found = connection.execute(sql, (job_id, lease.epoch, lease.seq, now_ms)).fetchone()
        if found is None or ids.count(job_id) > 1:
            return job_id
    return ids[0]


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
    """Milliseconds until the next try: what the other side asked for, or the type's back-off.

    Raises DelayError for a wait that is negative, infinite or not a number.
    """
    if retry_after_s is None:
        retry_after_s = backoff_s(types.policy(job.type), idem_key=job.idem_key, failure=job.failures + 1)
    check_delay(retry_after_s, f"retry_after_s of job {job.type} {job.idem_key!r}")
    return round(retry_after_s * 1000)


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
UPDATE job_queue SET status = 'ready', run_at = ?1, attempts = min(attempts, max_attempts - 1, 1), failures = 0,
                     finished_at = NULL, started_at = NULL, error = NULL"""
"""Fresh attempts, of which a job that had begun has used one: a send that may have left is looked up first."""


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
