"""Parts of many sets at once in one process: how they are cut, and the threads that play them.

Machine code runs outside the interpreter's lock, so that as many parts are played at once as there are threads. Each
writes rows of its own, and no part knows of another.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import parent_process

import numpy as np

from finagent.backtest.kernel import columns as c
from finagent.backtest.source import Ints

SETS_A_PART = 500
"""Larger parts share no more; a part of so many is over soon after somebody asks to stop."""


def default_threads() -> int:
    """As many as cores that this process may use; in a worker one, since its siblings have the others."""
    if parent_process() is not None:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cuts(rows: Ints, size: int) -> list[tuple[int, int]]:
    """Parts of about so many sets; those that differ only in their gap stay together, unless they are many."""
    starts = np.flatnonzero(rows[:, c.IS_KIN] == 0).tolist()
    edges, count = [0], len(rows)
    while edges[-1] < count:
        aim = edges[-1] + size
        at = bisect_left(starts, aim)
        edge = starts[at] if at < len(starts) else count
        edges.append(edge if edge < aim + size else min(aim, count))
    return list(pairwise(edges))


def parts_for(rows: Ints, threads: int) -> list[tuple[int, int]]:
    """Sets in the order in which they are played, cut so that each thread has as many."""
    count = max(1, min(threads, len(rows)))
    count *= max(1, round(len(rows) / (SETS_A_PART * count)))
    return cuts(rows, -(-len(rows) // count))


def play_at_once(calls: Sequence[Callable[[], None]], threads: int) -> None:
    """All calls by so many threads; the first exception is raised when those that have begun are over.

    So is Ctrl-C, which is heard after each call where there is but one thread.
    """
    if min(threads, len(calls)) <= 1:
        for call in calls:
            call()
        return
    with ThreadPoolExecutor(min(threads, len(calls)), thread_name_prefix="kernel") as pool:
        asked = [pool.submit(call) for call in calls]
        try:
            for each in asked:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
