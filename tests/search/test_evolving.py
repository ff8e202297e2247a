"""Optuna behind a Proposer: from the seed alone, nearer to the best than points without memory, warned off by rules."""

import pytest

from finagent.backtest.search.evolving import Evolving
from finagent.backtest.search.measures import front, requirement
from finagent.backtest.search.space import Dimension, Values, set_key
from finagent.backtest.search.trials import State, Trial

SPACE = (
    Dimension("a.a", tuple(map(str, range(200))), True),
    Dimension("b.b", tuple(map(str, range(200))), True),
    Dimension("c.c", ("good", "bad"), False),
)


def told(number: int, values: Values) -> Trial:
    """Return is best at (150, 40) and good; drawdown grows with b; trades fall with a."""
    a, b = int(values["a.a"]), int(values["b.b"])
    gained = -((a - 150) ** 2) - (b - 40) ** 2 - (5_000 if values["c.c"] == "bad" else 0)
    measures = {"return": gained / 1e4, "max_drawdown": b / 200, "trades": 200.0 - a}
    state = State.FAILED if b > 190 else State.PRUNED if b > 180 else State.DONE
    return Trial(number, values, state, measures if state is State.DONE else {**measures, "trades": None})


def searched(
    method: str,
    *,
    seed: int = 1,
    trials: int = 160,
    requires: tuple[str, ...] = (),
    objectives: tuple[str, ...] = ("return",),
    space: tuple[Dimension, ...] = SPACE,
) -> list[Trial]:
    """Batch by batch, told in order."""
    asked = Evolving(
        space, method=method, trials=trials, seed=seed, objectives=objectives,
        requirements=tuple(map(requirement, requires)),
    )  # fmt: skip
    found: list[Trial] = []
    while len(found) < trials:
        count = min(asked.batch, trials - len(found))
        new = [told(len(found) + at, values) for at, values in enumerate(asked.propose(len(found), count))]
        asked.learn(new)
        found += new
    return found


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_the_same_seed_asks_the_same_and_comes_near_the_best(method: str) -> None:
    """The last quarter of the trials is nearer to the best than the first; another seed asks for others."""
    first = searched(method)
    assert [trial.values for trial in first] == [trial.values for trial in searched(method)]
    assert first[0].values != searched(method, seed=2, trials=16)[0].values
    early, late = (
        sum(float(trial.measures["return"] or 0) for trial in part) for part in (first[:40], first[-40:])
    )
    assert late > early * 0.75
    assert max(float(trial.measures["return"] or 0) for trial in first) > -0.1


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_requirement_keeps_the_search_where_it_is_met(method: str) -> None:
    """Trades fall with the setting that gains: more of the last trials meet it than where it is not asked for."""
    rule = requirement("trades>=100")
    counts = [
        sum(rule.is_met(trial.measures) for trial in searched(method, requires=requires)[-60:])
        for requires in ((rule.text,), ())
    ]
    assert counts[0] > counts[1]


def test_two_objectives_spread_along_their_front() -> None:
    """Return against drawdown: more than a few that no other beats."""
    found = [
        trial
        for trial in searched("nsga2", objectives=("return", "max_drawdown"))
        if trial.state is State.DONE
    ]
    assert len(front([trial.measures for trial in found], ("return", "max_drawdown"))) >= 3


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
@pytest.mark.parametrize("trials", [30, 60])
def test_no_set_is_tried_twice(method: str, trials: int) -> None:
    """Though the samplers ask for the best again and again: half of all sets, and all of them; the same each time."""
    space = (
        Dimension("a.a", ("0", "30", "60", "90", "120", "150"), True),
        Dimension("b.b", ("0", "40", "80", "120", "185"), True),
        SPACE[2],
    )
    found = searched(method, trials=trials, space=space)
    assert len({set_key(trial.values) for trial in found}) == trials
    assert [trial.values for trial in found] == [
        trial.values for trial in searched(method, trials=trials, space=space)
    ]
