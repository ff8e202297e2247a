"""Sees every row that changes in the agent's database, through triggers that live in the connection alone."""

import sqlite3
from dataclasses import dataclass, field

SEEN = {
    "plan": ("AFTER INSERT ON plan", "AFTER UPDATE OF state ON plan", "plan_id"),
    "order": (
        "AFTER INSERT ON broker_order",
        "AFTER UPDATE OF state, filled ON broker_order",
        "client_order_id",
    ),
    "approval": ("AFTER INSERT ON approval", "AFTER UPDATE OF state ON approval", "plan_id"),
    "reservation": ("AFTER INSERT ON reservation", "AFTER UPDATE ON reservation", "plan_id"),
    "position": ("AFTER INSERT ON position", "AFTER UPDATE ON position", "plan_id"),
    "fill": ("AFTER INSERT ON fill", "", "plan_id"),
    "job": ("AFTER INSERT ON job_queue", "AFTER DELETE ON job_queue", "id"),
}
STATE = {
    "plan": "SELECT state FROM plan WHERE plan_id = ?",
    "order": "SELECT state FROM broker_order WHERE client_order_id = ?",
    "approval": "SELECT state FROM approval WHERE plan_id = ?",
    "reservation": "SELECT iif(released_at IS NULL, 'held', 'free') FROM reservation WHERE plan_id = ?",
    "position": "SELECT quantity FROM position WHERE plan_id = ?",
    "fill": "SELECT count(*) FROM fill WHERE plan_id = ?",
    "job": "SELECT 'kept' FROM job_queue WHERE id = ?",
}
JOURNAL = "SELECT seq, at, kind, ref, data, inputs, hash FROM journal WHERE seq > ? ORDER BY seq"


@dataclass(frozen=True, slots=True)
class Change:
    """A row that got another state by a commit: which table, which row, from (empty: it is new) and to."""

    table: str
    ref: str
    old: str
    new: str


@dataclass(slots=True)
class Commit:
    """What one commit changed, and the journal rows it added: (seq, at, kind, ref, data, inputs, hash)."""

    changes: list[Change] = field(default_factory=list)
    journal: list[tuple[int, int, str, str, str, str, str]] = field(default_factory=list)


class Observer:
    """Knows the state of every row that matters as of the last commit; what was rolled back it never sees."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._touched: dict[tuple[str, str], None] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._last_seq = 0
        self.attach()

    def attach(self) -> None:
        """Set the triggers; they are of the connection, no schema knows them."""
        self._connection.create_function("simulation_saw", 2, self._saw)
        for table, (first, then, key) in SEEN.items():
            for number, when in enumerate(filter(None, (first, then))):
                row = "old" if "DELETE" in when else "new"
                self._connection.execute(
                    f"CREATE TEMP TRIGGER saw_{table}_{number} {when}"
                    f" BEGIN SELECT simulation_saw('{table}', {row}.{key}); END"
                )

    def take(self) -> Commit:
        """What has changed since the last commit that was taken."""
        changes: list[Change] = []
        touched, self._touched = self._touched, {}
        for table, ref in touched:
            row = self._connection.execute(STATE[table], (ref,)).fetchone()
            old, new = self._known.get((table, ref), ""), "" if row is None else str(row[0])
            if old != new:
                self._known[table, ref] = new
                changes.append(Change(table, ref, old, new))
        rows = self._connection.execute(JOURNAL, (self._last_seq,)).fetchall()
        if rows:
            self._last_seq = rows[-1][0]
        return Commit(changes, rows)

    def _saw(self, table: str, ref: object) -> None:
        self._touched[table, str(ref)] = None
