"""When the process dies and how long it stays down, by seed."""

import random
from dataclasses import dataclass

from finagent.simulation.faults import Faults

MINUTE_MS = 60_000
STEPS_OF_A_START = 500
STEPS_OF_A_DAY = 9_000
COMMITS_OF_A_DAY = 200
ORDERS_OF_A_DAY = 8
MOMENTS = (
    "submit.before", "submit.arrived", "submit.arrived", "cancel.arrived", "replace.before", "replace.arrived",
)  # fmt: skip
LONGEST_LOOP = 5


@dataclass(slots=True)
class Death:
    """Where a life ends: at the ``left``-th passing of a moment of the broker's line or the database, or at a step."""

    kind: str
    moment: str
    left: int

    def is_now(self, moment: str) -> bool:
        """Pass a moment; whether it is the one."""
        if moment != self.moment:
            return False
        self.left -= 1
        return self.left == 0

    @property
    def step(self) -> int | None:
        """The step before which the process dies, if it is one."""
        return self.left if self.moment == "step" else None


class Power:
    """Decides for each life whether and where it ends, and for each death how long it lasts."""

    def __init__(self, rng: random.Random, faults: Faults) -> None:
        self._rng, self._faults = rng, faults
        self._crashes_left = rng.choice((1, 1, 2, 3, 4, 6)) if self._has_crashes() else 0
        self._is_looping = 0

    def _has_crashes(self) -> bool:
        kinds = ("crash", "crash_in_start", "crash_at_commit", "crash_at_order", "crash_loop")
        return any(self._faults.is_on(kind) for kind in kinds)

    def death(self) -> Death | None:
        """Where the next life ends; None for one that is left alone."""
        rng = self._rng
        if self._is_looping:
            self._is_looping -= 1
            return Death("crash_loop", "step", rng.randrange(1, STEPS_OF_A_START))
        if self._crashes_left <= 0 or self._faults.is_calm:
            return None
        self._crashes_left -= 1
        on = [
            k
            for k in ("crash", "crash_in_start", "crash_at_commit", "crash_at_order")
            if self._faults.is_on(k)
        ]
        if self._faults.strikes("crash_loop") or not on:
            self._is_looping = rng.randrange(2, LONGEST_LOOP) if self._faults.is_on("crash_loop") else 0
            return Death("crash_loop", "step", rng.randrange(1, STEPS_OF_A_START))
        kind = rng.choice(on)
        if kind == "crash_at_commit":
            moment = rng.choice(("commit.before", "commit.after"))
            return Death(kind, moment, rng.randrange(1, COMMITS_OF_A_DAY))
        if kind == "crash_at_order":
            return Death(kind, rng.choice(MOMENTS), rng.randrange(1, ORDERS_OF_A_DAY))
        most = STEPS_OF_A_START if kind == "crash_in_start" else STEPS_OF_A_DAY
        return Death(kind, "step", rng.randrange(1, most))

    def down_ms(self) -> int:
        """How long until it is started again: at once by its supervisor, or when somebody notices."""
        if self._faults.strikes("down_for_minutes"):
            self._faults.happened("down_for_minutes")
            return self._rng.randrange(20_000, 6 * MINUTE_MS)
        if self._faults.strikes("down_over_window"):
            self._faults.happened("down_over_window")
            return self._rng.randrange(8 * MINUTE_MS, 25 * MINUTE_MS)
        return self._rng.randrange(200, 3_000)

    def stop(self) -> None:
        """From now on nothing dies."""
        self._crashes_left = self._is_looping = 0
