"""finagent live: the second switch for real money, as it is typed."""

import json
from pathlib import Path

import pytest

from finagent.cli.root import run

LIVE = "broker: {name: alpaca, endpoint: live}\n"


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose settings say live."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPACA_API_KEY", "PKLIVE")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "live-secret-key")
    (tmp_path / "settings.yaml").write_text(LIVE, encoding="utf-8")
    return tmp_path


def test_status_of_a_home_that_has_none_says_no(live, capsys):
    assert run(["live", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "broker": "alpaca", "endpoint": "live", "allowed_account": None, "bound": None, "is_live": False,
    }  # fmt: skip
    assert run(["live", "status"]) == 0
    assert "no account yet" in capsys.readouterr().out
    assert not (live / "var").exists(), "a reading verb makes no home"


def test_allow_asks_first_and_does_nothing_without_an_answer(live, capsys):
    assert run(["live", "allow", "--account", "937", "--dry-run"]) == 0
    assert run(["live", "allow", "--account", "937"]) == 2
    assert "Add --yes" in capsys.readouterr().err


def test_allow_is_refused_as_long_as_there_are_no_live_prices(live, capsys):
    assert run(["live", "allow", "--account", "937", "--yes"]) == 2
    assert "live prices are not built in yet" in capsys.readouterr().err


def test_allow_is_refused_where_the_settings_do_not_say_live(live, capsys):
    (live / "settings.yaml").write_text("", encoding="utf-8")
    assert run(["live", "allow", "--account", "937", "--yes", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "live_refused"


def test_revoke_of_what_nobody_allowed_says_so(live, capsys):
    (live / "settings.yaml").write_text("", encoding="utf-8")
    assert run(["live", "revoke", "--dry-run"]) == 0
    assert run(["live", "revoke"]) == 0
    assert "was not allowed" in capsys.readouterr().out


def test_start_on_live_is_refused_in_one_line_and_leaves_no_home(live, capsys):
    assert run(["orchestrate", "--port", "0"]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: broker.name = alpaca with data.vendor = simulated")
    assert "\n" not in line
    assert not (live / "var").exists()


def test_init_names_the_two_switches_and_the_broker(live, capsys):
    (live / "settings.yaml").unlink()
    assert run(["init", "--live"]) == 1
    assert "finagent live allow" in capsys.readouterr().err
    assert run(["init", "--yes", "--broker", "alpaca"]) == 0
    assert "live prices" in capsys.readouterr().out
    assert "  name: alpaca" in (live / "settings.yaml").read_text(encoding="utf-8")
    assert "ALPACA_API_KEY" in (live / ".env.example").read_text(encoding="utf-8")
    assert run(["init", "--yes", "--force", "--broker", "robinhood"]) == 2
