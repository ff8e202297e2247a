"""A job of a backtest that is killed goes on where it stood, and comes to the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finagent.bootstrap.backtests import Request, backtest
from finagent.context import Document
from finagent.settings import Settings
from tests.integration.backtests.killed import tried
from tests.integration.data.market_files import FIRST, LAST

ROOT = Path(__file__).resolve().parents[3]
AFTER = "2018-02-14"
"""Two trades before it, one after it."""


@pytest.fixture
def home(stored: Path, tmp_path: Path) -> Path:
    """A home of its own over the same bars."""
    (tmp_path / "bars").symlink_to(stored / "bars")
    return tmp_path


def plain(document: Document) -> Document:
    """Without how long it took."""
    return {name: value for name, value in document.items() if name != "elapsed_ms"}


def killed(home: Path) -> None:
    """A try that dies by SIGKILL as it comes to a session, and leaves one checkpoint."""
    command = [sys.executable, "-m", "tests.integration.backtests.killed", str(home), AFTER]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (home / "scratch").glob("*.pickle")] == ["after-5.pickle"]


def test_sigkill_costs_nothing_of_what_was_kept_and_changes_nothing(home: Path) -> None:
    """The next try begins at the session that the first died in: same decisions, orders, fills, trades, figures."""
    whole = backtest(Settings(), home, Request(first=FIRST, last=LAST, engine="reference"))
    killed(home)
    told: list[str] = []
    found = tried(home, told)
    assert (told[0], len(told)) == (AFTER, 3)
    assert whole["outcome_hash"]
    assert plain(found) == plain(whole)


@pytest.mark.parametrize("harm", ["bytes", "gone", "question", "text", "class"])
def test_a_checkpoint_that_is_not_what_was_written_counts_as_none(home: Path, harm: str) -> None:
    """Other bytes, no file, another question or version: the run begins anew, and says nothing else."""
    killed(home)
    (file,) = (home / "scratch").glob("*.pickle")
    checkpoint = home / "scratch" / "checkpoint.json"
    known = json.loads(checkpoint.read_text())
    if harm == "bytes":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    elif harm == "gone":
        file.unlink()
    else:
        other = {"question": {"name": "0" * 16}, "text": {"file": None}, "class": _another_class(file)}[harm]
        checkpoint.write_text(json.dumps({**known, **other}))
    told: list[str] = []
    found = tried(home, told)
    assert told[0] == FIRST
    assert found["outcome_hash"]


def _another_class(file: Path) -> dict[str, str]:
    """A pickle of something else, with the right hash."""
    import hashlib
    import pickle

    (file.parent / "other.pickle").write_bytes(content := pickle.dumps({"sessions": 5}))
    return {"file": "other.pickle", "sha256": hashlib.sha256(content).hexdigest()}


def test_without_room_for_a_checkpoint_the_run_goes_on(home: Path) -> None:
    """What cannot be kept costs time after a kill, never the run."""
    (home / "scratch").mkdir()
    for number in range(1, 8):
        (home / "scratch" / f"after-{number}.pickle").mkdir()
    told: list[str] = []
    assert tried(home, told)["partial"] is None
    assert len(told) == 8
