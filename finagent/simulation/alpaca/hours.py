"""When the simulated exchange trades, and what time it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as day_time
from pathlib import Path
from zoneinfo import ZoneInfo

from finagent.runtime.clock import Clock, SystemClock

ZONE = ZoneInfo("America/New_York")
HOUR_MS = 3_600_000
OPEN, CLOSE = "09:30", "16:00"


class VenueClock:
    """Real time, or an instant that stands still until it is moved; milliseconds UTC."""

    def __init__(self) -> None:
        self._fixed_ms: int | None = None
        self._skew_ms = 0
        self._system: Clock = SystemClock()

    def now_ms(self) -> int:
        """What the venue goes by."""
        if self._fixed_ms is not None:
            return self._fixed_ms
        return self._system.now_ms() + self._skew_ms

    def stand_at(self, at_ms: int) -> None:
        """Stop at an instant."""
        self._fixed_ms = at_ms

    def run(self, *, skew_ms: int = 0) -> None:
        """Go with real time again, so much ahead of it."""
        self.follow(SystemClock())
        self._skew_ms = skew_ms

    def follow(self, clock: Clock) -> None:
        """Go with another clock."""
        self._fixed_ms, self._skew_ms, self._system = None, 0, clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A session in exchange time: its date, opening and closing as HH:MM."""

    date: str
    open: str = OPEN
    close: str = CLOSE

    @property
    def open_ms(self) -> int:
        """Opening in ms UTC."""
        return local_ms(self.date, self.open)

    @property
    def close_ms(self) -> int:
        """Close in ms UTC."""
        return local_ms(self.date, self.close)


@dataclass(slots=True)
class Hours:
    """Weekdays from half past nine to four, but for the dates that ``days`` names; None is a holiday."""

    days: Mapping[str, Day | None] = field(default_factory=dict)

    def day(self, name: str) -> Day | None:
        """The session of a local date."""
        if name in self.days:
            return self.days[name]
        return Day(date=name) if date.fromisoformat(name).weekday() < 5 else None

    def between(self, first: str, last: str) -> list[Day]:
        """The sessions from ``first`` to ``last``, at most ten years of them."""
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        count = min((end - start).days + 1, 3_700)
        found = (self.day((start + timedelta(days=number)).isoformat()) for number in range(count))
        return [each for each in found if each is not None]

    def is_open(self, at_ms: int) -> bool:
        """Whether the regular session is on."""
        day = self.day(local_date(at_ms))
        return day is not None and day.open_ms <= at_ms < day.close_ms

    def next_open_ms(self, at_ms: int) -> int:
        """The next opening after an instant."""
        return next(day.open_ms for day in self._from(at_ms) if day.open_ms > at_ms)

    def next_close_ms(self, at_ms: int) -> int:
        """The next close after an instant."""
        return next(day.close_ms for day in self._from(at_ms) if day.close_ms > at_ms)

    def working_day(self, at_ms: int) -> Day:
        """The session for which a DAY order given at an instant works: today's until its close, then the next."""
        return next(day for day in self._from(at_ms) if day.close_ms > at_ms)

    def _from(self, at_ms: int) -> list[Day]:
        first = local_date(at_ms)
        return self.between(first, (date.fromisoformat(first) + timedelta(days=12)).isoformat())


def exchange_hours(home: Path | None = None) -> Hours:
    """The New York Stock Exchange's own days, holidays and half days; ``home`` keeps what costs seconds to build."""
    from finagent.adapters.vendors.calendar import load_calendar

    calendar = load_calendar(home)
    first, last = date(2020, 1, 1), date.fromisoformat(calendar.last_date)
    days: dict[str, Day | None] = {}
    for number in range((last - first).days + 1):
        name = (first + timedelta(days=number)).isoformat()
        session = calendar.session(name)
        days[name] = (
            None
            if session is None
            else Day(date=name, open=local_time(session.open_ms), close=local_time(session.close_ms))
        )
    return Hours(days)


def local_ms(name: str, clock_time: str) -> int:
    """A local date and HH:MM as ms UTC."""
    at = datetime.combine(date.fromisoformat(name), day_time.fromisoformat(clock_time), ZONE)
    return int(at.timestamp()) * 1000


def local_date(at_ms: int) -> str:
    """The exchange's date at an instant."""
    return _local(at_ms).date().isoformat()


def local_time(at_ms: int) -> str:
    """The exchange's HH:MM at an instant."""
    return _local(at_ms).strftime("%H:%M")


def stamp(at_ms: int) -> str:
    """An instant as Alpaca writes it: RFC 3339 with nanoseconds."""
    second, rest = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}000000Z"


def local_stamp(at_ms: int) -> str:
    """An instant in the exchange's zone, as the clock's and the calendar's answers write it."""
    return _local(at_ms - at_ms % 1000).isoformat()


def digits(at_ms: int) -> str:
    """The seventeen digits of local time that begin an activity's id."""
    return f"{_local(at_ms):%Y%m%d%H%M%S}{at_ms % 1000:03d}"


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, ZONE)
