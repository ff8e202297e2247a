"""The one door to background tasks: a spawned task is named and kept alive until it ends."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")
_running: set[asyncio.Task[object]] = set()


def spawn(coro: Coroutine[object, object, T], name: str) -> asyncio.Task[T]:
    """Start `coro` as a task called `name` and hold a reference until it is done.

    The loop only keeps weak references, so a task nobody holds can vanish while it waits.
    """
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def forget_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of the tasks of a loop that will never run again (a simulated process that was killed)."""
    for task in [task for task in _running if task.get_loop() is loop]:
        _running.discard(task)


async def wait_first(*waits: Coroutine[object, object, object], name: str) -> None:
    """Return when the first wait is over and cancel the others; an error of the first is raised."""
    tasks = [spawn(wait, f"{name}-{number}") for number, wait in enumerate(waits)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
