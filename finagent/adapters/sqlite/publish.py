"""Publishing: job rows go in by few statements, ready, scheduled or leased to a free credit at once."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from finagent.queue.job import EncodedJob, Job, JobStatus, Lease
from finagent.queue.payload import loads
from finagent.queue.port import Published

MOST_ROWS = 64
INSERT = """
INSERT INTO job_queue (type, key, payload, payload_version, status, priority, run_at, deadline_at,
                       max_attempts, idem_key, trace_id, parent_id, created_at)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
WHERE NOT EXISTS (SELECT 1 FROM job_key WHERE type = ?1 AND idem_key = ?10)
ON CONFLICT (type, idem_key) DO NOTHING"""
EXISTING = """
SELECT id FROM job_queue WHERE type = ?1 AND idem_key = ?2
UNION ALL SELECT job_id FROM job_key WHERE type = ?1 AND idem_key = ?2"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLease:
    """What a claim of this batch writes: the epoch, and until when (machinery milliseconds)."""

    epoch: int
    until_ms: int


def insert(connection: sqlite3.Connection, new: EncodedJob, *, now_ms: int, parent: Job | None) -> Published:
    """Publish one job, or find the one that took its idempotency key (pruned ones too)."""
    job = new.job
    run_at_ms = now_ms + (new.delay_ms or 0) if job.run_at_ms is None else job.run_at_ms
    status = "ready" if run_at_ms <= now_ms else "scheduled"
    trace_id, parent_id = job.trace_id, None
    if parent is not None:
        trace_id, parent_id = trace_id or parent.trace_id, parent.id
    cursor = connection.execute(
        INSERT,
        (job.type, job.key, new.payload, job.payload_version, status, new.priority, run_at_ms,
         job.deadline_at_ms, new.max_attempts, job.idem_key, trace_id, parent_id, now_ms),
    )  # fmt: skip
    if cursor.rowcount == 1:
        return Published(cast("int", cursor.lastrowid), created=True)
    return Published(connection.execute(EXISTING, (job.type, job.idem_key)).fetchone()[0], created=False)


@cache
def insert_alike(rows: int) -> str:
    """The statement for so many jobs that differ in payload and key alone.

    One step for all of them: each step gives the interpreter's lock away and has to get it back.
    """
    return f"""
INSERT INTO job_queue (type, payload_version, status, priority, run_at, attempts, max_attempts, epoch,
                       lease_seq, lease_until, created_at, started_at, deadline_at, trace_id, parent_id,
                       payload, idem_key)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?6, ?9, ?5, ?10, ?11, ?12, ?13, column1, column2
FROM (VALUES {", ".join(["(?, ?)"] * rows)})
WHERE NOT EXISTS (SELECT 1 FROM job_key WHERE type = ?1 AND idem_key = column2)
ON CONFLICT (type, idem_key) DO NOTHING"""


def shared_type(new: Sequence[EncodedJob]) -> str | None:
    """The type of jobs that may share a statement: all of one type, to run at once, none with a serial key."""
    job_type = new[0].job.type if new else None
    for one in new:
        job = one.job
        is_plain = job.key is None and job.run_at_ms is None and one.delay_ms is None
        if job.type != job_type or not is_plain:
            return None
    return job_type


def insert_many(
    connection: sqlite3.Connection,
    new: Sequence[EncodedJob],
    *,
    now_ms: int,
    parent: Job | None,
    lease: NewLease | None = None,
) -> int | None:
    """Publish plain jobs of one type; None when one of them exists already: roll back, then one by one.

    With `lease` they are stored as claimed: whoever would claim them at the end of this very batch has them.
    Gives the first id; the others follow without a gap, since rows get max(id) + 1 each.
    """
    first_id: int | None = None
    start = 0
    while start < len(new):
        run = _alike(new, start)
        run_id = _insert_run(connection, run, now_ms=now_ms, parent=parent, lease=lease)
        if run_id is None:
            return None
        first_id = run_id if first_id is None else first_id
        start += len(run)
    return first_id


def _alike(new: Sequence[EncodedJob], start: int) -> Sequence[EncodedJob]:
    """The longest run from `start` on that one statement can take."""
    run = new[start : start + MOST_ROWS]
    kind = _kind(run[0])
    for end, one in enumerate(run):
        if _kind(one) != kind:
            return run[:end]
    return run


def _kind(new: EncodedJob) -> tuple[object, ...]:
    job = new.job
    return job.payload_version, job.deadline_at_ms, job.trace_id, new.priority, new.max_attempts


def _insert_run(
    connection: sqlite3.Connection,
    run: Sequence[EncodedJob],
    *,
    now_ms: int,
    parent: Job | None,
    lease: NewLease | None,
) -> int | None:
    head, job = run[0], run[0].job
    trace_id, parent_id = job.trace_id, None
    if parent is not None:
        trace_id, parent_id = trace_id or parent.trace_id, parent.id
    values: list[str | int | None] = [job.type, job.payload_version]
    if lease is None:
        values += ["ready", head.priority, now_ms, 0, head.max_attempts, None, None, None]
    else:
        values += ["leased", head.priority, now_ms, 1, head.max_attempts, lease.epoch, lease.until_ms, now_ms]
    values += [job.deadline_at_ms, trace_id, parent_id]
    for new in run:
        values += (new.payload, new.job.idem_key)
    cursor = connection.execute(insert_alike(len(run)), values)
    if cursor.rowcount != len(run):
        return None
    return cast("int", cursor.lastrowid) - len(run) + 1


def leased_jobs(new: Sequence[EncodedJob], first_id: int, *, now_ms: int, epoch: int) -> list[Job]:
    """The jobs as `insert_many` has just stored them with a lease, without reading them back."""
    lease, status, make = Lease(epoch, 1), JobStatus.LEASED, Job._make
    return [
        make(
            (
                job_id,
                job.type,
                None,
                loads(payload),
                job.payload_version,
                status,
                priority,
                now_ms,
                job.deadline_at_ms,
                1,
                0,
                max_attempts,
                lease,
                job.idem_key,
                job.trace_id,
                None,
                now_ms,
                now_ms,
                None,
                None,
            )
        )
        for job_id, (job, payload, priority, max_attempts, _) in enumerate(new, first_id)
    ]
