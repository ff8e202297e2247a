"""finagent optimize: the same study after SIGKILL and Ctrl-C, for any workers, and one clear line for a mistake."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from finagent.cli.root import run

ROOT = Path(__file__).resolve().parents[2]
MONTH = ("--from", "2013-03-04", "--to", "2013-03-28", "--bars", "daily")
VARIED = ("--param", "scan.min_gap_pct=2:6", "--param", "planning.target_r=1:4:0.5")
FINER = ("--param", "planning.stop_pct=1:6")


def begun(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """One command line under way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    return subprocess.Popen(
        [sys.executable, "-m", "finagent", "--home", str(home), "optimize", *arguments],
        cwd=home,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def document(home: Path, *arguments: str) -> dict[str, Any]:
    """What it prints with ``--json``."""
    process = begun(home, *arguments, "--json")
    printed, told = process.communicate()
    assert process.returncode == 0, told[-2000:]
    found: dict[str, Any] = json.loads(printed)
    return found


def ended_at(home: Path, signalled: signal.Signals, done: int, *arguments: str) -> tuple[int, str]:
    """Signalled as soon as it says that so many trials are done; the exit status and what it said afterwards."""
    process = begun(home, *arguments)
    assert process.stderr is not None
    for line in process.stderr:
        if f"({done + 1} of" in line:
            process.send_signal(signalled)
            break
    _, told = process.communicate()
    return process.returncode, told


def journal_of(home: Path, study_id: str) -> bytes:
    return (home / "reports" / "optimize" / study_id / "trials.jsonl").read_bytes()


def test_a_study_ends_with_the_same_trials_after_ctrl_c_and_sigkill(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In two homes: undisturbed, and killed twice; the last command is ``--resume``."""
    for trials in (2_000, 8_000, 32_000):
        asked = (*MONTH, *VARIED, "--trials", str(trials))
        status, told = ended_at(home, signal.SIGINT, 256, *asked)
        if status == 0:
            continue  # so busy a machine that all trials were done before the signal
        assert status == 130
        stopped = re.search(rf"optimize: stopped after (\d+) of {trials} trials, which are kept", told)
        assert stopped is not None
        done = int(stopped[1])
        assert 256 <= done < trials
        study_id = told.split("--resume ")[1].split()[0]
        assert len(journal_of(home, study_id).splitlines()) == done
        status, _ = ended_at(home, signal.SIGKILL, done, *asked)
        if status == -signal.SIGKILL:
            break
        assert status == 0
    else:
        pytest.fail("every study was done before it could be killed, even one of 32,000 trials")
    found = document(home, "--resume", study_id[:8])
    (tmp_path / "bars").symlink_to((home / "bars").resolve())
    assert run(["--home", str(tmp_path), "optimize", *asked, "--json"]) == 0
    undisturbed = json.loads(capsys.readouterr().out)
    assert found["study_id"] == undisturbed["study_id"] == study_id
    assert found["trials_hash"] == undisturbed["trials_hash"]
    assert journal_of(home, study_id) == journal_of(tmp_path, study_id)
    assert found["trials"]["done"] == trials
    assert found["best"] == found["top"][0]
    kept = json.loads((Path(found["folder"]) / "result.json").read_text())
    assert kept == {key: value for key, value in found.items() if key not in ("folder", "elapsed_ms")}


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2))
def test_a_thousand_trials_killed_at_random_end_the_same(home: Path, tmp_path: Path, seed: int) -> None:
    """Thirteen years, a thousand sets, five times killed at moments that chance chooses, then left alone."""
    asked = ("--from", "2005-01-03", "--to", "2018-02-15", "--bars", "daily", *VARIED, "--trials", "1000")
    asked = (*asked, "--seed", str(seed))
    document(home, *asked[:-2], "--seed", "9", "--trials", "64")  # indexes and machine code are made once
    began_s = time.perf_counter()
    undisturbed = document(home, *asked)
    took_s = time.perf_counter() - began_s
    folder = Path(undisturbed["folder"])
    whole = (folder / "trials.jsonl").read_bytes()
    folder.rename(tmp_path / "undisturbed")
    chance, kills = random.Random(seed), 0
    for _ in range(5):
        process = begun(home, *asked)
        try:
            process.communicate(timeout=chance.uniform(0.1, 0.8) * took_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    assert kills > 0
    finished = document(home, *asked)
    assert finished["trials_hash"] == undisturbed["trials_hash"]
    assert (folder / "trials.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((*VARIED,), 2, "--from is missing"),
        ((*MONTH,), 1, "nothing is varied"),
        ((*MONTH, "--param", "scan.min_gap=2:6"), 2, "there is no setting scan.min_gap"),
        ((*MONTH, "--param", "scan.min_gap_pct=0:6"), 2, "Input should be greater than 0"),
        (
            (*MONTH, "--param", "approval.ttl_minutes=5:9"),
            1,
            "approval.ttl_minutes changes nothing in a backtest",
        ),
        ((*MONTH, *VARIED, *VARIED), 1, "--param scan.min_gap_pct stands there twice"),
        ((*MONTH, *VARIED, "--method", "steam"), 2, "--method steam is not built in"),
        ((*MONTH, *VARIED, "--method", "grid"), 1, "a grid needs one"),
        ((*MONTH, *VARIED, "--bars", "weekly"), 2, "--bars weekly is none of"),
        ((*MONTH, *VARIED, "--require", "profit>1"), 1, "there is no such measure"),
        ((*MONTH, *VARIED, "--objective", "sharp"), 1, "there is no such measure"),
        ((*MONTH, *VARIED, *FINER, "--trials", "99999999"), 1, "99,999,999 sets over 19 sessions take"),
        ((*MONTH, *VARIED, "--walk-forward", "99:5"), 1, "19 sessions are no more than the 99 that choose"),
        ((*MONTH, *VARIED, "--purge", "1"), 1, "--purge and --embargo are of a walk-forward"),
        ((*MONTH, *VARIED, "--symbol", "NXPX"), 1, "no symbol NXPX"),
        (("--from", "2026-03-02", *VARIED), 1, "there are no bars"),
        (("--resume", "abc"), 1, "there is no study abc"),
        ((*MONTH, "--resume", "abc"), 2, "--resume goes on with what was asked"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, arguments: tuple[str, ...], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, the exit code of its kind, and the same as a document; nothing is kept."""
    before = sorted((home / "reports").rglob("*"))
    assert run(["--home", str(home), "optimize", *arguments, "--json"]) == status
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err
    error = json.loads(printed.out)["error"]
    assert words in error["message"]
    assert error["hint"]
    assert sorted((home / "reports").rglob("*")) == before


def test_a_study_is_worked_on_by_one_process_and_goes_on_under_its_own_settings_only(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process is refused by name; other settings are another study, which --resume says."""
    from finagent.runtime.lock import FileLock

    asked = ["--home", str(home), "optimize", *MONTH, *VARIED, "--trials", "3", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    lock = FileLock(Path(found["folder"]) / "study")
    lock.acquire()
    assert run(asked) == 1
    assert f"is being worked on by process {os.getpid()}" in capsys.readouterr().err
    lock.release()
    monkeypatch.setenv("FINAGENT__SCAN__TOP", "4")
    assert run(["--home", str(home), "optimize", "--resume", found["study_id"]]) == 1
    assert "began with other settings, data or version" in capsys.readouterr().err


def test_the_page_shows_trials_front_and_how_all_ended(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a person: the weights that do not sum to one are counted and named."""
    varied = ("--param", "scoring.volatility=0.4,0.5", "--param", "planning.target_r=1,2")
    assert run(["--home", str(home), "optimize", *MONTH, *varied, "--method", "grid"]) == 0
    page = capsys.readouterr().out
    assert "Best trials" in page
    assert "Front: none is better in all of return, max drawdown" in page
    assert "0 trials failed and 2 were refused" in page
    assert "the weights sum to 1.1" in page
    assert "open assumed known" in page


def test_a_walk_forward_tells_each_window_and_stands_on_the_page(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten sessions choose, four judge: three windows; a page for a person, and one in the browser."""
    asked = ["--home", str(home), "optimize", *MONTH, *VARIED, "--trials", "8", "--walk-forward", "10:4"]
    assert run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    walked = found["walk_forward"]
    assert [row["outside"]["sessions"] for row in walked["windows"]] == [4, 4, 1]
    assert len(walked["course"]["sessions"]) == 9
    names = sorted(path.name for path in Path(found["folder"]).glob("*trials.jsonl"))
    assert names == ["trials.jsonl", *(f"window-00{number}.trials.jsonl" for number in (1, 2, 3))]
    assert "<h2>Walk-forward</h2>" in (Path(found["folder"]) / "report.html").read_text()
    assert run(asked) == 0
    page = capsys.readouterr().out
    assert "Walk-forward" in page
    assert "Outside, all windows" in page


def test_a_damaged_journal_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is not what was written, in the middle: no crash explains it."""
    asked = ["--home", str(home), "optimize", *MONTH, *VARIED, "--trials", "4", "--json"]
    assert run(asked) == 0
    journal = Path(json.loads(capsys.readouterr().out)["folder"]) / "trials.jsonl"
    content = bytearray(journal.read_bytes())
    content[20] ^= 1
    journal.write_bytes(content)
    assert run(asked) == 1
    assert "holds what was not written" in capsys.readouterr().err


def test_only_a_search_imports_its_libraries() -> None:
    """scipy and optuna take longer to load than the rest of a command."""
    code = (
        "import sys, finagent.cli.root, finagent.bootstrap.backtests, finagent.bootstrap.optimizing;"
        "print([name for name in ('scipy', 'optuna', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
