"""What ``db check`` finds: each kind of damage by its name, and nothing in a database that is whole."""

import io
import json
import os
import sqlite3
from pathlib import Path

import pytest

from finagent.cli.root import run
from tests.integration.backup_world import faults, small_database

DAMAGES = (
    ("a job vanished", "DELETE FROM job_queue WHERE id = 7", "jobs: 40 jobs were published, 39 are"),
    (
        "a job runs without a lease",
        "UPDATE job_queue SET status = 'leased' WHERE id = 30",
        "job_rows: job 30 is leased without a lease",
    ),
    (
        "a job is done without an end",
        "UPDATE job_queue SET finished_at = NULL WHERE id = 3",
        "job_rows: job 3 has ended without an end",
    ),
    (
        "a job died for no reason",
        "UPDATE job_queue SET status = 'dead', finished_at = 1 WHERE id = 33",
        "job_rows: job 33 is dead or cancelled without a reason",
    ),
    (
        "a lease of a dead boot",
        (
            "UPDATE job_queue SET status = 'leased', lease_until = 1, epoch = 77, started_at = 1, attempts = 1"
            " WHERE id = 30"
        ),
        "job_rows: job 30 is leased by a boot that is not the last one",
    ),
    (
        "two of a serial key at once",
        (
            "DROP INDEX job_live_key; UPDATE job_queue SET status = 'leased', lease_until = 1, epoch = 1,"
            " started_at = 1, attempts = 1, key = 'k' WHERE id IN (30, 31)"
        ),
        "job_rows: job 30 runs beside another of the same serial key",
    ),
    (
        "an idempotency key used twice",
        "INSERT INTO job_key SELECT type, idem_key, 400, 'done', 1 FROM job_queue WHERE id = 4",
        "job_rows: job 4 has the type and key of a job that was pruned",
    ),
    (
        "attempts nobody made",
        "INSERT INTO job_attempt VALUES (40, 1, 1, 1, 1, 1, 'retry', 'x')",
        "job_rows: job 40 has attempts on record that it never made",
    ),
    ("an index is gone", "DROP INDEX job_ready", "schema: index job_ready is missing"),
    (
        "the journal may change",
        "DROP TRIGGER journal_no_update",
        "schema: trigger journal_no_update is missing",
    ),
    (
        "a constraint was taken out",
        (
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema"
            " SET sql = replace(sql, 'attempts >= 0', 'attempts >= -9')"
            " WHERE name = 'job_queue'"
        ),
        "schema: table job_queue was changed",
    ),
    (
        "a migration is not on record",
        "DELETE FROM schema_migration WHERE version = 2",
        "schema: migrations [1, 3",
    ),
    (
        "the journal was rewritten",
        "DROP TRIGGER journal_no_update; UPDATE journal SET data = '{}' WHERE seq = 5",
        "journal: journal entry 5 was changed",
    ),
    (
        "the journal has a gap",
        "DROP TRIGGER journal_no_delete; DELETE FROM journal WHERE seq = 5",
        "journal: journal entry 5 is missing",
    ),
    (
        "a reference to nothing",
        "PRAGMA foreign_keys = OFF; INSERT INTO reservation VALUES ('pl_1', 'AAA', 'd', 1, 1, NULL)",
        "foreign_keys: reservation row None names no plan",
    ),
    (
        "a position without fills",
        "PRAGMA foreign_keys = OFF; INSERT INTO position VALUES ('pl_1', 'AAA', 'd', 5, 1, 1, '{}')",
        "fills: position pl_1 says 5, its fills give 0",
    ),
)


@pytest.mark.parametrize(
    ("damage", "said"), [each[1:] for each in DAMAGES], ids=[each[0] for each in DAMAGES]
)
async def test_check_names_what_is_wrong(tmp_path: Path, damage: str, said: str) -> None:
    path = tmp_path / "finagent.db"
    await small_database(path)
    assert faults(path) == []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.executescript(damage)
    connection.close()
    assert any(each.startswith(said) for each in faults(path)), faults(path)


async def test_check_sees_a_page_that_was_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "finagent.db"
    await small_database(path, jobs=400)
    with path.open("r+b") as stream:
        stream.seek(20 * 4096)
        stream.write(b"\xff" * 4096)
    assert faults(path)[0].startswith("file: ")


async def test_check_ends_with_1_when_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the checks say which; a database that is whole ends with 0."""
    path = tmp_path / "finagent.db"
    await small_database(path)
    assert run(["--home", str(tmp_path), "db", "check"]) == 0
    assert "The database is whole." in capsys.readouterr().out
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM job_queue WHERE id = 7")
    connection.close()
    assert run(["--home", str(tmp_path), "db", "check", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["is_sound"] is False
    assert [c["name"] for c in document["checks"] if c["status"] == "fail"] == ["jobs"]


def test_check_of_nothing_is_one_line_with_the_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(tmp_path), "db", "check"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no database at")


async def test_check_of_an_odd_path_says_what_it_is_and_the_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, nothing, a pipe, an empty and a cut file; never that the agent made it, and none is waited for."""
    home = tmp_path / "home"
    home.mkdir()
    await small_database(home / "finagent.db")
    (tmp_path / "empty").touch()
    (tmp_path / "cut").write_bytes((home / "finagent.db").read_bytes()[:4096])
    os.mkfifo(tmp_path / "pipe")
    said = {
        "": "is a folder. Name a file",
        "home": f"is a folder. Name the file in it: {home / 'finagent.db'}",
        "nowhere": "there is no file at",
        "pipe": "is no regular file. Name a file",
        "empty": "is empty. Do not use this file",
        "cut": "Do not use this file",
    }
    for name, words in said.items():
        assert run(["--home", str(home), "db", "check", str(tmp_path / name)]) == 1
        shown = capsys.readouterr()
        assert words in shown.out + shown.err, name
        assert "db restore" not in shown.out + shown.err, name
    (home / "finagent.db").write_bytes(b"")
    assert run(["--home", str(home), "db", "check"]) == 1
    assert capsys.readouterr().err.endswith("is empty. finagent db restore FILE brings back a backup\n")


async def test_backup_and_restore_as_they_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default name, sum, dry run, the question that needs --yes, and what a person is told to do next."""
    home = ["--home", str(tmp_path)]
    await small_database(tmp_path / "finagent.db", jobs=2_000)
    assert run([*home, "db", "backup", "--keep", "3", "--json"]) == 0
    said = capsys.readouterr()
    backup = json.loads(said.out)
    assert Path(backup["file"]).parent == tmp_path / "backups"
    assert (backup["jobs"], backup["journal"]["entries"], backup["pruned"]) == (2_000, 10, [])
    assert "% of" in said.err
    assert run([*home, "db", "backup", "x.db", "--keep", "3"]) == 2
    assert run([*home, "db", "restore", backup["file"], "--dry-run"]) == 0
    assert "Nothing was done" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run([*home, "db", "restore", backup["file"]]) == 2
    assert run([*home, "db", "restore", backup["file"], "--yes"]) == 0
    told = capsys.readouterr().out
    assert "shut until finagent rearm" in told
    assert "compare positions and orders with the broker" in told
    assert run([*home, "db", "restore", str(tmp_path / "none.db"), "--yes"]) == 1
