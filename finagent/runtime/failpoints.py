"""Named points where a test can kill, break or leave the process at the N-th pass.

`FINAGENT_FAILPOINTS="writer.before_commit@3=kill,processor.after_effect@1=raise"` arms points for a whole
process; `arm` does it from a test. Without either a point costs one look at an empty table.
"""

import os
import signal
from dataclasses import dataclass
from typing import Literal, cast, get_args

VARIABLE = "FINAGENT_FAILPOINTS"
EXIT_CODE = 77
Action = Literal["kill", "raise", "exit"]


class FailpointError(Exception):
    """A failpoint armed with `raise` was reached."""


@dataclass(slots=True)
class _Point:
    hits_left: int
    action: Action


_points: dict[str, _Point] | None = None


def hit(name: str) -> None:
    """Pass the point `name`; does nothing unless that point is armed and its turn has come."""
    points = _points if _points is not None else _load()
    if not points:
        return
    point = points.get(name)
    if point is not None:
        _pass(name, point)


def arm(name: str, *, at: int = 1, action: Action = "raise") -> None:
    """Let the `at`-th pass of `name` from now on do `action`."""
    points = _points if _points is not None else _load()
    points[name] = _Point(hits_left=at, action=action)


def disarm_all() -> None:
    """Forget every armed point, those of the environment too."""
    global _points
    _points = {}


def parse(text: str) -> dict[str, tuple[int, Action]]:
    """Read `name@N=action` items parted by commas; raises ValueError naming the item that is wrong."""
    found: dict[str, tuple[int, Action]] = {}
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        name, _, rest = item.partition("@")
        count, _, action = rest.partition("=")
        if not name or not count.isdigit() or int(count) < 1 or action not in get_args(Action):
            raise ValueError(f"{VARIABLE} has {item!r}: write name@N=kill, name@N=raise or name@N=exit")
        found[name] = (int(count), cast(Action, action))
    return found


def _load() -> dict[str, _Point]:
    global _points
    armed = parse(os.environ.get(VARIABLE, ""))
    _points = {name: _Point(hits_left=count, action=action) for name, (count, action) in armed.items()}
    return _points


def _pass(name: str, point: _Point) -> None:
    point.hits_left -= 1
    if point.hits_left != 0:
        return
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.action == "exit":
        os._exit(EXIT_CODE)
    raise FailpointError(f"failpoint {name} was reached")
