"""A journal that was touched is found out: its chain, its inputs, the state it leads to, and its head."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finagent.adapters.sqlite.codec import pack, unpack
from finagent.adapters.sqlite.journal_state import TABLES
from finagent.bootstrap.journal_proof import parse_anchor, verify_journal
from finagent.context import SurfaceError
from finagent.domain.journal import GENESIS, entry_hash
from tests.integration.journal.damage import damage, value

A_HEAD = "(SELECT inputs FROM journal WHERE kind = 'risk' ORDER BY seq LIMIT 1)"


def test_every_table_is_written_by_facts_or_known_not_to_be(copy: Path) -> None:
    """A new table is checked against the journal, or says here why not."""
    with closing(sqlite3.connect(copy)) as connection:
        found = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
    machinery = {
        "job_queue",
        "job_attempt",
        "job_key",
        "cron_fire",
        "boot",
        "row_version",
        "clock",
        "feed",
        "meta",
    }
    records = {"journal", "journal_input", "operations_journal", "schema_migration", "sqlite_sequence"}
    venues = {name for name in found if name.startswith(("venue_", "manual_"))}
    assert found - machinery - records - venues == {name for name, _ in TABLES}


def test_untouched_journal_is_whole(copy: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = verify_journal(copy, progress=lambda name, done, total: told.append((name, done, total)))
    assert (found["valid"], found["detail"], found["first_bad_seq"]) == (True, None, None)
    assert found["entries"] == value(copy, "SELECT count(*) FROM journal")
    assert {name for name, _, _ in told} == {"entries", "inputs", "state"}
    assert verify_journal(copy, head=str(found["head"]))["valid"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE journal SET data = replace(data, 'true', 'false') WHERE kind = 'risk'", "was changed"),
        ("DELETE FROM journal WHERE seq = 7", "entry 7 is missing"),
        ("UPDATE journal SET inputs = '' WHERE seq = 5", "entry 5 was changed"),
        ("UPDATE journal SET at = at + 1 WHERE seq = 3", "entry 3 was changed"),
        ("UPDATE journal SET hash = printf('%064d', 1) WHERE seq = 4", "entry 4 was changed"),
    ],
)
def test_changed_or_removed_entry_breaks_the_chain(copy: Path, sql: str, said: str) -> None:
    damage(copy, sql)
    found = verify_journal(copy)
    assert not found["valid"]
    assert said in str(found["detail"])


def test_swapped_entries_break_the_chain(copy: Path) -> None:
    damage(
        copy,
        "UPDATE journal SET seq = 1000 WHERE seq = 4",
        "UPDATE journal SET seq = 4 WHERE seq = 5",
        "UPDATE journal SET seq = 5 WHERE seq = 1000",
    )
    assert verify_journal(copy)["first_bad_seq"] == 4


def test_removed_input_is_missed(copy: Path) -> None:
    damage(copy, f"DELETE FROM journal_input WHERE lower(hex(hash)) = {A_HEAD}")
    found = verify_journal(copy)
    assert not found["valid"]
    assert "is missing" in str(found["detail"])


def test_removed_text_that_a_head_names_is_missed(copy: Path) -> None:
    damage(copy, "DELETE FROM journal_input WHERE rowid = (SELECT min(rowid) FROM journal_input)")
    assert "is missing" in str(verify_journal(copy)["detail"])


def test_changed_input_is_not_what_its_name_says(copy: Path) -> None:
    """Another text, well packed, and one that no longer unpacks."""
    body = value(copy, f"SELECT body FROM journal_input WHERE lower(hex(hash)) = {A_HEAD}")
    assert isinstance(body, bytes)
    other = pack(unpack(body).replace('"approved":true', '"approved":false').replace("AAA", "BBB"))
    for forged in (other, body[:-1], body + b"\x00", b""):
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("DROP TRIGGER IF EXISTS journal_input_no_update")
            sql = f"UPDATE journal_input SET body = ? WHERE lower(hex(hash)) = {A_HEAD}"
            assert connection.execute(sql, (forged,)).rowcount == 1
        found = verify_journal(copy)
        assert not found["valid"]
        assert "is not what its name says" in str(found["detail"])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE plan SET state = 'open' WHERE symbol = 'AAA'", "state is open, the journal leads to closed"),
        ("UPDATE plan SET body = replace(body, 'AAA', 'AAB') WHERE symbol = 'AAA'", "body is"),
        ("DELETE FROM trade WHERE symbol = 'AAA'", "is missing: the journal has it"),
        ("UPDATE fill SET body = replace(body, '\"fees_e8\":', '\"fees_e8\":1') WHERE leg = 'entry'", "fill"),
        ("UPDATE control SET is_paused = 0", "control 1: is_paused is 0"),
        ("UPDATE reservation SET notional = notional + 1 WHERE symbol = 'BBB'", "notional is"),
        (
            "INSERT INTO symbol_lock (symbol, locked_at) VALUES ('ZZZ', 1)",
            "symbol_lock ZZZ has no journal entry",
        ),
        ("UPDATE position SET stop = stop - 100 WHERE symbol = 'CCC'", "stop is"),
        ("UPDATE day SET pnl = pnl + 1", "pnl is"),
        ("UPDATE candidate SET score = score + 1 WHERE symbol = 'AAA'", "score is"),
    ],
)
def test_state_that_the_journal_does_not_lead_to_is_found(copy: Path, sql: str, said: str) -> None:
    damage(copy, sql)
    found = verify_journal(copy)
    assert not found["valid"]
    assert said in str(found["detail"])


def test_cut_tail_is_found_by_an_anchor_from_outside_and_by_nothing_else(copy: Path) -> None:
    """With the tail the state goes back too: as if the last hour had never been."""
    anchor = str(verify_journal(copy)["head"])
    report = value(copy, "SELECT seq FROM journal WHERE kind = 'day_report'")
    damage(
        copy, f"DELETE FROM journal WHERE seq >= {report}", "DELETE FROM day", "DELETE FROM account_snapshot"
    )
    assert verify_journal(copy)["valid"]
    found = verify_journal(copy, head=anchor)
    assert not found["valid"]
    assert str(found["anchor"]).endswith("its tail was cut off")


def test_journal_written_anew_is_found_by_an_anchor_from_outside(copy: Path) -> None:
    """Every hash computed again by somebody who knows how: the chain holds, the anchor does not."""
    anchor = str(verify_journal(copy)["head"])
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER journal_no_update")
        connection.execute("UPDATE journal SET ref = 'eve' WHERE kind = 'note'")
        previous = GENESIS
        for row in connection.execute(
            "SELECT seq, at, kind, ref, data, inputs FROM journal ORDER BY seq"
        ).fetchall():
            previous = entry_hash(previous, *row)
            connection.execute("UPDATE journal SET hash = ? WHERE seq = ?", (previous, row[0]))
    assert verify_journal(copy)["valid"]
    found = verify_journal(copy, head=anchor)
    assert "written anew" in str(found["anchor"])
    early = f"1:{value(copy, 'SELECT hash FROM journal WHERE seq = 1')}"
    assert verify_journal(copy, head=early)["valid"]


@pytest.mark.parametrize(
    "bad", ["", "7", "7:", "7:xyz", "seven:abcdef0123", "7:abcdef0", ":abcdef0123", "-1:abcdef0123"]
)
def test_anchor_that_is_none_is_a_usage_error(bad: str) -> None:
    with pytest.raises(SurfaceError, match="is no anchor"):
        parse_anchor(bad)


def test_state_is_left_alone_where_entries_have_no_inputs(copy: Path) -> None:
    """A journal that an older program began: its chain and inputs are checked, its state cannot be."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER journal_no_update")
        connection.execute("UPDATE journal SET inputs = '' WHERE seq <= 3")
        previous = GENESIS
        for row in connection.execute(
            "SELECT seq, at, kind, ref, data, inputs FROM journal ORDER BY seq"
        ).fetchall():
            previous = entry_hash(previous, *row)
            connection.execute("UPDATE journal SET hash = ? WHERE seq = ?", (previous, row[0]))
    found = verify_journal(copy)
    inputs = found["inputs"]
    assert isinstance(inputs, dict)
    assert inputs["entries_without"] == 3
