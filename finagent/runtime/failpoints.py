"""Named points where a test can kill, break or leave the process at the N-th pass.

`FINAGENT_FAILPOINTS="writer.before_commit@3=kill,processor.after_effect[score]@1=raise"` arms points for a whole
process; `arm` does it from a test. A point with a kind in brackets counts only the passes that are about that
kind (a job type). Without an armed point a pass costs one look at an empty table. Which point killed the process is
appended to the file that `FINAGENT_FAILPOINT_LOG` names, if it names one.
"""

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

VARIABLE = "FINAGENT_FAILPOINTS"
LOG_VARIABLE = "FINAGENT_FAILPOINT_LOG"
EXIT_CODE = 77
Action = Literal["kill", "raise", "exit"]
ITEM = re.compile(r"(?P<point>[^\[\]@=]+(\[[^\[\]@=]+\])?)@(?P<count>[1-9][0-9]*)=(?P<action>\w+)")


class FailpointError(Exception):
    """A failpoint armed with `raise` was reached."""


@dataclass(slots=True)
class _Point:
    hits_left: int
    action: Action


_points: dict[str, _Point] | None = None


def hit(name: str, kinds: Sequence[str] = ()) -> None:
    """Pass the point `name`, about these `kinds`; does nothing unless it is armed and its turn has come."""
    points = _points if _points is not None else _load()
    if not points:
        return
    _pass(points, name)
    for kind in dict.fromkeys(kinds):
        _pass(points, f"{name}[{kind}]")


def is_armed() -> bool:
    """Whether any point is armed: only then is it worth working out the kinds of a pass."""
    return bool(_points if _points is not None else _load())


def arm(name: str, *, at: int = 1, action: Action = "raise", kind: str | None = None) -> None:
    """Let the `at`-th pass of `name` (about `kind`, if given) from now on do `action`."""
    points = _points if _points is not None else _load()
    points[name if kind is None else f"{name}[{kind}]"] = _Point(hits_left=at, action=action)


def disarm_all() -> None:
    """Forget every armed point, those of the environment too."""
    global _points
    _points = {}


def parse(text: str) -> dict[str, tuple[int, Action]]:
    """Read `name@N=action` or `name[kind]@N=action` items parted by commas; ValueError names the wrong one."""
    found: dict[str, tuple[int, Action]] = {}
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        match = ITEM.fullmatch(item)
        if match is None or match["action"] not in get_args(Action):
            raise ValueError(
                f"{VARIABLE} has {item!r}: write name@N=kill, name@N=raise or name@N=exit, N at least 1,"
                " or name[type]@N=kill for the passes of one job type"
            )
        found[match["point"]] = (int(match["count"]), cast(Action, match["action"]))
    return found


def _load() -> dict[str, _Point]:
    global _points
    armed = parse(os.environ.get(VARIABLE, ""))
    _points = {name: _Point(hits_left=count, action=action) for name, (count, action) in armed.items()}
    return _points


def _pass(points: dict[str, _Point], name: str) -> None:
    point = points.get(name)
    if point is None:
        return
    point.hits_left -= 1
    if point.hits_left != 0:
        return
    if point.action == "kill":
        _write_down(name)
        os.kill(os.getpid(), signal.SIGKILL)
    if point.action == "exit":
        os._exit(EXIT_CODE)
    raise FailpointError(f"failpoint {name} was reached")


def _write_down(name: str) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if not path:
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{name}\n".encode())
    os.close(file)
