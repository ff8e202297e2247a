"""Bootstrap: settings become a running application; the only room that names every adapter."""

from finagent.bootstrap.agent import Agent, open_local, start_agent
from finagent.bootstrap.demo import Demo, DemoOptions, start_demo
from finagent.bootstrap.left_open import resting
from finagent.bootstrap.readers import open_reader
from finagent.bootstrap.research import data_check, data_list, doctor, import_data, run_scan
from finagent.bootstrap.runs import run_replay
from finagent.bootstrap.watching import watch_queue

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
