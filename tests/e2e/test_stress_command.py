"""finagent stress: of the settings, a result, a study; the same seed is the same document; one line for a mistake."""

import json
from pathlib import Path
from typing import Any

import pytest

from finagent.cli.root import run
from tests.unit.backtest.test_pages import figures

QUARTER = ("--from", "2013-01-02", "--to", "2013-03-28", "--bars", "daily")
FEW = ("--paths", "400", "--workers", "1")


def document(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["--home", str(home), *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_settings_and_a_result_of_them_come_to_the_same(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By dates and by id; the base is the backtest itself, and what is kept is what was printed, with its page."""
    from plotly.graph_objects import Figure

    tested = document(home, capsys, "backtest", *QUARTER)
    first = document(home, capsys, "stress", *QUARTER, *FEW)
    again = document(home, capsys, "stress", tested["result_id"][:9], *FEW)
    assert again["source"] == {"kind": "backtest", "id": tested["result_id"]}
    for key in ("base", "shocks", "intervals", "paths", "reshuffled", "worst"):
        assert first[key] == again[key]
    assert first["base"]["pnl"] == tested["totals"]["pnl"]
    assert first["base"]["trades"] == tested["totals"]["trades"]
    assert first["base"]["sharpe"] == pytest.approx(tested["metrics"]["sharpe"])
    applied = {row["name"]: row for row in first["shocks"] if row["applies"]}
    assert set(applied) == {
        "slippage_x2", "slippage_x4", "commission", "all_costs", "thin_volume", "missing_days", "stop_at_day_worst",
    }  # fmt: skip
    for name in ("slippage_x2", "slippage_x4", "all_costs", "stop_at_day_worst"):
        assert float(applied[name]["pnl_change"]) < 0
    folder = Path(first["folder"])
    kept = json.loads((folder / "result.json").read_text())
    assert kept == {key: value for key, value in first.items() if key not in ("folder", "elapsed_ms")}
    drawn = figures((folder / "report.html").read_text())
    assert len(drawn) == 3
    for figure in drawn:
        Figure(figure)


def test_another_seed_draws_others_and_changed_settings_are_refused(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths and missing days; a result of other settings is not theirs."""
    tested = document(home, capsys, "backtest", *QUARTER)
    seeds = [document(home, capsys, "stress", *QUARTER, *FEW, "--seed", seed) for seed in ("1", "2")]
    assert seeds[0]["base"] == seeds[1]["base"]
    assert seeds[0]["paths"]["returns"] != seeds[1]["paths"]["returns"]
    monkeypatch.setenv("FINAGENT__PLANNING__TARGET_R", "2")
    assert run(["--home", str(home), "stress", tested["result_id"], *FEW]) == 1
    assert "was made by other settings, data, symbols or version" in capsys.readouterr().err


def test_a_studys_choice_is_stressed_with_its_values(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trial that a study chose, over its sessions; and its page for a person."""
    varied = ("--param", "planning.target_r=1,2,3", "--method", "grid", "--require", "trades>=5")
    study = document(home, capsys, "optimize", *QUARTER, *varied)
    found = document(home, capsys, "stress", study["study_id"], *FEW)
    assert found["source"] == {"kind": "study", "id": study["study_id"], "values": study["best"]["values"]}
    assert found["base"]["return"] == pytest.approx(study["best"]["measures"]["return"])
    assert run(["--home", str(home), "stress", study["study_id"], *FEW]) == 0
    page = capsys.readouterr().out
    for words in ("Shocks", "slippage x2", "Intervals of 95 %", "Worst stretches", "400 of 10 years"):
        assert words in page
    none = document(home, capsys, "optimize", *QUARTER, *varied, "--require", "trades>=9999")
    assert run(["--home", str(home), "stress", none["study_id"], *FEW]) == 1
    assert "has no trial that meets its requirements" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "give an ID, or --from and --to"),
        (("abc", *QUARTER), 2, "give an ID, or --from and --to"),
        (("abc",), 1, "no result abc"),
        (("--from", "2026-03-02"), 1, "there are no bars"),
        (("--from", "2013-03-04", "--bars", "daily"), 1, "no trade from 2013-03-04 to 2013-03-04"),
        ((*QUARTER, "--paths", "5"), 2, "greater than or equal to 100"),
        ((*QUARTER, "--symbol", "NXPX"), 1, "no symbol NXPX"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, arguments: tuple[str, ...], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, the exit code of its kind, the same as a document."""
    assert run(["--home", str(home), "stress", *arguments, "--json"]) == status
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err
    error = json.loads(printed.out)["error"]
    assert words in error["message"]
    assert error["hint"]


def test_unknown_id_is_all_that_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No step is told before it is known what to stress."""
    assert run(["--home", str(home), "stress", "abc"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no result abc" in line
