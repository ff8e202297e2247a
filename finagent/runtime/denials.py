"""Denials: requests that were turned away, counted at once and handed to the journal in small sums."""

from collections.abc import Mapping

from prometheus_client import Counter

MOST_KINDS = 256
Denial = tuple[str, str]
"""(reason, name of the token, empty where it is nobody's)."""


class Denials:
    """Counts by reason; what is not yet journalled is bounded, however long nobody takes it."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._waiting: dict[Denial, int] = {}

    def note(self, reason: str, token: str = "") -> None:
        """One request was turned away; ``reason`` is one of a few words, never what a stranger sent."""
        self._counter.labels(reason=reason).inc()
        key = (reason, token)
        if key in self._waiting or len(self._waiting) < MOST_KINDS:
            self._waiting[key] = self._waiting.get(key, 0) + 1

    def take(self) -> Mapping[Denial, int]:
        """What has come since the last time, by reason and token."""
        taken, self._waiting = self._waiting, {}
        return taken
