"""Planted bugs: a fast selection of the proofs must fail on each; a check that no mutant can fail proves nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proof.mutants import MUTANTS, Edit, Mutant, MutantGoneError, copy_tree

SELECTION = (
    "tests/contract/test_queue_contract.py",
    "tests/proof/queue/test_pragmas.py",
    "tests/proof/queue/test_locked.py",
    "tests/proof/queue/test_model.py",
)
CAUGHT, SOUND = 1, 0
LIMIT_S = 120


def judge(root: Path) -> tuple[int, str]:
    """Run the selection in a copy; pytest's exit code (1: a test failed) and what failed first."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no", "-p", "no:cacheprovider",
        "-p", "no:xdist", "-p", "no:cov", "--override-ini=addopts=--import-mode=importlib",
        "--hypothesis-seed=1", "-k", "not threaded", *SELECTION,
    ]  # fmt: skip
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FINAGENT_FULL": "",
        "FINAGENT_MODEL_EXAMPLES": "4",
    }
    ended = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return ended.returncode, (failed or [ended.stdout[-2000:] + ended.stderr[-2000:]])[0]


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_planted_bug_is_caught(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The selection fails, by a test and not by a mutant that cannot even start."""
    MUTANTS[name].plant(tmp_path)
    code, sign = judge(tmp_path)
    print(f"{name}: {MUTANTS[name].bug}: {sign[:200]}")
    assert code == CAUGHT, f"not caught: {MUTANTS[name].bug} (exit {code}): {sign}"
    assert sign.startswith("FAILED"), sign
    record_property("proof.planted bugs caught", 1)


@pytest.mark.full
def test_the_same_selection_passes_on_the_program_itself(tmp_path: Path) -> None:
    """The judge does not cry wolf; in CI the selection itself runs, and passes, in the same session."""
    copy_tree(tmp_path)
    assert judge(tmp_path)[0] == SOUND


def test_mutant_that_no_longer_applies_is_an_error(tmp_path: Path) -> None:
    """Else a bug that cannot be planted any more would count as one that cannot happen."""
    gone = Mutant("nothing", (Edit("finagent/adapters/sqlite/writer.py", "no such code", ""),))
    with pytest.raises(MutantGoneError):
        gone.plant(tmp_path)
