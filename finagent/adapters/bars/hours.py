"""The exchange's sessions as arrays, to find the session of many rows at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from finagent.domain.market import Session

ZONE = ZoneInfo("America/New_York")
PREMARKET_OPENS_HOUR = 4
AFTERHOURS_END_HOUR = 20
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class TradingHours:
    """Sessions in order: dates as text and as days, extended hours (04:00 to 20:00 New York) in ms UTC."""

    dates: npt.NDArray[np.str_]
    days: npt.NDArray[np.datetime64]
    start_ms: npt.NDArray[np.int64]
    end_ms: npt.NDArray[np.int64]

    def session_of(self, at_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Index of the session whose extended hours hold each instant, -1 where none does."""
        index = np.searchsorted(self.start_ms, at_ms, side="right") - 1
        held = (index >= 0) & (at_ms < self.end_ms[np.maximum(index, 0)])
        return np.where(held, index, -1).astype(np.int64)


def trading_hours(sessions: Sequence[Session]) -> TradingHours:
    """The arrays of these sessions."""
    starts = [extended_start_ms(session.date) for session in sessions]
    span_ms = (AFTERHOURS_END_HOUR - PREMARKET_OPENS_HOUR) * HOUR_MS
    dates = np.array([session.date for session in sessions])
    start_ms = np.array(starts, np.int64)
    return TradingHours(dates, dates.astype("datetime64[D]"), start_ms, start_ms + span_ms)


def extended_start_ms(date: str) -> int:
    """04:00 New York of a date in ms UTC (clocks never change on a session day)."""
    local = datetime.fromisoformat(date).replace(tzinfo=ZONE) + timedelta(hours=PREMARKET_OPENS_HOUR)
    return int(local.timestamp() * 1000)
