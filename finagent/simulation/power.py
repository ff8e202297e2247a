"""When the process dies and how long it stays down, by seed."""

import random
from dataclasses import dataclass

EARLY_STEPS = 600
"""A start with its recovery takes fewer steps than this."""
MANY_STEPS = 9_000
MINUTE_MS = 60_000


@dataclass(slots=True)
class Power:
    """Decides for each life whether and where it ends, and for each death how long it lasts."""

    rng: random.Random
    crashes_left: int

    @classmethod
    def of(cls, rng: random.Random) -> "Power":
        """No crash in a quarter of the seeds, up to eight in others; some come one right after the other."""
        return cls(rng, rng.choice((0, 1, 1, 2, 3, 4, 6, 8)))

    def crash_at(self) -> int | None:
        """The step before which the next life ends: any, or one of its recovery."""
        if self.crashes_left <= 0:
            return None
        self.crashes_left -= 1
        most = EARLY_STEPS if self.rng.random() < 0.3 else MANY_STEPS
        return self.rng.randrange(1, most)

    def down_ms(self) -> int:
        """How long until it is started again: at once by its supervisor, or when somebody notices."""
        chance = self.rng.random()
        if chance < 0.6:
            return self.rng.randrange(200, 3_000)
        if chance < 0.85:
            return self.rng.randrange(20_000, 3 * MINUTE_MS)
        return self.rng.randrange(5 * MINUTE_MS, 40 * MINUTE_MS)

    def stop(self) -> None:
        """From now on nothing dies."""
        self.crashes_left = 0
