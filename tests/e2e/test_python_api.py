"""Backtests from Python as the document shows them: the example runs, and mistakes say what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from finagent.backtest.dataset import Dataset
from finagent.research import Research, SettingsError, SurfaceError, open_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def home(real_home: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``var``, whose bars are the imported ones, and their dataset the shared one."""
    own = tmp_path_factory.mktemp("stranger")
    (own / "var").mkdir()
    (own / "var" / "bars").symlink_to(real_home / "bars")
    (own / "var" / "datasets").symlink_to(dataset.path.parent)
    return own / "var"


@pytest.fixture
def research(home: Path, monkeypatch: pytest.MonkeyPatch) -> Research:
    """The home, under the default settings."""
    monkeypatch.chdir(home.parent)
    return open_home(home)


def test_the_example_of_the_document_runs(home: Path) -> None:
    """Word for word, in a process of its own: figures, three trades, a table, a page."""
    text = (ROOT / "docs" / "backtest.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=home.parent,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r"2013-\d\d-\d\d \S+ \w+ -?\d", line) for line in lines[1:4]), lines
    assert lines[-1].endswith("trades differ")
    assert (home.parent / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_result_is_the_command_s_and_is_found_again(research: Research) -> None:
    """Totals, figures and trades of the document; the store has it; a frame holds numbers."""
    found = research.backtest("2013-03-04", "2013-03-15", symbols=["yum", "MRK"])
    assert (found.totals, found.metrics) == (found.document["totals"], found.document["metrics"])
    assert found.document["symbols"] == ["MRK", "YUM"]
    assert not found.is_partial
    assert research.result(found.result_id[:10]).document == found.document
    assert research.result("last").compare(found)["equal"] is True
    listed = research.results()
    assert [row["result_id"] for row in listed[:1]] == [found.result_id]
    frame = found.frame()
    assert len(frame) == len(found.trades) > 0
    assert frame["pnl"].sum() == pytest.approx(float(str(found.totals["pnl"])))
    assert {name for name in frame if frame[name].dtype.kind in "if"} >= {
        "pnl",
        "fees",
        "entry_price",
        "r_multiple",
    }


def test_settings_are_laid_over_those_of_the_home(research: Research) -> None:
    """By name, in any kind of value; the rest stays."""
    span = ("2013-03-04", "2013-03-15")
    found = research.backtest(*span, settings={"planning.target_r": 2, "news.enabled": False})
    asked = found.document["settings"]
    assert isinstance(asked, dict)
    planning, news = asked["planning"], asked["news"]
    assert isinstance(planning, dict)
    assert isinstance(news, dict)
    assert (planning["target_r"], news["enabled"]) == ("2", False)
    assert found.result_id != research.backtest(*span).result_id
    assert str(research.settings.planning.target_r) != "2"


def test_a_mistake_says_what_and_how_to_mend_it(research: Research) -> None:
    """Range, symbol, words and settings."""
    for call, words in (
        (lambda: research.backtest("2013-03-09"), "2013-03-09 is no session"),
        (lambda: research.backtest("2013-03-04", symbols=["NXPX"]), "no symbol NXPX"),
        (
            lambda: research.backtest("2013-03-04", bars="weekly"),
            "bars 'weekly' is none of auto, daily, minute",
        ),
        (
            lambda: research.backtest("2013-03-04", engine="steam"),
            "engine 'steam' is none of kernel, reference",
        ),
        (lambda: research.result("ffff"), "no result ffff"),
        (lambda: open_home("nowhere"), "no home nowhere"),
    ):
        with pytest.raises(SurfaceError, match=words):
            call()
    with pytest.raises(SettingsError, match=r"there is no setting planning\.targt_r") as caught:
        research.backtest("2013-03-04", settings={"planning.targt_r": 2})
    assert caught.value.hint == "did you mean planning.target_r?"
    with pytest.raises(SettingsError, match=r"planning\.target_r=-1"):
        research.backtest("2013-03-04", settings={"planning.target_r": -1})
