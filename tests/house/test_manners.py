"""Manners that no linter knows: no Any where decisions are made, no REAL in a table, no leftovers' drawer."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "finagent"
DECIDING = sorted(
    [*(PACKAGE / "domain").rglob("*.py"), *(PACKAGE / "services").rglob("*.py"), PACKAGE / "ports.py"]
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MIGRATIONS = sorted(PACKAGE.rglob("*.sql"))
LEFTOVERS = {"utils", "util", "helpers", "helper", "managers", "manager", "misc", "common", "shared", "base"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", DECIDING, ids=named)
def test_no_any_where_decisions_are_made(path: Path) -> None:
    """Domain, services and ports say their types."""
    assert "Any" not in names(path)


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").rglob("*.py")), ids=named)
def test_domain_has_no_floats(path: Path) -> None:
    """No float literal, and no float type but in money.py, which makes the numbers of JSON documents."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    literals = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    assert not literals, f"{named(path)}, lines {literals}"
    assert path.name == "money.py" or "float" not in names(path)


@pytest.mark.parametrize("path", MIGRATIONS, ids=named)
def test_no_table_holds_a_real(path: Path) -> None:
    """Money, prices and times are integers or text in every table."""
    code = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"\b(REAL|FLOAT|DOUBLE|NUMERIC)\b", code, re.IGNORECASE)


def test_no_file_is_a_drawer_for_leftovers() -> None:
    """A file is named by what it is for."""
    assert not [named(path) for path in PACKAGE.rglob("*.py") if path.stem in LEFTOVERS]


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_no_test_sleeps_or_mocks(path: Path) -> None:
    """A test waits on a signal and uses the real thing; ``asyncio.sleep(0)`` only lets others run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sleeps = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert not sleeps, f"{named(path)} sleeps in lines {sleeps}"
    imported = {
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in imported if "mock" in name.split(".")]


@pytest.mark.parametrize("path", sorted((ROOT / "tests/contract").glob("test_queue_*.py")), ids=named)
def test_contract_of_the_queue_names_no_backend(path: Path) -> None:
    """Another backend brings its own world; not a line of the promises may have to change for it."""
    code = path.read_text(encoding="utf-8")
    assert not re.search(r"sqlite|SELECT |\.database\b|\.conn\b", code)
