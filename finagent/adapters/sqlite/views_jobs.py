"""The queue as documents: jobs, one job with its attempts, counts."""

import sqlite3

from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.adapters.sqlite.stats import read_stats
from finagent.adapters.sqlite.views_values import (
    Document,
    UnknownRecordError,
    bounded,
    instant,
    listed,
    maybe_instant,
    plain,
)
from finagent.queue.job import Job, JobStatus

JOBS = f"""
SELECT {COLUMNS} FROM job_queue WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR type = ?2)
ORDER BY id DESC LIMIT ?3"""
JOB = f"SELECT {COLUMNS} FROM job_queue WHERE id = ?"
ATTEMPTS = """
SELECT attempt, epoch, started_at, finished_at, outcome, error FROM job_attempt
WHERE job_id = ? ORDER BY lease_seq LIMIT 100"""
PRUNED = "SELECT type, status FROM job_key WHERE job_id = ?"


def read_jobs(conn: sqlite3.Connection, *, status: str | None, type: str | None, limit: int) -> Document:
    """Jobs, newest first."""
    if status is not None and status not in set(JobStatus):
        raise UnknownRecordError(f"a job is never {status!r}", f"Use one of: {', '.join(JobStatus)}")
    rows = conn.execute(JOBS, (status, type, bounded(limit))).fetchall()
    return {"jobs": listed(job_document(job_from_row(row)) for row in rows)}


def read_job(conn: sqlite3.Connection, job_id: int) -> Document:
    """One job with its payload and the attempts that failed."""
    row = conn.execute(JOB, (job_id,)).fetchone()
    if row is None:
        raise _unknown(conn, job_id)
    job = job_from_row(row)
    tried = conn.execute(ATTEMPTS, (job_id,)).fetchall()
    attempts: list[Document] = [
        {
            "attempt": attempt,
            "boot": epoch,
            "started_at": instant(started),
            "finished_at": instant(finished),
            "outcome": outcome,
            "error": error,
        }
        for attempt, epoch, started, finished, outcome, error in tried
    ]
    if job.status in (JobStatus.LEASED, JobStatus.DONE) and job.started_at_ms is not None:
        attempts.append(_last_attempt(job, job.started_at_ms))
    return {
        **job_document(job),
        "payload": plain(job.payload),
        "tries": job.attempts,
        "attempts": listed(attempts),
    }


def _last_attempt(job: Job, started_at_ms: int) -> Document:
    """The attempt that the job's own row tells of: the one under way, or the one that succeeded."""
    return {
        "attempt": job.attempts,
        "boot": job.lease.epoch if job.lease is not None else None,
        "started_at": instant(started_at_ms),
        "finished_at": maybe_instant(job.finished_at_ms),
        "outcome": "done" if job.status is JobStatus.DONE else "running",
        "error": None,
    }


def _unknown(conn: sqlite3.Connection, job_id: int) -> UnknownRecordError:
    pruned = conn.execute(PRUNED, (job_id,)).fetchone()
    if pruned is not None:
        return UnknownRecordError(
            f"job {job_id} ({pruned[0]}) is {pruned[1]} and was pruned", "Only its key is kept"
        )
    return UnknownRecordError(f"there is no job {job_id}", "See the ids with: finagent jobs ls")


def read_jobs_stats(conn: sqlite3.Connection, *, now_ms: int) -> Document:
    """Counts by state and type, the oldest that waits, and what is dead."""
    stats = read_stats(conn, now_ms=now_ms)
    return {
        "by_status": dict(stats.by_status),
        "by_type": {name: dict(counts) for name, counts in stats.by_type.items()},
        "oldest_ready_s": stats.oldest_ready_s,
        "dead": listed(job_document(job) for job in stats.dead),
        "published": stats.published,
        "pruned": dict(stats.pruned),
        "next_run_at": maybe_instant(stats.next_run_at_ms),
    }


def job_document(job: Job) -> Document:
    """One job without its payload."""
    return {
        "id": job.id,
        "type": job.type,
        "key": job.key,
        "idempotency_key": job.idem_key,
        "status": job.status.value,
        "priority": job.priority,
        "attempts": job.attempts,
        "failures": job.failures,
        "max_attempts": job.max_attempts,
        "run_at": instant(job.run_at_ms),
        "deadline_at": maybe_instant(job.deadline_at_ms),
        "created_at": instant(job.created_at_ms),
        "started_at": maybe_instant(job.started_at_ms),
        "finished_at": maybe_instant(job.finished_at_ms),
        "trace_id": job.trace_id,
        "parent_id": job.parent_id,
        "last_error": job.error,
    }
