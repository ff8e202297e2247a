"""Bugs to be planted into the running program, each where a rewrite of its code cannot lose it unnoticed.

SQL is changed as it reaches SQLite, rows are changed by triggers, behaviour at the names of the port. Each counts how
often it acted (`acts`): one that never does has lost its place, and `planted.py` ends the session with an error.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from weakref import WeakKeyDictionary

from finagent.queue.credits import Credits
from finagent.queue.job import Job
from finagent.queue.port import Tx
from finagent.queue.processor import EventLoopProcessor
from tests.proof.tapped import Execute, verb

BATCHES, MODEL = "tests/contract/test_queue_batches.py", "tests/proof/queue/test_model.py"
CONTRACT, LOCKED = "tests/contract/test_queue_contract.py", "tests/proof/queue/test_locked.py"
PRAGMAS, CREDITS = "tests/proof/queue/test_pragmas.py", "tests/proof/queue/test_credits.py"


class MutantGoneError(Exception):
    """What a mutant changes is no longer there: plant it anew."""


@dataclass(kw_only=True)
class Mutant:
    """One bug in a sentence, and the test or file of tests to ask first."""

    bug: str
    first: str = CONTRACT
    acts: int = 0

    def act(self) -> None:
        self.acts += 1

    def patch(self) -> None:
        """Change names of the program; raises MutantGoneError when they are gone."""

    def start(self, connection: sqlite3.Connection) -> None:
        """The writing connection, before the boot."""

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor:
        """One statement of the writing connection."""
        return execute(sql, *values)


@dataclass(kw_only=True)
class Rewritten(Mutant):
    """Statements that `only` finds have each match of a pattern replaced; those `never` finds are left alone."""

    pattern: str
    new: str
    only: str = ""
    never: str = r"(?!)"
    _known: dict[str, str] = field(default_factory=dict)

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor:
        text = self._known.get(sql)
        if text is None:
            text = self._known[sql] = self._rewrite(sql)
        if text == sql:
            return execute(sql, *values)
        self.act()
        try:
            return execute(text, *values)
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            if getattr(error, "sqlite_errorcode", 1) == sqlite3.SQLITE_ERROR:
                raise MutantGoneError(f"{error} in {text!r}") from error
            raise

    def _rewrite(self, sql: str) -> str:
        if not re.search(self.only, sql, re.DOTALL) or re.search(self.never, sql, re.DOTALL):
            return sql
        return re.sub(self.pattern, self.new, sql, flags=re.DOTALL)


@dataclass(kw_only=True)
class Triggered(Mutant):
    """Rows are changed, or kept from changing, by a trigger of the writing connection alone.

    The schema's own checks are off: with them such a row could not even be stored, and no test would be asked.
    """

    when: str
    then: str

    def start(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.create_function("mutant_acts", 0, self.act)
        connection.execute(
            f"CREATE TEMP TRIGGER mutant {self.when} BEGIN SELECT mutant_acts(); {self.then}; END"
        )


@dataclass(kw_only=True)
class SyncOff(Mutant):
    """Whatever pragma is asked for later, commits are not synced."""

    def start(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        self.act()

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor:
        return execute(re.sub(r"(PRAGMA synchronous\s*=\s*)\w+", r"\1OFF", sql), *values)


@dataclass(kw_only=True)
class LateCommit(Mutant):
    """A COMMIT comes with the next transaction; `marked_by` a trigger, only that of a transaction with such a row."""

    marked_by: str = ""
    _is_marked: bool = False
    _is_late: bool = False

    def start(self, connection: sqlite3.Connection) -> None:
        if self.marked_by:
            connection.create_function("mutant_marks", 0, self._mark)
            connection.execute(
                f"CREATE TEMP TRIGGER mutant {self.marked_by} BEGIN SELECT mutant_marks(); END"
            )

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor:
        word = verb(sql)
        if word == "BEGIN":
            if self._is_late:
                execute("COMMIT")
            self._is_late = self._is_marked = False
        elif word in ("COMMIT", "END") and (self._is_marked or not self.marked_by):
            self.act()
            self._is_late = True
            return execute("SELECT 1")
        elif word == "ROLLBACK":
            self._is_late = False
        return execute(sql, *values)

    def _mark(self) -> None:
        self._is_marked = True


@dataclass(kw_only=True)
class BusyIsFatal(Mutant):
    """A locked database is told as a broken one."""

    def run(self, execute: Execute, sql: str, *values: object) -> sqlite3.Cursor:
        try:
            return execute(sql, *values)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            self.act()
            raise sqlite3.DatabaseError("busy, taken for a failure") from error


@dataclass(kw_only=True)
class SharedKeys(Rewritten):
    """Also without the index that would refuse two leased rows of a key."""

    UNIQUE: ClassVar[str] = (
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'job_queue'"
        " AND sql LIKE 'CREATE UNIQUE INDEX%(key)%'"
    )

    def start(self, connection: sqlite3.Connection) -> None:
        for (name,) in connection.execute(self.UNIQUE).fetchall():
            connection.execute(f"DROP INDEX {name}")


@dataclass(kw_only=True)
class GuardUnchecked(Mutant):
    """A buffer that wants a row's version checked only moves it."""

    def patch(self) -> None:
        def expect(tx: Tx, row: str, version: int) -> None:
            self.act()
            tx.touch(row)

        replace(Tx, "expect", lambda original: expect)


@dataclass(kw_only=True)
class CreditsKept(Mutant):
    """What was once delivered is counted against the credits for ever."""

    _given: "WeakKeyDictionary[EventLoopProcessor, Counter[str]]" = field(default_factory=WeakKeyDictionary)
    _most: "WeakKeyDictionary[EventLoopProcessor, Counter[str]]" = field(default_factory=WeakKeyDictionary)

    def patch(self) -> None:
        def delivering(
            original: Callable[[EventLoopProcessor, Sequence[Job]], None],
        ) -> Callable[[EventLoopProcessor, Sequence[Job]], None]:
            def deliver(processor: EventLoopProcessor, jobs: Sequence[Job]) -> None:
                self._given.setdefault(processor, Counter()).update(job.type for job in jobs)
                original(processor, jobs)

            return deliver

        def counting(
            original: Callable[[EventLoopProcessor], Credits],
        ) -> Callable[[EventLoopProcessor], Credits]:
            def free_credits(processor: EventLoopProcessor) -> Credits:
                given, most = (
                    self._given.get(processor, Counter()),
                    self._most.setdefault(processor, Counter()),
                )
                kept = original(processor)
                for name, free in kept.free.items():
                    most[name] = max(most[name], free)
                    kept.free[name] = min(free, most[name] - given[name])
                    self.acts += kept.free[name] < free
                return kept

            return free_credits

        replace(EventLoopProcessor, "deliver", delivering)
        replace(EventLoopProcessor, "free_credits", counting)


def replace(owner: type, name: str, make: Callable[[Callable[..., object]], object]) -> None:
    """Replace a method by what `make` makes of it; raises MutantGoneError."""
    original = vars(owner).get(name)
    if original is None:
        raise MutantGoneError(f"{owner.__name__} has no {name} any more")
    setattr(owner, name, make(original))


TOKEN = (
    r"(?:\w+\.)?\b(?:epoch|lease_seq)\s*=\s*(\?\d*|(?:\w+\.)?\w+)(?![\w.(])(?!\s*\+)(?=(?:(?!\bWHERE\b).)*$)"
)
IN_WHERE = r"^\s*UPDATE\s+job_queue\b.*\bWHERE\b"
SEVERAL = r"json_each|VALUES|\bIN\s*\(|(\?[^?]*){27}"
CLAIMED = "AFTER UPDATE OF status ON job_queue WHEN old.status <> 'leased' AND new.status = 'leased'"

MUTANTS: dict[str, Mutant] = {
    "ack_before_commit": LateCommit(
        bug="a request is answered, and its COMMIT comes with the next one",
        first=f"{CONTRACT}::test_published_job_is_stored_before_publish_returns",
    ),
    "no_token_check": Rewritten(
        bug="whoever once held a job may finish it, fail it and extend it",
        first=f"{CONTRACT}::test_stale_owner_can_neither_complete_fail_nor_extend",
        only=IN_WHERE, pattern=TOKEN, new=r"\1 IS NOT NULL",
    ),
    "no_boot_reclaim": Triggered(
        bug="leases of a dead process stay leased after a start",
        first=f"{CONTRACT}::test_boot_returns_leases_at_once_with_run_at_untouched",
        when="BEFORE UPDATE ON job_queue WHEN old.status = 'leased' AND new.status <> 'leased'"
             " AND old.epoch < (SELECT max(epoch) FROM boot)",
        then="SELECT RAISE(IGNORE)",
    ),
    "synchronous_off": SyncOff(bug="a commit is not brought to the disk", first=PRAGMAS),
    "attempts_not_counted": Triggered(
        bug="a claim does not count as an attempt, so a killer job lives for ever",
        first=f"{CONTRACT}::test_job_that_kills_its_worker_ends_dead_with_its_reason",
        when=CLAIMED, then="UPDATE job_queue SET attempts = max(old.attempts, 1) WHERE id = new.id",
    ),
    "guard_unchecked": GuardUnchecked(
        bug="a row that has changed since it was read is no reason to refuse",
        first=f"{CONTRACT}::test_guard_is_checked_in_the_commit_and_moves_the_version",
    ),
    "deadline_unchecked": Triggered(
        bug="a job past its deadline still runs",
        first=f"{CONTRACT}::test_job_past_its_deadline_is_cancelled_too_late",
        when="BEFORE UPDATE ON job_queue WHEN new.error = 'too_late' AND new.status = 'cancelled'",
        then="SELECT RAISE(IGNORE)",
    ),
    "wall_clock_lease": Triggered(
        bug="a lease ends by the clock of the wall",
        first=f"{CONTRACT}::test_lease_expires_when_nobody_vouches_for_it",
        when="AFTER UPDATE OF lease_until ON job_queue WHEN new.lease_until < 1000000000000",
        then="UPDATE job_queue SET lease_until = new.lease_until + 1600000000000 WHERE id = new.id",
    ),
    "completion_beside_effects": Rewritten(
        bug="what a bad request did before it failed is kept",
        first=f"{CONTRACT}::test_bad_request_fails_alone_in_its_batch",
        pattern=r"^\s*ROLLBACK TO \w+", new="SELECT 1",
    ),
    "serial_key_ignored": SharedKeys(
        bug="jobs of one key are handed over together",
        first=f"{BATCHES}::test_job_with_free_hands_still_waits_for_its_key_its_time_and_its_credit",
        pattern=r"(SELECT\b(?:(?!\b(?:SELECT|UPDATE|INSERT)\b).)*\bkey\b(?:(?!\bSELECT\b).)*status = 'leased')",
        new=r"\1 AND 0",
    ),
    "key_forgotten_when_pruned": Triggered(
        bug="the idempotency key of a pruned job is free again",
        first=f"{CONTRACT}::test_pruned_jobs_keep_their_keys_and_their_count",
        when="BEFORE INSERT ON job_key", then="SELECT RAISE(IGNORE)",
    ),
    "busy_is_fatal": BusyIsFatal(bug="a database that another program has locked stops the writer", first=LOCKED),
    "express_attempt_not_counted": Triggered(
        bug="a job that is leased as it is published has no attempt counted",
        first=f"{BATCHES}::test_jobs_taken_at_once_count_their_attempt_and_end_dead_when_they_kill",
        when="AFTER INSERT ON job_queue WHEN new.status = 'leased'",
        then="UPDATE job_queue SET attempts = attempts - 1 WHERE id = new.id",
    ),
    "done_before_commit": LateCommit(
        bug="a completion is answered, and its COMMIT comes with the next one",
        marked_by="AFTER UPDATE OF status ON job_queue WHEN new.status = 'done'",
        first=f"{CONTRACT}::test_completion_facts_and_follow_up_jobs_are_one_commit",
    ),
    "batch_ignores_lost_lease": Rewritten(
        bug="completions that share a statement are all taken, whoever holds the jobs",
        first=f"{BATCHES}::test_lost_lease_fails_alone_among_completions_of_one_batch",
        only=rf"{IN_WHERE}.*({SEVERAL})", pattern=TOKEN, new=r"\1 IS NOT NULL",
    ),
    "batch_forgets_pruned_keys": Rewritten(
        bug="publishes that share a statement do not ask for the keys of pruned jobs",
        first=f"{BATCHES}::test_key_that_was_pruned_stays_taken_in_a_batch",
        only=SEVERAL, never=r"^\s*(INSERT\s+(OR\s+IGNORE\s+)?INTO\s+job_key|DELETE)",
        pattern=r"FROM\s+job_key\b", new="FROM (SELECT * FROM job_key WHERE 0) AS job_key",
    ),
    "credit_kept": CreditsKept(bug="the credit of a finished job is never given back", first=CREDITS),
}  # fmt: skip
NONE = Mutant(bug="nothing at all: the selection must pass")
GONE = Rewritten(bug="a place in the code that is gone", pattern="no such code", new="")
