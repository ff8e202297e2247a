"""Twenty processes started at once on one home: one wins, the others name it."""

import fcntl
from collections.abc import Callable
from pathlib import Path

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
            told, ended = [], []
            while len(told) < PROCESSES:
                words = str(nursery.line(60)).split()
                (ended if words[0] == "ended" else told).append(words)
            fcntl.flock(down, fcntl.LOCK_UN)
            ended += [["ended", *nursery.hear("ended")] for _ in range(PROCESSES - len(ended))]
            winners = [words[1] for words in told if words[0] == "won"]
            assert len(winners) == 1, told
            assert [words[2] for words in told if words[0] == "refused"] == winners * (PROCESSES - 1), told
            assert {words[2] for words in ended} == {"0"}, nursery.errors()
    record_property("proof.starts at once, one winner each", rounds)
