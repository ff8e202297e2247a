"""What every worker process of a backtest does first: leave Ctrl-C to its parent, and never outlive it."""

import os
import signal
import threading
from multiprocessing import parent_process


def begin() -> None:
    """The initializer of a pool's workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def begun() -> None:
    """A task that only a worker that has begun can do."""


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
