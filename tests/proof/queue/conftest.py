"""What the proofs of the queue share: how long to try, from which seed, and a tally at the end."""

import os
import random
from collections import Counter

import pytest

SEED_VARIABLE = "FINAGENT_PROOF_SEED"
KILLS_VARIABLE = "FINAGENT_KILLS"
CI_KILLS = 25
FULL_KILLS = 200
TALLY = "proof."
MUTANTS = "mutants."


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/proof/queue --kills 1000`; where the folder is not named, the variable does it."""
    parser.addoption("--kills", type=int, default=None, help=f"SIGKILLs to survive, also {KILLS_VARIABLE}")


@pytest.fixture(scope="session")
def is_full() -> bool:
    """Whether the long proofs were asked for."""
    return bool(os.environ.get("FINAGENT_FULL"))


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config, is_full: bool) -> int:
    """How many processes to kill."""
    chosen = pytestconfig.getoption("--kills", default=None)
    return int(chosen or os.environ.get(KILLS_VARIABLE, "") or (FULL_KILLS if is_full else CI_KILLS))


@pytest.fixture
def chance() -> random.Random:
    """Chance from a new seed each time, or from the one of the environment; printed, to be repeated."""
    seed = int(os.environ.get(SEED_VARIABLE, "") or random.SystemRandom().randrange(10**9))
    print(f"{SEED_VARIABLE}={seed}")
    return random.Random(seed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of the proofs that passed, and how many of the planted bugs were caught."""
    tally: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in report.user_properties:
                if name.startswith(MUTANTS) or (name.startswith(TALLY) and outcome == "passed"):
                    tally[name.removeprefix(TALLY)] += int(value)
    caught, planted = tally.pop(f"{MUTANTS}caught", 0), tally.pop(f"{MUTANTS}planted", 0)
    if tally or planted:
        terminalreporter.write_sep("-", "proofs of the queue")
    for name in sorted(tally):
        terminalreporter.write_line(f"{name}: {tally[name]}")
    if planted:
        terminalreporter.write_line(f"mutants caught: {caught} of {planted}")
