"""finagent stats: a backtest and a replay of the same sessions say the same; rules kept and broken; mistakes."""

import json
import shutil
import sqlite3
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from finagent.cli.root import run
from tests.e2e.commands import document

SPAN = ("--from", "2018-02-16", "--to", "2018-02-23")
WAYS = ("setup", "gap", "hour", "weekday", "catalyst", "exit", "rule-kept")


@pytest.fixture(scope="module")
def home(home: Path) -> Path:
    """A home with a replay and a backtest of the same sessions, both with smaller gaps than by default."""
    smaller = {"FINAGENT__SCAN__MIN_GAP_PCT": "2"}
    replayed = document(home, "replay", *SPAN, **smaller)
    assert replayed["trades"] == document(home, "backtest", *SPAN, **smaller)["trades"]
    assert len(replayed["trades"]) >= 5
    return home


@pytest.fixture
def noted(home: Path, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A copy of the replay in which a person broke and kept a rule, revised a plan and closed a trade; its trades."""
    shutil.copytree(home / "runs", tmp_path / "runs")
    (file,) = (tmp_path / "runs").glob("*/finagent.db")
    with sqlite3.connect(file) as database:
        trades = [json.loads(body) for (body,) in database.execute("SELECT body FROM trade ORDER BY exit_at")]
        notes = [
            (trades[0]["trade_id"], "note", "Broke: size, in a hurry"),
            (trades[1]["plan_id"][:12], "note", "kept: size. kept: chase"),
            (trades[2]["plan_id"], "plan_revised", ""),
            ("", "note", "broke: size"),
            ("pl_", "note", "broke: size"),
        ]
        for ref, kind, text in notes:
            database.execute(
                "INSERT INTO journal (at, kind, ref, data, hash) VALUES (0, ?, ?, ?, '')",
                (kind, ref, json.dumps({"text": text})),
            )
        trades[3]["exit_reason"] = "manual"
        changed = (json.dumps(trades[3]), trades[3]["trade_id"])
        database.execute("UPDATE trade SET body = ? WHERE trade_id = ?", changed)
    database.close()
    return tmp_path, trades


def told(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status and what one command line prints, in this process."""
    status = run(["--home", str(home), "stats", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def said(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The document of one command line."""
    status, out, err = told(home, capsys, *arguments, "--json")
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_backtest_and_replay_say_the_same(home: Path, capsys: pytest.CaptureFixture[str], way: str) -> None:
    """Every figure of every group: what the agent journalled and what the data tell are one."""
    of_run, of_backtest = (
        said(home, capsys, source, "last", "--by", way) for source in ("--run", "--backtest")
    )
    for key in ("n", "from", "to", "groups", "all"):
        assert of_run[key] == of_backtest[key]
    assert of_run["n"] == sum(group["n"] for group in of_run["groups"]) > 0
    names = [group["group"] for group in of_run["groups"]]
    assert "unknown" not in names
    if way == "hour":
        assert names[0] == "09:30 to 09:59"


def test_groups_are_those_of_the_stored_trades(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Count, money, R and profit factor by exit, reckoned again from the result that is stored."""
    (result,) = (home / "reports" / "backtests").glob("*/result.json")
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for trade in json.loads(result.read_text())["trades"]:
        groups[trade["exit_reason"]].append(trade)
    found = {
        group["group"]: group for group in said(home, capsys, "--backtest", "last", "--by", "exit")["groups"]
    }
    assert set(found) == set(groups)
    for reason, trades in groups.items():
        group, money = found[reason], [Decimal(trade["pnl"]) for trade in trades]
        lost = -sum(each for each in money if each < 0)
        won = sum(each for each in money if each > 0)
        assert group["n"] == len(trades)
        assert Decimal(group["pnl"]) == sum(money)
        assert group["win_rate"]["value"] == sum(each > 0 for each in money) / len(trades)
        assert group["expectancy_r"]["value"] == pytest.approx(
            sum(t["r_multiple"] for t in trades) / len(trades)
        )
        assert group["mae_r"]["value"] == pytest.approx(sum(t["mae_r"] for t in trades) / len(trades))
        assert group["profit_factor"]["value"] == (pytest.approx(float(won / lost)) if lost else None)


def test_rules_are_what_happened_and_what_notes_say(
    noted: tuple[Path, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Revised or closed by hand is not as planned; a note says kept or broke of the trade it is about, no other."""
    home, trades = noted
    found = said(home, capsys, "--run", "last", "--by", "rule-kept")
    assert {group["group"]: group["n"] for group in found["groups"]} == {
        "as-planned kept": len(trades) - 2,
        "as-planned broken": 2,
        "chase kept": 1,
        "size kept": 1,
        "size broken": 1,
    }


def test_without_a_rule_its_breakers_are_gone(
    noted: tuple[Path, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One trade less, its money and no other; the figures before stand beside it; the page says what it means."""
    home, trades = noted
    found = said(home, capsys, "--run", "last", "--without", "Size")
    assert (found["n"], found["without"]["removed"]) == (len(trades) - 1, 1)
    before, after = found["without"]["before"], found["all"]
    assert Decimal(before["pnl"]) - Decimal(after["pnl"]) == Decimal(trades[0]["pnl_e8"]) / 10**8
    page = told(home, capsys, "--run", "last", "--without", "size")[1]
    assert "not what would have happened" in " ".join(page.split())
    status, out, _ = told(home, capsys, "--run", "last", "--without", "moon", "--json")
    error = json.loads(out)["error"]
    assert (status, error["code"]) == (1, "unknown_rule")
    assert "as-planned, chase, size" in error["hint"]


def test_sessions_narrow_and_no_trade_is_a_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A range without trades is no error; the page fits forty columns."""
    whole = said(home, capsys, "--run", "last")
    part = said(home, capsys, "--run", "last", "--from", "2018-02-20", "--to", "2018-02-21")
    assert 0 < part["n"] < whole["n"]
    assert part["from"] >= "2018-02-20"
    assert part["to"] <= "2018-02-23"
    status, page, _ = told(home, capsys, "--backtest", "last", "--from", "2017-01-01", "--to", "2017-12-31")
    assert (status, page.startswith("No closed trade of backtest ")) == (0, True)


def test_the_page_fits_a_narrow_terminal(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty columns: group, count and expectancy stay."""
    monkeypatch.setenv("COLUMNS", "40")
    for way in WAYS:
        page = told(home, capsys, "--backtest", "last", "--by", way)[1]
        assert max(map(len, page.splitlines())) <= 40, page


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--by", "moon"), 2, "--by moon is none of setup"),
        (("--backtest", "zz"), 1, "no result"),
        (("--backtest", "../x"), 1, "no result"),
        (("--run", "zz"), 1, "no run"),
        (("--run", "last", "--backtest", "last"), 2, "two sources"),
        (("--run", "last", "--from", "2018-03-01", "--to", "2018-02-01"), 2, "--to 2018-02-01 is before"),
        ((), 1, "no database at"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """No traceback, the exit code of its kind, and the same as a document."""
    ended, out, err = told(home, capsys, *arguments, "--json")
    assert (ended, err.count("\n")) == (status, 1)
    error = json.loads(out)["error"]
    assert words in error["message"]
    assert error["hint"]
