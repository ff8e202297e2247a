"""finagent backtest as a process: a replay's trades, results on disk, and one clear line for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import document, finagent

ROOT = Path(__file__).resolve().parents[2]


def test_backtest_and_replay_print_the_same_trades(home: Path) -> None:
    """Two sessions, the documents as they are printed: trades, and the counts of each session."""
    span = ("--from", "2018-02-23", "--to", "2018-02-26")
    tested, replayed = document(home, "backtest", *span), document(home, "replay", *span)
    assert tested["trades"] == replayed["trades"] != []
    shared = set(replayed["sessions"][0])
    for ours, theirs in zip(tested["sessions"], replayed["sessions"], strict=True):
        assert {key: ours[key] for key in shared} == theirs
    for key in ("trades", "pnl", "fees", "win_rate", "max_drawdown", "ambiguous"):
        assert tested["totals"][key] == replayed["totals"][key]
    assert set(replayed) - {"without_minutes", "journal_head"} <= set(tested)  # a backtest keeps no chain


def test_the_result_is_kept_and_progress_goes_to_stderr(home: Path) -> None:
    """What was printed is what is stored; twice the same question is the same result."""
    span = ("--from", "2018-02-23", "--to", "2018-02-26")
    done = finagent(home, "backtest", *span, "--json")
    printed = json.loads(done.stdout)
    assert "backtest: 2018-02-23 (1 of 2)" in done.stderr
    stored = json.loads((Path(printed["folder"]) / "result.json").read_text())
    assert stored == {key: value for key, value in printed.items() if key not in ("folder", "report")}
    assert Path(printed["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    again = document(home, "backtest", *span)
    assert (again["result_id"], again["outcome_hash"]) == (printed["result_id"], printed["outcome_hash"])


def test_both_engines_print_the_same_and_say_which_they_were(home: Path) -> None:
    """A month of daily bars: trades, sessions and totals; only the reference keeps decisions and orders."""
    span = ("--from", "2013-03-04", "--to", "2013-03-28")
    kernel = document(home, "backtest", *span, "--check", "5")
    reference = document(home, "backtest", *span, "--engine", "reference")
    assert (kernel["engine"], kernel["kernel_sessions"], kernel["checked"]) == ("kernel", 19, 5)
    assert (reference["engine"], reference["kernel_sessions"], reference["checked"]) == ("reference", 0, 0)
    for key in ("trades_hash", "trades", "sessions", "totals", "assumptions"):
        assert kernel[key] == reference[key] != []
    assert (kernel["outcome_hash"] is None) is not (reference["outcome_hash"] is None)
    kept = [sorted(path.name for path in Path(each["folder"]).iterdir()) for each in (kernel, reference)]
    assert kept == [
        ["fills.jsonl", "report.html", "result.json", "summary.json"],
        ["decisions.jsonl", "fills.jsonl", "orders.jsonl", "report.html", "result.json", "summary.json"],
    ]


def test_sessions_on_daily_bars_that_did_not_follow_a_time_are_told(home: Path) -> None:
    """Two days before the minutes begin, two after."""
    span = ("--from", "2018-02-14", "--to", "2018-02-20", "--at", "10:30")
    told = "scanned at 10:30 on minutes alone: 2 sessions on daily bars at their open"
    assert told in document(home, "backtest", *span)["assumptions"]
    assert (
        told in document(home, "optimize", *span, "--param", "scan.top=1:2", "--trials", "2")["assumptions"]
    )


def test_stored_results_are_listed_shown_and_compared(home: Path) -> None:
    """The same month by both engines: one id each, no trade differs, and the engine is what was asked otherwise."""
    span = ("--from", "2013-03-04", "--to", "2013-03-28")
    kernel = document(home, "backtest", *span)
    reference = document(home, "backtest", *span, "--engine", "reference")
    listed = document(home, "backtest", "list")["results"]
    assert [row["result_id"] for row in listed[:2]] == [reference["result_id"], kernel["result_id"]]
    assert document(home, "backtest", "show", kernel["result_id"][:10]) == kernel
    assert document(home, "backtest", "show", "last") == reference
    compared = document(home, "backtest", "compare", kernel["result_id"], "last")
    assert compared["equal"]
    assert [row["key"] for row in compared["settings"]] == ["engine"]
    assert compared["same"] == len(kernel["trades"]) > 0
    for verb in (("list",), ("show", "last"), ("compare", "last", kernel["result_id"])):
        done = finagent(home, "backtest", *verb)
        assert done.returncode == 0, done.stderr
        assert kernel["trades_hash"][:8] in done.stdout or reference["result_id"][:8] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("show", "ffffffffffffffff"), 1, "no result ffffffffffffffff"),
        (("compare", "nothing", "last"), 1, "no result nothing"),
        (("show",), 2, "missing argument 'ID'"),
        (("--from", "2018-02-23", "list"), 2, "--from stands before list, which is no run"),
        ((), 2, "missing option --from"),
        (("list", "--limit", "0"), 2, "invalid value for '--limit'"),
    ],
)
def test_a_wrong_result_is_one_line_with_its_mend(
    home: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    """Unknown ids, and options where they do nothing."""
    done = finagent(home, "backtest", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_says_what_is_assumed(home: Path) -> None:
    """Daily bars alone: the words of the design."""
    done = finagent(home, "backtest", "--from", "2009-03-02", "--to", "2009-03-31")
    assert done.returncode == 0, done.stderr
    assert "open assumed known" in done.stdout
    assert "Ambiguous" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--from", "2018-02-24"), 2, "2018-02-24 is no session of the exchange"),
        (("--from", "2018-03-01", "--to", "2018-02-01"), 2, "--to 2018-02-01 is before --from 2018-03-01"),
        (("--from", "2018-02-30"), 2, "2018-02-30 is no date"),
        (("--from", "2026-03-02"), 1, "there are no bars"),
        (("--from", "2005-03-01", "--bars", "minute"), 1, "there are no minute bars"),
        (("--from", "2018-03-01", "--bars", "weekly"), 2, "--bars weekly is none of auto, daily, minute"),
        (("--from", "2018-03-01", "--engine", "steam"), 2, "--engine steam is not built in"),
        (("--from", "2018-03-01", "--symbol", "NXPX"), 1, "no symbol NXPX"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    """No traceback, the exit code of its kind, and the same as a document."""
    done = finagent(home, "backtest", *arguments, "--json")
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert words in told["error"]["message"]
    assert told["error"]["hint"]


def test_a_parameter_out_of_its_bounds_is_named(home: Path) -> None:
    """By section, key, value and mend."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT__")}
    done = subprocess.run(
        [sys.executable, "-m", "finagent", "--home", str(home), "backtest", "--from", "2018-03-01"],
        cwd=home,
        env={**kept, "PYTHONPATH": str(ROOT), "FINAGENT__PLANNING__STOP_PCT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "planning.stop_pct" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_dataset_is_refused_with_its_folder(home: Path) -> None:
    """One byte of a price: the run does not begin."""
    span = ("--from", "2018-02-23")
    document(home, "backtest", *span)
    (dataset,) = [folder for folder in (home / "datasets").iterdir() if not folder.name.startswith(".")]
    file = dataset / "minute_close.col"
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    done = finagent(home, "backtest", *span)
    assert done.returncode == 1
    assert "minute_close.col holds other values than were written" in done.stderr
    assert "Delete that folder: the next run builds it again" in done.stderr
