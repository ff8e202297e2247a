"""`finagent limits`: what it shows, what a dry run says, and that accepting asks first."""

import json
from pathlib import Path

import pytest

from finagent.cli.root import run


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["--home", str(tmp_path / "home")]


def test_nothing_is_raised_before_the_first_start(
    call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*call, "limits", "show"]) == 0
    assert capsys.readouterr().out == "No limit is raised: those of the settings are in force.\n"


def test_dry_run_accepts_nothing(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*call, "limits", "accept", "--dry-run", "--json"]) == 0
    assert "none is raised" in json.dumps(json.loads(capsys.readouterr().out))


def test_accepting_without_a_terminal_needs_yes(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*call, "limits", "accept"]) != 0
    assert "--yes" in capsys.readouterr().err
