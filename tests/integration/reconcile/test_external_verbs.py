"""The verbs about what is not ours, as they are typed in a home without an agent."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from finagent.bootstrap.agent import start_agent
from finagent.bootstrap.homes import DATABASE
from finagent.cli.root import run
from finagent.settings import Settings

SEEN = """
INSERT INTO external_holding (symbol, quantity, first_seen_at, changed_at)
VALUES (?, ?, 1519137000000, 1519137000000)"""


@pytest.fixture
def held(home: Path) -> Path:
    """A home whose account holds two things that finagent did not open."""

    async def begin() -> None:
        await (await start_agent(Settings(), home)).stop()

    asyncio.run(begin())
    with sqlite3.connect(home / DATABASE) as connection:
        connection.executemany(SEEN, [("KO", 400_000), ("BRK.B", -120_000)])
    connection.close()
    return home


def answer(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> dict[str, object]:
    assert run(["--home", str(home), *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_list_shows_each_holding_and_ack_is_remembered(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = answer(capsys, held, "external", "list")["external"]
    assert [(row["symbol"], row["quantity"], row["is_acknowledged"]) for row in rows] == [  # type: ignore[attr-defined]
        ("BRK.B", -12, False),
        ("KO", 40, False),
    ]
    assert run(["--home", str(held), "external", "list"]) == 0
    assert "no: entries are shut" in capsys.readouterr().out
    assert run(["--home", str(held), "external", "ack", "TSLA"]) == 1
    assert "the account holds no TSLA" in capsys.readouterr().err
    assert answer(capsys, held, "external", "ack", "ko")["data"] == {"symbols": ["KO"]}
    assert answer(capsys, held, "external", "ack", "--all")["data"] == {"symbols": ["BRK.B"]}
    rows = answer(capsys, held, "external", "list")["external"]
    assert [row["is_acknowledged"] for row in rows] == [True, True]  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", ["flatten", "kill"])
def test_sale_of_what_is_not_ours_asks_and_names_it(
    verb: str, held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = answer(capsys, held, verb, "--include-external", "--dry-run")["message"]
    assert "SELL WHAT FINAGENT DID NOT OPEN: -12 BRK.B, 40 KO" in str(said)
    assert run(["--home", str(held), verb, "--include-external"]) == 2
    assert "Add --yes" in capsys.readouterr().err
    said = answer(capsys, held, verb, "--dry-run")["message"]
    assert "KO" not in str(said)


def test_home_that_holds_nothing_else_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def begin() -> None:
        await (await start_agent(Settings(), home)).stop()

    asyncio.run(begin())
    assert run(["--home", str(home), "external", "list"]) == 0
    assert capsys.readouterr().out == "The account holds nothing that finagent did not open.\n"
