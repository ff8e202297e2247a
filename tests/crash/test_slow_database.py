"""A database thread that dawdles by 0 to 2 ms at random changes nothing in what comes out of a replay."""

import os
import random
from dataclasses import replace
from pathlib import Path

from tests.crash.conftest import MADE_UP
from tests.crash.evidence import differences
from tests.crash.killer import Finished, Killer


def test_random_latency_in_the_database_thread_changes_nothing(
    tmp_path: Path, warm_home: Path, unkilled: Finished, chance: random.Random
) -> None:
    """Runs (three in full), each slow in its own way and under its own hash seed."""
    for number in range(3 if os.environ.get("FINAGENT_FULL") else 1):
        errand = replace(MADE_UP, stall_seed=chance.randrange(10**9))
        run = Killer(errand, tmp_path / str(number), chance, warm_home).unkilled()
        assert differences(run.evidence, unkilled.evidence) == []
