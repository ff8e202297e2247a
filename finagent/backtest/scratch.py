"""A folder beside the data for what a run needs only while it runs; what a killed one left goes with the next."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from finagent.runtime.lock import is_alive


@contextlib.contextmanager
def scratch(folder: Path, kind: str) -> Iterator[Path]:
    """``folder/.KIND-PID-...``, removed at the end; those of processes that are no more are removed first."""
    for left in folder.glob(f".{kind}-*-*"):
        pid = left.name.split("-")[1]
        if pid.isdecimal() and not is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f".{kind}-{os.getpid()}-", dir=folder) as made:
        yield Path(made)
