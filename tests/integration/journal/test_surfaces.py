"""The journal as surfaces ask for it: HTTP verifies what the command does, and a kind that is none is refused."""

import ast
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import finagent
from finagent.bootstrap import open_reader
from finagent.bootstrap.journal_proof import Selection, replay_journal, verify_journal
from finagent.cli.root import run
from finagent.context import Document, ExitCode, SurfaceError
from finagent.domain.kinds import KINDS
from finagent.settings import Settings
from tests.integration.journal.damage import damage

HARM = [
    "UPDATE position SET stop = stop - 100 WHERE symbol = 'CCC'",
    "DELETE FROM journal_input WHERE rowid = 1",
    "DELETE FROM journal WHERE seq = 7",
]


async def asked(home: Path) -> Document:
    async with open_reader(Settings(), home) as context:
        return await context.views.verify_journal()


async def test_http_verifies_what_the_command_verifies(copy: Path) -> None:
    assert await asked(copy.parent) == verify_journal(copy)
    assert (await asked(copy.parent))["valid"]


@pytest.mark.parametrize("sql", HARM)
async def test_http_finds_what_the_command_finds(copy: Path, sql: str) -> None:
    """Also where the chain holds: an input that is gone, a row that the journal does not lead to."""
    damage(copy, sql)
    found = await asked(copy.parent)
    assert not found["valid"]
    assert found == verify_journal(copy)


@pytest.mark.parametrize("verb", ["replay", "list"])
def test_kind_that_is_none_is_a_usage_error_with_the_nearest(
    copy: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    line = ["--home", str(copy.parent), "journal", verb, "--json", "--kind"]
    assert run([*line, "rsik"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "'rsik'" in error["message"]
    assert "risk" in error["hint"]
    assert run([*line, "risk"]) == 0


def test_kind_without_an_entry_is_no_error(copy: Path) -> None:
    assert replay_journal(copy, Selection(kind="kill"))["entries"] == 0
    with pytest.raises(SurfaceError) as error:
        replay_journal(copy, Selection(kind="kil"))
    assert (error.value.exit_code, "kill" in error.value.hint) == (ExitCode.USAGE, True)


def test_every_kind_that_is_written_is_known(played: Path) -> None:
    """Those of a day that was played, and each that stands in the sources."""
    with closing(sqlite3.connect(played)) as connection:
        found = {kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM journal")}
    sources = Path(finagent.__file__).parent.rglob("*.py")
    written = {kind for path in sources for kind in _written(path)}
    assert len(written) > 50
    assert (found | written) - KINDS == set()


def _written(path: Path) -> Iterator[str]:
    """The kind of each journal row that a file makes under a name of its own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        told: list[ast.expr] = []
        if name in ("Journalled", "Due"):
            told = [each.value for each in node.keywords if each.arg == "kind"]
        elif name in ("told", "record") and len(node.args) > 2:
            told = node.args[:1]
        elif name == "_change" and len(node.args) > 2:
            told = node.args[1:2]
        yield from (
            each.value for each in told if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )
