"""The queue under watch: cheap snapshots one after the other, and how much ended between them."""

import sqlite3
from dataclasses import dataclass, field

from finagent.adapters.sqlite.views_values import Document, instant, listed, maybe_instant
from finagent.runtime.clock import Ticker

MAX_RUNNING = 50
MAX_FAILED = 10
HISTORY_SHARE = 20
"""Counting the whole history may take one part in so many of the time."""
# "+type" keeps SQLite from walking the whole table by the index over (type, idem_key) to save a small sort.
HISTORY = """
SELECT type, status, count(*) FROM job_queue WHERE status IN ('done', 'cancelled') GROUP BY +type, status"""
LIVE = """
SELECT type, 'ready', count(*) FROM job_queue WHERE status = 'ready' GROUP BY +type
UNION ALL SELECT type, 'scheduled', count(*) FROM job_queue WHERE status = 'scheduled' GROUP BY +type
UNION ALL SELECT type, 'leased', count(*) FROM job_queue WHERE status = 'leased' GROUP BY +type
UNION ALL SELECT type, 'dead', count(*) FROM job_queue WHERE status = 'dead' GROUP BY +type"""
LAST_END = "SELECT max(finished_at) FROM job_queue WHERE finished_at IS NOT NULL"
ENDED_SINCE = """
SELECT type, status, count(*) FROM job_queue WHERE finished_at >= ? AND finished_at IS NOT NULL
GROUP BY type, status"""
OLDEST_READY = "SELECT min(run_at) FROM job_queue WHERE status = 'ready'"
NEXT_RUN = "SELECT min(run_at) FROM job_queue WHERE status = 'scheduled'"
RUNNING = f"""
SELECT id, type, key, idem_key, attempts, max_attempts, started_at FROM job_queue WHERE status = 'leased'
ORDER BY started_at, id LIMIT {MAX_RUNNING}"""
FAILED = f"""
SELECT id, type, status, attempts, max_attempts, coalesce(finished_at, started_at), error FROM (
    SELECT * FROM job_queue WHERE status = 'dead'
    UNION ALL SELECT * FROM job_queue WHERE status = 'scheduled' AND error IS NOT NULL
    UNION ALL SELECT * FROM job_queue WHERE status = 'leased' AND error IS NOT NULL)
ORDER BY 6 DESC, id DESC LIMIT {MAX_FAILED}"""

Counts = dict[tuple[str, str], int]


@dataclass(slots=True)
class _Mark:
    """An instant up to which ends were counted, and how many had come at that very instant."""

    at_ms: int = 0
    at_that_instant: Counts = field(default_factory=dict)

    @classmethod
    def now(cls, conn: sqlite3.Connection) -> "_Mark":
        at_ms = conn.execute(LAST_END).fetchone()[0] or 0
        return cls(at_ms, _counts(conn, ENDED_SINCE, at_ms))

    def ended(self, conn: sqlite3.Connection) -> Counts:
        """What has ended since."""
        return {
            pair: count - self.at_that_instant.get(pair, 0)
            for pair, count in _counts(conn, ENDED_SINCE, self.at_ms).items()
        }


class QueueWatch:
    """Snapshots of one queue. The history is recounted only now and then; in between its growth is added.

    A retry that takes a job out of the history shows with the next full count.
    """

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._history: Counts = {}
        self._since_history: _Mark | None = None
        self._recount_at_ms = 0
        self._last: _Mark | None = None
        self._last_ms = 0

    def look(self, conn: sqlite3.Connection, *, now_ms: int) -> Document:
        """One snapshot; ``per_s`` is null the first time."""
        counts = {**self._done(conn), **_counts(conn, LIVE)}
        tick_ms = self._ticker.monotonic_ms()
        oldest_ms = conn.execute(OLDEST_READY).fetchone()[0]
        document: Document = {
            "now": instant(now_ms),
            "by_status": _by_status(counts),
            "by_type": _by_type(counts),
            "per_s": self._per_s(conn, tick_ms),
            "oldest_ready_s": None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
            "next_run_at": maybe_instant(conn.execute(NEXT_RUN).fetchone()[0]),
            "running": listed(_running(row, now_ms) for row in conn.execute(RUNNING).fetchall()),
            "failed": listed(_failed(row) for row in conn.execute(FAILED).fetchall()),
        }
        self._last, self._last_ms = _Mark.now(conn), tick_ms
        return document

    def _done(self, conn: sqlite3.Connection) -> Counts:
        start_ms = self._ticker.monotonic_ms()
        if self._since_history is None or start_ms >= self._recount_at_ms:
            self._history = _counts(conn, HISTORY)
            self._since_history = _Mark.now(conn)
            cost_ms = self._ticker.monotonic_ms() - start_ms
            self._recount_at_ms = start_ms + cost_ms * HISTORY_SHARE
            return dict(self._history)
        grown = dict(self._history)
        for pair, count in self._since_history.ended(conn).items():
            if pair[1] != "dead":
                grown[pair] = max(0, grown.get(pair, 0) + count)
        return grown

    def _per_s(self, conn: sqlite3.Connection, tick_ms: int) -> Document | None:
        """Ends a second since the last look: done, dead, cancelled."""
        if self._last is None or tick_ms <= self._last_ms:
            return None
        passed_s = (tick_ms - self._last_ms) / 1000
        ended = {"done": 0, "dead": 0, "cancelled": 0}
        for (_, status), count in self._last.ended(conn).items():
            ended[status] += max(0, count)
        return {status: round(count / passed_s, 3) for status, count in ended.items()}


def _counts(conn: sqlite3.Connection, sql: str, *values: int) -> Counts:
    return {(row[0], row[1]): row[2] for row in conn.execute(sql, values).fetchall()}


def _by_status(counts: Counts) -> Document:
    found = {"scheduled": 0, "ready": 0, "leased": 0, "done": 0, "dead": 0, "cancelled": 0}
    for (_, status), count in counts.items():
        found[status] += count
    return {**found}


def _by_type(counts: Counts) -> Document:
    return {
        name: {status: count for (each, status), count in sorted(counts.items()) if each == name and count}
        for name in sorted({name for (name, _), count in counts.items() if count})
    }


def _running(row: tuple[int, str, str | None, str, int, int, int], now_ms: int) -> Document:
    job_id, name, key, idem_key, attempts, most, started_ms = row
    return {
        "id": job_id,
        "type": name,
        "key": key,
        "idempotency_key": idem_key,
        "attempts": attempts,
        "max_attempts": most,
        "started_at": instant(started_ms),
        "running_s": max(0, now_ms - started_ms) / 1000,
    }


def _failed(row: tuple[int, str, str, int, int, int | None, str]) -> Document:
    job_id, name, status, attempts, most, at_ms, error = row
    return {
        "id": job_id,
        "type": name,
        "status": status,
        "attempts": attempts,
        "max_attempts": most,
        "at": maybe_instant(at_ms),
        "error": error,
    }
