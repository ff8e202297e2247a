"""Checkpoints of a backtest in the folder that all tries of its job share."""

import contextlib
import hashlib
import os
import pickle
from pathlib import Path

from finagent.backtest.going_on import Standing
from finagent.ports import Ticker
from finagent.queue.compute import ComputeContext

EVERY_MS = 2_000
SHARE = 20
"""Keeping takes at most one part in so many of the time."""


class Checkpoints:
    """A Keeper over the scratch folder of a job: one file with where the run stands, and which it is.

    A file that is not what was written, or that another version wrote, counts as none: the run begins anew.
    """

    def __init__(self, context: ComputeContext, ticker: Ticker, *, every_ms: int = EVERY_MS) -> None:
        self._context, self._ticker, self._every_ms = context, ticker, every_ms
        self._next_ms = ticker.monotonic_ms() + every_ms

    def kept(self, name: str) -> Standing | None:
        """The newest checkpoint of an earlier try."""
        known, folder = self._context.saved(), self._context.scratch
        if not isinstance(known, dict) or known.get("name") != name or folder is None:
            return None
        with contextlib.suppress(
            Exception
        ):  # whatever is wrong with a file of an earlier try costs only time
            content = (folder / str(known["file"])).read_bytes()
            if hashlib.sha256(content).hexdigest() == known["sha256"]:
                found = pickle.loads(content)  # our own file, its hash written by the try before
                return found if isinstance(found, Standing) else None
        return None

    def keep(self, name: str, standing: Standing) -> None:
        """Write it where the last one is old enough; without room or memory for it the run goes on without."""
        started_ms = self._ticker.monotonic_ms()
        if started_ms < self._next_ms:
            return
        with contextlib.suppress(MemoryError, OSError):
            self._kept(name, standing)
        now_ms = self._ticker.monotonic_ms()
        self._next_ms = now_ms + max(self._every_ms, (now_ms - started_ms) * SHARE)

    def _kept(self, name: str, standing: Standing) -> None:
        """First the file, then which it is, then the others are removed: a kill leaves one that counts."""
        folder = self._context.scratch
        if folder is None:
            return
        file = folder / f"after-{standing.sessions}.pickle"
        content = pickle.dumps(standing, pickle.HIGHEST_PROTOCOL)
        try:
            _write(file, content)
            digest = hashlib.sha256(content).hexdigest()
            self._context.save({"name": name, "file": file.name, "sha256": digest})
        finally:
            for other in folder.glob("after-*.pickle"):
                if not self._counts(other.name):
                    other.unlink(missing_ok=True)

    def _counts(self, name: str) -> bool:
        known = self._context.saved()
        return isinstance(known, dict) and known.get("file") == name


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
