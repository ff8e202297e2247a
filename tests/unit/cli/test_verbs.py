"""Verbs as they are typed: what they answer, refuse and send to a running agent, and how they end."""

import asyncio
import errno
import io
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from finagent.api.build import create_api
from finagent.api.serving import address, announced, bind, serving
from finagent.api.token import local_token
from finagent.cli.failures import explain
from finagent.cli.operations import interrupted
from finagent.cli.progress import by_file, steps
from finagent.cli.root import VERBS, hoisted, run
from finagent.context import ExitCode, SurfaceError
from finagent.runtime.errors import HaltError
from finagent.runtime.lock import HomeInUseError
from finagent.settings import Settings, load_settings
from tests.unit.api.documents import PLAN_ID
from tests.unit.api.home import MemoryCommands, callers_of, memory_context

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and an environment of our own."""
    for name in list(os.environ):
        if name.startswith("FINAGENT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Agent:
    """A running HTTP agent over a home in memory."""

    home: Path
    url: str
    commands: MemoryCommands


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A real local server in a thread, announced in its home."""
    home = tmp_path / "home"
    home.mkdir()
    context, commands = memory_context()
    app = create_api(
        context,
        callers=callers_of(local_token(home)),
        registry=CollectorRegistry(),
        health=lambda: {"live": True},
    )
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    loop, stop, is_up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        async with serving(app, listening):
            is_up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    is_up.wait(10)
    with announced(home, address(listening), "2018-03-01T00:00:00+00:00"):
        yield Agent(home, address(listening), commands)
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
    listening.close()


def sqlite_error(name: str) -> sqlite3.DatabaseError:
    """An error as SQLite raises it, with its number."""
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


def error_of(capture: Capture) -> dict[str, str]:
    """The error document on stdout; stderr holds the same in one line."""
    shown = capture.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return dict(json.loads(shown.out)["error"])


def test_help_lists_every_verb(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in (*VERBS, "journal", "data", "jobs", "config"):
        assert f"\n  {verb} " in shown


@pytest.mark.parametrize(
    "verb", [*VERBS, "run", "journal list", "journal note", "jobs ls", "data import", "config show"]
)
def test_every_verb_explains_itself(verb: str, capsys: Capture) -> None:
    assert run([*verb.split(), "--help"]) == 0
    assert "Usage: finagent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (("backtest", "--from"), "finagent backtest --help"),
        (("--home", "backtest", "jobs", "show", "--run"), "finagent jobs show --help"),
        (("--home",), "finagent --help"),
    ],
)
def test_an_option_without_its_value_names_the_verbs_own_help(
    words: tuple[str, ...], verb: str, capsys: Capture
) -> None:
    assert run(words) == 2
    assert (
        capsys.readouterr()
        .err.rstrip()
        .endswith(
            f"requires an argument. {verb} shows what {'there is' if verb == 'finagent --help' else 'it takes'}"
        )
    )


def test_unknown_verb_is_a_usage_error_with_the_nearest(capsys: Capture) -> None:
    assert run(["plan"]) == 2
    assert "Did you mean plans" in capsys.readouterr().err


def test_unknown_option_is_a_usage_error_with_the_nearest(capsys: Capture) -> None:
    assert run(["plans", "--jsno", "--json"]) == 2
    error = error_of(capsys)
    assert (error["code"], "--json" in error["hint"]) == ("usage", True)


@pytest.mark.parametrize(
    "line",
    [
        "replay",
        "reject",
        "jobs show",
        "jobs show x",
        "jobs show 0",
        "jobs cancel",
        "jobs cancel x",
        "jobs ls --status lost",
        "jobs watch --count 0",
        "approve",
        "approve x --all",
        "lock",
        "approve --all --qty 3",
        "external ack",
        "external ack KO --all",
        "journal --limit 0",
        "data import nowhere",
        "journal note ''",
        "demo --approve maybe",
        "config",
        "jobs",
        "orchestrate --port 99999",
        "init --profile brave --yes",
        "init --equity lots --yes",
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(line: str, capsys: Capture) -> None:
    import shlex

    assert run(shlex.split(line)) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert shown.startswith("error: ") or line in ("config", "jobs")


@pytest.mark.parametrize("line", ["", "data", "jobs", "config"])
def test_command_without_a_verb_shows_its_help_as_it_was_written(line: str, capsys: Capture) -> None:
    assert run(line.split()) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"Usage: finagent {line}".rstrip())
    assert "\nCommands:\n" in shown


@pytest.mark.parametrize(
    "line",
    ["approve x --qty -3 --dry-run", "approve x --qty lots --dry-run", "approve x --stop 1e9 --dry-run"],
)
def test_answer_with_no_amount_is_refused_here(line: str, capsys: Capture) -> None:
    assert run(line.split()) == 2
    assert "is no amount. Write it like 100 or 12.34" in capsys.readouterr().err


def test_options_of_the_journal_are_not_lost_before_its_verb(capsys: Capture) -> None:
    assert run(["journal", "--run", "last", "list"]) == 2
    assert "stand behind its verb. finagent journal list --help" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["flatten", "kill", "rearm"])
def test_dangerous_verb_without_terminal_wants_yes(verb: str, capsys: Capture) -> None:
    assert run([verb, "--json"]) == 2
    assert error_of(capsys)["hint"] == "Add --yes"


@pytest.mark.parametrize(
    "line",
    [
        "pause",
        "resume",
        "flatten",
        "flatten GME",
        "kill",
        "rearm",
        "lock gme",
        "unlock GME",
        "external ack KO",
        "external ack --all",
        "jobs retry 3",
        "jobs retry 3 4",
        "jobs cancel 3",
        "journal note hello",
        "fill add pl_1 --leg entry --price 12.34 --qty 5",
        "fill not-done pl_1 --leg entry",
    ],
)
def test_dry_run_says_what_it_would_do_and_touches_nothing(
    line: str, capsys: Capture, tmp_path: Path
) -> None:
    assert run([*line.split(), "--dry-run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["code"] == "dry_run"
    assert run([*line.split(), "--dry-run"]) == 0
    assert "Nothing was done" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_version_is_one_document(capsys: Capture) -> None:
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"]
    assert run(["version"]) == 0
    assert capsys.readouterr().out.startswith("finagent 0.")


def test_global_options_may_stand_after_the_verb() -> None:
    assert hoisted(["plans", "--home", "x", "--json", "-v"]) == ["--home", "x", "-v", "plans", "--json"]
    assert hoisted(["journal", "note", "--", "-v"]) == ["journal", "note", "--", "-v"]
    assert hoisted(["plans", "--home"]) == ["--home", "plans"]
    assert hoisted(["plans", "--config=a"]) == ["--config=a", "plans"]


# ---------------------------------------------------------------- with a running agent
COMMANDS = [
    (f"approve {PLAN_ID[:8]} --qty 5 --stop 236", "approved"),
    (f"reject {PLAN_ID[:8]} --reason late", "rejected"),
    (f"fill add {PLAN_ID[:8]} --leg entry --price 12.34 --qty 5 --at 09:34 --fees 1 --id X1", "recorded"),
    (f"fill not-done {PLAN_ID[:8]} --leg entry --reason late", "ended"),
    ("pause --reason lunch", "paused"),
    ("resume", "resumed"),
    ("flatten GME --yes", "flattening"),
    ("flatten -y", "flattening"),
    ("kill --yes", "killed"),
    ("rearm --yes", "rearmed"),
    ("lock gme", "locked"),
    ("unlock GME", "unlocked"),
    ("external ack ko BRK.B", "acknowledged"),
    ("external ack --all", "acknowledged"),
    ("journal note hello --ref x", "noted"),
    ("jobs retry 12", "retried"),
    ("jobs cancel 12", "cancelled"),
    ("jobs redrive --type send", "redriven"),
]


@pytest.mark.parametrize(("line", "code"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_writing_verb_goes_to_the_running_agent(line: str, code: str, agent: Agent, capsys: Capture) -> None:
    assert run(["--home", str(agent.home), *line.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == code
    assert agent.commands.calls[0][0] == code
    assert len(agent.commands.calls) == 1


def test_identity_and_details_reach_the_command(agent: Agent, capsys: Capture) -> None:
    assert run(["--home", str(agent.home), "approve", PLAN_ID, "--qty", "5", "--stop", "236.5"]) == 0
    _, plan_id, channel, identity, quantity, stop = agent.commands.calls[0]
    assert (plan_id, channel, quantity, stop) == (PLAN_ID, "cli", "5", "236.5")
    assert str(identity).startswith("cli:")
    assert capsys.readouterr().out == "approved.\n"


def test_refusal_ends_with_3_and_the_agents_words(agent: Agent, capsys: Capture) -> None:
    run(["--home", str(agent.home), "approve", PLAN_ID])
    capsys.readouterr()
    assert run(["--home", str(agent.home), "approve", PLAN_ID, "--json"]) == 3
    error = error_of(capsys)
    assert (error["code"], error["message"]) == ("already_answered", "the plan is approved")


def test_unknown_plan_ends_with_1_and_the_mend(agent: Agent, capsys: Capture) -> None:
    assert run(["--home", str(agent.home), "approve", "zzz"]) == 1
    assert capsys.readouterr().err == "error: no plan zzz. finagent plans lists them\n"


def test_symbol_that_is_none_is_a_usage_error(agent: Agent, capsys: Capture) -> None:
    assert run(["--home", str(agent.home), "lock", "drop table"]) == 2
    assert "symbol" in capsys.readouterr().err


def test_lock_is_forced_only_on_demand(agent: Agent) -> None:
    for words, force in (("lock gme", False), ("lock gme --force", True)):
        assert run(["--home", str(agent.home), *words.split()]) == 0
        assert agent.commands.calls[-1][::3] == ("locked", force)


def test_several_jobs_are_cancelled_one_by_one_and_a_refusal_stops_none(
    agent: Agent, capsys: Capture
) -> None:
    assert run(["--home", str(agent.home), "jobs", "cancel", "12", "13", "14"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "cancelled.\nJob 13 is running.\ncancelled.\n"
    assert shown.err == "error: 1 of 3 jobs: cancel was refused\n"
    assert agent.commands.calls == [("cancelled", 12), ("cancelled", 14)]


def test_agent_that_does_not_answer_ends_with_5(tmp_path: Path, capsys: Capture) -> None:
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    url = address(listening)
    listening.close()
    local_token(tmp_path)
    with announced(tmp_path, url, ""):
        assert run(["--home", str(tmp_path), "pause", "--json"]) == 5
    assert error_of(capsys)["code"] == "agent_unreachable"


def test_wrong_token_is_refused_by_the_agent(agent: Agent, capsys: Capture) -> None:
    (agent.home / "token").write_text("w" * 40)
    assert run(["--home", str(agent.home), "kill", "--yes", "--json"]) == 1
    assert error_of(capsys)["code"] == "unauthorised"
    assert agent.commands.calls == []


# ---------------------------------------------------------------- settings
def test_init_writes_settings_that_load_and_a_second_time_refuses(tmp_path: Path, capsys: Capture) -> None:
    assert run(["init", "--yes", "--profile", "micro", "--data", "replay"]) == 0
    settings = load_settings(tmp_path / "settings.yaml")
    assert (settings.risk.profile, settings.data.vendor, str(settings.account.start_equity)) == (
        "micro",
        "replay",
        "500",
    )
    assert (tmp_path / ".env.example").is_file()
    capsys.readouterr()
    assert run(["init", "--yes", "--json"]) == 1
    assert error_of(capsys)["code"] == "exists"
    assert run(["init", "--yes", "--force", "--equity", "25,000"]) == 0
    assert str(load_settings(tmp_path / "settings.yaml").account.start_equity) == "25000"


def test_init_names_every_key_with_its_default(tmp_path: Path) -> None:
    """Taking the comment signs away gives the defaults again."""
    run(["init", "--yes"])
    path = tmp_path / "settings.yaml"
    path.write_text(path.read_text().replace("  # ", "  "))
    assert load_settings(path) == Settings()


def test_init_never_goes_live_and_dry_run_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert run(["init", "--live", "--json"]) == 1
    assert error_of(capsys)["code"] == "live_refused"
    assert run(["init", "--yes", "--dry-run"]) == 0
    assert "start_equity: 100000" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_config_shows_validates_and_describes(tmp_path: Path, capsys: Capture) -> None:
    assert run(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["risk"]["profile"] == "standard"
    assert run(["config", "show"]) == 0
    assert '\nrisk:\n  profile: "standard"' in capsys.readouterr().out
    assert run(["config", "schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)
    assert run(["config", "validate"]) == 0
    (tmp_path / "mine.yaml").write_text("scan: {min_gap: 4}\n")
    capsys.readouterr()
    assert run(["config", "validate", "-c", "mine.yaml", "--json"]) == 2
    error = error_of(capsys)
    assert (error["code"], "min_gap" in error["message"], "did you mean" in error["hint"]) == (
        "settings",
        True,
        True,
    )


def test_missing_settings_file_is_named(capsys: Capture) -> None:
    assert run(["-c", "nowhere.yaml", "config", "show"]) == 2
    assert capsys.readouterr().err.startswith("error: no settings file nowhere.yaml. ")


# ---------------------------------------------------------------- how failures read
@pytest.mark.parametrize(
    ("error", "code", "exit_code", "words"),
    [
        (SurfaceError("a", hint="b", code="c", exit_code=ExitCode.NEEDS_APPROVAL), "c", 4, "error: a. B"),
        (HomeInUseError(Path("/h/finagent.db"), 42), "home_in_use", 1, "in use by process 42. Stop it"),
        (
            PermissionError(13, "Permission denied", "/h"),
            "system",
            1,
            "/h: Permission denied. Make it writable",
        ),
        (FileNotFoundError(2, "No such file", "/x"), "system", 1, "/x: No such file. Name another"),
        (OSError(5, "Input/output error", "/y"), "system", 1, "/y: Input/output error. Mend it"),
        (OSError("odd"), "unexpected", 1, "unexpected OSError: odd"),
        (
            HaltError("the disk is full (x): free space"),
            "halted",
            1,
            "error: the disk is full (x). Free space",
        ),
        (HaltError("broken"), "halted", 1, "error: broken"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "disk_full",
            1,
            "error: the disk is full. Free space on the disk of /h",
        ),
        (OSError(errno.EDQUOT, "x", "/h/a"), "disk_full", 1, "error: /h/a: the disk is full. Free space"),
        (
            sqlite_error("SQLITE_CORRUPT_VTAB"),
            "damaged",
            1,
            "the database is damaged: malformed. Keep the home",
        ),
        (sqlite_error("SQLITE_NOTADB"), "damaged", 1, "the database is damaged: malformed. Keep the home"),
        (sqlite_error("SQLITE_ERROR"), "unexpected", 1, "This is a bug"),
        (ExceptionGroup("g", [SurfaceError("inner")]), "error", 1, "error: inner"),
        (RuntimeError("a\nb\x1b[31m"), "unexpected", 1, "unexpected RuntimeError: a b"),
    ],
)
def test_failure_is_one_line_with_a_mend(error: Exception, code: str, exit_code: int, words: str) -> None:
    failure = explain(error, Path("/h"))
    assert (failure.code, failure.exit_code) == (code, exit_code)
    assert words in failure.line


def test_bug_shows_its_place_only_with_v(tmp_path: Path, capsys: Capture) -> None:
    """A note with a process that no machine can have is nobody's usual mistake."""
    (tmp_path / "agent.json").write_text(json.dumps({"pid": 0, "url": 5, "started_at": ""}))
    (tmp_path / "token").write_text("é", encoding="utf-8")
    assert run(["pause", "--home", str(tmp_path)]) == 1
    plain = capsys.readouterr().err
    assert plain.startswith("error: unexpected UnicodeDecodeError")
    assert plain.count("\n") == 1
    assert run(["pause", "--home", str(tmp_path), "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("began", "fresh", "words"),
    [
        (
            [("2018-03-01", 1, 3), ("2018-03-02", 2, 3)],
            False,
            "2018-03-02 (2 of 3); what was committed is kept, the same",
        ),
        ([("2018-03-01", 1, 3)], True, "the same command without --fresh goes on there"),
        ([], False, "before its first session; the same command begins it"),
    ],
)
def test_interrupted_replay_says_what_is_kept_and_how_it_goes_on(
    began: list[tuple[str, int, int]], fresh: bool, words: str
) -> None:
    assert words in interrupted(began, fresh=fresh)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_for_each_session_or_a_live_bar() -> None:
    for stream, expected in (
        (io.StringIO(), "replay: 2018-03-01 (1 of 2)\n"),
        (Tty(), "replay 2018-03-01"),
    ):
        with steps("replay", stream) as progress:
            progress("2018-03-01", 1, 2)
        assert expected in stream.getvalue()


@dataclass
class Step:
    """A step of an import."""

    file: str
    number: int
    files: int = 2


def test_import_tells_each_file_once() -> None:
    told: list[tuple[str, int, int]] = []
    show = by_file(lambda *step: told.append(step))
    for step in (Step("a", 1), Step("a", 1), Step("b", 2)):
        show(step)
    assert told == [("a", 1, 2), ("b", 2, 2)]


BAD_AMOUNTS = [
    "approve x --dry-run --qty NaN", "approve x --dry-run --qty -5", "approve x --dry-run --stop inf",
    "approve --all --qty 5", "approve", "approve x --all", "fill add x --leg entry --price NaN --qty 5 --dry-run",
    "fill add x --leg entry --price 12 --qty -5 --dry-run",
    "fill add x --leg entry --price 12 --qty 5 --fees x --dry-run",
    "fill add x --leg Entry --price 12 --qty 5",
    "fill add x --leg entry --qty 5", "fill not-done x --leg -", "fill not-done x",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_AMOUNTS)
def test_amount_that_is_none_is_a_usage_error_and_reaches_nobody(
    line: str, agent: Agent, capsys: Capture
) -> None:
    assert run(["--home", str(agent.home), *line.split()]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert agent.commands.calls == []


NONSENSE = {
    "approve x --qty NaN": "NaN",
    "approve x --stop -5": "-5",
    "fill add x --leg entry --price 1e9 --qty 5": "1e9",
}


@pytest.mark.parametrize(("line", "amount"), NONSENSE.items())
def test_amount_that_is_none_reaches_the_agent_which_journals_it(
    line: str, amount: str, agent: Agent, capsys: Capture
) -> None:
    run(["--home", str(agent.home), *line.replace(" x", f" {PLAN_ID}", 1).split()])
    assert capsys.readouterr().err == ""
    assert amount in str(agent.commands.calls)
