"""What a result is named after: another rule makes another name, another page does not."""

from pathlib import Path

from finagent import __version__
from finagent.bootstrap.identity import ROOT, code_identity, identity_of, playing_identity


def test_name_follows_the_source_of_its_rooms_alone(tmp_path: Path) -> None:
    """Without sources it is the version."""
    rules, page = tmp_path / "domain" / "rules.py", tmp_path / "web" / "page.py"
    for path in (rules, page):
        path.parent.mkdir()
        path.write_text("LIMIT = 1\n")
    rooms = ("domain", "backtest")
    first = identity_of(tmp_path, rooms)
    assert first.startswith(f"{__version__}+")
    page.write_text("LIMIT = 2\n")
    identity_of.cache_clear()
    assert identity_of(tmp_path, rooms) == first
    rules.write_text("LIMIT = 2\n")
    identity_of.cache_clear()
    assert identity_of(tmp_path, rooms) != first
    assert identity_of(tmp_path / "web", rooms) == __version__


def test_what_decides_and_what_plays_are_rooms_of_the_program() -> None:
    assert code_identity() != playing_identity()
    assert all((ROOT / name).exists() for name in ("domain", "services", "backtest", "ports.py"))
