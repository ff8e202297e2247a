"""Claims, expiry and boot: who holds a job, and what becomes of it when its holder is gone."""

import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from finagent.adapters.sqlite.jobs import COLUMNS, job_from_row
from finagent.queue.credits import Credits
from finagent.queue.job import Job, JobTypes, JsonValue
from finagent.queue.payload import loads

READY_OF_TYPE = """
SELECT id, key FROM job_queue WHERE status = 'ready' AND type = ? ORDER BY priority, run_at, id"""
HEAD_OF_TYPE = f"{READY_OF_TYPE.replace('id, key', 'priority, run_at, id')} LIMIT 1"
READY_OF_ALL = """
SELECT id, type FROM job_queue WHERE status = 'ready' ORDER BY priority, run_at, id"""
LAST = (sys.maxsize,)
"""Behind every head: a type that has no ready job any more."""
LEASED_KEYS = "SELECT key FROM job_queue WHERE key IS NOT NULL AND status = 'leased'"
CLAIM = f"""
UPDATE job_queue SET status = 'leased', attempts = attempts + 1, epoch = ?, lease_seq = lease_seq + 1,
                     lease_until = ?, started_at = ?, error = NULL
WHERE id IN (SELECT value FROM json_each(?)) RETURNING {COLUMNS}"""

BURY_UNREADABLE = """
UPDATE job_queue SET status = 'dead', lease_until = NULL, finished_at = ?, error = ? WHERE id = ?"""


@dataclass(slots=True)
class Claimer:
    """Claims ready jobs for free credits; attempts are counted here, so a crash counts as one."""

    connection: sqlite3.Connection
    types: JobTypes
    epoch: int
    now_ms: int
    monotonic_ms: int

    def claim_serial(self, credits: Credits) -> list[Job]:
        """The first job by (priority, run_at, id) of all types, if none is leased.

        While nobody can take that one (its service starts after others) none is claimed: which job is next
        must not depend on who is up already.
        """
        if self.connection.execute("SELECT 1 FROM job_queue WHERE status = 'leased' LIMIT 1").fetchone():
            return []
        row = self.connection.execute(f"{READY_OF_ALL} LIMIT 1").fetchone()
        return [] if row is None or credits.room(row[1]) <= 0 else self._lease([row[0]], row[1])

    def by_head(self, job_types: Sequence[str]) -> list[str]:
        """Types whose first ready job comes first by (priority, run_at, id) first.

        Jobs of one key and of several types wait for each other: in any fixed order of types, one that is tried again
        and again would keep the key from another for ever.
        """
        if len(job_types) < 2:
            return list(job_types)
        heads = {each: self.connection.execute(HEAD_OF_TYPE, (each,)).fetchone() for each in job_types}
        return sorted(job_types, key=lambda each: heads[each] or LAST)

    def claim_type(self, job_type: str, free: int, taken_keys: set[str]) -> tuple[list[Job], bool]:
        """Up to `free` jobs of one type, and whether no ready one is left."""
        chosen: list[int] = []
        is_drained = True
        cursor = self.connection.execute(READY_OF_TYPE, (job_type,))
        for job_id, key in cursor:
            if len(chosen) == free or key in taken_keys:
                is_drained = False
                if len(chosen) == free:
                    break
                continue
            if key is not None:
                taken_keys.add(key)
            chosen.append(job_id)
        cursor.close()
        return self._lease(chosen, job_type), is_drained

    def leased_keys(self) -> set[str]:
        """Serial keys that are running now."""
        return {row[0] for row in self.connection.execute(LEASED_KEYS)}

    def _lease(self, job_ids: list[int], job_type: str) -> list[Job]:
        """All in one step, which gives them in no particular order."""
        if not job_ids:
            return []
        until_ms = lease_until_ms(self.types, job_type, monotonic_ms=self.monotonic_ms)
        rows = self.connection.execute(CLAIM, (self.epoch, until_ms, self.now_ms, str(job_ids))).fetchall()
        claims: list[Job] = []
        for row in rows:
            try:
                claims.append(job_from_row(row, cast("Mapping[str, JsonValue]", loads(row[3]))))
            except ValueError as error:  # an edited or damaged row stops neither the writer nor any other job
                reason = f"its payload cannot be read: {error}"
                self.connection.execute(BURY_UNREADABLE, (self.now_ms, reason, row[0]))
        return claims


def lease_until_ms(types: JobTypes, job_type: str, *, monotonic_ms: int) -> int:
    """When a lease that begins now ends, in machinery milliseconds of this boot."""
    return monotonic_ms + round(types.policy(job_type).timeout_s * 1000)


KEEP_ALIVE = "UPDATE job_queue SET lease_until = ? WHERE id = ? AND status = 'leased'"
RECORD_LOST = """
INSERT INTO job_attempt (job_id, attempt, epoch, lease_seq, started_at, finished_at, outcome, error)
SELECT id, attempts, epoch, lease_seq, started_at, :now_ms, :outcome, :reason FROM job_queue
WHERE status = 'leased'"""
BURY_LOST = """
UPDATE job_queue SET status = 'dead', lease_until = NULL, finished_at = :now_ms,
                     error = :reason || ' ' || attempts || CASE attempts WHEN 1 THEN ' time' ELSE ' times' END
WHERE status = 'leased' AND attempts >= max_attempts"""
RETURN_LOST = "UPDATE job_queue SET status = 'ready', lease_until = NULL WHERE status = 'leased'"
OF_THESE = " AND id IN (SELECT value FROM json_each(:ids))"
"""Without it all leases are taken back, as at a boot."""


def expire(
    connection: sqlite3.Connection, alive_until_ms: Mapping[int, int], *, now_ms: int, monotonic_ms: int
) -> set[str]:
    """Prolong leases whose handler shows progress, take back the others; gives the types made ready."""
    overdue = connection.execute(
        "SELECT id, type FROM job_queue WHERE status = 'leased' AND lease_until <= ?", (monotonic_ms,)
    ).fetchall()
    lost: list[int] = []
    types: set[str] = set()
    for job_id, job_type in overdue:
        until_ms = alive_until_ms.get(job_id, 0)
        if until_ms > monotonic_ms:
            connection.execute(KEEP_ALIVE, (until_ms, job_id))
        else:
            lost.append(job_id)
            types.add(job_type)
    if lost:
        _take_back(connection, lost, "expired", "its lease expired, tried", now_ms)
    return types


@dataclass(frozen=True, slots=True)
class BootReport:
    """What a start found: its epoch, leases returned, jobs buried, and the clock's last position."""

    epoch: int
    returned: int
    buried: int
    clock_ms: int
    was_clean: bool


def boot(connection: sqlite3.Connection, *, pid: int, now_ms: int) -> BootReport:
    """Open a new epoch and return every lease of the dead ones, `run_at` untouched; bury the exhausted."""
    last = connection.execute("SELECT clean FROM boot ORDER BY epoch DESC LIMIT 1").fetchone()
    epoch = connection.execute(
        "INSERT INTO boot (pid, started_at) VALUES (?, ?) RETURNING epoch", (pid, now_ms)
    ).fetchone()[0]
    returned, buried = _take_back(connection, None, "killed", "killed its worker", now_ms)
    clock_ms = connection.execute("SELECT now_ms FROM clock").fetchone()[0]
    return BootReport(epoch, returned, buried, clock_ms, was_clean=last is None or last[0] == 1)


def _take_back(
    connection: sqlite3.Connection, ids: Sequence[int] | None, outcome: str, reason: str, now_ms: int
) -> tuple[int, int]:
    which = "" if ids is None else OF_THESE
    values = {"now_ms": now_ms, "outcome": outcome, "reason": reason, "ids": json.dumps(ids)}
    connection.execute(RECORD_LOST + which, values)
    buried = connection.execute(BURY_LOST + which, values).rowcount
    returned = connection.execute(RETURN_LOST + which, values).rowcount
    return returned, buried


def boot_in_commit(connection: sqlite3.Connection, *, pid: int, now_ms: int, wall_ms: int) -> BootReport:
    """`boot` as one commit, noted in the operations journal."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        report = boot(connection, pid=pid, now_ms=now_ms)
        found = {"epoch": report.epoch, "returned": report.returned, "buried": report.buried, "pid": pid}
        note(connection, wall_ms=wall_ms, kind="boot", data=json.dumps(found))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return report


def end_boot(connection: sqlite3.Connection, *, epoch: int, now_ms: int) -> None:
    """Mark an epoch as cleanly stopped."""
    connection.execute("UPDATE boot SET stopped_at = ?, clean = 1 WHERE epoch = ?", (now_ms, epoch))


def note(connection: sqlite3.Connection, *, wall_ms: int, kind: str, data: str) -> None:
    """Add a line to the operations journal."""
    connection.execute(
        "INSERT INTO operations_journal (at_wall_ms, kind, data) VALUES (?, ?, ?)", (wall_ms, kind, data)
    )
