"""Research as pages: every group with its interval, drawn by plotly's own schema, harmless whatever the data hold."""

import copy
from typing import Any

import pytest

from finagent.backtest.pages.parity import parity_page
from finagent.backtest.pages.research import gaps_page, stats_page
from finagent.backtest.pages.stress import stress_page
from tests.unit.backtest.test_pages import EVIL, figures, own_part

RATE = {"rate": 0.5, "low": 0.25, "high": 0.75}
MEAN = {"mean": -0.5, "low": None, "high": None}
SOME = {"value": 0.2, "low": 0.1, "high": None}
GAP_GROUP = {
    "group": "4 to 6 %", "n": 12, "sessions": 9, "is_small": True, "fill": RATE, "half_fill": RATE,
    "minutes_to_fill": {"n": 0, "of": 0, "median": None, "low": None, "high": None},
    "open_to_close_pct": MEAN, "with_gap_pct": MEAN,
    "before_stop": [{"r": 1, "at_least": 0.25, "at_most": 0.5, "low": 0.1, "high": 0.7, "undecided": 3}],
}  # fmt: skip
GAPS: dict[str, Any] = {
    "from": "2018-02-16", "to": "2018-03-16", "by": "day-rvol", "known": "only after the close", "n": 12,
    "min_gap_pct": 4.0, "small": 30, "assumptions": ["entry at the opening price itself"], "groups": [GAP_GROUP],
}  # fmt: skip
GROUP = {
    "group": "news", "n": 40, "sessions": 31, "is_small": False, "pnl": "-12.50", "win_rate": {**SOME, "high": 0.4},
    "expectancy_r": {**SOME, "high": 0.3}, "profit_factor": SOME, "mae_r": SOME, "mfe_r": {"value": None, "low": None},
}  # fmt: skip
STATS: dict[str, Any] = {
    "source": {"kind": "run", "id": "abcd"}, "by": "catalyst", "small": 30, "all": {**GROUP, "group": "all"},
    "groups": [GROUP], "without": {"rule": "size", "removed": 3, "means": "this is arithmetic"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            gaps_page(GAPS),
            (
                "4 to 6 % *",
                "50 (25 to 75)",
                "25 to 50 (10 to 70)",
                "-0.50",
                "nothing to choose",
                "fewer than 30",
            ),
        ),
        (
            stats_page(STATS),
            (
                "news",
                "20 (10 to 40)",
                "0.20 (0.10 to 0.30)",
                "0.20 (0.10 to ∞)",
                "-12.50",
                "3 trades that broke size",
            ),
        ),
    ],
    ids=["gaps", "stats"],
)
def test_every_group_stands_on_the_page_with_its_interval(page: str, said: tuple[str, ...]) -> None:
    """In the table as words, in the charts as bars that plotly takes."""
    import plotly.graph_objects as graphs

    shown = own_part(page)
    for words in said:
        assert words in shown, words
    drawn = figures(page)
    assert len(drawn) == 2
    for figure in drawn:
        graphs.Figure(figure)


def test_intervals_are_drawn_around_their_value() -> None:
    """Half of them filled, between a quarter and three quarters; an end that is not known is not drawn."""
    fills, moves = figures(gaps_page(GAPS))
    bars = fills["data"][0]
    assert (bars["y"], bars["error_y"]["array"], bars["error_y"]["arrayminus"]) == ([50], [25], [25])
    assert moves["data"][0]["error_y"]["array"] == [0]


def test_nothing_found_is_a_page_too() -> None:
    """No gap, no trade: a line, no chart."""
    assert not figures(gaps_page({**GAPS, "groups": [], "n": 0}))
    page = stats_page({**STATS, "groups": [], "all": None, "without": None})
    assert "No closed trade." in own_part(page)


def test_names_from_notes_and_data_stay_texts() -> None:
    """A rule's name comes from a note, a group's from data: markup in it is shown, never run."""
    gaps, stats = copy.deepcopy(GAPS), copy.deepcopy(STATS)
    gaps["groups"][0]["group"] = stats["groups"][0]["group"] = stats["without"]["rule"] = EVIL
    for page in (gaps_page(gaps), stats_page(stats)):
        assert "<img" not in own_part(page)
        assert "<script>alert" not in page


PARITY: dict[str, Any] = {
    "session": "2018-02-23", "source": {"kind": "run", "id": "abcd"}, "dataset_id": "d1", "equal": 8,
    "rows": {"plan": 4, "plan_end": 4, "order": 3}, "causes": {"closed_by_person": 1}, "follow": 1, "unexplained": 1,
    "settings": [{"name": "top", "then": 5, "today": 2}], "notes": ["the agent has not closed this session"],
    "differences": [
        {"stage": "plan_end", "symbol": "HPE", "leg": None, "kind": "differs", "follows": None, "unexplained": True,
         "cause": None, "fields": {"reason": {"agent": "time", "backtest": None}, "at": {"agent": 1, "backtest": 2}}},
        {"stage": "order", "symbol": EVIL, "leg": "stop", "kind": "only_agent", "follows": None, "unexplained": False,
         "cause": {"code": "closed_by_person", "words": EVIL}, "fields": {}},
        {"stage": "order", "symbol": "HPQ", "leg": "stop", "kind": "only_backtest", "follows": 1, "unexplained": False,
         "cause": None, "fields": {}},
    ],
}  # fmt: skip


def test_parity_is_a_page_of_what_differs_and_why() -> None:
    """Both sides field by field, the cause of each or that it has none, what was compared, settings of then."""
    page = parity_page(PARITY)
    for words in (
        "Session 2018-02-23 of run abcd",
        "UNEXPLAINED differences: a bug",
        '<td class="wide">reason time<br>at 1<td class="wide">reason –<br>at 2',
        '<span class="loss">UNEXPLAINED</span>',
        '<td class="wide">there<td class="wide">–<td',
        '<td class="wide">–<td class="wide">there<td class="wide">follows from 1',
        "<tr><td>plan end<td>4<td>1",
        "<tr><td>closed by person<td>1",
        '<tr><td>top<td class="wide">5<td class="wide">2',
        "Note: the agent has not closed this session.",
    ):
        assert words in page, words
    assert "<img" not in page
    assert len(page) < 20_000  # nothing is drawn, so no library is there
    one = {**PARITY, "unexplained": 0, "differences": PARITY["differences"][1:]}
    assert "Every difference has a cause." in parity_page(one)
    same = {"session": "2018-02-23", "source": {"kind": "agent"}, "rows": {"plan": 4}, "differences": []}
    assert "the same in every row" in parity_page(same)
    assert "of the agent, by the rules" in parity_page(same)


@pytest.mark.parametrize(("sessions", "is_few"), [(8, True), (62, True), (63, False)])
def test_a_stress_page_shows_cents_and_says_where_sessions_are_few(sessions: int, is_few: bool) -> None:
    """Eight decimals of a dollar tell nobody anything, and paths of eight sessions neither."""
    shock = {"name": "slippage_x2", "words": "twice", "how": "played again", "pnl_change": "-1234.56789012"}
    page = stress_page({"sessions": sessions, "shocks": [shock]})
    assert "-1,234.57" in page
    assert "56789" not in page
    assert (f"come of {sessions} sessions, fewer than 63: they mean little" in page) is is_few
