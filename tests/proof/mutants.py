"""Bugs planted in a copy of the package: each a small edit; one that no longer applies is an error."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "finagent/adapters/sqlite"
COPIED_TESTS = ("conftest.py", "contract", "proof")


class MutantGoneError(Exception):
    """The code that a mutant changes is no longer there: write the edit anew."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace every match of a pattern in one file (a name, or several with a glob); at least one must match."""

    file: str
    pattern: str
    new: str

    def apply(self, root: Path) -> None:
        """Change the copy below `root`; raises MutantGoneError."""
        changed = 0
        for path in sorted(root.glob(self.file)):
            text, count = re.subn(self.pattern, self.new, path.read_text(encoding="utf-8"))
            if count:
                path.write_text(text, encoding="utf-8")
                changed += count
        if not changed:
            raise MutantGoneError(f"{self.pattern!r} matches nothing in {self.file}")


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is wrong in one sentence, and the edits that make it so."""

    bug: str
    edits: tuple[Edit, ...]

    def plant(self, root: Path) -> None:
        """Copy the package and its proofs to `root` and change the copy."""
        copy_tree(root)
        for edit in self.edits:
            edit.apply(root)


def copy_tree(root: Path) -> None:
    """The package, the proofs and what they need, in a folder where they run by themselves."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "finagent", root / "finagent", ignore=ignore)
    for name in COPIED_TESTS:
        source = ROOT / "tests" / name
        if source.is_dir():
            shutil.copytree(source, root / "tests" / name, ignore=ignore)
        else:
            (root / "tests").mkdir(exist_ok=True)
            shutil.copy(source, root / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", root)


ANY = f"{SQLITE}/*.py"
TOKEN = r"epoch = \? AND lease_seq = \?"

MUTANTS = {
    "ack_before_commit": Mutant(
        "a request is answered, and its COMMIT comes with the next one",
        (
            Edit(
                f"{SQLITE}/batch.py",
                r'connection\.execute\("BEGIN IMMEDIATE"\)',
                'connection.in_transaction and connection.execute("COMMIT")\n'
                '        connection.execute("BEGIN IMMEDIATE")',
            ),
            Edit(f"{SQLITE}/batch.py", r'connection\.execute\("COMMIT"\)(?=\n +else)', "pass"),
        ),
    ),
    "no_token_check": Mutant(
        "whoever once held a job may finish it, fail it and extend it",
        (Edit(ANY, TOKEN, "(?, ?) IS NOT NULL"),),
    ),
    "no_boot_reclaim": Mutant(
        "leases of a dead process stay leased after a start",
        (Edit(f"{SQLITE}/leases.py", r"returned, buried = _take_back\([^\n]*\)", "returned, buried = 0, 0"),),
    ),
    "synchronous_off": Mutant(
        "a commit is not brought to the disk", (Edit(ANY, r"synchronous = FULL", "synchronous = OFF"),)
    ),
    "attempts_not_counted": Mutant(
        "a claim does not count as an attempt, so a killer job lives for ever",
        (Edit(ANY, r"attempts = attempts \+ 1", "attempts = max(attempts, 1)"),),
    ),
    "guard_unchecked": Mutant(
        "a row that has changed since it was read is no reason to refuse",
        (Edit(f"{SQLITE}/session.py", r"if found != version:", "if found is None:"),),
    ),
    "deadline_unchecked": Mutant(
        "a job past its deadline still runs",
        (Edit(ANY, r"(?<=status IN \('scheduled', 'ready'\) AND deadline_at )< \?1", "< 0 * ?1"),),
    ),
    "wall_clock_lease": Mutant(
        "a lease ends by the clock of the wall",
        (Edit(f"{SQLITE}/*.py", r"until_ms = self\.monotonic_ms \+", "until_ms = self.now_ms +"),),
    ),
    "completion_beside_effects": Mutant(
        "what a bad request did before it failed is kept",
        (Edit(f"{SQLITE}/batch.py", r'connection\.execute\("ROLLBACK TO request"\)', "pass"),),
    ),
    "serial_key_ignored": Mutant(
        "jobs of one key are handed over together",
        (
            Edit(f"{SQLITE}/leases.py", r"taken_keys\.add\([^\n]*\)", "pass"),
            Edit(
                f"{SQLITE}/migrations/*.sql", r"CREATE UNIQUE INDEX job_live_key", "CREATE INDEX job_live_key"
            ),
        ),
    ),
    "key_forgotten_when_pruned": Mutant(
        "the idempotency key of a pruned job is free again",
        (
            Edit(
                ANY,
                r"INSERT OR IGNORE INTO job_key[^;]*?WHERE id IN \(SELECT value FROM json_each\(\?\)\)",
                "SELECT ?",
            ),
        ),
    ),
    "busy_is_fatal": Mutant(
        "a database that another program has locked stops the writer",
        (Edit(f"{SQLITE}/writer.py", r"!= sqlite3\.SQLITE_BUSY", "!= -1"),),
    ),
}
