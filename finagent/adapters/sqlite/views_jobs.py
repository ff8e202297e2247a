"""The queue as documents: jobs by filter, one job with its attempts and kin, counts and times."""

import sqlite3
from collections.abc import Sequence

from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.adapters.sqlite.stats import read_stats
from finagent.adapters.sqlite.views_values import (
    Document,
    Json,
    UnknownRecordError,
    bounded,
    instant,
    listed,
    maybe_instant,
    plain,
    texts,
)
from finagent.queue.job import Job, JobStatus
from finagent.queue.query import JobQuery, checked_statuses, instant_ms
from finagent.runtime.clock import SystemTicker

MAX_ATTEMPTS_SHOWN = 100
MAX_CHILDREN_SHOWN = 50
MAX_TIMED = 10_000
LEASE_SPAN_MS = 3_600_000
"""A lease further off belongs to another start of the machine: its ticks mean nothing here."""
ENDED = "coalesce(finished_at, created_at)"
JOB = f"SELECT {COLUMNS} FROM job_queue WHERE id = ?"
LEASE = "SELECT q.epoch, q.lease_seq, q.lease_until, b.pid FROM job_queue q LEFT JOIN boot b USING (epoch) WHERE id = ?"
ATTEMPTS = f"""
SELECT attempt, epoch, started_at, finished_at, outcome, error FROM job_attempt
WHERE job_id = ? ORDER BY lease_seq DESC LIMIT {MAX_ATTEMPTS_SHOWN}"""
ATTEMPT_COUNT = "SELECT count(*) FROM job_attempt WHERE job_id = ?"
PRUNED = "SELECT type, status FROM job_key WHERE job_id = ?"
# A child is always younger than its parent: the range spares reading the whole table.
CHILDREN = f"""
SELECT id, type, status, idem_key FROM job_queue WHERE id > ?1 AND parent_id = ?1
ORDER BY id LIMIT {MAX_CHILDREN_SHOWN}"""
CHILD_COUNT = "SELECT count(*) FROM job_queue WHERE id > ?1 AND parent_id = ?1"
KIN = "SELECT id, type, status, idem_key FROM job_queue WHERE id = ?"
TYPES = "SELECT DISTINCT type FROM job_queue ORDER BY type"
FAILED_ATTEMPTS = """
SELECT q.type, a.outcome, count(*) FROM job_attempt a JOIN job_queue q ON q.id = a.job_id
GROUP BY q.type, a.outcome ORDER BY q.type, a.outcome"""
TIMES = f"""
SELECT type, started_at - max(run_at, created_at), finished_at - started_at FROM job_queue
WHERE finished_at IS NOT NULL AND status = 'done' ORDER BY finished_at DESC LIMIT {MAX_TIMED}"""


def read_jobs(conn: sqlite3.Connection, query: JobQuery, *, now_ms: int) -> Document:
    """Jobs that match, newest first, and how many match in all; raises QueryError."""
    where, values = _conditions(query, now_ms)
    sql = f"SELECT {COLUMNS} FROM job_queue{where} ORDER BY id DESC LIMIT ?"
    rows = conn.execute(sql, (*values, bounded(query.limit))).fetchall()
    document: Document = {
        "jobs": listed(job_document(job_from_row(row), now_ms) for row in rows),
        "matching": conn.execute(f"SELECT count(*) FROM job_queue{where}", values).fetchone()[0],
    }
    if not rows and query.types:
        document["types"] = texts(name for (name,) in conn.execute(TYPES).fetchall())
    return document


def _conditions(query: JobQuery, now_ms: int) -> tuple[str, list[str | int]]:
    """The WHERE clause of a query (empty where nothing is filtered) and its values."""
    parts: list[str] = []
    values: list[str | int] = []

    def hold(condition: str, *given: str | int) -> None:
        parts.append(condition)
        values.extend(given)

    statuses = checked_statuses(query.statuses)
    for column, names in (("status", [str(status) for status in statuses]), ("type", query.types)):
        if names:
            hold(f"{column} IN ({', '.join('?' * len(names))})", *names)
    if query.key is not None:
        hold("key = ?", query.key)
    if query.idem is not None:
        hold("idem_key >= ? AND idem_key < ?", query.idem, query.idem + "\U0010ffff")
    if query.since is not None:
        hold(f"{ENDED} >= ?", instant_ms(query.since, now_ms=now_ms))
    if query.until is not None:
        hold(f"{ENDED} <= ?", instant_ms(query.until, now_ms=now_ms))
    if query.error is not None:
        hold("instr(lower(error), lower(?)) > 0", query.error)
    if query.trace is not None:
        hold("trace_id = ?", query.trace)
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def read_job(conn: sqlite3.Connection, job_id: int, *, now_ms: int) -> Document:
    """One job with payload, lease, kin and every attempt, oldest first."""
    row = conn.execute(JOB, (job_id,)).fetchone()
    if row is None:
        raise _unknown(conn, job_id)
    job = job_from_row(row)
    tried = conn.execute(ATTEMPTS, (job_id,)).fetchall()
    attempts = [_attempt(found) for found in reversed(tried)]
    failed: int = conn.execute(ATTEMPT_COUNT, (job_id,)).fetchone()[0]
    if job.status in (JobStatus.LEASED, JobStatus.DONE) and job.started_at_ms is not None:
        attempts.append(_last_attempt(job, job.started_at_ms, now_ms))
    return {
        **job_document(job, now_ms),
        "payload": plain(job.payload),
        "payload_version": job.payload_version,
        "lease": _lease(conn, job_id) if job.lease is not None else None,
        "parent": _parent(conn, job.parent_id),
        "children": listed(_kin(found) for found in conn.execute(CHILDREN, (job_id,)).fetchall()),
        "children_count": conn.execute(CHILD_COUNT, (job_id,)).fetchone()[0],
        "tries": job.attempts,
        "attempts": listed(attempts),
        "attempts_omitted": failed - len(tried),
    }


def _attempt(row: Sequence[int | str]) -> Document:
    attempt, epoch, started, finished, outcome, error = row
    started_ms, finished_ms = int(started), int(finished)
    return {
        "attempt": attempt,
        "boot": epoch,
        "started_at": instant(started_ms),
        "finished_at": instant(finished_ms),
        "duration_s": (finished_ms - started_ms) / 1000,
        "outcome": outcome,
        "error": error,
    }


def _last_attempt(job: Job, started_at_ms: int, now_ms: int) -> Document:
    """The attempt that the job's own row tells of: the one under way, or the one that succeeded."""
    end_ms = now_ms if job.finished_at_ms is None else job.finished_at_ms
    return {
        "attempt": job.attempts,
        "boot": job.lease.epoch if job.lease is not None else None,
        "started_at": instant(started_at_ms),
        "finished_at": maybe_instant(job.finished_at_ms),
        "duration_s": max(0, end_ms - started_at_ms) / 1000,
        "outcome": "done" if job.status is JobStatus.DONE else "running",
        "error": None,
    }


def _lease(conn: sqlite3.Connection, job_id: int) -> Document:
    """Who holds the job and for how long yet, null where that cannot be told from here."""
    epoch, seq, until_ms, pid = conn.execute(LEASE, (job_id,)).fetchone()
    left_ms = until_ms - SystemTicker().monotonic_ms()
    return {
        "boot": epoch,
        "number": seq,
        "pid": pid,
        "left_s": left_ms / 1000 if abs(left_ms) <= LEASE_SPAN_MS else None,
    }


def _kin(row: Sequence[int | str]) -> Document:
    return {"id": row[0], "type": row[1], "status": row[2], "idempotency_key": row[3]}


def _parent(conn: sqlite3.Connection, parent_id: int | None) -> Document | None:
    """The job that left this one; of a pruned one only its key is known."""
    if parent_id is None:
        return None
    row = conn.execute(KIN, (parent_id,)).fetchone()
    return _kin(row) if row is not None else {"id": parent_id, "type": None, "status": "pruned"}


def _unknown(conn: sqlite3.Connection, job_id: int) -> UnknownRecordError:
    pruned = conn.execute(PRUNED, (job_id,)).fetchone()
    if pruned is not None:
        return UnknownRecordError(
            f"job {job_id} ({pruned[0]}) is {pruned[1]} and was pruned", "Only its key is kept"
        )
    return UnknownRecordError(f"there is no job {job_id}", "See the ids with: finagent jobs ls")


def read_jobs_stats(conn: sqlite3.Connection, *, now_ms: int) -> Document:
    """Counts by state and type, the oldest that waits, what is dead; attempts by outcome, and times in seconds."""
    stats = read_stats(conn, now_ms=now_ms)
    return {
        "by_status": dict(stats.by_status),
        "by_type": {name: dict(counts) for name, counts in stats.by_type.items()},
        "oldest_ready_s": stats.oldest_ready_s,
        "dead": listed(job_document(job, now_ms) for job in stats.dead),
        "published": stats.published,
        "pruned": dict(stats.pruned),
        "next_run_at": maybe_instant(stats.next_run_at_ms),
        "attempts": _attempts_by_outcome(conn, {name: c.get("done", 0) for name, c in stats.by_type.items()}),
        "times": _times(conn),
    }


def _attempts_by_outcome(conn: sqlite3.Connection, done: dict[str, int]) -> Document:
    """``{type: {outcome: count}}`` of jobs still stored; ``done`` is the attempt that succeeded."""
    found: dict[str, dict[str, Json]] = {name: {"done": count} for name, count in done.items() if count}
    for name, outcome, count in conn.execute(FAILED_ATTEMPTS).fetchall():
        found.setdefault(name, {})[outcome] = count
    return {name: dict(found[name]) for name in sorted(found)}


def _times(conn: sqlite3.Connection) -> Document:
    """``{type: {jobs, wait_p50_s, wait_p95_s, run_p50_s, run_p95_s, run_max_s}}`` of the last done jobs."""
    waits: dict[str, list[int]] = {}
    runs: dict[str, list[int]] = {}
    for name, wait_ms, run_ms in conn.execute(TIMES).fetchall():
        waits.setdefault(name, []).append(max(0, wait_ms))
        runs.setdefault(name, []).append(max(0, run_ms))
    return {
        name: {
            "jobs": len(runs[name]),
            "wait_p50_s": _quantile_s(waits[name], 50),
            "wait_p95_s": _quantile_s(waits[name], 95),
            "run_p50_s": _quantile_s(runs[name], 50),
            "run_p95_s": _quantile_s(runs[name], 95),
            "run_max_s": max(runs[name]) / 1000,
        }
        for name in sorted(runs)
    }


def _quantile_s(values_ms: list[int], percent: int) -> float:
    """The smallest value that ``percent`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values_ms)
    return ordered[-(-percent * len(ordered) // 100) - 1] / 1000


def job_document(job: Job, now_ms: int) -> Document:
    """One job without its payload; spans in seconds, null where there is none yet."""
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
        "age_s": max(0, now_ms - job.created_at_ms) / 1000,
        "wait_s": _wait_s(job, now_ms),
        "trace_id": job.trace_id,
        "parent_id": job.parent_id,
        "last_error": job.error,
    }


def _wait_s(job: Job, now_ms: int) -> float | None:
    """How long the job was ready before its last start, or is ready by now."""
    due_ms = max(job.run_at_ms, job.created_at_ms)
    if job.status is JobStatus.READY:
        return max(0, now_ms - due_ms) / 1000
    if job.status is JobStatus.SCHEDULED or job.started_at_ms is None:
        return None
    return max(0, job.started_at_ms - due_ms) / 1000
