"""A database thread that dawdles: up to 2 ms before and after every function, so that completion order is nobody's."""

import random
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from finagent.adapters.sqlite.connection import ThreadedDoor

T = TypeVar("T")
MOST_S = 0.002


def slow_door(seed: int) -> type[ThreadedDoor]:
    """A door like the real one whose thread stalls at random, by a seed."""
    chance, never = random.Random(seed), threading.Event()

    class SlowDoor(ThreadedDoor):
        async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
            before_s, after_s = chance.uniform(0, MOST_S), chance.uniform(0, MOST_S)

            def dawdle(connection: sqlite3.Connection) -> T:
                never.wait(before_s)
                try:
                    return work(connection)
                finally:
                    never.wait(after_s)

            return await ThreadedDoor.run(self, dawdle)

    return SlowDoor
