"""A replay killed with SIGKILL wherever it stands, and started again, ends as one that was never killed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from tests.crash.conftest import MADE_UP
from tests.crash.evidence import differences, unfinished
from tests.crash.killer import Finished, Kill, Killer, after_jobs, counted_steps, random_instants
from tests.crash.replay_child import Errand
from tests.proof.points import POINTS, Death

TWENTY = Errand(home="", vendor="replay", first="2018-02-16", last="2018-03-16")
EXECUTION = "FINAGENT__EXECUTION__"
IN_PARTS = replace(
    MADE_UP,
    settings={
        f"{EXECUTION}PARTICIPATION_PCT": "0.03",
        f"{EXECUTION}ENTRY_TTL_S": "1800",
        f"{EXECUTION}COMMISSION_PER_SHARE": "0.005",
        f"{EXECUTION}COMMISSION_MIN": "1",
        f"{EXECUTION}COMMISSION_MAX_PCT": "0.01",
        f"{EXECUTION}REGULATORY_FEES": "false",
    },
)
"""Up to thirty parts an order; half a cent a share, a dollar at least, 0.01 % of the value at most."""
Plan = Callable[[random.Random, Finished], Iterator[Kill]]
Tell = Callable[[str, object], None]


def check_same_outcome(killer: Killer, plan: Plan, *, kills: int, tell: Tell) -> None:
    """Kill runs until so many kills struck, and compare each with the run that nobody killed."""
    unkilled = killer.unkilled()
    assert unkilled.evidence.count("trade") >= 2, "a range without trades proves nothing"
    assert unfinished(unkilled.evidence) == []
    rounds = instants = 0
    while len(killer.kills) < kills:
        before = len(killer.kills)
        finished = killer.finish(killer.home(), plan(killer.chance, unkilled))
        rounds, instants = rounds + 1, instants + len(set(finished.evidence.boots))
        told = ", ".join(killer.kills[before:])
        assert differences(finished.evidence, unkilled.evidence) == [], f"after kills at {told}"
    print(
        f"{len(killer.kills)} kills in {rounds} runs, taken up at {instants} instants: {', '.join(killer.kills)}"
    )
    assert instants > kills // 3, "too many kills struck at one instant of the run"
    tell("crash.kills survived", len(killer.kills))


def test_two_sessions_killed_again_and_again_end_as_if_never_killed(
    tmp_path: Path, warm_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """Journal with its hashes, orders, fills, trades, every other table and the hash: at instants and at steps.

    The last three kills are of the kind that shows the planted bugs.
    """

    def plan(chance: random.Random, run: Finished) -> Iterator[Kill]:
        instants = random_instants(chance, run, count=4)
        return chain(instants, counted_steps(chance, run, count=3), after_jobs(chance, run, count=3))

    killer = Killer(replace(MADE_UP, last="2026-11-05"), tmp_path, chance, warm_home)
    check_same_outcome(killer, plan, kills=8, tell=record_property)


def test_an_order_half_filled_when_its_agent_dies_pays_one_commission(
    tmp_path: Path, warm_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """At its first part and somewhere later: least and most are those of the order, whoever books the rest."""
    killer = Killer(IN_PARTS, tmp_path, chance, warm_home)
    whole = killer.unkilled().evidence
    passes = (1, chance.randint(1, 12))
    deaths = [Death(chance.choice(POINTS), "broker_event", at) for at in passes]
    found = killer.finish(killer.home(), (Kill(failpoint=str(death)) for death in deaths)).evidence
    assert len(killer.kills) == len(deaths)
    assert differences(found, whole) == [], f"after kills at {', '.join(killer.kills)}"
    parts: dict[object, list[tuple[int, ...]]] = {}
    for row in found.tables["venue_fill"]:
        quantity_e4, price_e4, at_ms, fees_e8 = (int(str(row[column])) for column in (6, 7, 9, 10))
        parts.setdefault(row[2], []).append((at_ms, quantity_e4, quantity_e4 * price_e4, fees_e8))
    assert any(own[0][0] <= boot < own[-1][0] for own in parts.values() for boot in found.boots[1:])
    for own in parts.values():
        _, shares_e4, notional_e8, paid_e8 = (sum(each) for each in zip(*own, strict=True))
        assert paid_e8 == min(max(shares_e4 * 50, 10**8), -(-notional_e8 // 10_000))
    record_property("crash.kills survived", len(killer.kills))


@pytest.mark.full
def test_twenty_real_sessions_killed_at_25_random_instants_end_as_if_never_killed(
    tmp_path: Path, crash_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """The replay of 2018-02-16 to 2018-03-16, killed while it starts, runs and recovers."""

    def plan(chance: random.Random, run: Finished) -> Iterator[Kill]:
        return random_instants(chance, run, count=25)

    killer = Killer(TWENTY, tmp_path, chance, crash_home)
    check_same_outcome(killer, plan, kills=25, tell=record_property)


@pytest.mark.full
def test_twenty_real_sessions_killed_at_counted_steps_end_as_if_never_killed(
    tmp_path: Path, crash_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """Before and after commits, inside a tick, between a handler's effect and its record; a third in recovery."""

    def plan(chance: random.Random, run: Finished) -> Iterator[Kill]:
        return counted_steps(chance, run, count=25)

    killer = Killer(TWENTY, tmp_path, chance, crash_home)
    check_same_outcome(killer, plan, kills=25, tell=record_property)
