"""The walls of the house: no file over 500 lines, no function over 70."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "finagent").rglob("*.py"))
FILE_WALL = 500
FUNCTION_WALL = 70


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file_is_below_the_wall(path: Path) -> None:
    """A file has fewer than 500 lines."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < FILE_WALL, f"{named(path)} has {lines} lines: split it by what its parts are for"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_functions_are_below_the_wall(path: Path) -> None:
    """A function has at most 70 lines."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    long = {
        node.name: length
        for node in functions
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_WALL
    }
    assert not long, f"{named(path)}: functions over {FUNCTION_WALL} lines: {long}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file_says_what_it_is_for(path: Path) -> None:
    """Every file opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{named(path)} has no docstring"
