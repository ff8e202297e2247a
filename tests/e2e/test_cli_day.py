"""Every verb on a real home: a demo's day read back, commands without an agent, imported bars."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.bootstrap import start_agent
from finagent.cli.root import run
from finagent.settings import Settings

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which one demo ran to its end."""
    home = tmp_path_factory.mktemp("day") / "home"
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FINAGENT")}
    here = Path.cwd()
    os.chdir(home.parent)
    assert run(["demo", "--no-dashboard", "--speed", "50000", "--port", "0", "--home", str(home)]) == 0
    yield home
    os.chdir(here)
    os.environ.update(kept)


def begun(home: Path) -> Path:
    """The home of an account whose agent ran once and was stopped."""

    async def once() -> None:
        agent = await start_agent(Settings(), home)
        await agent.stop()

    if not (home / "finagent.db").exists():
        asyncio.run(once())
    return home


def asked(day: Path, capture: Capture, line: str) -> dict[str, object]:
    """The JSON answer of a verb, whose page must come as well."""
    capture.readouterr()
    assert run(["--home", str(day), *line.split()]) == 0, capture.readouterr().err
    assert capture.readouterr().out.strip()
    assert run(["--home", str(day), *line.split(), "--json"]) == 0
    return dict(json.loads(capture.readouterr().out))


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("plans --run last", "plans"), ("plans --run last --state closed", "plans"),
        ("orders --run last", "orders"), ("trades --run last", "trades"), ("journal --run last", "entries"),
        ("journal list --run last --kind plan", "entries"), ("journal verify --run last", "valid"),
        ("pnl --run last", "sessions"), ("jobs ls --run last", "jobs"), ("jobs stats --run last", "by_status"),
        ("jobs show 1 --run last", "type"), ("scan --session 2026-11-04", "candidates"),
        ("scan --session 2026-11-04 --at 09:31 --explain AAPL", "reasons"), ("doctor", "checks"),
    ],
)  # fmt: skip
def test_reading_verb_answers_in_words_and_in_json(day: Path, capsys: Capture, line: str, key: str) -> None:
    assert key in asked(day, capsys, line)


def test_one_plan_is_shown_by_its_first_letters(day: Path, capsys: Capture) -> None:
    plans = asked(day, capsys, "plans --run last")["plans"]
    assert isinstance(plans, list)
    shown = asked(day, capsys, f"plans {plans[0]['plan_id'][:11]} --run last")
    assert shown["plan_id"] == plans[0]["plan_id"]


def test_commands_without_an_agent_are_carried_out_here(day: Path, capsys: Capture) -> None:
    home = ["--home", str(begun(day))]
    for line, code in (
        ("pause --reason lunch", "paused"), ("lock GME --force", "locked"), ("unlock GME", "unlocked"),
        ("resume", "resumed"), ("kill --yes", "killed"), ("rearm -y", "rearmed"), ("flatten -y", "flattening"),
        ("journal note hello", "noted"), ("jobs redrive", "redriven"), ("approve --all", "nothing_to_approve"),
    ):  # fmt: skip
        assert run([*home, *line.split(), "--json"]) == 0, line
        assert json.loads(capsys.readouterr().out)["code"] == code
    for line in ("status", "positions", "approve --all --dry-run"):
        assert run([*home, *line.split()]) == 0
        assert run([*home, *line.split(), "--json"]) == 0
    assert run([*home, "journal", "verify"]) == 0
    capsys.readouterr()
    assert run([*home, "reject", "nothing"]) == 1
    assert "nothing" in capsys.readouterr().err
    assert run([*home, "reject", "nothing", "--dry-run"]) == 1


def test_kill_is_refused_resume_until_rearm(day: Path, capsys: Capture) -> None:
    home = ["--home", str(begun(day))]
    assert run([*home, "kill", "--yes"]) == 0
    assert run([*home, "resume"]) == 3
    assert "rearm" in capsys.readouterr().err
    assert run([*home, "rearm", "--yes"]) == 0


ROWS = """symbol,date,open,high,low,close,volume
TEST,2018-03-01,10.00,10.50,9.90,10.20,1000000
TEST,2018-03-02,10.20,10.60,10.00,10.40,1000000
TEST,2018-03-05,10.40,9.60,10.00,10.40,1000000
"""


def test_import_counts_keeps_and_tells_what_is_wrong(tmp_path: Path, capsys: Capture) -> None:
    folder, home = tmp_path / "bars", str(tmp_path / "home")
    folder.mkdir()
    assert run(["data", "import", str(folder), "--home", home]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    (folder / "daily.csv").write_text(ROWS)
    assert run(["data", "import", str(folder), "--home", home, "--dry-run"]) == 0
    assert "--dry-run" in capsys.readouterr().out
    assert run(["data", "import", str(folder), "--home", home, "--json"]) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert (report["files"][0]["accepted"], report["files"][0]["rejected"]) == (2, 1)
    assert "daily.csv (1 of 1)" in shown.err
    assert run(["data", "import", str(folder), "--home", home]) == 0
    assert "nothing new" in capsys.readouterr().out
    for verb in ("list", "check"):
        assert run(["data", verb, "--home", home]) == 0
        assert run(["data", verb, "--home", home, "--json"]) == 0
    capsys.readouterr()
    for line in ("--from 2018-03-03", "--from 2018-03-05 --to 2018-03-01", "--from 2017-01-03"):
        assert run(["replay", *line.split(), "--home", home]) in (1, 2)
        assert capsys.readouterr().err.startswith("error: ")
