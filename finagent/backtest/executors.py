"""Where the parts of a search are computed: a pool of processes here; engines on other machines may stand behind it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from finagent.backtest.errors import BacktestError
from finagent.backtest.workers import begin, begun

T = TypeVar("T")
TRIES = 2


class Executor(Protocol):
    """Runs calls of one task that share nothing; a task is named by its module, its arguments are pickled.

    Data goes by path. What a call gives may depend on its arguments alone, so that neither how many workers there are
    nor which of them is first changes a result.
    """

    def run(self, task: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
        """What each call gives, in their order; the first exception of a task is raised.

        WorkerDiedError where a call lost its worker twice.
        """

    def close(self) -> None:
        """End the workers; another run starts new ones."""


class WorkerDiedError(BacktestError):
    """``left`` are the numbers of the calls that nobody finished."""

    def __init__(self, left: Sequence[int], count: int) -> None:
        super().__init__(
            f"a worker died twice over {len(left)} of {count} parts, the first of them {left[0]}",
            hint="look at the memory of this machine, or take fewer workers",
            code="worker_died",
        )
        self.left = tuple(left)


class LocalPool:
    """An ``Executor`` of processes of this machine, started when they are first needed and kept until ``close``."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the workers now, while their work is still being prepared."""
        self._started().submit(begun)

    def run(self, task: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
        """See ``Executor``: the death of a worker costs each call that was not done one more try."""
        done: dict[int, T] = {}
        for _ in range(TRIES):
            left = [number for number in range(len(calls)) if number not in done]
            if not self._try(task, calls, left, done):
                return [done[number] for number in range(len(calls))]
            self.close()
        raise WorkerDiedError([number for number in range(len(calls)) if number not in done], len(calls))

    def _try(
        self,
        task: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        left: Sequence[int],
        done: dict[int, T],
    ) -> bool:
        """Whether a worker died before all that was left was done."""
        pool = self._started()
        has_died = False
        try:
            asked = [(number, pool.submit(task, *calls[number])) for number in left]
        except BrokenProcessPool:
            return True
        for number, future in asked:
            try:
                done[number] = future.result()
            except BrokenProcessPool:
                has_died = True
        return has_died

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=begin)
        return self._pool

    def close(self) -> None:
        """End the processes; what has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
