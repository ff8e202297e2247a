"""Bugs planted in the durable path that only a kill can show: the harness that kills replays must see each."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.conftest import MADE_UP
from tests.crash.evidence import differences
from tests.crash.killer import BrokenRunError, Finished, Killer, after_jobs
from tests.crash.mutants import MUTANTS

ROUNDS = 8
KILLS_A_ROUND = 4
# The clock's own rows lag behind in this mutant even when all goes well; what they stand for may not.
OWN_ROWS = {"clock_beside": ("clock:", "feed:")}


def caught(killer: Killer, unkilled: Finished) -> str:
    """What first gave the bug away: a difference, or a run that broke; empty when nothing did."""
    own = OWN_ROWS.get(killer.errand.mutant, ())
    for number in range(1, ROUNDS + 1):
        try:
            finished = killer.finish(killer.home(), after_jobs(killer.chance, unkilled, count=KILLS_A_ROUND))
        except BrokenRunError as error:
            return f"round {number}: {error}"
        found = [
            each for each in differences(finished.evidence, unkilled.evidence) if not each.startswith(own)
        ]
        if found:
            return f"round {number}: {found[0]}"
    return ""


@pytest.mark.full
@pytest.mark.parametrize("name", ["clock_beside", "publish_beside"])
def test_the_kill_harness_catches_a_planted_bug(
    name: str,
    tmp_path: Path,
    warm_home: Path,
    unkilled: Finished,
    chance: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    """Never killed the mutant looks sound; killed it does not."""
    killer = Killer(replace(MADE_UP, mutant=name), tmp_path, chance, warm_home)
    assert killer.unkilled().evidence.outcome_hash == unkilled.evidence.outcome_hash
    sign = caught(killer, unkilled)
    print(f"{MUTANTS[name].bug}: caught after {len(killer.kills)} kills, {sign[:300]}")
    assert sign, f"not caught in {len(killer.kills)} kills: {MUTANTS[name].bug}"
    record_property("crash.planted bugs caught", 1)
