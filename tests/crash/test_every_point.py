"""Every failpoint x every job type of the real agent: killed there and started again, a day ends as if never killed."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from finagent.bootstrap.rules import job_types
from tests.crash.conftest import MADE_UP
from tests.crash.evidence import differences, unfinished
from tests.crash.killer import Finished, Kill, Killer
from tests.proof.points import POINTS, Chain, Death

FADE = {
    "FINAGENT__SCAN__STYLE": "fade",
    "FINAGENT__RISK__ALLOW_SHORTS": "true",
    "FINAGENT__EXECUTION__SLIPPAGE_BPS": "40",
    "FINAGENT__RISK__PAUSE_LOSS_PCT": "0.2",
    "FINAGENT__RISK__FLATTEN_LOSS_PCT": "0.3",
    "FINAGENT__RISK__RISK_PER_TRADE_PCT": "0.3",
    "FINAGENT__PLANNING__TRAIL_AFTER_R": "0.3",
    "FINAGENT__PLANNING__TRAIL_ATR": "0.3",
}
SEPARATE = {"FINAGENT__EXECUTION__EXITS": "separate", "FINAGENT__EXECUTION__PARTICIPATION_PCT": "1"}
DAYS = {
    "losing": replace(MADE_UP, settings={**FADE, "FINAGENT__DATA__SEED": "5"}),
    "trailing": replace(MADE_UP, settings={**FADE, "FINAGENT__DATA__SEED": "6"}),
    "asked": replace(MADE_UP, mode="approve"),
    "separate": replace(MADE_UP, settings={**FADE, **SEPARATE, "FINAGENT__DATA__SEED": "5"}),
}
"""Short days that together run every job type of a replay: a loss that hits its limit, a stop that moves, a plan nobody
answers, exits that are orders of their own."""
NOT_IN_A_REPLAY = ["catch_up", "halt_check", "sell_external"]
"""Of a broker's stream, halts told as they come, and shares that are not ours: agents die there in ``finagent sim``."""

Tell = Callable[[str, object], None]


class Day:
    """One of the days, its outcome when nobody kills it, and deaths on homes of its own."""

    def __init__(self, name: str, folder: Path, chance: random.Random, shared: Path) -> None:
        self.name = name
        self.killer = Killer(DAYS[name], folder / name, chance, shared)
        self.whole: Finished = self.killer.unkilled()
        assert unfinished(self.whole.evidence) == []
        self.jobs = Counter(str(row[0]) for row in self.whole.evidence.tables["jobs"])

    def survive(self, deaths: Sequence[Death]) -> list[Death]:
        return Chain(self.killer.home, self._start, self._check).survive(deaths)

    def death(self, point: str, kind: str) -> Death:
        """At a pass of the first or of a later job of the type."""
        return Death(point, kind, self.killer.chance.randint(1, self.jobs[kind]))

    def _start(self, home: Path, failpoint: str) -> Finished | None:
        return self.killer.start(home, Kill(failpoint=failpoint))

    def _check(self, finished: Finished, deaths: Sequence[Death]) -> None:
        told = ", ".join(str(death) for death in deaths)
        assert unfinished(finished.evidence) == [], f"{self.name} day killed at {told}"
        assert differences(finished.evidence, self.whole.evidence) == [], f"{self.name} day killed at {told}"


def test_a_day_killed_at_every_point_about_some_job_type_ends_as_if_never_killed(
    tmp_path: Path, warm_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """Each point once, each time about another type by the printed seed; then a rare type."""
    losing = Day("losing", tmp_path, chance, warm_home)
    kinds = chance.sample(sorted(losing.jobs), len(POINTS))
    struck = losing.survive([losing.death(*pair) for pair in zip(POINTS, kinds, strict=True)])
    name, kind = chance.choice(
        [("trailing", "move_stop"), ("trailing", "replace"), ("asked", "approval_expiry")]
    )
    rare = Day(name, tmp_path, chance, warm_home)
    struck += rare.survive([rare.death(point, kind) for point in chance.sample(POINTS, 2)])
    print(f"{len(struck)} kills: {', '.join(str(death) for death in struck)}")
    record_property("crash.points x types survived", len(struck))


@pytest.mark.full
def test_days_killed_at_every_point_about_every_job_type_end_as_if_never_killed(
    tmp_path: Path, warm_home: Path, chance: random.Random, record_property: Tell
) -> None:
    """All of them, type by type, in the day that has most jobs of the type."""
    days = [Day(name, tmp_path, chance, warm_home) for name in DAYS]
    missing = sorted(str(kind) for kind in job_types() if not any(day.jobs[kind] for day in days))
    assert missing == NOT_IN_A_REPLAY, f"no day runs {missing}: give one other settings"
    kinds = [kind for kind in job_types() if kind not in NOT_IN_A_REPLAY]
    struck: list[Death] = []
    for kind in kinds:
        day = max(days, key=lambda day: day.jobs[kind])
        struck += day.survive([day.death(point, str(kind)) for point in POINTS])
        print(
            f"{kind}: {day.jobs[kind]} jobs in the {day.name} day, killed at {len(POINTS)} points", flush=True
        )
    assert len({(death.point, death.kind) for death in struck}) == len(POINTS) * len(kinds)
    record_property("crash.points x types survived", len(struck))
