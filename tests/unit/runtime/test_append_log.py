"""The append-only log: on the disk before it returns, whole lines only, damage told from a torn end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.runtime.append_log import AppendLog, LogDamagedError

LINES = [{"kind": "one", "n": 1}, {"kind": "two", "text": "é\n"}, {"kind": "three"}]


def written(folder: Path) -> tuple[AppendLog, bytes]:
    log = AppendLog(folder / "x.log")
    for line in LINES:
        log.append(line)
    return log, log.path.read_bytes()


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    log, _ = written(tmp_path)
    assert log.lines() == LINES
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_line(tmp_path: Path) -> None:
    assert AppendLog(tmp_path / "x.log").lines() == []


def test_torn_end_is_left_out_and_goes_with_the_next_line(tmp_path: Path) -> None:
    """Cut anywhere: the whole lines before stay, and what follows is whole again."""
    log, data = written(tmp_path)
    ends = [0] + [place + 1 for place, byte in enumerate(data) if byte == 10]
    for cut in range(len(data) + 1):
        log.path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert log.lines() == LINES[:whole]
        log.append({"kind": "after"})
        assert log.lines() == [*LINES[:whole], {"kind": "after"}]


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_flipped_bit_of_a_whole_line_is_damage(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Only the very last byte looks like a torn end; never is there another line."""
    log, data = written(tmp_path_factory.mktemp("log"))
    place %= len(data)
    log.path.write_bytes(data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :])
    is_last_end = place == len(data) - 1
    if is_last_end:
        assert log.lines() == LINES[:-1]
        return
    with pytest.raises(LogDamagedError, match="compare with the broker"):
        log.lines()


def test_retired_log_is_empty_and_kept(tmp_path: Path) -> None:
    log, data = written(tmp_path)
    log.retire("x.log.folded")
    assert log.lines() == []
    assert (tmp_path / "x.log.folded").read_bytes() == data
    log.append({"kind": "again"})
    log.retire("x.log.folded")
    assert AppendLog(tmp_path / "x.log.folded").lines() == [{"kind": "again"}]


SCRIPT = """
import os, sys
from pathlib import Path
from finagent.runtime.append_log import AppendLog
AppendLog(Path(sys.argv[1])).append({"kind": "intent"})
os.write(1, b"SENT")
"""


def test_line_and_its_folder_are_synced_before_anything_is_sent(tmp_path: Path) -> None:
    """The order of the system calls: write, fsync of the file, fsync of the folder, and only then the request."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: the order of the system calls is NOT TESTED")
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "-e",
        "trace=write,fsync",
        sys.executable,
        "-c",
        SCRIPT,
    ]
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run(
        [*command, str(tmp_path / "x.log")],
        check=False, capture_output=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=60,
    )  # fmt: skip
    if ended.returncode != 0:
        pytest.skip("strace cannot trace here: the order of the system calls is NOT TESTED")
    calls = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines()]
    steps = [
        next(number for number, call in enumerate(calls) if wanted in call and call.startswith(name))
        for name, wanted in (
            ("write", "x.log>"),
            ("fsync", "x.log>"),
            ("fsync", f"{tmp_path}>"),
            ("write", "SENT"),
        )
    ]
    assert steps == sorted(steps)
