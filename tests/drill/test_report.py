"""The page of a drill shows each count once, what the broker did, and how to do it again."""

import re
from collections import Counter
from pathlib import Path

import pytest

from finagent.simulation.drill.judge import Verdict
from finagent.simulation.drill.play import DrillOutcome, DrillRequest, Tally
from finagent.simulation.drill.report import document, page, summary

STEPS = {"writer.after_commit[send]": 2, "broker.after_write[POST]": 1}
FAULTS = {"drop_reply": 4, "stream_mute": 2}


@pytest.fixture
def outcome(tmp_path: Path) -> DrillOutcome:
    """Nine kills, three of them at named steps, and six faults of the broker."""
    tally = Tally(
        kills=Counter({"random instant": 4, "recovery": 2, "named step": 3}),
        points=Counter(STEPS),
        faults=dict(FAULTS),
        sessions=["2026-11-03"],
    )
    request = DrillRequest(kills=9, seed=42, folder=tmp_path, progress=print)
    return DrillOutcome(request, tally, Verdict(plans={"closed": 5}, orders=12, fills=10))


def charts(text: str) -> dict[str, dict[str, int]]:
    """The bars of a page by their heading."""
    found = re.findall(r"<h2>([^<]*)</h2><table class=chart>(.*?)</table>", text)
    rows = r"<tr><td>([^<]*)<td class=n>(\d+)"
    return {title: {name: int(n) for name, n in re.findall(rows, body)} for title, body in found}


def test_each_kill_is_counted_once_in_a_chart_and_the_broker_has_its_own(outcome: DrillOutcome) -> None:
    found = charts(page(document(outcome)))
    assert found == {
        "How it was killed": {"named step": 3, "random instant": 4, "recovery": 2},
        "Named steps it died at": STEPS,
        "What the broker did wrong": {"reply lost": 4, "stream silent": 2},
        "How its plans ended": {"closed": 5},
    }
    assert sum(found["How it was killed"].values()) == outcome.tally.total


def test_page_and_summary_name_the_command_that_repeats_the_drill(outcome: DrillOutcome) -> None:
    command = "finagent drill crash --kills 9 --seed 42"
    found = document(outcome)
    assert f"<code>{command}</code>" in page(found)
    assert command in summary(found)
    assert "reply lost 4, stream silent 2" in summary(found)


def test_drill_in_which_nothing_went_wrong_at_the_broker_has_no_empty_chart(outcome: DrillOutcome) -> None:
    outcome.tally.faults.clear()
    found = document(outcome)
    assert "<h2>What the broker did wrong</h2><p>none</p>" in page(found)
    assert "did nothing wrong" in summary(found)
