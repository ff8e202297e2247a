"""Counts over the queue: what is where, what waits longest, what died."""

import sqlite3

from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.queue.job import JobStatus
from finagent.queue.port import QueueStats

MAX_DEAD_SHOWN = 20
COUNTS = "SELECT type, status, count(*) FROM job_queue GROUP BY type, status ORDER BY type, status"
PRUNED = "SELECT status, count(*) FROM job_key GROUP BY status ORDER BY status"
OLDEST_READY = "SELECT min(run_at) FROM job_queue WHERE status = 'ready'"
NEXT_RUN = "SELECT min(run_at) FROM job_queue WHERE status = 'scheduled'"
DEAD = f"SELECT {COLUMNS} FROM job_queue WHERE status = 'dead' ORDER BY id DESC LIMIT {MAX_DEAD_SHOWN}"


def read_stats(connection: sqlite3.Connection, *, now_ms: int) -> QueueStats:
    """All counts of one snapshot; `published` is their sum, pruned jobs included."""
    by_status = {str(status): 0 for status in JobStatus}
    by_type: dict[str, dict[str, int]] = {}
    for job_type, status, count in connection.execute(COUNTS):
        by_status[status] += count
        by_type.setdefault(job_type, {})[status] = count
    pruned = dict(connection.execute(PRUNED).fetchall())
    oldest_ms = connection.execute(OLDEST_READY).fetchone()[0]
    return QueueStats(
        by_status=by_status,
        by_type=by_type,
        pruned=pruned,
        published=sum(by_status.values()) + sum(pruned.values()),
        oldest_ready_s=None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
        dead=[job_from_row(row) for row in connection.execute(DEAD)],
        next_run_at_ms=connection.execute(NEXT_RUN).fetchone()[0],
    )
