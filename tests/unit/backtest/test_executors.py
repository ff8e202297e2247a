"""The local pool: results in order, a task's own error raised, two deaths told with the calls that were left."""

import os
import signal
from pathlib import Path

import pytest

from finagent.backtest.executors import LocalPool, WorkerDiedError


def halved(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def killed_once(mark: str, number: int) -> int:
    if number == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_calls_come_back_in_order_and_a_tasks_error_is_its_own(tmp_path: Path) -> None:
    pool = LocalPool(2)
    try:
        assert pool.run(halved, [(8,), (4,), (6,)]) == [4, 2, 3]
        with pytest.raises(ValueError, match="3 is odd"):
            pool.run(halved, [(2,), (3,)])
        mark = str(tmp_path / "mark")
        assert pool.run(killed_once, [(mark, number) for number in range(4)]) == [0, 1, 2, 3]
        assert Path(mark).exists()
    finally:
        pool.close()


def test_call_that_kills_its_worker_twice_is_told() -> None:
    pool = LocalPool(1)
    with pytest.raises(WorkerDiedError, match="died twice over") as told:
        pool.run(killed, [(0,), (1,)])
    assert 1 in told.value.left
    assert told.value.code == "worker_died"
    pool.close()
