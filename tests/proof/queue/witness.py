"""A witness outside the database: one append-only file, fsynced per line, of what was acknowledged."""

import os
from collections import Counter
from pathlib import Path


class Witness:
    """Writes lines that survive the death of the process and of the machine."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, line: str) -> None:
        """Append and fsync; fsync, not fdatasync, so that injected faults can tell it from SQLite's."""
        os.write(self._descriptor, f"{line}\n".encode())
        os.fsync(self._descriptor)


def read_witness(path: Path) -> dict[str, Counter[str]]:
    """What was witnessed: kind -> its names, counted. A line cut by death is no testimony."""
    found: dict[str, Counter[str]] = {}
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        kind, _, name = line.partition(" ")
        found.setdefault(kind, Counter())[name] += 1
    return found
