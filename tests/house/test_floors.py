"""Rooms look down only: the import contracts hold, and each one catches a planted violation."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = "import sys; from importlinter.cli import lint_imports_command as main; sys.exit(main())"
DOMAIN_MAY_IMPORT = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "datetime", "decimal", "difflib", "enum",
    "fractions", "functools", "hashlib", "heapq", "html", "itertools", "json", "math", "operator", "re",
    "statistics", "string", "textwrap", "types", "typing", "unicodedata",
}  # fmt: skip
ROOMS = (
    "adapters",
    "adapters/brokers",
    "adapters/sqlite",
    "api",
    "backtest",
    "cli",
    "dashboard",
    "queue",
    "services",
)


def lint(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of import-linter in a folder that holds ``finagent`` and ``pyproject.toml``."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package to plant a violation in; rooms that are not built yet stand empty."""
    shutil.copytree(ROOT / "finagent", tmp_path / "finagent", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ROOMS:
        (tmp_path / "finagent" / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / "finagent" / room / "__init__.py").touch()
    (tmp_path / "finagent" / "bootstrap.py").touch()
    return tmp_path


def test_every_contract_is_kept() -> None:
    """The tree as it stands breaks no contract."""
    status, output = lint(ROOT)
    assert status == 0, output


PLANTED = [
    ("domain-pure", {"domain/planted.py": "import os"}),
    ("domain-pure", {"domain/planted.py": "def f() -> None:\n    import time"}),
    ("domain-pure", {"domain/planted.py": "from random import Random"}),
    ("domain-pure", {"domain/planted.py": "import numpy"}),
    ("io-stays-at-the-edges", {"services/planted.py": "import httpx"}),
    ("io-stays-at-the-edges", {"queue/planted.py": "import pydantic"}),
    ("io-stays-at-the-edges", {"queue/planted.py": "import aiosqlite"}),
    ("io-stays-at-the-edges", {"domain/planted.py": "import pandas"}),
    ("machinery-knows-no-trading", {"queue/planted.py": "import finagent.domain.market"}),
    ("machinery-knows-no-trading", {"runtime/planted.py": "import finagent.domain.market"}),
    ("floors", {"attic/__init__.py": ""}),
    ("floors", {"domain/planted.py": "import finagent.queue"}),
    ("floors", {"runtime/planted.py": "import finagent.queue"}),
    ("floors", {"services/planted.py": "import finagent.adapters.sqlite"}),
    ("floors", {"adapters/planted.py": "import finagent.backtest"}),
    ("floors", {"api/planted.py": "import finagent.cli"}),
    ("adapters", {"adapters/sqlite/planted.py": "import finagent.adapters.brokers"}),
    ("adapters", {"adapters/attic/__init__.py": ""}),
    ("adapters-independent", {"adapters/vendors/replay.py": "import finagent.adapters.vendors.simulated"}),
    (
        "services-independent",
        {"services/scanner.py": "import finagent.services.risk", "services/risk.py": ""},
    ),
    ("backtest-without-services", {"backtest/planted.py": "import finagent.services"}),
    ("dashboard-is-a-guest", {"dashboard/planted.py": "import finagent.domain.market"}),
    ("only-bootstrap-names-adapters", {"cli/planted.py": "import finagent.adapters.sqlite"}),
    (
        "cycles",
        {"domain/a.py": "import finagent.domain.b", "domain/b.py": "import finagent.domain.a"},
    ),
]


@pytest.mark.parametrize(
    ("contract", "files"), PLANTED, ids=[f"{contract}: {' '.join(files)}" for contract, files in PLANTED]
)
def test_contract_catches_a_planted_violation(copied: Path, contract: str, files: dict[str, str]) -> None:
    """A contract that cannot fail protects nothing."""
    for name, line in files.items():
        path = copied / "finagent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{before}\n{line}\n", encoding="utf-8")
    status, output = lint(copied, "--contract", contract)
    assert status == 1, output
    assert "0 kept, 1 broken" in output, output


def imported_roots(path: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
    return roots


SIBLINGS = {
    "services": set(),
    "adapters/brokers": set(),
    "adapters/vendors": {"calendar"},
    "adapters/news": set(),
    "adapters/notify": set(),
}


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("room", SIBLINGS)
def test_siblings_import_only_their_own_family(room: str) -> None:
    """A family is a first word (``simulated_days`` is of ``simulated``); what all may use is listed here."""
    folder, package = ROOT / "finagent" / room, f"finagent.{room.replace('/', '.')}."
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    crossed = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in sorted(folder.rglob("*.py"))
        if (family := path.relative_to(folder).parts[0].removesuffix(".py").split("_")[0])
        for other in sorted(imported_modules(path))
        if other.startswith(package)
        and (sibling := other.removeprefix(package).split(".")[0]) in modules - SIBLINGS[room]
        and sibling.split("_")[0] != family
    ]
    assert not crossed


def test_domain_imports_only_the_pure_part_of_the_standard_library() -> None:
    """A list of what is allowed: what nobody thought of forbidding stays out as well."""
    strangers = {
        path.name: found
        for path in sorted((ROOT / "finagent/domain").rglob("*.py"))
        if (found := imported_roots(path) - DOMAIN_MAY_IMPORT - {"finagent"})
    }
    assert not strangers


BANNED = [
    "import datetime\n\nNOW = datetime.datetime.now()\n",
    "from datetime import datetime\n\nNOW = datetime.utcnow()\n",
    "import time\n\nNOW = time.time()\n",
    "from uuid import uuid4\n\nID = uuid4()\n",
    "import random\n\nDRAW = random.random()\n",
    "import asyncio\n\nasync def f() -> None:\n    asyncio.create_task(f())\n",
]


@pytest.mark.parametrize("source", BANNED, ids=[source.splitlines()[-1].strip() for source in BANNED])
@pytest.mark.parametrize(("room", "banned"), [("services", True), ("runtime", False)])
def test_ruff_refuses_clock_chance_and_bare_tasks_outside_runtime(
    source: str, room: str, banned: bool
) -> None:
    """What would make a replay differ is refused everywhere but in runtime/."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251",
         "--stdin-filename", f"finagent/{room}/planted.py", "-"],
        cwd=ROOT, input=source, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ("TID251" in done.stdout) is banned, done.stdout + done.stderr
