"""What a new user once ran into: each is one clear line with its mend."""

import asyncio
import csv
import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap.damaged import reading
from finagent.cli.root import run
from finagent.context import SurfaceError
from finagent.domain.facts import Journalled
from tests.integration.data.market_files import DAILY, table
from tests.integration.views_world import a_plan, closed, open_desk

Capture = pytest.CaptureFixture[str]


async def _a_day(folder: Path) -> None:
    async with open_desk(folder) as desk:
        await closed(desk, a_plan())
        await desk.put(*(Journalled(kind="note", ref="r", data={"n": n}) for n in range(50)))


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after a traded day; tests take copies."""
    home = tmp_path_factory.mktemp("traded")
    load_calendar(home)
    asyncio.run(_a_day(home))
    return home


@pytest.fixture
def home(traded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in an environment of our own."""
    for name in [name for name in os.environ if name.startswith("FINAGENT")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(traded, tmp_path / "home")
    return tmp_path / "home"


# ---------------------------------------------------------------- lock
def test_lock_of_an_unknown_symbol_names_the_nearest_and_force_takes_it(home: Path, capsys: Capture) -> None:
    from finagent.adapters.vendors.simulated import SimulatedVendor
    from finagent.settings import Settings

    data = Settings().data
    known = SimulatedVendor(data.seed, load_calendar(home), data.symbols).symbols
    typed = next(f"{name}Q" for name in known if f"{name}Q" not in known and len(name) == 4)
    assert run(["--home", str(home), "lock", typed, "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "unknown_symbol"
    assert typed[:-1] in error["hint"]
    assert "--force" in error["hint"]
    assert run(["--home", str(home), "lock", typed, "--force"]) == 0
    assert run(["--home", str(home), "lock", known[0]]) == 0
    assert run(["--home", str(home), "unlock", typed]) == 0


# ---------------------------------------------------------------- import
def test_import_groups_its_issues_and_says_where_each_is(home: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    bad = [(f"S{number}", "2018-02-20", 9.0, 8.0, 9.0, 9.0, 1) for number in range(30)]
    table(folder / "d.parquet", DAILY, [("AAA", "2018-02-20", 9.0, 9.0, 9.0, 9.0, 1), *bad])
    assert run(["--home", str(home), "data", "import", str(folder)]) == 0
    shown = capsys.readouterr().out
    path = home / "reports" / "import-issues.csv"
    assert str(path) in shown.replace("\n", "")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["symbol"] for row in rows} >= {f"S{number}" for number in range(30)}
    assert len(shown.splitlines()) < 20, "a line per kind, not per symbol"
    assert run(["--home", str(home), "data", "import", str(folder), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["issues_file"], len(document["issues"])) == (None, len(rows))


# ---------------------------------------------------------------- a damaged database
VERBS = (
    "status",
    "plans",
    "orders",
    "positions",
    "trades",
    "pnl",
    "journal list",
    "jobs ls",
    "jobs stats",
    "pause",
)


def test_flipped_bits_are_damage_and_never_a_bug(home: Path, capsys: Capture) -> None:
    """Wherever they are: the answer is right, or one line that says what to do."""
    path, dice = home / "finagent.db", random.Random(5)
    whole = path.read_bytes()
    said = 0
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 20, 200))):
            data[dice.randrange(100, len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        for name in ("finagent.db-wal", "finagent.db-shm"):
            (home / name).unlink(missing_ok=True)
        status = run(["--home", str(home), *dice.choice(VERBS).split()])
        shown = capsys.readouterr().err
        assert "bug" not in shown, shown
        assert "Traceback" not in shown
        if status:
            said += "the database is damaged: " in shown
    assert said > 3


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("UPDATE plan SET body = CAST(x'ff41ff' AS TEXT)", "plans"),
        ("UPDATE trade SET body = replace(body, '\"', '?')", "trades"),
        ("UPDATE plan SET body = '{}'", "plans"),
        ("DROP TABLE fill", "journal list"),
    ],
)
def test_stored_value_that_cannot_be_read_is_damage(home: Path, sql: str, verb: str, capsys: Capture) -> None:
    with closing(sqlite3.connect(home / "finagent.db", isolation_level=None)) as conn:
        conn.execute("PRAGMA foreign_keys = OFF")
        conn.execute(sql)
    status = run(["--home", str(home), *verb.split(), "--json"])
    if sql.startswith("DROP"):
        assert status == 0, "what needs no fills is still answered"
        return
    error = json.loads(capsys.readouterr().out)["error"]
    assert (status, error["code"]) == (1, "damaged")
    assert "finagent db check" in error["hint"]


def test_errors_of_reading_are_told_apart(home: Path) -> None:
    path = home / "finagent.db"

    def told(error: Exception) -> str:
        with pytest.raises(SurfaceError) as caught, reading(path):
            raise error
        return caught.value.code

    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    assert told(busy) == "busy"
    assert told(sqlite3.OperationalError("no such table: plan")) == "damaged"
    assert told(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")) == "damaged"
    for bug in (KeyError("x"), ValueError("x"), sqlite3.ProgrammingError("x")):
        with pytest.raises(type(bug)), reading(path):
            raise bug  # the file is whole: this is ours
    path.write_bytes(b"SQLite format 3\0" + b"\1" * 8192)
    assert told(KeyError("x")) == "damaged"
