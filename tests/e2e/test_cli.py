"""The command line as a process: how fast it starts, how it ends, what a pipe or a signal does to it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINAGENT = (sys.executable, "-m", "finagent")


def environment(home: Path) -> dict[str, str]:
    """A clean environment with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    return {**kept, "FINAGENT_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def finagent(home: Path, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """One call of the command line, run in an empty folder."""
    return subprocess.run(
        [*FINAGENT, *arguments],
        cwd=home.parent,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a home may be made; it does not exist yet."""
    return tmp_path / "home"


@pytest.mark.parametrize("module", ["finagent", "finagent.cli"])
def test_both_modules_are_the_command(home: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "version", "--json"],
        env=environment(home),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["version"]


def test_help_loads_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; from finagent.cli.root import run; run(['--help']); "
        "heavy = {'pandas', 'pyarrow', 'fastapi', 'pydantic', 'httpx', 'rich', 'streamlit', 'asyncio'}; "
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_pipe_that_closes_is_quiet(home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m finagent config schema | head -c 1"],
        env=environment(home), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("verb", ["version", "config schema", "--help"])
def test_pipe_that_is_closed_ends_the_verb_with_141(home: Path, verb: str, unbuffered: str) -> None:
    """Whether the verb's own write meets it (a long answer, an unbuffered one) or the last flush."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*FINAGENT, *verb.split()],
            env={**environment(home), "PYTHONUNBUFFERED": unbuffered},
            cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


READS = [
    "status",
    "plans",
    "positions",
    "orders",
    "trades",
    "journal",
    "journal verify",
    "pnl",
    "jobs ls",
    "jobs stats",
]


@pytest.mark.parametrize("verb", READS)
def test_reading_without_a_database_says_how_to_get_one(home: Path, verb: str) -> None:
    done = finagent(home, *verb.split(), "--json")
    assert done.returncode == 1, done.stderr
    error = json.loads(done.stdout)["error"]
    assert "finagent demo" in error["hint"] or "finagent orchestrate" in error["hint"]
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not home.exists(), "reading made a home"


@pytest.mark.parametrize("verb", ["kill --yes", "flatten --yes", "pause", "lock GME", "approve --all"])
def test_acting_in_a_folder_without_a_database_claims_nothing(home: Path, verb: str) -> None:
    """A kill given in the wrong folder must not say that it killed."""
    done = finagent(home, *verb.split(), "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "no_database"
    assert not home.exists(), "acting made a home"


@pytest.mark.parametrize(
    "verb", ["status", "doctor", "data list", "scan", "pause", "replay --from 2018-02-20"]
)
def test_home_that_is_a_file_is_no_bug(home: Path, verb: str) -> None:
    home.write_text("", encoding="utf-8")
    done = finagent(home, *verb.split())
    assert done.returncode == 1, done.stderr
    assert "bug" not in done.stderr


def test_scan_of_the_made_up_market_says_so(home: Path) -> None:
    """A session that no imported bar holds is answered by the built-in market: nobody may take it for real."""
    assert "breadth" in (shown := finagent(home, "scan", "--session", "2026-11-04").stdout)
    assert ", a made-up market\n" in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminal_that_knows_no_dash_shows_what_it_can(home: Path, encoding: str) -> None:
    done = subprocess.run(
        [*FINAGENT, "data", "import", "nö – where"], env={**environment(home), "PYTHONIOENCODING": encoding},
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.startswith(b"error: no folder n")) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data", "import", "nowhere"], 2),
        (["config", "show", "-c", "nowhere.yaml"], 2),
        (["replay", "--from", "2018-13-01"], 2),
        (["scan", "--session", "someday"], 2),
    ],
)
def test_mistake_is_one_line_and_the_right_status(home: Path, arguments: list[str], expected: int) -> None:
    done = finagent(home, *arguments)
    assert (done.returncode, done.stdout) == (expected, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_doctor_answers_without_a_home(home: Path) -> None:
    done = finagent(home, "doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    assert {check["status"] for check in checks} <= {"ok", "warn", "fail"}
    assert all(check["mend"] for check in checks if check["status"] != "ok")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_agent_starts_answers_and_stops_cleanly(home: Path, number: signal.Signals, status: int) -> None:
    """Ready within seconds, one agent per home, commands over HTTP, nothing left behind."""
    agent = subprocess.Popen(
        [*FINAGENT, "orchestrate", "--port", "0"],
        env=environment(home), cwd=home.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert agent.stderr is not None
        said = []
        for line in agent.stderr:
            said.append(line)
            if line.startswith("finagent runs at http://127.0.0.1:"):
                break
        else:
            raise AssertionError("".join(said))
        note = json.loads((home / "agent.json").read_text())
        assert note["pid"] == agent.pid

        second = finagent(home, "orchestrate", "--port", "0")
        assert second.returncode == 1
        assert str(agent.pid) in second.stderr

        paused = finagent(home, "pause", "--reason", "test", "--json")
        assert (paused.returncode, json.loads(paused.stdout)["code"]) == (0, "paused"), paused.stderr
        shown = finagent(home, "status", "--json")
        assert shown.returncode == 0, shown.stderr
        assert finagent(home, "resume").returncode == 0
        assert finagent(home, "approve", "nothing").returncode == 1

        agent.send_signal(number)
        began = time.monotonic()
        rest = agent.stderr.read()
        assert agent.wait(15) == status, rest
        assert time.monotonic() - began < 10
        assert "rests at the broker" in rest or "resting at the broker" in rest
        assert "Traceback" not in rest
        assert not (home / "agent.json").exists()
    finally:
        agent.kill()
        agent.communicate()

    alone = finagent(home, "pause", "--json")
    assert (alone.returncode, json.loads(alone.stdout)["code"]) == (0, "paused"), alone.stderr
    assert finagent(home, "journal", "verify").returncode == 0


def test_home_is_its_owners_alone(home: Path) -> None:
    """Database, logs, backups and folders, whatever the shell's umask gives away."""
    agent = subprocess.Popen(
        [*FINAGENT, "orchestrate", "--port", "0"],
        env=environment(home), cwd=home.parent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, umask=0o022,
    )  # fmt: skip
    try:
        assert agent.stderr is not None
        assert any(line.startswith("finagent runs at ") for line in agent.stderr)
        saved = subprocess.run(
            [*FINAGENT, "db", "backup"], env=environment(home), cwd=home.parent, check=False, umask=0o022
        )
        assert saved.returncode == 0
        made = [home, *home.rglob("*")]
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=60)
    assert {"finagent.db", "finagent.db-wal", "backups", "logs"} <= {path.name for path in made}
    left = [home, *home.rglob("*")]
    assert [path.name for path in left if path.stat().st_mode & 0o077] == []


def test_demo_ends_with_a_day_report(home: Path) -> None:
    """Without terminal and page policy decides; the report and every reading verb agree on the trades."""
    done = finagent(home, "demo", "--no-dashboard", "--port", "0", "--speed", "50000")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for part in ("Day report", "Plans", "Trades", "The day", "Flat"):
        assert part in done.stdout, done.stdout
    trades = json.loads(finagent(home, "trades", "--run", "last", "--json").stdout)["trades"]
    assert all(trade["symbol"] in done.stdout for trade in trades)
    for verb in ("plans", "orders", "journal", "pnl", "jobs ls"):
        reading = finagent(home, *verb.split(), "--run", "last", "--json")
        assert reading.returncode == 0, reading.stderr
        assert json.loads(reading.stdout)
