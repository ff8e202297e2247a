"""Starts processes that are made to die: imports once, forks per order, so that a death costs a tenth of a second.

It holds no database and no thread when it forks, so what dies is a whole process with a start of its own.
"""

import asyncio
import json
import os
import sys
import traceback

from tests.proof.queue import family, starter, steps

ERRANDS = {"family": family.main, "start": starter.main, "steps": steps.main}


def tell(line: str) -> None:
    """One line to the test that gave the order."""
    os.write(1, f"{line}\n".encode())


def child(errand: str, arguments: dict[str, str]) -> None:
    """The life of one process; nothing of the zygote's own end runs in it."""
    code = 0
    try:
        asyncio.run(ERRANDS[errand](arguments))
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pids = []
        for _ in range(order["count"]):
            pid = os.fork()
            if pid == 0:
                child(order["errand"], order["arguments"])
            pids.append(pid)
            tell(f"pid {pid}")
        for pid in pids:
            _, status = os.waitpid(pid, 0)
            tell(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
