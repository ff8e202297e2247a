"""The verbs of research on made-up bars, in this process: each prints a table and one document that agree."""

import io
import json
import os
import sys
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
    second = told.document("backtest", *SPAN, "--lookahead", "2")
    assert (first["looked_ahead"], second["looked_ahead"]) == (0, 2)
    assert {row["result_id"] for row in told.document("backtest", "list")["results"]} == {
        first["result_id"],
        second["result_id"],
    }
    assert first["result_id"][:8] in told.table("backtest", "list")
    assert told.document("backtest", "show", first["result_id"][:8])["totals"] == first["totals"]
    assert "target_r" in told.table("backtest", "compare", first["result_id"], second["result_id"])
    shown = told.table("backtest", "show", "last")
    assert "Trades" in shown
    assert "none: 2 sessions decided the same whatever came after" in shown


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
    shown = told.table("stress", study["study_id"][:8], "--paths", "100", "--workers", "1")
    assert "slippage" in shown.lower()
    assert "fewer than 63: they mean little" in " ".join(shown.split())


def test_studies_are_listed_and_shown_with_what_they_chose(told: Told, home: Path) -> None:
    """The newest first; one that was killed says how far it is, a damaged one that it is, and neither hides another."""
    varied = ("--param", "planning.target_r=1:3:1", "--method", "grid", "--workers", "1")
    old = told.document("optimize", *SPAN, *varied)
    new = told.document("optimize", *SPAN, *varied, "--seed", "8", "--require", "trades>=9999")
    for name, at in ((old["study_id"], 1), (new["study_id"], 2)):
        os.utime(home / "reports" / "optimize" / name / "study.json", (at, at))
    rows = {row["study_id"]: row for row in told.document("optimize", "list")["studies"]}
    assert [*rows][-2:] == [new["study_id"], old["study_id"]]
    first = rows[old["study_id"]]
    assert (first["state"], first["best"], first["trials"]["done"]) == ("done", old["best"], 3)
    assert first["began_at"] == "1970-01-01T00:00:01Z"
    page = told.table("optimize", "list")
    assert f"target_r {old['best']['values']['planning.target_r']}" in page
    assert "no set met the requirements" in page
    shown = told.document("optimize", "show", old["study_id"][:8])
    assert {key: shown[key] for key in ("best", "trials", "trials_hash", "worth")} == {
        key: old[key] for key in ("best", "trials", "trials_hash", "worth")
    }
    assert "Took" not in told.table("optimize", "show", old["study_id"])
    folder = home / "reports" / "optimize" / new["study_id"]
    (folder / "result.json").write_text("[]")
    assert "UNREADABLE" in told.table("optimize", "list")
    assert "is no study's" in told.table("optimize", "show", new["study_id"], status=1)
    (folder / "result.json").unlink()
    (row,) = (
        each for each in told.document("optimize", "list")["studies"] if each["study_id"] == folder.name
    )
    assert (row["state"], row["trials"], row["best"]) == ("unfinished", {"asked": None, "done": 3}, None)
    assert "UNFINISHED" in told.table("optimize", "list")
    for wanted, words in (
        (folder.name, "is not finished: 3 trials are kept"),
        ("zz", "no study zz"),
        ("", "no study (empty)"),
    ):
        assert words in told.table("optimize", "show", wanted, status=1)
    assert len(told.document("optimize", "list", "--limit", "1")["studies"]) == 1
    assert "older ones are left out" in told.table("optimize", "list", "--limit", "1")


def test_studies_of_an_empty_home_say_how_one_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(tmp_path, capsys)
    assert "No study is stored yet" in told.table("optimize", "list")
    assert "begins one" in told.table("optimize", "show", "last", status=1)
    assert "--method stands before list" in told.table("optimize", "--method", "grid", "list", status=2)
    assert "--at stands before show" in told.table("backtest", "--at", "09:31", "show", "last", status=2)


class Impatient(io.StringIO):
    """A terminal at which somebody presses Ctrl-C as soon as a session is told."""

    def write(self, words: str) -> int:
        if "(1 of" in words:
            raise KeyboardInterrupt
        return super().write(words)


def test_a_backtest_that_is_stopped_says_that_nothing_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {*(home / "reports").rglob("*")}
    stderr = Impatient()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert run(["--home", str(home), "backtest", *SPAN, "--bars", "daily"]) == 130
    assert stderr.getvalue() == "backtest: stopped; nothing of it is kept\n"
    assert {*(home / "reports").rglob("*")} == kept


def test_help_names_every_measure(told: Told) -> None:
    from finagent.backtest.search import measures
    from finagent.cli import optimizing

    assert tuple(measures.MEASURES) == optimizing.MEASURES


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


def test_a_replay_is_its_backtest_but_for_the_rungs_that_found_no_bar(told: Told, tmp_path: Path) -> None:
    told.document("replay", *SPAN)
    page = tmp_path / "parity.html"
    found = told.document("parity", LAST, "--run", "last", "--html", str(page))
    assert "Every difference has a cause." in page.read_text(encoding="utf-8")
    assert (found["unexplained"], found["causes"]) == (0, {"next_rung": 1})
    assert {each["stage"] for each in found["differences"]} == {"order", "event"}
    assert LAST in told.table("parity", LAST, "--run", "last")
    assert "as-planned" in told.table("stats", "--by", "rule-kept", "--run", "last")


def test_what_daily_bars_cannot_answer_is_refused_or_told(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trailing stop, a study of what nothing there asks, sets that ask for minutes; what is always on is counted."""
    daily = (*SPAN, "--bars", "daily")
    found = told.document("backtest", *daily)
    assert any("time stop (planning.time_stop_minutes) not played" in each for each in found["assumptions"])
    assert "not played on daily bars" in " ".join(told.table("backtest", "show", "last").split())
    varied = ("--method", "grid", "--workers", "1", "--param")
    for spec in (
        "planning.time_stop_minutes=10,60",
        "execution.entry_ttl_s=60,90",
        "risk.pause_loss_pct=0.1,1",
    ):
        error = told.document("optimize", *daily, *varied, spec, status=1)["error"]
        assert error["message"].startswith(f"{spec.partition('=')[0]} changes nothing on daily bars")
    study = told.document("optimize", *daily, *varied, "planning.preset=classic,structure")
    assert (study["trials"]["done"], study["trials"]["refused"]) == (1, 1)
    assert "planning.preset structure enters within the session" in study["failed"][0]["note"]
    assert "not played on daily bars: time stop, the day's loss limit" in study["assumptions"]
    stressed = told.document("stress", *daily, "--paths", "100", "--workers", "1")
    assert stressed["assumptions"] == found["assumptions"]
    monkeypatch.setenv("FINAGENT__PLANNING__TRAIL_AFTER_R", "1")
    monkeypatch.setenv("FINAGENT__PLANNING__TRAIL_ATR", "1")
    for words in (
        ("backtest", *daily),
        ("stress", *daily),
        ("optimize", *daily, *varied, "planning.target_r=1:3:1"),
    ):
        error = told.document(*words, status=1)["error"]
        assert error["code"] == "needs_minutes"
        assert "planning.trail_after_r moves stops within the session" in error["message"]
        assert "planning.trail_after_r and trail_atr: null" in error["hint"]
    assert told.document("backtest", *SPAN)["totals"]["trades"] > 0


def test_a_rule_that_asks_minutes_is_told_by_every_verb(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backtest in numbers, a study in words, also where only some of its sets ask; stress as the backtest."""
    daily = (*SPAN, "--bars", "daily")
    asked = "daily bars with stop and target drilled into their minutes where these tell the order, else stop first"
    grid = ("--method", "grid", "--workers", "1", "--param")
    varied = told.document("optimize", *daily, *grid, "execution.ambiguity=stop_first,minutes")
    assert varied["assumptions"][-1] == asked
    plain = told.document("optimize", *SPAN, *grid, "scan.top=1:2")
    monkeypatch.setenv("FINAGENT__EXECUTION__AMBIGUITY", "minutes")
    found = told.document("backtest", *daily)
    assert found["assumptions"][-1].startswith(
        f"drilled {found['drilled']['decided']} of {found['drilled']['bars']} "
    )
    assert (
        told.document("stress", *daily, "--paths", "100", "--workers", "1")["assumptions"]
        == found["assumptions"]
    )
    study = told.document("optimize", *SPAN, *grid, "scan.top=1:2")
    assert [*plain["assumptions"], "stop first where a minute bar holds stop and target"] == study[
        "assumptions"
    ]


def test_another_time_of_the_scan_is_another_result_and_is_stressed_as_it_was_asked(told: Told) -> None:
    """Neither takes the other's place, and what is stressed are the same symbols, scanned at the same time."""
    plain = told.document("backtest", *SPAN)
    late = told.document("backtest", *SPAN, "--at", "10:15", "--symbol", "AAA", "--symbol", "CCC")
    found = told.document("stress", late["result_id"], "--paths", "100", status=1)
    assert plain["result_id"] != told.document("backtest", *SPAN, "--at", "10:15")["result_id"]
    assert (late["totals"]["trades"], found["error"]["code"]) == (0, "no_trades")  # not "changed_result"


@pytest.mark.parametrize("verb", [("backtest",), ("optimize", "--param", "scan.top=1:2")])
def test_a_time_of_the_scan_is_refused_on_daily_bars(told: Told, verb: tuple[str, ...]) -> None:
    """It would change nothing: daily bars are scanned at their open."""
    found = told.document(*verb, *SPAN, "--bars", "daily", "--at", "10:15", status=1)
    assert found["error"]["message"] == "--at 10:15: sessions on daily bars alone are scanned at their open"
    assert "--at" in found["error"]["hint"]
