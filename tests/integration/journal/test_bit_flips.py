"""Random bits of a real file flipped, one at a time: what a start sees, and where what it misses lies."""

import contextlib
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from finagent.adapters.sqlite.integrity import look
from finagent.bootstrap.identity import code_identity

FLIPS = 60
SEED = 20180220
BUSINESS = ("journal", "plan", "risk_decision", "reservation", "approval", "broker_order", "fill", "position",
            "trade", "day", "control", "symbol_lock", "candidate")  # fmt: skip
"""Tables of decisions and of what followed from them; a flip there may not go unseen."""


def _tables(path: Path) -> dict[str, object]:
    """Every table's rows; a table that cannot be read is its error."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in names:
            with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
                found[name] = connection.execute(f"SELECT * FROM {name}").fetchall()
    return found


def _seen(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
            return look(connection, code=code_identity()).fault
    except sqlite3.DatabaseError as error:
        return str(error)


def _flipped(played: Path, path: Path, count: int) -> tuple[Counter[str], Counter[str]]:
    whole, before = played.read_bytes(), _tables(played)
    draw = random.Random(SEED)
    outcomes, missed = Counter[str](), Counter[str]()
    for _ in range(count):
        body = bytearray(whole)
        body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
        path.write_bytes(body)
        if _seen(path) is not None:
            outcomes["detected"] += 1
            continue
        after = _tables(path)
        changed = [name for name in before if after.get(name) != before[name]]
        outcomes["missed" if changed else "no row changed"] += 1
        missed.update(changed)
    return outcomes, missed


@pytest.mark.parametrize("count", [FLIPS, pytest.param(2_000, marks=pytest.mark.full)])
def test_flipped_bit_in_a_decision_or_what_followed_is_seen_at_start(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    outcomes, missed = _flipped(played, tmp_path / "finagent.db", count)
    with capsys.disabled():
        print(f"\n{count} bit flips: {dict(outcomes)}; unseen in {dict(missed)}")
    assert outcomes["detected"] > 0
    assert not set(missed) & set(BUSINESS)
