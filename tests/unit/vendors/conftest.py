"""A calendar of plain weekdays, so that these tests need no exchange and no file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from finagent.domain.market import Session

HOUR_MS = 3_600_000


class WeekdayCalendar:
    """Every weekday is a session but the third Monday of January; the last Friday of November ends early."""

    def session(self, date: str) -> Session | None:
        """The session of a date."""
        return self._make(_day(date)) if _is_open(_day(date)) else None

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        """All sessions between two dates."""
        begin, end = _day(first), _day(last)
        days = (begin + timedelta(days=step) for step in range((end - begin).days + 1))
        return [self._make(day) for day in days if _is_open(day)]

    def session_at(self, at_ms: int) -> Session:
        """The session of the instant's date, else the next one."""
        day = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        return self.session(day) or self.after(day)

    def after(self, date: str) -> Session:
        """The first session after a date."""
        day = _day(date) + timedelta(days=1)
        while not _is_open(day):
            day += timedelta(days=1)
        return self._make(day)

    def _make(self, day: date) -> Session:
        before = day - timedelta(days=1)
        while not _is_open(before):
            before -= timedelta(days=1)
        open_ms = int(datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC).timestamp() * 1000)
        is_half = day.month == 11 and day.weekday() == 4 and day.day > 23
        return Session(
            date=day.isoformat(),
            open_ms=open_ms,
            close_ms=open_ms + (7 * HOUR_MS // 2 if is_half else 13 * HOUR_MS // 2),
            previous=before.isoformat(),
            is_half_day=is_half,
        )


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _is_open(day: date) -> bool:
    return day.weekday() < 5 and not (day.month == 1 and day.weekday() == 0 and 15 <= day.day <= 21)


@pytest.fixture(scope="session")
def calendar() -> WeekdayCalendar:
    """Weekdays with one holiday and one half day a year."""
    return WeekdayCalendar()
