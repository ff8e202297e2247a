"""A study's document and its page: what the choice is worth, what each setting does, charts that plotly takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finagent.backtest.pages.study import study_page
from finagent.backtest.search.measures import measure
from finagent.backtest.search.space import Dimension
from finagent.backtest.search.study import Search
from finagent.backtest.search.trials import State, Trial
from finagent.bootstrap.study_report import report
from tests.conformance.trading import FREE
from tests.search.world import search, study
from tests.unit.backtest.test_pages import EVIL, figures, own_part

TRIALS, SESSIONS = 24, 160


def made_up(*, skill: int | None = None) -> tuple[Search, list[Trial]]:
    """Trials of noise over two settings, one of them perhaps with an edge."""
    space = (
        Dimension("a.a", tuple(map(str, range(12))), True),
        Dimension("b.b", ("x", EVIL), False),
    )
    asked = Search(space=space, method="grid", trials=TRIALS, seed=1, objectives=("return", "max_drawdown"))
    noise = np.random.default_rng(3).normal(0, 500, (TRIALS, SESSIONS))
    if skill is not None:
        noise[skill] += 300
    trials = []
    for number in range(TRIALS):
        gains = (noise[number] * 10**8).astype(np.int64)
        values = {"a.a": str(number // 2), "b.b": ("x", EVIL)[number % 2]}
        measures = measure(gains, FREE.start_equity_e8, trades=80, wins=41)
        trials.append(Trial(number, values, State.DONE, measures, gains))
    return asked, trials


def document(*, skill: int | None = None) -> dict[str, Any]:
    """The report of made-up trials."""
    asked, trials = made_up(skill=skill)
    return dict(report(asked, trials, {"study_id": "abc", "sessions": SESSIONS, "bars": "daily"}, base=FREE))


def test_noise_is_called_noise_and_skill_skill() -> None:
    """The best of two dozen trials of chance, and one that earns a third of its deviation every session."""
    noise, skilled = document(), document(skill=5)
    assert skilled["best"]["number"] == 5
    worth = [each["worth"] for each in (noise, skilled)]
    assert (
        worth[0]["deflated_sharpe"]["probability"] < 0.8 < 0.99 < worth[1]["deflated_sharpe"]["probability"]
    )
    assert worth[0]["deflated_sharpe"]["trials"] == TRIALS
    assert worth[1]["overfitting"]["probability"] < 0.01 < 0.2 < worth[0]["overfitting"]["probability"]
    counts = worth[0]["overfitting"]["logits"]["counts"]
    assert sum(counts) == worth[0]["overfitting"]["splits"] == 12_870


def test_each_setting_has_its_groups_and_each_pair_its_map() -> None:
    """Twelve values in six pairs; medians of the cells."""
    found = document()["sensitivity"]
    first, second = found["settings"]
    assert [each["value"] for each in first["groups"]] == [f"{at} to {at + 1}" for at in range(0, 12, 2)]
    assert [each["trials"] for each in second["groups"]] == [12, 12]
    assert 0 < first["explained"] < 1
    (drawn,) = found["maps"]
    asked, trials = made_up()
    own = [
        trial.measures["return"]
        for trial in trials
        if trial.values["b.b"] == "x" and int(trial.values["a.a"]) < 2
    ]
    assert drawn["medians"][0][0] == pytest.approx(np.median(np.array(own, float)))
    assert (len(drawn["xs"]), len(drawn["ys"])) == (6, 2)
    assert asked.space[0].name == drawn["x"]


def test_the_page_has_every_part_and_what_stands_in_the_data_stays_text() -> None:
    """Charts by plotly's own schema; a value that is markup is shown as it is written."""
    from plotly.graph_objects import Figure

    page = study_page(document())
    for heading in (
        "Return against drawdown",
        "Best trials",
        "Front of the objectives",
        "What each setting does",
    ):
        assert f"<h2>{heading}</h2>" in page
    drawn = figures(page)
    assert len(drawn) == 1 + 2 + 1 + 1
    for figure in drawn:
        Figure(figure)
    assert "<img src=x" not in own_part(page)


def test_a_study_too_small_to_tell_says_so(tmp_path: Path) -> None:
    """Three sessions; and one in which nothing is eligible."""
    asked = search(requires=("trades>1000",))
    trials = study(tmp_path, asked)
    found = dict(report(asked, trials, {"study_id": "abc"}, base=FREE))
    assert (found["best"], found["front"], found["top"]) == (None, [], [])
    assert found["worth"] == {"deflated_sharpe": None, "overfitting": None}
    page = study_page(found)
    assert "No trial meets every requirement." in page
    assert "Too few trials or sessions to tell." in page
