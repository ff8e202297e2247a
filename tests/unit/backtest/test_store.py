"""Stored results: listed, found by the start of an id, read, and held against each other."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars
from finagent.bootstrap.backtest_compare import compare_results
from finagent.bootstrap.backtest_report import FOLDER, keep, report
from finagent.bootstrap.backtest_store import list_results, load_result
from finagent.cli.page import Page
from finagent.cli.render_backtests import compared, listed, shortest
from finagent.context import SurfaceError
from tests.conformance.trading import DAY, FREE, NEXT_DAY, play
from tests.unit.backtest.test_running import two_days


def stored(
    home: Path, rules: Parameters = FREE, *, last: str = NEXT_DAY, **settings: object
) -> dict[str, Any]:
    """A result in the home, as the command keeps it."""
    found = play(two_days(), home / "data", rules, last=last)
    document: dict[str, Any] = {
        **report(found.result, bars=Bars.AUTO, elapsed_ms=7),
        "version": "1",
        "symbols": [],
        "settings": {"planning": dict(settings)},
    }
    keep(home, document, found.result)
    return document


def test_results_are_listed_newest_first_without_their_trades(tmp_path: Path) -> None:
    """A summary of each, its files, when it was stored; a limit leaves the older ones."""
    assert list_results(tmp_path) == {"results": [], "stored": 0}
    assert "No backtest is stored yet" in listed(list_results(tmp_path), Page())
    old, new = stored(tmp_path), stored(tmp_path, last=DAY)
    os.utime(tmp_path / FOLDER / old["result_id"] / "result.json", (0, 0))
    (tmp_path / FOLDER / "stray").mkdir()
    found: Any = list_results(tmp_path)
    assert [row["result_id"] for row in found["results"]] == [new["result_id"], old["result_id"]]
    assert found["results"][1]["stored_at"] == "1970-01-01T00:00:00Z"
    assert Path(found["results"][0]["report"]).is_file()
    assert not {"trades", "sessions"} & found["results"][0].keys()
    assert found["results"][0]["metrics"] == new["metrics"]
    fewer: Any = list_results(tmp_path, limit=1)
    assert ([row["result_id"] for row in fewer["results"]], fewer["stored"]) == ([new["result_id"]], 2)
    assert "1 older ones are left out" in listed(fewer, Page())


def test_a_result_is_found_by_the_start_of_its_id(tmp_path: Path) -> None:
    """Its own id, a part of it, and the newest; too short, none and an empty one are refused with the mend."""
    first = stored(tmp_path)
    name = first["result_id"]
    for wanted in (name, name[:6], name[:6].upper(), "last"):
        found = load_result(tmp_path, wanted)
        assert {key: found[key] for key in first} == first
    twin = tmp_path / FOLDER / f"{name[:6]}0000000000"
    twin.mkdir()
    (twin / "result.json").write_text(json.dumps({**first, "result_id": twin.name}))
    with pytest.raises(SurfaceError, match=f"{name[:6]} begins the ids of 2 results") as caught:
        load_result(tmp_path, name[:6])
    assert caught.value.hint == "give more of its digits"
    for wanted in ("", "nothing", "../last"):
        with pytest.raises(SurfaceError, match="no result") as caught:
            load_result(tmp_path, wanted)
        assert caught.value.hint == "finagent backtest list shows what there is"
    with pytest.raises(SurfaceError, match="no result last") as caught:
        load_result(tmp_path / "empty", "last")
    assert caught.value.hint == "finagent backtest --from D --to D makes one"


def test_a_cut_result_is_named_and_hides_no_other(tmp_path: Path) -> None:
    """The list marks it; asked for, it says what to delete."""
    kept, cut = stored(tmp_path), stored(tmp_path, last=DAY)
    path = tmp_path / FOLDER / cut["result_id"] / "result.json"
    path.write_bytes(path.read_bytes()[:100])
    found: Any = list_results(tmp_path)
    rows = {row["result_id"]: row for row in found["results"]}
    assert "error" not in rows[kept["result_id"]]
    assert "cannot be read" in rows[cut["result_id"]]["error"]
    assert "UNREADABLE" in listed(found, Page())
    with pytest.raises(SurfaceError, match="cannot be read") as caught:
        load_result(tmp_path, cut["result_id"])
    assert caught.value.hint == f"delete {path.parent} and run the backtest again"
    path.write_text("[]")
    with pytest.raises(SurfaceError, match="is no result of a backtest"):
        load_result(tmp_path, cut["result_id"])


def test_a_result_of_an_older_version_is_listed_by_its_document(tmp_path: Path) -> None:
    """No summary beside it; and a summary older than its result is not believed."""
    document = stored(tmp_path)
    summary = tmp_path / FOLDER / document["result_id"] / "summary.json"
    summary.write_text('{"result_id": "x"}')
    os.utime(summary, (0, 0))
    (row,) = list_results(tmp_path)["results"]  # type: ignore[misc,union-attr]
    assert isinstance(row, dict)
    assert row["result_id"] == document["result_id"]


def test_equal_results_are_equal(tmp_path: Path) -> None:
    """The same trades, nothing asked otherwise."""
    document = stored(tmp_path)
    found = compare_results(document, document)
    assert (found["equal"], found["settings"], found["different"], found["same"]) == (True, [], [], 2)
    page = compared(found, Page())
    assert "Nothing was asked otherwise." in page
    assert "The same trades, field by field." in page


def test_each_difference_has_its_setting_and_its_reason(tmp_path: Path) -> None:
    """Half the account: sized otherwise from the first trade on, and the setting is named."""
    whole = stored(tmp_path, start_equity="100000")
    half = stored(tmp_path, replace(FREE, start_equity_e8=FREE.start_equity_e8 // 2), start_equity="50000")
    found: Any = compare_results(whole, half)
    assert found["settings"] == [{"key": "planning.start_equity", "a": "100000", "b": "50000"}]
    assert not found["equal"]
    first = found["different"][0]
    assert (first["session"], first["symbol"]) == (DAY, "AAA")
    changed = {row["field"]: (row["a"], row["b"]) for row in first["fields"]}
    assert changed["quantity"] == (190, 95)
    assert first["because"] == ["the account held 100,000.00 before the session in A, 50,000.00 in B"]
    page = compared(found, Page(100))
    assert "planning.start_equity" in page
    assert "Different: 2" in page


def test_trades_of_one_alone_say_why_the_other_has_none(tmp_path: Path) -> None:
    """A shorter range, a stop on the way, other symbols, a session that was skipped, one that planned less."""
    both, one = stored(tmp_path), stored(tmp_path, last=DAY)
    found: Any = compare_results(both, one)
    assert [row["because"] for row in found["only_a"]] == [f"the other ran {DAY} to {DAY}"]
    assert (found["same"], found["only_b"]) == (1, [])
    assert compare_results(one, both)["only_b"] == found["only_a"]
    stopped = {**one, "partial": {"session": NEXT_DAY, "error": "x"}}
    assert only(both, stopped) == f"the other stopped in {NEXT_DAY}"
    assert "B is PARTIAL: stopped in" in compared(compare_results(both, stopped), Page())
    assert "PARTIAL" in listed({"results": [stopped], "stored": 1}, Page())
    less = {**both, "trades": both["trades"][:1]}
    assert only(both, {**less, "symbols": ["BBB"]}) == "the other looked at BBB alone"
    assert only(both, session(less, skipped=["no bars"])) == "skipped in the other: no bars"
    assert only(both, session(less, plans=0, bars="daily")) == (
        "minute bars here, daily bars in the other; plans 1 here, 0 in the other"
    )
    assert only(both, less) == "planned in both; its entry did not fill in the other"
    other = {**both["trades"][1], "trade_id": "tr_other", "symbol": "BBB"}
    assert only(both, {**less, "trades": [*less["trades"], other]}) == "the other took BBB in that session"
    again = {**both["trades"][1], "trade_id": "tr_other"}
    assert only(both, {**less, "trades": [*less["trades"], again]}) == (
        "the other traded AAA from another scan of that session"
    )


def only(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Why the first's second trade is missing in the second."""
    found: Any = compare_results(first, second)
    return str(found["only_a"][-1]["because"])


def session(document: dict[str, Any], **changed: object) -> dict[str, Any]:
    """The document with another last session."""
    return {**document, "sessions": [*document["sessions"][:-1], {**document["sessions"][-1], **changed}]}


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"stop": "1.00", "target": None}, ["planned otherwise: stop, target"]),
        ({"entry_price": "9.00"}, ["entered at 105.00 in A, at 9.00 in B"]),
        (
            {"exit_reason": "time", "exit_price": "8.00"},
            ["left by stop at 103.00 in A, by time at 8.00 in B"],
        ),
        ({"quantity": 1}, ["sized otherwise from the same account: risk or its limits"]),
        ({"fees": "7.00", "pnl": "-387.00"}, ["costs or slippage"]),
        ({"mfe_r": 9.0}, ["nothing that is stored says why"]),
    ],
)
def test_a_field_that_differs_is_explained(
    tmp_path: Path, changed: dict[str, Any], because: list[str]
) -> None:
    """By what it is: plan, entry, exit, size, cost."""
    document = stored(tmp_path, last=DAY)
    other = {**document, "trades": [{**document["trades"][0], **changed}]}
    found: Any = compare_results(document, other)
    (row,) = found["different"]
    assert row["because"] == because
    assert {field["field"] for field in row["fields"]} == changed.keys()


def test_a_document_without_settings_says_so(tmp_path: Path) -> None:
    """Of an older version: what it followed is not known."""
    document = stored(tmp_path, last=DAY)
    older = {key: value for key, value in document.items() if key != "settings"}
    found: Any = compare_results(document, older)
    assert found["settings"][-1] == {
        "key": "settings of b",
        "a": None,
        "b": "not stored: an older version made it",
    }


def test_ids_are_shown_as_long_as_they_are_alone() -> None:
    """Eight digits where they do, more where they do not, all at the end."""
    assert shortest("0123456789abcdef", ["0123456789abcdef", "f"]) == "01234567"
    assert shortest("0123456789abcdef", ["0123456789abcdef", "0123456700000000"]) == "012345678"
    assert shortest("0123456789", ["0123456789", "01234567890"]) == "0123456789"


def test_the_list_says_what_was_asked_otherwise_than_mostly(tmp_path: Path) -> None:
    """The settings of each that most others have otherwise, by value and not by spelling."""
    for day, settings in (
        ("a", {"target_r": "3.0"}),
        ("b", {"target_r": "3"}),
        ("c", {"target_r": "4", "x": None}),
    ):
        document = stored(tmp_path / day, last=DAY, **settings)
        folder = tmp_path / "home" / FOLDER / f"{day}000000000000000"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**document, "result_id": folder.name}))
        os.utime(folder / "result.json", (ord(day), ord(day)))
    found: Any = list_results(tmp_path / "home")
    assert [row["otherwise"] for row in found["results"]] == [{"planning.target_r": "4"}, {}, {}]
    row = found["results"][0]
    page = listed(found, Page(120))
    assert (page.count("target_r 4"), page.count("target_r 3")) == (1, 0)
    changed = {
        **row, "symbols": ["NXPI"], "bars": "daily", "engine": "reference", "at": "09:45",
        "otherwise": {"scan.top": 2, "a.b": ["x", "y"], "a.c": None, "a.d": 1, "a.e": 2},
    }  # fmt: skip
    told = listed({"results": [changed], "stored": 1}, Page(200))
    assert "NXPI alone, daily bars, reference, at 09:45, top 2, b x, y, c none, 2 more settings" in told
    assert "2 symbols" in listed({"results": [{**row, "symbols": ["A", "B"]}], "stored": 1}, Page(200))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("0.3", "0.30", True),
        ("100", "1E+2", True),
        ("0.3", "0.31", False),
        ("NaN", "NaN", True),
        ("x", "y", False),
    ],
)
def test_settings_are_compared_by_value(tmp_path: Path, a: str, b: str, same: bool) -> None:
    """0.3 written as 0.30 is no other question."""
    document = stored(tmp_path, last=DAY, weight=a)
    other = {**document, "settings": {"planning": {"weight": b}}}
    assert (compare_results(document, other)["settings"] == []) is same
