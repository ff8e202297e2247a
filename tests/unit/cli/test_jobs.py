"""The queue's verbs over a real database: what they find, change and refuse, with nobody and somebody running."""

import asyncio
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.vendors.calendar import load_calendar
from finagent.cli.page import Page
from finagent.cli.render_jobs import watched
from finagent.cli.root import run
from finagent.cli.watch import next_snapshot
from finagent.context import Document, SurfaceError
from finagent.queue.job import JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.runtime.clock import SystemClock
from tests.contract.queue_world import Hands, ManualTicker

Capture = pytest.CaptureFixture[str]
TYPES = JobTypes({"scan": JobPolicy(priority=5, max_attempts=3), "send": JobPolicy(priority=1)})
LONG = (
    "TimeoutError: the vendor did not answer within 30 s, and this goes on for longer than any line is wide"
)
DONE, LATE, DEAD, DEAD_TOO, HELD = 1, 2, 3, 4, 5


async def _fill(path: Path) -> None:
    """1 done (2 is its child), 2 waits for a retry, 3 and 4 dead, 5 is left behind by a process that died."""
    clock = SystemClock()
    async with await Database.open(path, clock=clock, threaded=False) as database:
        queue = SqliteJobQueue(database, TYPES, clock, ManualTicker())
        await queue.start()
        hands = Hands(credits={"scan": 9, "send": 9})
        queue.attach(hands)
        await queue.publish(NewJob("send", {"order": "x", "n": [1, 2]}, "send:a", key="WMT", trace_id="t-1"))
        tx = Tx()
        tx.enqueue(NewJob("scan", {}, "scan:child"))
        await queue.complete(await hands.take(), tx)
        await queue.fail(await hands.take(), LONG, outcome="retry", retry_after_s=3600)
        for number, name in enumerate(("send", "scan")):
            await queue.publish(NewJob(name, {}, f"dead:{number}"))
            await queue.fail(await hands.take(), f"ValueError: boom {number}", outcome="dead")
        await queue.publish(NewJob("scan", {}, "held"))
        await hands.take()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with jobs in every state; tests take copies."""
    home = tmp_path_factory.mktemp("filled")
    load_calendar(home)
    asyncio.run(_fill(home / "finagent.db"))
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in an empty folder and an environment of our own."""
    for name in [name for name in os.environ if name.startswith("FINAGENT")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "home"
    shutil.copytree(filled, copy)
    return copy


def document(capture: Capture) -> dict[str, object]:
    return dict(json.loads(capture.readouterr().out))


def ids(capture: Capture) -> list[int]:
    rows = document(capture)["jobs"]
    assert isinstance(rows, list)
    return [row["id"] for row in rows]


def status_of(home: Path, job_id: int, capture: Capture) -> object:
    assert run(["--home", str(home), "jobs", "show", str(job_id), "--json"]) == 0
    return document(capture)["status"]


# ---------------------------------------------------------------- ls and show
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--status dead", [DEAD_TOO, DEAD]),
        ("--status dead --status done", [DEAD_TOO, DEAD, DONE]),
        ("--status dead,done --type send", [DEAD, DONE]),
        ("--type scan --type send --limit 2", [HELD, DEAD_TOO]),
        ("--key WMT", [DONE]),
        ("--idem dead:", [DEAD_TOO, DEAD]),
        ("--error VENDOR", [LATE]),
        ("--trace t-1", [LATE, DONE]),
        ("--since 1h --until 0s --status done", [DONE]),
        ("--since 2018-03-01T09:31 --until 2018-03-01", []),
    ],
)
def test_filters_of_ls_reach_the_table(home: Path, line: str, expected: list[int], capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "ls", *line.split(), "--json"]) == 0
    assert ids(capsys) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--status lost", "scheduled, ready, leased, done, dead, cancelled"),
        ("--status dead,lost", "never 'lost'"),
        ("--since soon", "Write it like 30m"),
        ("--until 2018-13-01", "Write it like 30m"),
        ("--limit 0", "greater than or equal to 1"),
    ],
)
def test_filter_that_is_no_value_is_a_usage_error(line: str, words: str, capsys: Capture) -> None:
    """Even where there is no database to ask."""
    assert run(["--home", "nowhere", "jobs", "ls", *line.split()]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 140])
def test_ls_keeps_each_job_on_one_line_and_says_how_many_more_match(
    home: Path, width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["--home", str(home), "jobs", "ls", "--limit", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), max(map(len, lines)) <= width) == (7, True), lines
    assert "1/3" in lines[4]
    assert "…" in lines[4], "the long error is shortened"
    assert lines[-1] == "1 more match: --limit shows more, filters fewer"


def test_ls_of_an_unknown_type_names_those_that_exist(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "ls", "--type", "sned"]) == 0
    assert capsys.readouterr().out == "No jobs. Types here: scan, send\n"


def test_show_tells_all_of_a_job(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "show", str(DONE)]) == 0
    shown = capsys.readouterr().out
    for part in ("Job 1 send", "t-1", "WMT", '"order": "x"', "scan:child", "Took", "done"):
        assert part in shown
    assert run(["--home", str(home), "jobs", "show", str(LATE)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Parent 1 send done" in shown
    assert "1 of 3, 1 failed" in shown
    assert shown.count("this goes on for longer") == 2, "in the job and in its attempt, unabridged"
    assert run(["--home", str(home), "jobs", "show", str(HELD)]) == 0
    assert f"boot 1, process {os.getpid()}, number 1" in capsys.readouterr().out


def test_stats_show_times_and_attempts(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "stats"]) == 0
    shown = capsys.readouterr().out
    assert "1 retry, 1 dead" in shown or "1 dead, 1 retry" in shown
    assert "Run p50" in shown


# ---------------------------------------------------------------- cancel, retry, redrive without an agent
def test_cancel_says_for_each_job_what_happened_and_ends_with_1(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "cancel", str(LATE), str(DONE), "99"]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "Job 2 is cancelled: it will not run.",
        "Job 1 is done: only one that waits can be cancelled.",
        "there is no job 99: list the jobs to see their ids",
    ]
    assert shown.err == "error: 2 of 3 jobs: cancel was refused\n"
    assert status_of(home, LATE, capsys) == "cancelled"


def test_one_job_that_cannot_be_cancelled_is_an_error_document(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "cancel", str(DEAD), "--json"]) == 1
    error = document(capsys)["error"]
    assert isinstance(error, dict)
    assert (error["code"], "is dead" in error["message"]) == ("not_cancelled", True)


def test_retry_takes_several_ids_and_tells_them_in_one_document(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "retry", str(LATE), str(DEAD), str(DEAD), "--json"]) == 0
    found = document(capsys)
    assert (found["code"], len(found["data"]["jobs"])) == ("retried", 2)  # type: ignore[index,arg-type,call-overload]
    assert run(["--home", str(home), "jobs", "retry", str(DONE), str(DEAD_TOO), "--json"]) == 1
    found = document(capsys)
    assert [job["done"] for job in found["data"]["jobs"]] == [False, True]  # type: ignore[index,call-overload]
    assert found["error"]["code"] == "not_retried"  # type: ignore[index,call-overload]
    assert status_of(home, DEAD, capsys) == "ready"


def test_redrive_counts_before_and_after(home: Path, capsys: Capture) -> None:
    redrive = ["--home", str(home), "jobs", "redrive"]
    assert run([*redrive, "--dry-run"]) == 0
    assert "put 2 dead jobs (1 scan, 1 send) back to ready. Nothing was done" in capsys.readouterr().out
    assert run([*redrive, "--type", "scan", "--type", "plan"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (
        "1 dead job is ready again.\n",
        "no dead job of type plan; dead are: scan, send\n",
    )
    assert run([*redrive, "--json"]) == 0
    assert document(capsys)["data"] == {"jobs": 1}
    assert (status_of(home, DEAD, capsys), status_of(home, DEAD_TOO, capsys)) == ("ready", "ready")


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["real", "dry run"])
def test_redrive_of_a_type_that_no_job_has_is_refused(home: Path, capsys: Capture, more: list[str]) -> None:
    redrive = ["--home", str(home), "jobs", "redrive", *more]
    assert run([*redrive, "--type", "scam"]) == 2
    assert capsys.readouterr().err == "error: scam is no type of job. Did you mean scan?\n"
    assert run([*redrive, "--type", "xyz", "--json"]) == 2
    assert document(capsys)["error"]["code"] == "unknown_type"  # type: ignore[index,call-overload]
    assert status_of(home, DEAD, capsys) == "dead"


def test_dry_run_of_redrive_looks_before_it_speaks(home: Path, tmp_path: Path, capsys: Capture) -> None:
    """Nothing to redrive is said, and so is a home without a database."""
    assert run(["--home", str(home), "jobs", "redrive", "--type", "plan", "--dry-run"]) == 0
    assert "would put 0 jobs (none is dead of type plan) back to ready" in capsys.readouterr().out
    assert run(["--home", str(tmp_path / "none"), "jobs", "redrive", "--dry-run", "--json"]) == 1
    assert document(capsys)["error"]["code"] == "no_database"  # type: ignore[index,call-overload]


def test_redrive_at_a_terminal_asks_with_the_count(
    home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question))
    assert run(["--home", str(home), "jobs", "redrive"]) == 1
    assert asked == ["redrive will put 2 dead jobs (1 scan, 1 send) back to ready. Go on?"]
    assert status_of(home, DEAD, capsys) == "dead"
    assert run(["--home", str(home), "jobs", "redrive", "--yes"]) == 0
    assert len(asked) == 1


def test_cancel_where_nothing_is_claims_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert run(["--home", str(tmp_path / "none"), "jobs", "cancel", "1", "2", "--json"]) == 1
    error = document(capsys)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "no_database"


# ---------------------------------------------------------------- watch
def test_watch_prints_one_document_a_line_and_ends_by_count(home: Path, capsys: Capture) -> None:
    watch = ["--home", str(home), "jobs", "watch", "--interval", "0.1", "--count", "2", "--json"]
    assert run(watch) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["by_type"] == {
        "scan": {"dead": 1, "leased": 1, "scheduled": 1},
        "send": {"dead": 1, "done": 1},
    }
    assert (first["per_s"], second["per_s"]["done"]) == (None, 0.0)
    assert [row["id"] for row in first["running"]] == [HELD]
    assert [row["id"] for row in first["failed"]] == [DEAD_TOO, DEAD, LATE]
    assert first["database_bytes"] > 0


def test_watch_piped_prints_whole_snapshots(home: Path, capsys: Capture) -> None:
    assert run(["--home", str(home), "jobs", "watch", "--interval", "0.1", "--count", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\nall ") == 2
    assert "\x1b" not in shown
    assert "boom 1" in shown


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_watch_on_a_terminal_uses_its_second_screen_and_leaves_the_last_snapshot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert run(["--home", str(home), "jobs", "watch", "--interval", "0.1", "--count", "2"]) == 0
    screen, _, left = terminal.getvalue().partition("\x1b[?1049l")
    assert (screen.count("Ctrl-C ends"), left.count("boom 1")) == (2, 1)


def test_watch_keeps_the_last_snapshot_while_its_database_is_away(home: Path, capsys: Capture) -> None:
    async def away() -> Document:
        raise SurfaceError("no database at x", code="no_database")

    async def gone() -> Document:
        raise SurfaceError("x is newer", code="database_too_new")

    kept = asyncio.run(next_snapshot(away, {"now": "t", "per_s": {"done": 3}}))
    assert kept == {"now": "t", "per_s": None, "note": "waiting: no database at x"}
    for look, last in ((away, None), (gone, {})):
        with pytest.raises(SurfaceError):
            asyncio.run(next_snapshot(look, last))
    assert "waiting: no database at x" in watched(kept, Page())


def test_watch_of_nothing_says_how_to_get_something(tmp_path: Path, capsys: Capture) -> None:
    assert run(["--home", str(tmp_path / "none"), "jobs", "watch"]) == 1
    assert "finagent orchestrate" in capsys.readouterr().err
    assert run(["jobs", "watch", "--interval", "0"]) == 2


def test_watch_page_cuts_idle_types_first_on_a_low_screen() -> None:
    names = [f"type{number}" for number in range(30)]
    counts = {name: {"done": 3} for name in names} | {"zz": {"ready": 2}}
    low = watched({"by_type": {**counts}, "by_status": {"done": 90, "ready": 2}}, Page(width=60), height=12)
    lines = low.splitlines()
    assert len(lines) <= 12
    assert "zz" in low
    assert (lines[-1][:4], lines[-1][-11:]) == ("and ", " types more")
