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
LONGEST_LIFE_S = 10.0


@dataclass(frozen=True, slots=True)
class Death:
    """One death: so many seconds after the start (``in_recovery``) or after the agent was ready, or at a failpoint."""

    after_s: float
    in_recovery: bool = False
    failpoint: str = ""

    @property
    def kind(self) -> str:
        """What the report counts it under."""
        if self.failpoint:
            return self.failpoint.partition("@")[0]
        return "recovery" if self.in_recovery else "random instant"


def named_steps() -> list[str]:
    """Every named step of a submit: before and after each commit of each job type, before and after each call."""
    inside = [f"{point}[{step}]" for step in STEP_TYPES for point in COMMIT_POINTS]
    return inside + [f"{point}[{method}]" for method in METHODS for point in BROKER_POINTS]


def deaths(chance: random.Random, count: int, *, start_s: float) -> Iterator[Death]:
    """So many deaths: half at random instants, a quarter in recovery, a quarter at the named steps in turn.

    ``start_s`` is how long a start takes here.
    """
    points = named_steps()
    chance.shuffle(points)
    for number in range(count):
        kind = number % 4
        if kind == 3:
            point = points[number // 4 % len(points)]
            yield Death(2 * start_s + LONGEST_LIFE_S, failpoint=f"{point}@{chance.randint(1, 2)}=kill")
        elif kind == 1:
            yield Death(chance.uniform(0.3, 1.2) * start_s, in_recovery=True)
        else:
            yield Death(chance.uniform(0.02, 1.6))
