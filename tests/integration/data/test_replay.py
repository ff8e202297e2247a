"""The replay vendor knows nothing that was not known, and answers fast enough for a scan."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.bars.store import BarStore
from finagent.adapters.news.archive import NewsArchive
from finagent.adapters.vendors.calendar import ExchangeCalendar, load_calendar
from finagent.adapters.vendors.replay import ReplayVendor
from finagent.domain.errors import SessionDataMissingError
from finagent.domain.market import MINUTE_MS, Session
from tests.integration.data.market_files import FIRST, LAST, SYMBOLS, Row, Rows, made_up, write

CALENDAR = load_calendar()
SESSIONS = CALENDAR.sessions("2018-02-12", LAST)


def store_of(rows: Rows, folder: Path) -> BarStore:
    """The market of some rows, imported."""
    import_folder(write(folder / "data", rows), folder / "home", calendar=CALENDAR)
    return BarStore(folder / "home")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """The made-up market."""
    return store_of(made_up(CALENDAR), tmp_path_factory.mktemp("market"))


@pytest.fixture
def vendor(store: BarStore) -> ReplayVendor:
    """A fresh vendor over the made-up market."""
    return ReplayVendor(store, CALENDAR)


def session_of(date: str) -> Session:
    """The session of a date."""
    session = CALENDAR.session(date)
    assert session is not None
    return session


async def everything(store: BarStore, session: Session, as_of_ms: int) -> object:
    """All that vendor and news say at an instant."""
    vendor, news = ReplayVendor(store, CALENDAR), NewsArchive(store)
    await vendor.load(session)
    return (
        await vendor.view(session, as_of_ms),
        await vendor.history(SYMBOLS, session, as_of_ms),
        await vendor.last_prices(SYMBOLS, session, as_of_ms),
        [await vendor.minutes(symbol, session, as_of_ms) for symbol in SYMBOLS],
        vendor.bars_ending(session, as_of_ms - as_of_ms % MINUTE_MS, SYMBOLS),
        await news.headlines(SYMBOLS, 0, as_of_ms),
    )


def cut(rows: Rows, session: Session, as_of_ms: int) -> Rows:
    """The rows without what lies after an instant; one late bar stays so that the session keeps its files."""
    minute = [row for row in rows.minute if int(str(row[1])) + MINUTE_MS <= as_of_ms]
    quotes = [row for row in rows.quotes if int(str(row[1])) + MINUTE_MS <= as_of_ms]
    late_ms = session.close_ms + 60 * MINUTE_MS
    minute.append(("AAA", late_ms, 5.0, 5.0, 5.0, 5.0, 1))
    is_open_known = as_of_ms >= session.open_ms + MINUTE_MS
    daily: list[Row] = [row for row in rows.daily if str(row[1]) < session.date]
    for row in rows.daily:
        if row[1] == session.date:
            price = row[2] if is_open_known else 7.0
            daily.append((row[0], row[1], price, price, price, price, 1))
    headlines = [row for row in rows.headlines if int(str(row[1])) + 24 * 3_600_000 <= as_of_ms]
    later: Row = ("AAA", as_of_ms + 1, "AAA will double")
    actions = [row for row in rows.actions if str(row[1]) <= session.date]
    return replace(
        rows, daily=daily, minute=minute, quotes=quotes, actions=actions, headlines=[*headlines, later]
    )


def altered(rows: Rows, session: Session, as_of_ms: int, factor: float) -> Rows:
    """The rows with every price and volume after an instant multiplied."""

    def times(value: object) -> float:
        return round(float(str(value)) * factor, 2)

    def bar(row: Row) -> Row:
        return (*row[:2], *(times(value) for value in row[2:6]), int(str(row[6])) * 3)

    def day(row: Row) -> Row:
        if str(row[1]) < session.date:
            return row
        if row[1] > session.date or as_of_ms < session.open_ms + MINUTE_MS:
            return bar(row)
        top = max(float(str(row[3])), times(row[3]))
        return (row[0], row[1], row[2], top, row[4], row[2], 9)

    return replace(
        rows,
        minute=[row if int(str(row[1])) + MINUTE_MS <= as_of_ms else bar(row) for row in rows.minute],
        quotes=[row for row in rows.quotes if int(str(row[1])) + MINUTE_MS <= as_of_ms],
        daily=[day(row) for row in rows.daily],
        headlines=[*rows.headlines, ("CCC", as_of_ms - 3_600_000, "CCC falls")],
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    session=st.sampled_from(SESSIONS),
    offset_s=st.integers(-900, 1_800),
    factor=st.sampled_from([0.5, 1.7, 3.0]),
)
def test_what_happens_later_changes_no_answer(
    seed: int, session: Session, offset_s: int, factor: float
) -> None:
    as_of_ms = session.open_ms + offset_s * 1_000
    rows = made_up(CALENDAR, seed)
    worlds = [rows, cut(rows, session, as_of_ms), altered(rows, session, as_of_ms, factor)]
    answers = []
    for world in worlds:
        with tempfile.TemporaryDirectory() as folder:
            answers.append(asyncio.run(everything(store_of(world, Path(folder)), session, as_of_ms)))
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


async def test_a_view_holds_previous_close_action_and_what_is_known_of_the_open(vendor: ReplayVendor) -> None:
    session = session_of("2018-02-14")
    before = await vendor.view(session, session.open_ms + 59_999)
    after = await vendor.view(session, session.open_ms + 60_000)
    assert [snapshot.symbol for snapshot in before.snapshots] == list(SYMBOLS)
    assert before.has_minutes
    first = before.snapshots[0]
    assert first.previous is not None
    assert first.previous.session == "2018-02-13"
    assert first.action is not None
    assert first.action.split_ratio_e6 == 2_000_000
    assert first.official_open_e4 is None
    assert all(bar.end_ms <= session.open_ms for bar in first.minutes)
    assert first.quote is not None
    assert after.snapshots[0].official_open_e4 is not None
    assert after.snapshots[0].minutes[-1].start_ms == session.open_ms
    assert after.snapshots[1].minutes == ()
    assert after.snapshots[2].minutes[0].open_e4 > 0


async def test_history_holds_earlier_sessions_and_volumes_to_the_same_minute(
    vendor: ReplayVendor, store: BarStore
) -> None:
    session = session_of(LAST)
    as_of_ms = session.open_ms + 5 * MINUTE_MS
    history = await vendor.history(SYMBOLS, session, as_of_ms, sessions=4)
    days = [day.date for day in CALENDAR.before(LAST, 4)]
    assert [bar.session for bar in history["AAA"].bars] == days
    assert [action.ex_session for action in history["AAA"].actions] == ["2018-02-14", LAST]
    expected = []
    for day in CALENDAR.before(LAST, 4):
        bars = store.bars(day.date, "AAA", day.open_ms, day.open_ms + 5 * MINUTE_MS)
        expected.append(sum(bar.volume for bar in bars))
    assert list(history["AAA"].volumes_to_now) == expected
    assert len(history["AAA"].premarket_volumes) == 4
    assert history["BBB"].volumes_to_now == ()
    assert history["CCC"].premarket_volumes == ()
    early = await vendor.history(["AAA", "NONE"], session, session.open_ms - 5 * MINUTE_MS)
    assert early["AAA"].volumes_to_now == ()
    assert all(volume > 0 for volume in early["AAA"].premarket_volumes)
    assert early["NONE"].bars == ()


async def test_bars_come_one_end_at_a_time_until_the_last(vendor: ReplayVendor) -> None:
    session = session_of(LAST)
    await vendor.load(session)
    end_ms, seen = vendor.next_bar_end_ms(session, 0), []
    while end_ms is not None:
        seen.extend(vendor.bars_ending(session, end_ms, ["AAA", "NONE"]).values())
        end_ms = vendor.next_bar_end_ms(session, end_ms)
    assert tuple(seen) == tuple(await vendor.minutes("AAA", session, 1 << 60))
    assert vendor.bars_ending(session, session.close_ms, ["AAA"]) == {}


async def test_a_session_without_data_names_the_range_and_the_mend(vendor: ReplayVendor) -> None:
    session = session_of("2018-03-01")
    with pytest.raises(
        SessionDataMissingError, match=f"{FIRST} to {LAST}; import them with `finagent data import"
    ):
        await vendor.view(session, session.open_ms)
    assert vendor.next_bar_end_ms(session, 0) is None


async def test_an_empty_home_is_said(tmp_path: Path) -> None:
    session = session_of(LAST)
    with pytest.raises(SessionDataMissingError, match="the store is empty"):
        await ReplayVendor(BarStore(tmp_path), CALENDAR).view(session, session.open_ms)


async def test_news_are_known_a_day_late_and_a_repeated_text_once(store: BarStore) -> None:
    news = NewsArchive(store)
    published_ms = 1_518_700_000_000
    day_ms = 24 * 3_600_000
    assert await news.headlines(SYMBOLS, 0, published_ms + day_ms - 1) == {}
    found = await news.headlines(SYMBOLS, 0, published_ms + day_ms)
    assert [headline.text for headline in found["AAA"]] == ["AAA beats estimates"]
    assert await news.headlines(SYMBOLS, published_ms + day_ms, 1 << 60) == {}
    dates = await news.earnings(SYMBOLS, "2018-02-15", "2018-02-16")
    assert [(entry.session, entry.timing) for entry in dates["AAA"]] == [("2018-02-15", None)]
    assert "CCC" not in dates


@pytest.fixture(scope="module")
def real_store(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """The real data, imported."""
    home = tmp_path_factory.mktemp("real")
    import_folder(real_data, home, calendar=CALENDAR)
    return BarStore(home)


async def test_the_real_split_is_an_exact_rational(real_store: BarStore) -> None:
    session = session_of("2014-06-09")
    view = await ReplayVendor(real_store, CALENDAR).view(session, session.open_ms + MINUTE_MS)
    apple = next(snapshot for snapshot in view.snapshots if snapshot.symbol == "AAPL")
    assert not view.has_minutes
    assert apple.action is not None
    assert apple.action.split_ratio_e6 == 7_000_007
    assert apple.previous is not None
    assert (apple.previous.close_e4, apple.official_open_e4) == (6_455_700, 927_000)


async def test_real_minutes_equal_the_file(real_store: BarStore, real_data: Path) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    session = session_of("2018-03-06")
    with pq.ParquetFile(real_data / "equities_minute_2018.parquet") as file:
        table = file.read()
    table = table.filter(pc.equal(table["symbol"], "AAPL"))
    rows = [row for row in table.to_pylist() if row["ts"].date().isoformat() == session.date]
    bars = await ReplayVendor(real_store, CALENDAR).minutes("AAPL", session, session.close_ms)
    assert [bar.start_ms for bar in bars] == [round(row["ts"].timestamp() * 1000) for row in rows]
    for name in ("open", "high", "low", "close"):
        assert [getattr(bar, f"{name}_e4") / 10_000 for bar in bars] == [row[name] for row in rows]
    assert [bar.volume for bar in bars] == [row["volume"] for row in rows]


async def test_messages_are_english_originals_told_once(real_store: BarStore) -> None:
    found = (await NewsArchive(real_store).headlines(["AAPL"], 0, 1 << 60))["AAPL"]
    assert not any(headline.text.startswith("RT @") for headline in found)
    texts = [" ".join(headline.text.casefold().split()) for headline in found]
    assert len(set(texts)) == len(texts)
    assert np.all(np.diff([headline.known_at_ms for headline in found]) >= 0)
    assert {headline.known_at_ms - headline.published_ms for headline in found} == {0, 24 * 3_600_000}


def test_the_calendar_agrees_with_an_independent_one(real_data: Path) -> None:
    import json
    from datetime import datetime, timedelta

    hours = json.loads((real_data / "us_equity_market_hours.json").read_text())

    def iso(text: str) -> str:
        return datetime.strptime(text, "%m/%d/%Y").date().isoformat()

    holidays = {iso(text) for text in hours["holidays"]}
    early = {iso(text) for text in hours["earlyCloses"]}
    day, differs = datetime(1998, 1, 1), []
    while day.year < 2028:
        date = day.date().isoformat()
        is_session = day.weekday() < 5 and date not in holidays
        session = CALENDAR.session(date)
        if (session is not None) != is_session or (
            session is not None and session.is_half_day != (date in early)
        ):
            differs.append(date)
        day += timedelta(days=1)
    # three half days that the other list lacks: NYSE closed at 13:00 on each
    assert differs == ["1998-11-27", "1998-12-24", "1999-12-31"]


def test_the_calendar_is_kept_and_rebuilt_when_stale(tmp_path: Path) -> None:
    first = load_calendar(tmp_path, first="2017-01-01", last="2018-12-31")
    kept = tmp_path / "cache" / "sessions-XNYS.json"
    stamp = kept.stat().st_mtime_ns
    again = load_calendar(tmp_path, first="2017-01-01", last="2018-12-31")
    assert kept.stat().st_mtime_ns == stamp
    assert again.sessions("2017-01-01", "2018-12-31") == first.sessions("2017-01-01", "2018-12-31")
    kept.write_text(kept.read_text()[:100])
    assert load_calendar(tmp_path, first="2017-01-01", last="2018-12-31").session(LAST) == first.session(LAST)
    assert load_calendar(tmp_path, first="2017-01-01", last="2019-12-31").last_date == "2019-12-31"


@pytest.mark.parametrize(
    ("date", "text"),
    [
        ("2018-02-19", "2018-02-19 is a holiday; the next session is 2018-02-20"),
        ("2018-02-18", "2018-02-18 is on a weekend; the next session is 2018-02-20"),
        ("2018-02-16", "2018-02-16 is a session"),
        ("2018-11-23", "2018-11-23 is a half-day session"),
        ("2081-01-01", "outside the calendar"),
        ("Friday", "is not a date"),
    ],
)
def test_the_calendar_describes_a_date(date: str, text: str) -> None:
    assert text in CALENDAR.describe(date)


def test_the_calendar_finds_the_session_of_an_instant() -> None:
    session = session_of(LAST)
    assert CALENDAR.session_at(session.open_ms) == session
    assert CALENDAR.session_at(session.open_ms - 9 * 3_600_000) == session
    assert CALENDAR.session_at(session.open_ms + 15 * 3_600_000).date == "2018-02-20"
    assert CALENDAR.after(LAST).date == "2018-02-20"
    assert isinstance(CALENDAR, ExchangeCalendar)
