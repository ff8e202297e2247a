"""Reading a stored document: what is missing or of another kind reads as unknown."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

Row = Mapping[str, object]
EXCHANGE = "America/New_York"


def rows(document: Row, key: str) -> list[Row]:
    """The list of mappings under a key, empty where there is none."""
    value = document.get(key)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def section(document: Row, key: str) -> Row:
    """The mapping under a key, empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def text(row: Row, key: str) -> str:
    """The value as text, empty when unknown."""
    value = row.get(key)
    return "" if value is None else str(value)


def words(row: Row, key: str) -> list[str]:
    """The list under a key as texts."""
    value = row.get(key)
    return [str(each) for each in value] if isinstance(value, list) else []


def number(row: Row, key: str) -> float | None:
    """The value as a number to draw or to show, None when unknown; money comes as a decimal text."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if found - found == 0 else None


def exchange_time(row: Row, key: str, session: str) -> str:
    """An instant as the exchange's clock had it, ``HH:MM``, with its date where that is not the session's."""
    stamp = text(row, key)
    try:
        there = datetime.fromisoformat(stamp).astimezone(_zone())
    except ValueError:
        return stamp
    return f"{there:%H:%M}" if f"{there:%Y-%m-%d}" == session else f"{there:%Y-%m-%d %H:%M}"


@cache
def _zone() -> ZoneInfo:
    return ZoneInfo(EXCHANGE)
