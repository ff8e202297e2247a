"""Starts processes that are made to die: imports once, forks per order, so that a death costs a tenth of a second.

It holds no database and no thread when it forks, so what dies is a whole process with a start of its own.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping

from tests.proof.queue import family, starter, steps

Arguments = dict[str, str]
Errand = Callable[[Arguments], int]


def looped(work: Callable[[Arguments], Coroutine[object, object, None]]) -> Errand:
    """An errand in an event loop of its own; it ends with 0, or with an error."""

    def run(arguments: Arguments) -> int:
        asyncio.run(work(arguments))
        return 0

    return run


ERRANDS = {"family": looped(family.main), "start": looped(starter.main), "steps": looped(steps.main)}


def tell(line: str) -> None:
    """One line to the test that gave the order."""
    os.write(1, f"{line}\n".encode())


def child(errand: Errand, arguments: Arguments) -> None:
    """The life of one process; nothing of the zygote's own end runs in it."""
    code = 1
    try:
        code = errand(arguments)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def main(errands: Mapping[str, Errand]) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pids = []
        for _ in range(order["count"]):
            pid = os.fork()
            if pid == 0:
                child(errands[order["errand"]], order["arguments"])
            pids.append(pid)
            tell(f"pid {pid}")
        for pid in pids:
            _, status = os.waitpid(pid, 0)
            tell(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(ERRANDS)
