"""A run's SQLite file read as plain rows; nothing of the program is imported."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]
GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One journal row."""

    seq: int
    at: int
    kind: str
    ref: str
    data: Row


class RunFile:
    """The tables of ``HOME/runs/ID/finagent.db`` as dictionaries, bodies decoded."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._conn.row_factory = sqlite3.Row

    def close(self) -> None:
        """Let go of the file."""
        self._conn.close()

    def rows(self, query: str) -> list[Row]:
        """All rows of a query."""
        return [dict(row) for row in self._conn.execute(query)]

    def bodies(self, table: str, order: str) -> list[Row]:
        """The decoded bodies of a table's rows, in order, beside the row itself under ``row``."""
        return [
            {**json.loads(row["body"]), "row": row}
            for row in self.rows(f"SELECT * FROM {table} ORDER BY {order}")
        ]

    @cached_property
    def plans(self) -> dict[str, Row]:
        """Plans by id."""
        return {plan["plan_id"]: plan for plan in self.bodies("plan", "plan_id")}

    @cached_property
    def fills(self) -> list[Row]:
        """The agent's fills in the order they were recorded."""
        return self.bodies("fill", "recorded_seq")

    @cached_property
    def orders(self) -> list[Row]:
        """The agent's orders."""
        return self.rows("SELECT * FROM broker_order ORDER BY created_at, client_order_id")

    @cached_property
    def trades(self) -> list[Row]:
        """Closed trades."""
        return self.bodies("trade", "session, exit_at, symbol")

    @cached_property
    def venue_orders(self) -> list[Row]:
        """The venue's orders in sequence."""
        return self.rows("SELECT * FROM venue_order ORDER BY sequence")

    @cached_property
    def venue_fills(self) -> list[Row]:
        """The venue's fills in sequence."""
        return self.rows("SELECT * FROM venue_fill ORDER BY sequence")

    @cached_property
    def journal(self) -> list[Entry]:
        """The journal in order."""
        rows = self.rows("SELECT seq, at, kind, ref, data FROM journal ORDER BY seq")
        return [Entry(r["seq"], r["at"], r["kind"], r["ref"], json.loads(r["data"])) for r in rows]

    def broken_links(self) -> list[int]:
        """Sequence numbers of the journal rows whose hash their content and predecessor do not give.

        Each hash is SHA-256 over the JSON list ["journal", hash before, seq, at, kind, ref, text], compact, with
        the hash of the inputs behind it where the row has any.
        """
        broken, previous, expected = [], GENESIS, 1
        for row in self.rows("SELECT * FROM journal ORDER BY seq"):
            parts = ["journal", previous, row["seq"], row["at"], row["kind"], row["ref"], row["data"]]
            parts += [row["inputs"]] if row["inputs"] else []
            text = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
            previous = hashlib.sha256(text.encode("ascii")).hexdigest()
            canonical = json.dumps(json.loads(row["data"]), sort_keys=True, separators=(",", ":"))
            if row["hash"] != previous or row["seq"] != expected or canonical != row["data"]:
                broken.append(row["seq"])
            expected += 1
        return broken
