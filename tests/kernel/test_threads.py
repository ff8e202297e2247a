"""Threads of one process: the same bits for any number of them, what ends them, and none beside a worker's siblings."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from hypothesis import given, settings

from finagent.backtest.executors import LocalPool
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel import engine, threads
from finagent.backtest.running import Bars
from finagent.backtest.sweeping import sweep
from tests.conformance.trading import DAY, lines
from tests.kernel.minute_world import minute_cases
from tests.kernel.test_engine import LATER, three_days
from tests.kernel.test_sweep import some_sets
from tests.kernel.world import PATIENT, Case, cases, dataset_of, tables


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of sets is worth threads, and more parts than these."""
    monkeypatch.setattr(engine, "ROWS_A_THREAD", 1)
    monkeypatch.setattr(threads, "SETS_A_PART", 3)


def same_for_any_number(case: Case, bars: Bars) -> None:
    """Gains, counts and states, as written and as machine code."""
    with dataset_of(case) as dataset:
        shared, chosen, equity_e8 = tables(case, dataset, 0, bars)
    sets = np.asarray([chosen] * 14)
    sets[:, c.MIN_GAP] = (60_000, 20_000, 90_000, 39_900, 40_000, 20_000, 60_000) * 2
    sets[4:7, c.TOP] = 1
    sets[7:, c.TARGET_R] = 700_000
    sets[::3, c.STOP_WIDTH] = 9_000
    accounts = [equity_e8 - number for number in range(14)]
    accounts[5] = c.MOST_EQUITY_E8 + 1
    written = engine.play_many(shared, sets, accounts, threads=2, is_compiled=False)
    for count in (1, 2, 3, 20):
        found = engine.play_many(shared, sets, accounts, threads=count, is_compiled=True)
        for name in ("states", "gains", "tallies"):
            assert np.array_equal(getattr(found, name), getattr(written, name)), (name, count)
    assert np.flatnonzero(written.states[:, c.IS_BEYOND] == c.BEYOND).tolist() == [5]


@settings(PATIENT, max_examples=4)
@given(cases())
def test_any_number_of_threads_gives_the_same_bits(case: Case) -> None:
    """Sets that share plans, accounts of their own, one beyond the integers."""
    pytest.importorskip("numba")
    same_for_any_number(case, Bars.DAILY)


@settings(PATIENT, max_examples=4)
@given(minute_cases())
def test_any_number_of_threads_gives_the_same_bits_on_minutes(case: Case) -> None:
    """Days on minutes and on daily bars in turn."""
    pytest.importorskip("numba")
    same_for_any_number(case, Bars.AUTO)


def test_a_sweep_has_one_hash_for_any_number_of_threads_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written by one process, as machine code by threads, and by workers."""
    pytest.importorskip("numba")
    dataset = three_days().dataset(tmp_path)
    sessions = dataset.between(DAY, LATER)
    hashes = [sweep(dataset, some_sets(), lines, sessions).sweep_hash]
    for name in ("SOME_ROWS", "MANY_ROWS"):
        monkeypatch.setattr(engine, name, 0)
    for count in (None, 1, 2, 3):
        hashes.append(sweep(dataset, some_sets(), lines, sessions, threads=count).sweep_hash)
    hashes.append(sweep(dataset, some_sets(), lines, sessions, threads=2, workers=2).sweep_hash)
    assert len(set(hashes)) == 1, hashes


def test_a_worker_takes_one_thread() -> None:
    """Its siblings have the other cores; a process of its own has as many as it may use."""
    pool = LocalPool(1)
    try:
        assert pool.run(threads.default_threads, [()]) == [1]
    finally:
        pool.close()
    assert 1 <= threads.default_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("count", [1, 2])
def test_every_call_is_made_and_the_first_error_ends_the_rest(count: int) -> None:
    """What has not begun is dropped."""
    done: list[int] = []
    threads.play_at_once([lambda number=number: done.append(number) for number in range(9)], count)
    assert sorted(done) == list(range(9))

    def wrong() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.play_at_once([wrong, *[lambda: done.append(9)] * 50_000], count)
    assert done.count(9) < 50_000


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_ends_them_after_the_part_that_they_play(count: int) -> None:
    """It is heard while other threads play."""
    heard = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        heard.set()
        raise KeyboardInterrupt

    done: list[bool] = []
    before = signal.signal(signal.SIGINT, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.play_at_once(
                [
                    lambda: os.kill(os.getpid(), signal.SIGINT),
                    *[lambda: done.append(heard.wait(10))] * 50_000,
                ],
                count,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(done) < 50_000
    assert all(done)
