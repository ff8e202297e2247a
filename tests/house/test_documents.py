"""What people read is true: every command, setting, metric and alert appears where it is looked up."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from finagent.cli.root import app, hoisted
from finagent.runtime.metrics import Metrics
from finagent.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
NOT_YET = "*(not yet)*"
STAND_INS = {"ID": "1", "DIR": ".", "SYMBOL": "NXPI", "D": "2018-02-16"}
"""What a capital word of an example stands for."""


def text_of(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def all_text() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


# ---------------------------------------------------------------- commands


def commands(*, with_hidden: bool = False) -> Iterator[tuple[str, str]]:
    """Each command of the command line with its help line."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, str]]:
        for word, child in sorted(getattr(command, "commands", {}).items()):
            if with_hidden or not child.hidden:
                yield from walk(child, f"{name} {word}".strip())
        if name and not getattr(command, "commands", None):
            yield name, command.help or command.short_help or ""

    return walk(typer.main.get_command(app), "")


def examples() -> list[str]:
    """Each `finagent ...` of the documents: lines of code blocks without their comment, and code spans."""
    found: set[str] = set()
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found |= set(re.findall(r"^(?:\$ )?(finagent .*?)(?:\s+#.*)?$", block, re.MULTILINE))
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        found |= set(re.findall(r"`(finagent [^`]+)`", prose))
    return sorted(found)


def test_every_command_is_in_the_documents() -> None:
    """A command that no document names is not found by anybody."""
    text = text_of("README.md", "docs/operations.md")
    absent = [name for name, _ in commands() if not re.search(rf"`finagent {re.escape(name)}\b", text)]
    assert not absent, f"commands that neither README nor docs/operations.md shows: {absent}"


def test_every_command_says_what_it_does() -> None:
    """``--help`` has a line for each command."""
    assert not [name for name, line in commands() if not line.strip()]


@pytest.mark.parametrize("example", examples())
def test_example_is_a_command_line_that_exists(example: str) -> None:
    """Verbs, flags and the number of arguments; nothing is carried out."""
    words = [STAND_INS.get(word, word) for word in hoisted(shlex.split(example)[1:]) if word != "--help"]
    if not words:
        return
    command: Any = typer.main.get_command(app)
    context: Any = None
    while words or context is None:
        context = command.make_context("finagent", words, parent=context, resilient_parsing=False)
        if not getattr(command, "commands", None):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        _, command, words = command.resolve_command(context, rest)
        if command.name != rest[0] and rest[0] != "run":
            pytest.fail(f"{example}: no command {rest[0]}")


def test_there_are_examples() -> None:
    """The parser of examples sees them: a check of nothing proves nothing."""
    assert len(examples()) > 40


def test_launcher_knows_the_words_that_the_readme_gives_it() -> None:
    """`./launch_dev.sh WORD` of the documents is a branch of the script."""
    script = text_of("launch_dev.sh")
    words = set(re.findall(r"\./launch_dev\.sh ([a-z]+)", text_of("README.md", "docs/guarantees.md")))
    assert words == {"test", "serve"}
    assert all(f"  {word}) shift" in script for word in words)


@pytest.mark.full
def test_session_of_the_readme_is_what_the_demo_prints(tmp_path: Path) -> None:
    """The README shows a real session, to the last cent; the journal's head is another each time."""
    shown = re.search(r"^\$ (finagent demo .*?)\n(.*?)^```", text_of("README.md"), re.MULTILINE | re.DOTALL)
    assert shown is not None
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT")}
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(shown[1]), "--home", str(tmp_path), "--port", "0"],
        cwd=ROOT,
        env={**kept, "COLUMNS": "100", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines() if not line.startswith("──")]
    printed = [re.sub(r"[0-9]+:[0-9a-f]{64}$", "…", line) for line in lines]
    assert "\n".join(printed).strip() == shown[2].strip(), done.stderr[-2000:]


# ---------------------------------------------------------------- settings


def test_every_setting_is_commented() -> None:
    """Each key of settings.yaml has a comment on its line or on the line above."""
    lines = text_of("settings.yaml").splitlines()
    bare = [
        f"{number + 1}: {line.strip()}"
        for number, line in enumerate(lines)
        if re.match(r"^( {2})?[a-z_0-9]+:", line)
        and "#" not in line
        and not (number and lines[number - 1].lstrip().startswith("#"))
    ]
    assert not bare, f"settings.yaml, keys without a comment: {bare}"


def test_every_setting_of_the_model_is_in_the_file() -> None:
    """settings.yaml shows each section and key that the program knows, and no other."""
    written = yaml.safe_load(text_of("settings.yaml"))
    del written["profiles"]
    known = {
        section: set(getattr(field.annotation, "model_fields", {}))
        for section, field in Settings.model_fields.items()
    }
    assert {section: set(values) for section, values in written.items()} == known


def test_settings_that_documents_name_exist() -> None:
    """`section.key` in a code span is a setting."""
    sections = {
        name: getattr(field.annotation, "model_fields", {}) for name, field in Settings.model_fields.items()
    }
    named = set(re.findall(r"`([a-z]+)\.([a-z_]+)(?::[^`]*)?`", all_text()))
    wrong = sorted(
        f"{section}.{key}"
        for section, key in named
        if section in sections and key not in sections[section] and key not in ("py", "yaml")
    )
    assert not wrong


# ---------------------------------------------------------------- metrics and alerts


def exported() -> list[str]:
    """The public names of all metrics, as a scrape shows them."""
    return sorted(
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in Metrics().registry.collect()
    )


def test_every_metric_is_in_the_documents() -> None:
    """docs/operations.md has a row for each metric, and for no other."""
    rows = re.findall(r"^\| `(finagent_\w+)` \|", text_of("docs/operations.md"), re.MULTILINE)
    assert sorted(rows) == exported()


def test_documents_say_which_metrics_nothing_measures() -> None:
    """A row says *(not yet)* exactly where no line of the program sets the metric."""
    program = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "finagent").rglob("*.py"))
        if path.name != "metrics.py"
    )
    text = text_of("docs/operations.md")
    marked = set(re.findall(rf"^\| `finagent_(\w+)` \|.*{re.escape(NOT_YET)}", text, re.MULTILINE))
    used = {
        name
        for name in (each.removeprefix("finagent_") for each in exported())
        if re.search(rf"metrics\.{name}\b", program) or name == "build_info"
    }
    silent = {each.removeprefix("finagent_") for each in exported()} - used
    assert marked == silent


def test_every_alert_is_in_the_documents() -> None:
    """An alert that wakes somebody has its row, and each row has its alert."""
    rules = yaml.safe_load(text_of("deploy/prometheus/alerts.yml"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", text_of("docs/operations.md"), re.MULTILINE)) == alerts


# ---------------------------------------------------------------- the rest of what they say


def test_guarantees_name_tests_that_exist() -> None:
    """Each `test_...` of the documents is a test, and each promise of the design has its heading."""
    text = text_of("docs/guarantees.md")
    known = {
        name
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(
            r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert not set(re.findall(r"`(test_\w+)`", all_text())) - known
    promises = [*(f"G{n}" for n in range(1, 13)), *(f"Q{n}" for n in range(1, 9))]
    assert re.findall(r"^### ([GQ]\d+) · ", text, re.MULTILINE) == promises


def test_links_between_documents_lead_somewhere() -> None:
    """Each relative link of a document is a file of the project."""
    broken = [
        f"{path.name}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not broken


def test_files_that_documents_name_exist() -> None:
    """A path in a code span that begins in a room of the project is there."""
    named = set(re.findall(r"`((?:finagent|tests|docs|deploy|adapters|domain|services|settings|api|runtime"
                           r"|bootstrap)/[\w./-]*)`", all_text()))  # fmt: skip
    absent = [
        name
        for name in sorted(named)
        if not (ROOT / name).exists() and not (ROOT / "finagent" / name).exists() and "NAME" not in name
    ]
    planned = {"adapters/news/", "adapters/brokers/"}
    assert set(absent) <= planned


def test_changelog_keeps_an_unreleased_section() -> None:
    """What a user notices is written down before it is released."""
    assert "## [Unreleased]" in text_of("CHANGELOG.md")


def committed() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the committed files cannot be listed")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def lines_with(*words: str) -> list[str]:
    """Committed text files that hold one of these words."""
    return [
        f"{path.relative_to(ROOT)}: {word}"
        for path in committed()
        if path.suffix not in (".png", ".parquet", ".db")
        for word in words
        if word in path.read_text(encoding="utf-8", errors="replace")
    ]


def test_nothing_names_a_path_of_this_machine() -> None:
    """What is committed is true on every machine: no absolute path of a home or of this checkout."""
    here = [str(ROOT), str(ROOT.parent / "shared"), os.path.expanduser("~") + "/"]
    assert not lines_with(*(place for place in here if place.strip("/")))


def test_nothing_names_where_packages_come_from() -> None:
    """Locked dependencies carry hashes and no addresses; a mirror of one machine would break every other."""
    hosts = ("pypi" + ".org", "files.python" + "hosted.org", "--index" + "-url", "extra-index" + "-url")
    assert not lines_with(*hosts)
