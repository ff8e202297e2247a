"""Twenty processes started at once on one home: one wins, the others name it."""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from finagent.runtime.lock import FileLock, HomeInUseError
from tests.proof.queue.nursery import Nursery

PROCESSES = 20


def test_one_of_twenty_processes_gets_the_home_and_the_others_name_its_pid(
    tmp_path: Path, is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Several races on the same home, each after a holder that has gone."""
    path, gate, curtain = tmp_path / "jobs.db", tmp_path / "gate", tmp_path / "curtain"
    rounds = 20 if is_full else 4
    with Nursery(tmp_path) as nursery, gate.open("wb") as closed, curtain.open("wb") as down:
        for _ in range(rounds):
            fcntl.flock(closed, fcntl.LOCK_EX)
            fcntl.flock(down, fcntl.LOCK_EX)
            nursery.order("start", count=PROCESSES, path=path, gate=gate, curtain=curtain)
            heard = [nursery.line(60) for _ in range(2 * PROCESSES)]
            assert [line for line in heard if line is None] == []
            fcntl.flock(closed, fcntl.LOCK_UN)
            told: list[list[str]] = []
            ended: list[list[str]] = []
            while len(told) < PROCESSES:
                words = str(nursery.line(60)).split()
                (ended if words[0] == "ended" else told).append(words)
            fcntl.flock(down, fcntl.LOCK_UN)
            ended += [["ended", *nursery.hear("ended")] for _ in range(PROCESSES - len(ended))]
            winners = [words[1] for words in told if words[0] == "won"]
            assert len(winners) == 1, told
            named = [words[2] for words in told if words[0] == "refused"]
            assert len(named) == PROCESSES - 1
            assert set(named) <= {winners[0]}, told
            assert {words[2] for words in ended} == {"0"}, nursery.errors()
    record_property("proof.starts at once, one winner each", rounds)


@pytest.mark.parametrize("left_behind", ["", "999999999\n"], ids=["new", "after-a-kill"])
def test_pid_is_named_even_when_the_winner_has_not_yet_written_it(tmp_path: Path, left_behind: str) -> None:
    """The file is empty, or still has the pid of a process that was killed, for an instant after the lock."""
    path = tmp_path / "jobs.db"
    lock_path = tmp_path / "jobs.db.lock"
    lock_path.write_text(left_behind)
    with lock_path.open("r+") as winner:
        fcntl.flock(winner, fcntl.LOCK_EX)
        late = threading.Timer(
            0.05, lambda: os.pwrite(winner.fileno(), f"{os.getpid()}\n".ljust(10).encode(), 0)
        )
        late.start()
        try:
            with pytest.raises(HomeInUseError) as refused:
                FileLock(path).acquire()
        finally:
            late.join()
    assert refused.value.pid == os.getpid()
