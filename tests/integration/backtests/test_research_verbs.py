"""The verbs of research on made-up bars, in this process: each prints a table and one document that agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from finagent.cli.root import run
from tests.integration.data.market_files import FIRST, LAST

SPAN = ("--from", FIRST, "--to", LAST)
LOOSE = {
    "SCAN__MIN_GAP_PCT": "0.1", "SCAN__MIN_ADV_USD": "0", "SCAN__MIN_PRICE": "0.1", "SCAN__MIN_RVOL": "0",
    "SCAN__MIN_PREMARKET_VOLUME": "0", "SCAN__MIN_PREMARKET_TRADES": "0", "SCAN__MAX_SPREAD_PCT": "100",
}  # fmt: skip


@pytest.fixture
def home(stored: Path) -> Path:
    """The home in which the bars were imported; results of one test are there for the next."""
    return stored


@pytest.fixture(autouse=True)
def loose(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits under which made-up gaps are traded."""
    monkeypatch.setenv("FINAGENT_KERNEL", "python")  # a compiler would take longer than all of it
    for name, value in LOOSE.items():
        monkeypatch.setenv(f"FINAGENT__{name}", value)


class Told:
    """Commands of one home, as they are typed."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._home, self._capsys = home, capsys

    def table(self, *words: str, status: int = 0) -> str:
        """What is printed for a person."""
        found = run(["--home", str(self._home), *words])
        printed = self._capsys.readouterr()
        assert found == status, printed.err
        return printed.out + printed.err

    def document(self, *words: str, status: int = 0) -> dict[str, Any]:
        """What is printed with ``--json``."""
        assert run(["--home", str(self._home), *words, "--json"]) == status
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return found


@pytest.fixture
def told(home: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(home, capsys)


def test_results_are_listed_shown_and_compared(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    first = told.document("backtest", *SPAN, "--engine", "reference")
    assert first["totals"]["trades"] > 0
    monkeypatch.setenv("FINAGENT__PLANNING__TARGET_R", "1")
    second = told.document("backtest", *SPAN)
    assert {row["result_id"] for row in told.document("backtest", "list")["results"]} == {
        first["result_id"],
        second["result_id"],
    }
    assert first["result_id"][:8] in told.table("backtest", "list")
    assert told.document("backtest", "show", first["result_id"][:8])["totals"] == first["totals"]
    assert "target_r" in told.table("backtest", "compare", first["result_id"], second["result_id"])
    assert "Trades" in told.table("backtest", "show", "last")


def test_a_study_is_kept_resumed_and_stressed(told: Told) -> None:
    varied = ("--param", "planning.target_r=1:3:1", "--param", "planning.stop_pct=2,4", "--method", "grid")
    study = told.document("optimize", *SPAN, *varied, "--workers", "1")
    assert len(study["trials"]) == 6
    assert told.document("optimize", *SPAN, *varied)["trials"] == study["trials"]
    assert "Trials" in told.table("optimize", "--resume", study["study_id"][:8])
    assert "no setting planning.stop_pc" in told.table(
        "optimize", *SPAN, "--param", "planning.stop_pc=1:2", status=2
    )
    windows = told.document("optimize", *SPAN, *varied, "--walk-forward", "3:2", "--workers", "1")
    assert windows["walk_forward"]
    stressed = told.document("stress", *SPAN, "--paths", "100", "--workers", "1")
    assert stressed["base"]["trades"] > 0
    assert (
        "slippage" in told.table("stress", study["study_id"][:8], "--paths", "100", "--workers", "1").lower()
    )


def test_gaps_and_trades_are_counted(told: Told, tmp_path: Path) -> None:
    page = tmp_path / "gaps.html"
    found = told.document("gaps", *SPAN, "--min-gap", "0.1", "--by", "direction", "--html", str(page))
    assert sum(group["n"] for group in found["groups"]) > 0
    assert page.stat().st_size > 10_000
    assert "gaps of" in told.table("gaps", *SPAN, "--min-gap", "0.1")
    result = told.document("backtest", *SPAN)
    counted = told.document("stats", "--by", "weekday", "--backtest", "last")
    assert sum(group["n"] for group in counted["groups"]) == result["totals"]["trades"]
    assert "expectancy" in told.table("stats", "--backtest", "last").lower()


def test_a_replay_is_its_backtest_but_for_the_rungs_that_found_no_bar(told: Told) -> None:
    told.document("replay", *SPAN)
    found = told.document("parity", LAST, "--run", "last")
    assert (found["unexplained"], found["causes"]) == (0, {"next_rung": 1})
    assert {each["stage"] for each in found["differences"]} == {"order", "event"}
    assert LAST in told.table("parity", LAST, "--run", "last")
    assert "as-planned" in told.table("stats", "--by", "rule-kept", "--run", "last")
