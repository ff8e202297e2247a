"""The lock files: exact, hashed, of no particular machine, and enough for what pyproject.toml asks."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PEERS = sorted((ROOT / "benchmarks/peers").glob("*/requirements.txt"))


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9-]*)==([^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", [*LOCKS, *PEERS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_lock_names_no_index_and_no_machine(path: Path) -> None:
    """A lock holds names, versions, markers and hashes: no address and no path."""
    stray = [
        line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r"://|--[^h]|[ =]/", line)
    ]
    assert not stray


@pytest.mark.parametrize("path", [*LOCKS, *PEERS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_pin_is_exact_and_hashed(path: Path) -> None:
    """Each requirement is name==version with at least one sha256."""
    blocks = re.split(r"\n(?=\S)", path.read_text(encoding="utf-8").strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==\S+", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        ("runtime", PROJECT["dependencies"]),
        ("dev", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_lock_satisfies_the_project(lock: str, asked: list[str]) -> None:
    """Every dependency of pyproject.toml is locked at a version that it allows."""
    locked = pins(lock)
    for requirement in map(Requirement, asked):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements/{lock}.txt: compile it again"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_development_adds_to_the_runtime_lock_and_changes_nothing() -> None:
    """What is tested is what is shipped."""
    assert pins("runtime").items() <= pins("dev").items()
