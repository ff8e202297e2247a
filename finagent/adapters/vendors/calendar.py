"""The exchange's sessions from exchange_calendars, kept as a small table under the home."""

import json
import os
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date as Date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from finagent.domain.errors import NotASessionError
from finagent.domain.market import Session

EXCHANGE = "XNYS"
ZONE = "America/New_York"
FIRST = "1990-01-01"
LAST = "2032-12-31"
HOUR_MS = 3_600_000

Row = tuple[str, int, int, int]
"""Date, local midnight, open and close, the last three in ms UTC."""


class ExchangeCalendar:
    """Sessions of the New York Stock Exchange, a CalendarPort that answers from memory.

    Where a session is promised, one behind ``last_date`` raises NotASessionError.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._dates = [row[0] for row in rows[1:]]
        self._day_ends = [row[1] + 24 * HOUR_MS for row in rows[1:]]
        self._sessions = [
            Session(
                date=day,
                open_ms=open_ms,
                close_ms=close_ms,
                previous=before[0],
                is_half_day=close_ms - midnight_ms < 16 * HOUR_MS,
            )
            for before, (day, midnight_ms, open_ms, close_ms) in pairwise(rows)
        ]
        self._by_date = {session.date: session for session in self._sessions}

    @property
    def first_date(self) -> str:
        """The first session that the table knows."""
        return self._dates[0]

    @property
    def last_date(self) -> str:
        """The last session that the table knows."""
        return self._dates[-1]

    def session(self, date: str) -> Session | None:
        """The session of a local date, None on a holiday or weekend."""
        return self._by_date.get(date)

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        """All sessions from ``first`` to ``last`` inclusive, in order."""
        return self._sessions[bisect_left(self._dates, first) : bisect_right(self._dates, last)]

    def before(self, date: str, count: int) -> Sequence[Session]:
        """The last ``count`` sessions strictly before a date, oldest first."""
        end = bisect_left(self._dates, date)
        return self._sessions[max(0, end - count) : end]

    def session_at(self, at_ms: int) -> Session:
        """The session whose local date holds the instant, else the next one."""
        return self._at(bisect_right(self._day_ends, at_ms))

    def after(self, date: str) -> Session:
        """The first session after a local date."""
        return self._at(bisect_right(self._dates, date))

    def describe(self, date: str) -> str:
        """One line on a date: a session, or why it is none and which session comes next."""
        try:
            day = Date.fromisoformat(date)
        except ValueError:
            return f"{date!r} is not a date; write it as YYYY-MM-DD"
        session = self._by_date.get(date)
        if session is not None:
            return f"{date} is a {'half-day ' if session.is_half_day else ''}session"
        if not self.first_date <= date <= self.last_date:
            return f"{date} is outside the calendar, which holds {self.first_date} to {self.last_date}"
        kind = "on a weekend" if day.weekday() >= 5 else "a holiday"
        return f"{date} is {kind}; the next session is {self.after(date).date}"

    def _at(self, index: int) -> Session:
        if index >= len(self._sessions):
            raise NotASessionError(f"the calendar ends on {self.last_date}; ask for an earlier date")
        return self._sessions[index]


def load_calendar(home: Path | None = None, *, first: str = FIRST, last: str = LAST) -> ExchangeCalendar:
    """The exchange's calendar; the table is kept in ``home/cache`` because building it costs seconds.

    The kept table is used only when it was made by this version of the library for these bounds.
    """
    made_by = f"exchange_calendars {version('exchange_calendars')} {EXCHANGE} {first} {last}"
    path = home / "cache" / f"sessions-{EXCHANGE}.json" if home is not None else None
    rows = _cached(path, made_by) if path is not None else None
    if rows is None:
        rows = _build(first, last)
        if path is not None:
            _keep(path, made_by, rows)
    return ExchangeCalendar(rows)


def _build(first: str, last: str) -> list[Row]:
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library still uses calls that newer pandas deprecates
        import exchange_calendars

        calendar = exchange_calendars.get_calendar(EXCHANGE, start=first, end=last)
    days = calendar.sessions
    midnights = days.tz_localize(ZONE)
    columns = [
        [day.date().isoformat() for day in days],
        *(
            np.asarray(stamps.tz_convert("UTC").tz_localize(None), "datetime64[ms]").astype(np.int64).tolist()
            for stamps in (midnights, calendar.opens.array, calendar.closes.array)
        ),
    ]
    return list(zip(*columns, strict=True))


def _cached(path: Path, made_by: str) -> list[Row] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["made_by"] != made_by:
            return None
        return [(row[0], row[1], row[2], row[3]) for row in kept["sessions"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _keep(path: Path, made_by: str, rows: Sequence[Row]) -> None:
    """Write the table; a home that cannot be written only costs the next start its time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"made_by": made_by, "sessions": rows}), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
