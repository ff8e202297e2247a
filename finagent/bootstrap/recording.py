"""Steps recorded under the name of the program that decides: its version and a hash of the deciding code."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TypeVar

import finagent
from finagent import __version__
from finagent.adapters.record.recorder import recorded

S = TypeVar("S")
DECIDING = ("domain", "services", "ports.py")


def in_journal(service: S) -> S:
    """The service with its steps recorded: what each one decides, and all it decided with."""
    return recorded(service, code=code_identity())


@cache
def code_identity() -> str:
    """The version and 12 hex digits over the source of domain and services; the version alone without sources."""
    root = Path(finagent.__file__).parent
    files = sorted(path for name in DECIDING for path in _sources(root / name))
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(root).as_posix().encode() + b"\x00" + path.read_bytes() + b"\x00")
    return f"{__version__}+{total.hexdigest()[:12]}" if files else __version__


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))
