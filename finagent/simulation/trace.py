"""What happened, line by line: hashed always, kept to be read where somebody wants to."""

import hashlib
from datetime import datetime

from finagent.simulation.calendar import NEW_YORK


class Trace:
    """Two runs of a seed have one digest, or something in the program is not a function of the seed."""

    def __init__(self, *, keep: bool) -> None:
        self.lines: list[str] = []
        self._keep = keep
        self._hash = hashlib.sha256()

    def say(self, at_ms: int, who: str, text: str) -> None:
        """One line."""
        self._hash.update(f"{at_ms}|{who}|{text}\n".encode())
        if self._keep:
            moment = datetime.fromtimestamp(at_ms / 1000, NEW_YORK)
            self.lines.append(f"{moment:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d} {who:<8} {text}")

    def digest(self) -> str:
        """SHA-256 over all lines so far."""
        return self._hash.hexdigest()
