"""What the kill proofs share: a home with a calendar, one with the real data, runs never killed, and their tally."""

import random
from collections import Counter
from pathlib import Path

import pytest

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.vendors.calendar import load_calendar
from tests.crash.evidence import unfinished
from tests.crash.killer import Finished, Killer, rotating_seed
from tests.crash.replay_child import Errand

MADE_UP = Errand(home="", vendor="simulated", first="2026-11-04", last="2026-11-04")
TALLY = "crash."


@pytest.fixture(scope="session")
def warm_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose calendar is built, to be shared."""
    home = tmp_path_factory.mktemp("warm-home")
    load_calendar(home)
    return home


@pytest.fixture(scope="session")
def crash_home(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the real data imported; runs share its bars."""
    home = tmp_path_factory.mktemp("crash-home")
    import_folder(real_data, home, calendar=load_calendar(home))
    return home


@pytest.fixture
def chance() -> random.Random:
    """Chance from the printed seed."""
    return random.Random(rotating_seed())


@pytest.fixture(scope="session")
def unkilled(warm_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One made-up session that nobody kills; it trades, or killing it would prove nothing."""
    run = Killer(MADE_UP, tmp_path_factory.mktemp("unkilled"), random.Random(1), warm_home).unkilled()
    assert run.evidence.count("trade") >= 2
    assert run.evidence.count("fill") >= 2 * run.evidence.count("trade")
    assert unfinished(run.evidence) == []
    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many kills were survived and how many planted bugs were caught."""
    tally: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name.startswith(TALLY):
                tally[name.removeprefix(TALLY)] += int(value)
    if tally:
        terminalreporter.write_sep("-", "killed replays")
        terminalreporter.write_line(", ".join(f"{name}: {tally[name]}" for name in sorted(tally)))
