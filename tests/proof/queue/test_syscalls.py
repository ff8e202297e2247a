"""Faults injected into single system calls of a small workload: what was acknowledged survives each of them."""

import asyncio
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from finagent.queue.job import NewJob
from tests.contract.queue_world import QueueWorld
from tests.proof.queue.family import TYPES
from tests.proof.queue.nursery import ROOT
from tests.proof.queue.small_load import HALTED, ROUNDS
from tests.proof.queue.witness import read_witness

KILLED = -9
SHELL_KILLED = 137
SYNC = r"(fdatasync|fsync)\(\d+<[^>]*/jobs\.db"
CHECKPOINT = r"pwrite64\(\d+<[^>]*/jobs\.db>"
STORED = "SELECT type || ':' || idem_key FROM job_queue"
FAULTS = (
    ("fdatasync", "error=EIO"),
    ("fdatasync", "error=ENOSPC"),
    ("fdatasync", "signal=SIGKILL"),
    ("pwrite64", "error=ENOSPC"),
    ("pwrite64", "error=ENOSPC for good"),
    ("pwrite64", "error=EIO"),
    ("pwrite64", "signal=SIGKILL"),
)
CI_SAMPLES = 4


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """Call -> how many the start makes in the writing thread, and how many the whole workload does."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: faults in system calls are NOT TESTED")
    folder = tmp_path_factory.mktemp("calls")
    code, trace = run(folder, "", "")
    if code != 0 or "fdatasync" not in trace:
        pytest.skip(f"strace cannot trace here (exit {code}): faults in system calls are NOT TESTED")
    lines = [line for line in trace.splitlines() if "fdatasync(" in line or "pwrite64(" in line]
    writer = next(line.split()[0] for line in lines if "fdatasync(" in line)
    lines = [line for line in lines if line.split()[0] == writer]
    return {
        name: (count(lines[: first_publish(lines)], name), count(lines, name))
        for name in ("fdatasync", "pwrite64")
    }


def first_publish(lines: list[str]) -> int:
    """Where the first job's commit begins: the migrations and the boot lie before it."""
    payload = next(number for number, line in enumerate(lines) if "xxxx" in line)
    return max(number for number, line in enumerate(lines[:payload]) if "fdatasync(" in line) + 1


def count(lines: list[str], name: str) -> int:
    return sum(f" {name}(" in line for line in lines)


def run(folder: Path, call: str, fault: str) -> tuple[int, str]:
    """The workload under strace; its exit code and the trace. `call` is `name:when`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "ballast").write_bytes(b"x")
    name, _, when = call.partition(":")
    fault, is_lasting, _ = fault.partition(" for good")
    when += "+" if is_lasting else ""
    inject = ["-e", f"inject={name}:{fault}:when={when}"] if fault else []
    # A signal is not injected under --seccomp-bpf, which makes the rest three times as fast.
    command = [
        "strace", "-f", "-y", *([] if "signal" in fault else ["--seccomp-bpf"]), "-s", "4200",
        "-o", str(folder / "trace"),
        "-e", "trace=fdatasync,fsync,pwrite64", "-e", "signal=none", *inject,
        sys.executable, "-m", "tests.proof.queue.small_load", str(folder / "jobs.db"), str(folder / "witness"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    (folder / "output").write_bytes(ended.stdout + ended.stderr)
    trace = folder / "trace"
    return ended.returncode, trace.read_text(errors="replace") if trace.exists() else ""


def check(folder: Path) -> int:
    """Everything witnessed is in the file, which is sound; how many acknowledgements there were."""
    seen = read_witness(folder / "witness")
    connection = sqlite3.connect(folder / "jobs.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'job_queue'").fetchall():
            assert seen == {}
            return 0
        stored = {name for (name,) in connection.execute(STORED)}
        done = {name for (name,) in connection.execute(f"{STORED} WHERE status = 'done'")}
        facts = dict(connection.execute("SELECT key, length(value) FROM meta"))
    finally:
        connection.close()
    assert set(seen.get("published", ())) <= stored
    assert set(seen.get("done", ())) <= done
    assert {f"{name}" for name in seen.get("fact", ())} <= set(facts)
    assert done == {name for name in facts if ":" in name}
    pairs = {name[:-2] for name in stored if name.startswith("child:")}
    assert all({f"{pair}-a", f"{pair}-b"} <= stored for pair in pairs), "half of a publish_many is stored"
    assert set(facts.values()) <= {1}
    return sum(counted.total() for counted in seen.values())


def is_closing(folder: Path) -> bool:
    """Whether all work was acknowledged: what fails then is the closing, and its error is the caller's."""
    return read_witness(folder / "witness").get("done", Counter()).total() == ROUNDS


async def go_on(folder: Path) -> None:
    """The next start works: it takes back what was leased, and takes and stores new work."""
    world = QueueWorld(folder / "jobs.db", threaded=False, types=TYPES)
    await world.open()
    try:
        assert (await world.queue.stats()).by_status["leased"] == 0
        assert (await world.queue.publish(NewJob("parent", {}, "afterwards"))).created
    finally:
        await world.close()


def chosen(first: int, last: int, *, is_full: bool, chance: random.Random) -> list[int]:
    """Every call; or one of the start and some of the workload."""
    every = list(range(1, last + 1))
    if is_full:
        return every
    return [chance.choice(every[:first]), *sorted(chance.sample(every[first:], CI_SAMPLES))]


@pytest.mark.parametrize(
    ("name", "fault"), FAULTS, ids=[f"{name}-{fault.partition('=')[2]}" for name, fault in FAULTS]
)
def test_acknowledged_work_survives_a_fault_in_a_system_call(
    name: str,
    fault: str,
    calls: dict[str, tuple[int, int]],
    tmp_path: Path,
    is_full: bool,
    chance: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    """The N-th call fails or kills: nothing acknowledged is lost, the file is sound, the next start works.

    A disk that has room again once the ballast is freed is no fault to end at: all work is done. A sync is never
    tried again, whatever it says: SQLite knows only one error of it.
    """
    start, total = calls[name]
    injected: set[int] = set()
    for when in chosen(start, total, is_full=is_full, chance=chance):
        folder = tmp_path / f"{name}-{when}"
        code, trace = run(folder, f"{name}:{when}", fault)
        told = (folder / "output").read_text(errors="replace")
        if code == 0 and "INJECTED" not in trace and when > total - total // 20:
            continue  # jobs met in fewer commits than when the calls were counted: the last ones were never made
        if "SIGKILL" in fault:
            assert code in (KILLED, SHELL_KILLED), f"call {when}: exit {code}: {told[-2000:]}"
        else:
            assert "INJECTED" in trace, f"call {when} never came: {told[-2000:]}"
            if start < when and name == "fdatasync":
                check_nothing_repeated(trace, name, folder, fault)
            is_full_disk = name == "pwrite64" and "ENOSPC" in fault
            if start < when and is_full_disk and "for good" not in fault:
                assert is_closing(folder), f"call {when}: exit {code}: {told[-2000:]}"
            elif start < when and not is_closing(folder):
                assert code == HALTED, f"call {when}: exit {code}: {told[-2000:]}"
                assert ("disk is full" if is_full_disk else "disk failed") in told
                check_nothing_repeated(trace, name, folder, fault)
                assert (folder / "ballast").exists() != is_full_disk, "the ballast is for a full disk alone"
            if code != 0 and is_closing(folder):
                last = told.strip().splitlines()[-1]
                assert last.startswith("finagent.runtime.errors.HaltError"), f"call {when}: {told[-2000:]}"
        check(folder)
        asyncio.run(go_on(folder))
        injected.add(when)
        shutil.rmtree(folder)
    print(f"{name} {fault}: {len(injected)} of {total} calls injected, {start} of them belong to the start")
    assert len(injected) >= (total - total // 20 if is_full else 2)
    record_property(f"proof.faults survived, {name} {fault}", len(injected))


def check_nothing_repeated(trace: str, name: str, folder: Path, fault: str) -> None:
    """After the fault the process wrote and synced nothing of the database any more."""
    after = trace[trace.index("INJECTED") :].splitlines()[1:]
    repeated = [line for line in after if re.search(SYNC, line)]
    assert not repeated, f"synced again after {name} {fault}: {repeated[0]}"


def test_publish_is_synced_before_it_is_acknowledged(calls: dict[str, tuple[int, int]]) -> None:
    """At least one fdatasync per commit of the workload: four a round."""
    start, total = calls["fdatasync"]
    assert total - start >= 16


def test_failed_fsync_is_not_tried_again_when_the_database_is_closed(
    calls: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    """A program that closes in order after the halt must not sync either: a checkpoint would."""
    start, _ = calls["fdatasync"]
    folder = tmp_path / "closed"
    os.environ["FINAGENT_PROOF_CLOSE"] = "1"
    try:
        code, trace = run(folder, f"fdatasync:{start + 5}", "error=EIO")
    finally:
        del os.environ["FINAGENT_PROOF_CLOSE"]
    assert code == HALTED, (folder / "output").read_text()
    check_nothing_repeated(trace, "fdatasync", folder, "error=EIO")
    after = trace[trace.index("INJECTED") :].splitlines()[1:]
    written = [line for line in after if re.search(CHECKPOINT, line)]
    assert not written, f"checkpointed after the failed sync: {written[0]}"
    assert (folder / "jobs.db-wal").stat().st_size > 0, "the log is what the next start recovers from"
    check(folder)
