"""A disk that is full under the running agent: what was asked for is done, and the last line says what to do."""

from pathlib import Path

import pytest

from tests.e2e.test_cli import finagent
from tests.e2e.test_told import lines, started
from tests.proof.queue.small_disk import fill, mounted, unmount

QUIET = "2026-11-21T12:00"
"""A Saturday: nothing but what is asked for writes to the disk."""


def rests(home: Path) -> None:
    """Returns when nothing was written while ``status`` answered three times: what a start writes is done."""
    log = home / "finagent.db-wal"
    for _ in range(20):
        before = log.stat().st_mtime_ns
        for _ in range(3):
            assert finagent(home, "status").returncode == 0
        if log.stat().st_mtime_ns == before:
            return
    pytest.fail("the agent writes on and on, and nobody asked it for anything")


def test_agent_on_a_full_disk_ends_with_the_mend(tmp_path: Path) -> None:
    """Nothing is open: exit code 1 at once; with room again it starts, and entries wait for a person."""
    home = tmp_path / "home"
    home.mkdir()
    if not mounted(home, "size=16m"):
        pytest.skip("no tmpfs can be mounted here: the agent on a full disk is NOT TESTED")
    agent = started(home, "orchestrate", "--port", "0", "--at", QUIET)
    try:
        assert any("finagent runs at" in line for line in lines(agent))
        rests(home)
        fill(home)
        locked = finagent(home, "lock", "AAA", "--force")
        assert locked.returncode == 0, locked.stderr
        said = agent.communicate(timeout=60)[1]
        assert agent.returncode == 1
        assert "Traceback" not in said
        assert "error: the agent halted: the disk is full: entries were shut and positions closed" in said
        assert "free space on the home's disk, then start again" in said
        (home / "filler").unlink()
        resumed = finagent(home, "status")
        assert "Entries are paused by person: the disk is full" in resumed.stdout
    finally:
        agent.kill()
        agent.communicate()
        unmount(home)
