"""A disk that fills up: a clear halt, nothing acknowledged lost, and a start that works once there is room."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.runtime.clock import SystemClock
from tests.contract.queue_world import QueueWorld, job
from tests.proof.queue.full_disk_load import HALTED
from tests.proof.queue.nursery import ROOT
from tests.proof.queue.small_disk import enlarge, mounted, unmount
from tests.proof.queue.witness import read_witness

SMALL = "3m"
BALLAST_BYTES = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, f"size={SMALL}"):
        pytest.skip("no tmpfs can be mounted here: the full file system is NOT TESTED, the file limit is")
    yield folder
    unmount(folder)


def fill(path: Path, witness: Path, most_bytes: int) -> str:
    """Run the load to its halt; what it said."""
    command = [
        sys.executable,
        "-m",
        "tests.proof.queue.full_disk_load",
        str(path),
        str(witness),
        str(most_bytes),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == HALTED, f"exit {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


async def check_goes_on(path: Path, witness: Path) -> int:
    """Everything acknowledged is there and new work is taken; how much there was."""
    database = await Database.open(path, clock=SystemClock())
    stored = {f"{kind}:{key}" for kind, key in await database.read("SELECT type, idem_key FROM job_queue")}
    assert await database.read("PRAGMA integrity_check") == [("ok",)]
    await database.close()
    published = set(read_witness(witness)["published"])
    assert published <= stored
    world = QueueWorld(path, threaded=True)
    await world.open()
    assert (await world.queue.publish(job("afterwards"))).created
    await world.close()
    return len(published)


async def test_full_file_system_ends_with_a_clear_halt_and_loses_nothing(
    small_disk: Path, tmp_path: Path
) -> None:
    """The ballast is freed for the way out; with a larger disk the queue goes on."""
    path, witness = small_disk / "jobs.db", tmp_path / "witness"
    (small_disk / "ballast").write_bytes(b"\0" * BALLAST_BYTES)
    told = fill(path, witness, 0)
    assert "the disk is full" in told
    assert "free space" in told
    assert "ballast: False" in told
    enlarge(small_disk)
    assert await check_goes_on(path, witness) > 100


async def test_file_that_may_not_grow_ends_with_a_clear_halt_and_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, which any user can set: the write fails in another way, the outcome is the same."""
    path, witness = tmp_path / "jobs.db", tmp_path / "witness"
    told = fill(path, witness, 2_000_000)
    assert "the disk" in told
    assert "start again" in told
    assert await check_goes_on(path, witness) > 100


async def test_read_only_home_is_refused_with_a_typed_error(tmp_path: Path) -> None:
    """A file system mounted read-only: an OSError that names the path, and no hang."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=1m,ro"):
        pytest.skip("no tmpfs can be mounted here: the read-only home is NOT TESTED")
    try:
        with pytest.raises(OSError, match=r"Read-only file system.*jobs\.db"):
            await Database.open(folder / "jobs.db", clock=SystemClock())
    finally:
        unmount(folder)
