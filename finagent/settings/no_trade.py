"""The CSV of days and windows without entries: one a line, each bad row told with its line, value and mend."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from finagent.settings.errors import SettingsError

KEY = "schedule.no_trade_days"
FORM = "write 2026-12-24 for a day, or 2026-12-16,13:45,15:00,reason for a window"
MOST_ROWS = 100_000
MOST_TOLD = 3
HEADER = "date"
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@dataclass(frozen=True, slots=True)
class NoTrade:
    """Local dates without any entry, sorted, and windows as (date, from, until) in exchange time, sorted."""

    days: tuple[str, ...] = ()
    windows: tuple[tuple[str, str, str], ...] = ()


@dataclass(slots=True)
class _Found:
    days: set[str] = field(default_factory=set)
    windows: set[tuple[str, str, str]] = field(default_factory=set)
    bad: list[str] = field(default_factory=list)


def read_no_trade(path: Path | None) -> NoTrade:
    """Days and windows of a file; none where none is named.

    ``DATE`` or ``DATE,,,reason`` is a day, ``DATE,HH:MM,HH:MM,reason`` a window, whose end is no longer in it;
    the reason may be left out. Empty lines, lines that begin with # and a header are passed over. SettingsError
    names the first bad rows.
    """
    if path is None:
        return NoTrade()
    found = _Found()
    for line, cells in _rows(path):
        _take(cells, line, found)
    if found.bad:
        more = len(found.bad) - MOST_TOLD
        told = "; ".join(found.bad[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
        raise SettingsError(f"{KEY}: {path}, {told}", FORM)
    return NoTrade(tuple(sorted(found.days)), tuple(sorted(found.windows)))


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows with their line, cells stripped; SettingsError for a file that cannot be read as text."""
    mend = "name a CSV with one date a line, or null"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                if reader.line_num == 1 and cells[0].lower() == HEADER:
                    continue
                if reader.line_num > MOST_ROWS:
                    raise SettingsError(f"{KEY} = {path} has more than {MOST_ROWS} lines", mend)
                yield reader.line_num, cells
    except OSError as error:
        raise SettingsError(f"{KEY} = {path}: {error.strerror}", mend) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{KEY} = {path} is no CSV in UTF-8: {error}", mend) from None


def _take(cells: Sequence[str], line: int, found: _Found) -> None:
    day, start, end = cells[0], _cell(cells, 1), _cell(cells, 2)
    if len(cells) == 2 and not start[:1].isdigit():
        start = ""  # a reason right behind the date
    if not _is_date(day):
        found.bad.append(f"line {line}: {day!r} is no date")
    elif not start and not end:
        found.days.add(day)
    elif bad := [time for time in (start, end) if time and CLOCK.fullmatch(time) is None]:
        found.bad.append(f"line {line}: {bad[0]!r} is no time HH:MM")
    elif not (start and end):
        found.bad.append(f"line {line}: the window needs a beginning and an end")
    elif start >= end:
        found.bad.append(f"line {line}: the window {start} to {end} ends before it begins")
    else:
        found.windows.add((day, start, end))


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place] if place < len(cells) else ""


def _is_date(text: str) -> bool:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
