"""Files: whole or as they were, whatever the disk says."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from finagent.runtime.files import write_whole


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process grows beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_finds_no_room_stays_as_it_was(tmp_path: Path) -> None:
    """And leaves no part of itself beside it."""
    path = tmp_path / "result.json"
    write_whole(path, b"old")
    with room_for(1000), pytest.raises(OSError, match="File too large"):
        write_whole(path, b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
