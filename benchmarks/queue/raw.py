"""What SQLite itself can do: insert, complete and claim a batch in one commit, nothing else around it."""

import sqlite3
from pathlib import Path

from benchmarks.queue.workload import TEXT, Sample, stopwatch

BARE = """
CREATE TABLE job_queue (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL, payload BLOB NOT NULL, status INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0, run_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    lease_token INTEGER, lease_until INTEGER, idem_key TEXT, created_at INTEGER NOT NULL, finished_at INTEGER
) STRICT;
CREATE INDEX ready ON job_queue (type, priority, run_at, id) WHERE status = 0;
CREATE INDEX leased ON job_queue (lease_until) WHERE status = 1;
CREATE UNIQUE INDEX idem ON job_queue (type, idem_key) WHERE idem_key IS NOT NULL;
"""
INSERT = (
    "INSERT INTO job_queue (type, payload, priority, run_at, created_at, idem_key) VALUES (?, ?, 0, ?, ?, ?)"
)
CLAIM = """
UPDATE job_queue SET status = 1, attempts = attempts + 1, lease_token = ?, lease_until = ?
WHERE id IN (SELECT id FROM job_queue WHERE status = 0 AND type = ? AND run_at <= ?
             ORDER BY priority, run_at, id LIMIT ?)
RETURNING id, payload"""
DONE = "UPDATE job_queue SET status = 2, finished_at = ? WHERE id = ? AND lease_token = ? AND status = 1"


def fused(path: Path, *, jobs: int, batch: int) -> Sample:
    """Jobs per second when every commit inserts, completes and claims `batch` jobs (synchronous=FULL)."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "wal_autocheckpoint=8000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(BARE)
    held: list[int] = []
    payload, done, made = TEXT.encode(), 0, 0
    began = stopwatch()
    while done < jobs:
        connection.execute("BEGIN IMMEDIATE")
        if held:
            connection.executemany(DONE, [(2, job_id, 7) for job_id in held])
            done += len(held)
        if made < jobs:
            rows = [("scan", payload, 1, 1, f"k{made + index}") for index in range(batch)]
            connection.executemany(INSERT, rows)
            made += batch
        held = [row[0] for row in connection.execute(CLAIM, (7, 30_000, "scan", 1, batch)).fetchall()]
        connection.execute("COMMIT")
    seconds = stopwatch() - began
    connection.close()
    return Sample(done / seconds, {})
