"""Processes that play seeds, one at a time each: no lock between them, so that each can be ended at any instant."""

import contextlib
import gc
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

T = TypeVar("T")
LOOK_S = 0.25
"""How often the parent looks whether it was told to stop."""


class Fleet(Generic[T]):
    """Plays numbers in processes of their own.

    Ctrl-C and SIGTERM are the parent's to handle: its processes never hear them, from their first instant on, and end
    when they are told or when the parent is gone. A process that dies costs the number it played.
    """

    def __init__(self, play: Callable[[int], T], lost: Callable[[int, str], T]) -> None:
        """``lost`` makes the result of a number whose process died, of which its exit code is told."""
        self._play, self._lost = play, lost
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, SpawnProcess] = {}
        self._busy: dict[Connection, int] = {}

    def results(
        self, numbers: Iterable[int], *, workers: int, is_stopped: Callable[[], bool]
    ) -> Generator[T, None, None]:
        """The result of each number as it is there, until all are or ``is_stopped``."""
        waiting = iter(numbers)
        try:
            for _ in range(workers):
                self._next(waiting)
            while self._busy and not is_stopped():
                for line in wait(list(self._busy), LOOK_S):
                    assert isinstance(line, Connection)
                    yield self._result(line, waiting)
        finally:
            self._end()

    def _result(self, line: Connection, waiting: Iterator[int]) -> T:
        number = self._busy.pop(line)
        try:
            result: T = line.recv()
        except (EOFError, ConnectionError):
            process = self._processes.pop(line)
            process.join()
            line.close()
            self._next(waiting)
            return self._lost(number, f"its process ended with {process.exitcode}")
        self._next(waiting, line)
        return result

    def _next(self, waiting: Iterator[int], line: Connection | None = None) -> None:
        """Give a process (or a new one) the next number; what it does not take is seen when it is asked."""
        number = next(waiting, None)
        if number is not None:
            line = line or self._start()
            self._busy[line] = number
            with contextlib.suppress(ConnectionError):
                line.send(number)

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._play), daemon=True)
        with _unheard():
            process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def _end(self) -> None:
        for process in self._processes.values():
            process.kill()
        for line, process in self._processes.items():
            process.join()
            line.close()
        self._processes.clear()
        self._busy.clear()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: a process that is started here never hears them, not even while it imports."""
    resource_tracker.ensure_running()  # its own start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(line: Connection, play: Callable[[int], object]) -> None:
    """Answer numbers with their results until nobody asks; what is imported by now is no garbage."""
    gc.freeze()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            line.send(play(line.recv()))
