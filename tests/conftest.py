"""What every test may ask for: the real market data, and a loud word where it is absent."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from finagent.runtime.logs import EventFormatter, bind_late

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # how fast an example runs here says nothing about the code

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("FINAGENT_REAL_DATA", "") or ROOT / "../shared/data").resolve()
ABSENT = "real data absent"
UNMEASURED = (
    "crash", "drill", "e2e/test_app", "e2e/test_backtest", "e2e/test_browser", "e2e/test_cli", "e2e/test_full_disk",
    "e2e/test_no_lookahead", "e2e/test_replay", "e2e/test_scan", "e2e/test_told", "e2e/test_watch",
    "integration/manual", "integration/races", "integration/reconcile",
    "integration/test_day_again.py", "integration/test_day_simulated.py", "proof", "sim/test_mutants.py",
    "sim/test_seeds.py", "stateful",
)  # fmt: skip
"""Rooms of long proofs: coverage makes Python two and a half times slower, and its floors hold without them."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real market data, laid out as its README says; the test is skipped where it is absent."""
    if not (REAL_DATA / "manifest.json").is_file():
        pytest.skip(f"{ABSENT}: no manifest.json in {REAL_DATA}; set FINAGENT_REAL_DATA")
    return REAL_DATA


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """What a test sends its logs to ends with it: the next one's lines must not go to a stream that is closed."""
    root = logging.getLogger()
    level = root.level
    bind_late(dict)  # nor may it carry the fields of an earlier one
    yield
    for handler in list(root.handlers):
        if isinstance(handler.formatter, EventFormatter):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the real data, so that ``-m real_data`` selects it, and what is not measured."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").as_posix().startswith(UNMEASURED):
            item.add_marker("no_cover")
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested and why: a skip that nobody reads is a hole."""
    skipped = terminalreporter.stats.get("skipped", [])
    for_data = [report for report in skipped if ABSENT in str(report.longrepr)]
    if for_data:
        terminalreporter.section("REAL DATA ABSENT", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"REAL DATA ABSENT: {len(for_data)} tests skipped; set FINAGENT_REAL_DATA to its folder", red=True
        )
    others = [report for report in skipped if report not in for_data]
    if others:
        terminalreporter.section("NOT TESTED HERE", sep="!", yellow=True, bold=True)
        for report in others:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            terminalreporter.line(f"{report.nodeid}: {reason}", yellow=True)
