"""What people read is true: every command, setting, metric and alert appears where it is looked up."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "docs/architecture.md", "docs/operations.md", "docs/guarantees.md")


def text_of(*names: str) -> str:
    """The named documents in one string; the test is skipped while none of them is written."""
    found = [(ROOT / name).read_text(encoding="utf-8") for name in names if (ROOT / name).is_file()]
    if not found:
        pytest.skip(f"none of {', '.join(names)} is written yet")
    return "\n".join(found)


def commands() -> Iterator[tuple[str, str]]:
    """Each command of the command line with its help line."""
    cli = pytest.importorskip("finagent.cli.root", exc_type=ModuleNotFoundError)
    typer = pytest.importorskip("typer")

    def walk(command: Any, name: str) -> Iterator[tuple[str, str]]:
        for word, child in sorted(getattr(command, "commands", {}).items()):
            if not child.hidden:
                yield from walk(child, f"{name} {word}".strip())
        if name and not getattr(command, "commands", None):
            yield name, command.help or command.short_help or ""

    return walk(typer.main.get_command(cli.app), "")


def test_every_command_is_in_the_documents() -> None:
    """A command that no document names is not found by anybody."""
    text = text_of(*DOCUMENTS)
    absent = [name for name, _ in commands() if not re.search(rf"finagent {re.escape(name)}\b", text)]
    assert not absent, f"commands that no document shows as `finagent ...`: {absent}"


def test_every_command_says_what_it_does() -> None:
    """``--help`` has a line for each command."""
    assert not [name for name, line in commands() if not line.strip()]


def test_documents_name_no_command_that_does_not_exist() -> None:
    """Each `finagent word` in a code block or code span of the documents is a command."""
    text = text_of(*DOCUMENTS)
    known = {name.split()[0] for name, _ in commands()}
    shown = re.findall(r"(?:^\s*|`|\$ )finagent ([a-z][a-z-]+)\b", text, re.MULTILINE)
    assert not set(shown) - known


def keys(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for section, values in settings.items():
        for key in values if isinstance(values, dict) else ():
            yield section, key


def test_every_setting_is_commented() -> None:
    """Each key of settings.yaml has a comment on its line or on the line above."""
    if not (ROOT / "settings.yaml").is_file():
        pytest.skip("settings.yaml is not written yet")
    lines = (ROOT / "settings.yaml").read_text(encoding="utf-8").splitlines()
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
    settings = pytest.importorskip("finagent.settings", exc_type=ModuleNotFoundError)
    if not (ROOT / "settings.yaml").is_file():
        pytest.skip("settings.yaml is not written yet")
    written = yaml.safe_load((ROOT / "settings.yaml").read_text(encoding="utf-8"))
    known = {
        (section, key)
        for section, field in settings.Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    }
    assert known
    profiles = {"profiles", "profile"}
    assert {pair for pair in keys(written) if pair[0] not in profiles} == {
        p for p in known if p[0] not in profiles
    }


def test_every_alert_is_in_the_documents() -> None:
    """An alert that wakes somebody has its page."""
    text = text_of("docs/operations.md")
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert not [alert for alert in alerts if alert not in text]


def test_links_between_documents_lead_somewhere() -> None:
    """Each relative link of a document is a file of the project."""
    documents = [ROOT / "CHANGELOG.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{path.name}: {target}"
        for path in documents
        if path.is_file()
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not broken


def test_changelog_keeps_an_unreleased_section() -> None:
    """What a user notices is written down before it is released."""
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def committed() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the committed files cannot be listed")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_nothing_names_a_path_of_this_machine() -> None:
    """What is committed is true on every machine: no absolute path of a home or of this checkout."""
    here = [str(ROOT), os.path.expanduser("~") + "/"]
    named = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in committed()
        if path.suffix not in (".png", ".parquet", ".db")
        for place in here
        if place != "/" and place in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not named
