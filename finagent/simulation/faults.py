"""The kinds of faults a world may have, which of them a seed has, and how often each really happened."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

BROKER = (
    "request_lost", "reply_lost", "http_504_before", "http_504_after", "http_429_before", "http_429_after",
    "late_arrival", "never_arrived", "read_failed", "order_not_shown_yet", "rejected_entry", "rejected_exit",
    "partial_fill", "cancel_race", "overfill", "event_late", "event_twice", "events_shuffled", "event_lost",
    "stream_silent", "stream_lost", "unknown_order", "unknown_position", "external_holding", "manual_sale",
    "manual_cancel", "positions_empty", "halt", "halt_to_close", "slow_broker", "cash_flow",
)  # fmt: skip
NOT_ON_PAPER = ("overfill", "manual_sale", "manual_cancel")
"""A broker with attached exits is the paper venue: it fills what was ordered, and has no app."""
VENDOR = (
    "bar_missing", "bar_late", "bar_twice", "bars_shuffled", "feed_stale", "feed_down", "price_zero",
    "price_negative", "price_tenfold",
)  # fmt: skip
MACHINE = (
    "crash", "crash_in_start", "crash_at_commit", "crash_at_order", "crash_loop", "down_for_minutes",
    "down_over_window", "down_over_close", "down_over_night", "slept", "disk_slow", "database_busy",
    "clock_forward", "clock_back",
)  # fmt: skip
PEOPLE = (
    "answers_twice", "answers_late", "answers_replayed", "answers_raced", "answers_changed", "paused", "flattened",
    "killed", "locked",
)  # fmt: skip
KINDS = (*BROKER, *VENDOR, *MACHINE, *PEOPLE)
SHARE = 0.25
"""Each kind is on in a quarter of the seeds."""
RATES = (0.05, 0.2, 0.5)
"""How often a kind that is on strikes where it can."""
FEW_OCCASIONS = (
    "answers_twice", "answers_late", "answers_replayed", "answers_raced", "answers_changed", "order_not_shown_yet",
    "late_arrival", "cancel_race",
)  # fmt: skip
OFTEN = (0.2, 0.5, 1.0)
"""How often a kind strikes that has few occasions in a session."""
SPELLS = (
    "read_failed",
    "slow_broker",
    "stream_silent",
    "feed_down",
    "feed_stale",
    "database_busy",
    "disk_slow",
)
IN_A_SPELL = 0.8


class Faults:
    """The faults of one seed; ``is_calm`` switches all of them off for good.

    Most kinds strike by chance, each time they could. Some come in spells: then they strike nearly always while a
    spell lasts and never else.
    """

    def __init__(self, stream: Callable[[str], random.Random], now_ms: Callable[[], int]) -> None:
        self._rngs = {kind: stream(f"fault {kind}") for kind in KINDS}
        self._now_ms = now_ms
        self.rates = {
            kind: rng.choice(OFTEN if kind in FEW_OCCASIONS else RATES)
            for kind, rng in self._rngs.items()
            if rng.random() < SHARE
        }
        self.fired: Counter[str] = Counter()
        self.is_calm = False
        self.last_ms = 0
        """When a fault last took effect."""
        self._spells: dict[str, list[tuple[int, int]]] = {}

    def without(self, kinds: Sequence[str]) -> None:
        """Take kinds away that this world's broker cannot have."""
        for kind in kinds:
            self.rates.pop(kind, None)

    def is_on(self, kind: str) -> bool:
        """Whether a kind can strike now."""
        return kind in self.rates and not self.is_calm

    def strikes(self, kind: str) -> bool:
        """Whether a kind strikes this time. Who then lets it happen says so with ``happened``."""
        rate = self.rates.get(kind)
        if rate is None or self.is_calm:
            return False
        if kind in SPELLS:
            return self.is_under(kind) and self._rngs[kind].random() < IN_A_SPELL
        return self._rngs[kind].random() < rate

    def spell(self, kind: str, from_ms: int, until_ms: int) -> None:
        """Let a kind last for a while."""
        self._spells.setdefault(kind, []).append((from_ms, until_ms))

    def is_under(self, kind: str, at_ms: int | None = None) -> bool:
        """Whether a spell of a kind lasts."""
        if kind not in self._spells:
            return False
        now_ms = self._now_ms() if at_ms is None else at_ms
        return not self.is_calm and any(a <= now_ms < b for a, b in self._spells.get(kind, ()))

    def happened(self, kind: str) -> None:
        """Count a fault that really took effect."""
        self.fired[kind] += 1
        self.lasts()

    def lasts(self, for_ms: int = 0) -> None:
        """What has happened before still has consequences, and will have for so long."""
        self.last_ms = max(self.last_ms, self._now_ms() + for_ms)
