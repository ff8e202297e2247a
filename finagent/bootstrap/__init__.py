"""Bootstrap: settings become a running application; the only room that names every adapter.

A name loads its file when it is first asked for: a verb that needs one of them does not wait for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finagent.bootstrap.agent import Agent, open_local, start_agent
    from finagent.bootstrap.demo import Demo, DemoOptions, start_demo
    from finagent.bootstrap.left_open import resting
    from finagent.bootstrap.readers import open_reader
    from finagent.bootstrap.research import data_check, data_list, doctor, import_data, run_scan
    from finagent.bootstrap.runs import run_replay
    from finagent.bootstrap.watching import watch_queue

FILES = {
    "agent": ("Agent", "open_local", "start_agent"),
    "demo": ("Demo", "DemoOptions", "start_demo"),
    "left_open": ("resting",),
    "readers": ("open_reader",),
    "research": ("data_check", "data_list", "doctor", "import_data", "run_scan"),
    "runs": ("run_replay",),
    "watching": ("watch_queue",),
}
"""By file what it gives."""

__all__ = [
    "Agent",
    "Demo",
    "DemoOptions",
    "data_check",
    "data_list",
    "doctor",
    "import_data",
    "open_local",
    "open_reader",
    "resting",
    "run_replay",
    "run_scan",
    "start_agent",
    "start_demo",
    "watch_queue",
]


def __getattr__(name: str) -> object:
    """The thing of that name, from its file."""
    for file, names in FILES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
