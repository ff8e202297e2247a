"""The built-in market on the exchange's own calendar: the same in every process, quick, for any year."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from finagent.adapters.vendors.calendar import ExchangeCalendar, load_calendar
from finagent.adapters.vendors.simulated import SimulatedVendor
from finagent.domain.market import MINUTE_MS, Session

HALF_DAY, CLOCK_CHANGE, HOLIDAY = "2025-11-28", "2026-03-09", "2025-12-25"
DATES = (HALF_DAY, CLOCK_CHANGE, "2015-01-05", "2027-12-27", "2020-03-16")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the calendar's table is kept for the child processes."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def exchange(home: Path) -> ExchangeCalendar:
    """New York's sessions."""
    return load_calendar(home, first="2013-01-01", last="2028-12-31")


def must(exchange: ExchangeCalendar, date: str) -> Session:
    """The session of a date that has one."""
    session = exchange.session(date)
    assert session is not None
    return session


async def fingerprint(exchange: ExchangeCalendar, dates: tuple[str, ...]) -> dict[str, str]:
    """A hash over view, history and bars of each session."""
    vendor = SimulatedVendor(11, exchange)
    found = {}
    for date in dates:
        session = must(exchange, date)
        at_ms = session.open_ms + 30 * MINUTE_MS
        told = (
            await vendor.view(session, at_ms),
            sorted((await vendor.history(vendor.symbols, session, at_ms)).items()),
            [await vendor.minutes(symbol, session, session.close_ms) for symbol in vendor.symbols[::20]],
        )
        found[date] = hashlib.sha256(repr(told).encode()).hexdigest()
    return found


CHILD = """
import asyncio, importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("here", sys.argv[1])
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
exchange = here.load_calendar(pathlib.Path(sys.argv[2]), first="2013-01-01", last="2028-12-31")
print(json.dumps(asyncio.run(here.fingerprint(exchange, tuple(sys.argv[3:])))))
"""


async def test_every_process_sees_the_same_market(exchange: ExchangeCalendar, home: Path) -> None:
    """Other processes, other hash seeds, the sessions in another order: the same to the last unit."""
    here = await fingerprint(exchange, DATES)
    for hash_seed, dates in (("0", DATES[::-1]), ("4711", DATES[2:] + DATES[:2])):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, __file__, str(home), *dates],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        assert child.stdout.strip() == repr({date: here[date] for date in dates}).replace("'", '"')


async def test_holidays_half_days_and_clock_changes_come_from_the_calendar(
    exchange: ExchangeCalendar,
) -> None:
    """No session on a holiday, 210 minutes on a half day, 04:00 local on either side of a clock change."""
    vendor = SimulatedVendor(11, exchange)
    assert exchange.session(HOLIDAY) is None
    for date, length in ((HALF_DAY, 210), (CLOCK_CHANGE, 390), ("2026-03-06", 390)):
        session = must(exchange, date)
        bars = await vendor.minutes("SPY", session, session.close_ms)
        assert len([bar for bar in bars if bar.start_ms >= session.open_ms]) == length
        assert bars[0].start_ms == session.open_ms - 330 * MINUTE_MS
        assert bars[-1].end_ms == session.close_ms


async def test_it_is_quick_enough_to_be_waited_for(exchange: ExchangeCalendar) -> None:
    """View within 0.4 s of construction, minutes within 0.5 s, a minute's bars in milliseconds."""
    session = must(exchange, "2026-01-07")
    began = perf_counter()
    vendor = SimulatedVendor(12, exchange)
    await vendor.view(session, session.open_ms - 5 * MINUTE_MS)
    viewed = perf_counter()
    await vendor.load(exchange.after(session.date))
    loaded = perf_counter()
    for minute in range(1, 101):
        vendor.bars_ending(session, session.open_ms + minute * MINUTE_MS, vendor.symbols)
    ended = perf_counter()
    # limits are doubled: the tests share their cores
    assert viewed - began < 0.8
    assert loaded - viewed < 1.0
    assert (ended - loaded) / 100 < 0.01
