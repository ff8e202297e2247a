"""The program's name in what it leaves: its version and a hash over the source that a result comes from."""

import hashlib
from functools import cache
from pathlib import Path

import finagent
from finagent import __version__

ROOT = Path(finagent.__file__).parent
DECIDING = ("domain", "services", "ports.py")
PLAYING = ("domain", "backtest")


def code_identity() -> str:
    """Of what decides in a session: domain, services and ports."""
    return identity_of(ROOT, DECIDING)


def playing_identity() -> str:
    """Of what a backtest's result comes from, domain and engines: other rules make another result."""
    return identity_of(ROOT, PLAYING)


@cache
def identity_of(root: Path, rooms: tuple[str, ...]) -> str:
    """The version and 12 hex digits over the source of these rooms; the version alone without sources."""
    files = sorted(path for name in rooms for path in _sources(root / name))
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(root).as_posix().encode() + b"\x00" + path.read_bytes() + b"\x00")
    return f"{__version__}+{total.hexdigest()[:12]}" if files else __version__


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))
