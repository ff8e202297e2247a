"""How an agent dies in a drill: at an instant, in its recovery, or at a named step of an order."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

STEP_TYPES = (
    "approve",
    "execute",
    "send",
    "protect",
    "replace",
    "broker_event",
    "exit",
    "send_exit",
    "cancel_entry",
)
METHODS = ("POST", "PATCH", "DELETE")
BROKER_POINTS = ("broker.before_write", "broker.after_write")
COMMIT_POINTS = (
    "processor.after_effect",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_deliver",
)
LONGEST_LIFE_S = 25.0
AGAIN_S = 4.0


@dataclass(frozen=True, slots=True)
class Death:
    """One death: so many seconds after the start (``in_recovery``) or after the agent was ready, or at a failpoint."""

    after_s: float
    in_recovery: bool = False
    failpoints: str = ""
    is_again: bool = False
    """In the life after one that died at this very step: what it left half done is gone through again."""


def named_steps() -> list[str]:
    """Every named step of a submit: before and after each commit of each job type, before and after each call."""
    inside = [f"{point}[{step}]" for step in STEP_TYPES for point in COMMIT_POINTS]
    return inside + [f"{point}[{method}]" for method in METHODS for point in BROKER_POINTS]


class Deaths:
    """So many deaths: half at random instants, a quarter in recovery, a quarter at the named steps.

    For the last kind all steps are armed at which no agent has died yet (then those at which none has in its recovery):
    whichever it passes first ends it. After ``PATIENCE`` lives without any, and when none is left, all are armed
    again. A step at which one died is armed for the next life alone, until one has died there again, in its recovery;
    then the turns go on.

    ``start_s`` is how long a start takes here.
    """

    PATIENCE = 2

    def __init__(self, chance: random.Random, count: int, *, start_s: float) -> None:
        self._chance, self._left, self._start_s = chance, count, start_s
        self._number = 0
        self._reached: set[str] = set()
        self._reached_again: set[str] = set()
        self._next_again = ""
        self._in_vain = 0

    @property
    def not_reached(self) -> list[str]:
        """The steps at which nobody has died yet."""
        return [point for point in named_steps() if point not in self._reached]

    @property
    def are_left(self) -> bool:
        """Whether another one comes."""
        return self._number < self._left

    def reached(self, point: str, *, is_again: bool = False) -> None:
        """An agent died at this step; "" where it was killed before it came to any."""
        if is_again:
            self._reached_again |= {point} if point else set()
            return
        if point:
            self._reached.add(point)
            self._next_again = "" if point in self._reached_again else point
        self._in_vain = 0 if point else self._in_vain + 1

    def __iter__(self) -> Iterator[Death]:
        return self

    def __next__(self) -> Death:
        if self._number >= self._left:
            raise StopIteration
        kind = self._number % 4
        self._number += 1
        if self._next_again:
            point, self._next_again = self._next_again, ""
            return Death(2 * self._start_s + AGAIN_S, failpoints=f"{point}@1=kill", is_again=True)
        if kind == 3:
            return Death(2 * self._start_s + LONGEST_LIFE_S, failpoints=self._armed())
        if kind == 1:
            return Death(self._chance.uniform(0.3, 1.2) * self._start_s, in_recovery=True)
        return Death(self._chance.uniform(0.02, 1.6))

    def _armed(self) -> str:
        points = self.not_reached or [point for point in named_steps() if point not in self._reached_again]
        if points and self._in_vain < self.PATIENCE:
            return ",".join(f"{point}@1=kill" for point in points)
        self._in_vain = 0
        return ",".join(f"{point}@{self._chance.randint(1, 2)}=kill" for point in named_steps())
