"""Short sessions: a few dates with an open, a close some minutes later, a half day among them."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from finagent.domain.market import MINUTE_MS, Session

NEW_YORK = ZoneInfo("America/New_York")
BEGINNINGS = ("2026-03-05", "2026-06-17", "2026-10-29", "2026-11-25", "2026-12-23")
"""First sessions, among them those whose next days change the clocks, both ways."""
LEAST_MINUTES, MOST_MINUTES = 24, 40
HALF_MINUTES = 22


def local_ms(day: str, time: str) -> int:
    """The instant of a New York date and time, in ms UTC."""
    return round(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=NEW_YORK).timestamp() * 1000)


class SimulatedCalendar:
    """Sessions in order; a few more follow, so that there always is a next one."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = list(sessions)
        self._by_date = {each.date: each for each in sessions}
        self._ends = [local_ms(each.date, "23:59:59") + 1000 for each in sessions]

    def session(self, date: str) -> Session | None:
        """The session of a local date."""
        return self._by_date.get(date)

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        """Sessions from first to last inclusive."""
        return [each for each in self._sessions if first <= each.date <= last]

    def session_at(self, at_ms: int) -> Session:
        """The session whose local date holds the instant, else the next one."""
        return self._sessions[min(bisect_right(self._ends, at_ms), len(self._sessions) - 1)]

    def after(self, date: str) -> Session:
        """The first session after a date."""
        return next(each for each in self._sessions if each.date > date)


def make_calendar(rng: random.Random, *, traded: int) -> SimulatedCalendar:
    """``traded`` sessions of 24 to 40 minutes, one of several a half day, and four more that nobody trades."""
    day = date.fromisoformat(rng.choice(BEGINNINGS))
    half = rng.randrange(traded) if traded > 1 else None
    sessions: list[Session] = []
    previous = _weekday(day, -1).isoformat()
    for number in range(traded + 4):
        name = day.isoformat()
        is_half = number == half
        minutes = HALF_MINUTES if is_half else rng.randint(LEAST_MINUTES, MOST_MINUTES)
        open_ms = local_ms(name, "09:30:00")
        sessions.append(
            Session(
                date=name,
                open_ms=open_ms,
                close_ms=open_ms + minutes * MINUTE_MS,
                previous=previous,
                is_half_day=is_half,
            )
        )
        previous, day = name, _weekday(day, 1)
    return SimulatedCalendar(sessions)


def _weekday(day: date, step: int) -> date:
    day += timedelta(days=step)
    while day.weekday() > 4:
        day += timedelta(days=step)
    return day
