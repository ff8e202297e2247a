"""What every market data vendor promises, run over each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.bars.store import BarStore
from finagent.adapters.vendors.calendar import ExchangeCalendar, load_calendar
from finagent.adapters.vendors.replay import ReplayVendor
from finagent.adapters.vendors.simulated import SimulatedVendor
from finagent.domain.market import MINUTE_MS, Session
from finagent.ports import MarketDataPort
from tests.integration.data.market_files import LAST, made_up, write

Make = Callable[[ExchangeCalendar, Path], MarketDataPort]


def replay(calendar: ExchangeCalendar, folder: Path) -> MarketDataPort:
    """The replay of a small made-up market."""
    import_folder(write(folder / "data", made_up(calendar)), folder / "home", calendar=calendar)
    return ReplayVendor(BarStore(folder / "home"), calendar)


def simulated(calendar: ExchangeCalendar, folder: Path) -> MarketDataPort:
    """The built-in market, smaller."""
    return SimulatedVendor(7, calendar, 20)


@pytest.fixture(scope="module")
def calendar() -> ExchangeCalendar:
    """The exchange's calendar."""
    return load_calendar()


@pytest.fixture(scope="module", params=[replay, simulated], ids=["replay", "simulated"])
def vendor(
    request: pytest.FixtureRequest, calendar: ExchangeCalendar, tmp_path_factory: pytest.TempPathFactory
) -> MarketDataPort:
    """Each vendor in turn."""
    make: Make = request.param
    return make(calendar, tmp_path_factory.mktemp("vendor"))


@pytest.fixture
def session(calendar: ExchangeCalendar) -> Session:
    """A session that every vendor has."""
    found = calendar.session(LAST)
    assert found is not None
    return found


async def symbols_of(vendor: MarketDataPort, session: Session) -> list[str]:
    view = await vendor.view(session, session.open_ms + 10 * MINUTE_MS)
    return [snapshot.symbol for snapshot in view.snapshots]


async def test_a_view_is_sorted_and_ends_with_the_instant(vendor: MarketDataPort, session: Session) -> None:
    for offset in (-60, -5, 0, 1, 7, 20):
        as_of_ms = session.open_ms + offset * MINUTE_MS
        view = await vendor.view(session, as_of_ms)
        symbols = [snapshot.symbol for snapshot in view.snapshots]
        assert symbols == sorted(set(symbols))
        assert (view.session, view.as_of_ms, view.feed) == (session, as_of_ms, vendor.name)
        for snapshot in view.snapshots:
            ends = [bar.end_ms for bar in snapshot.minutes]
            assert ends == sorted(set(ends))
            assert all(end_ms <= as_of_ms for end_ms in ends)
            assert snapshot.quote is None or snapshot.quote.at_ms <= as_of_ms
            assert snapshot.previous is None or snapshot.previous.session == session.previous
            assert snapshot.action is None or snapshot.action.ex_session == session.date
            assert snapshot.official_open_e4 is None or as_of_ms >= session.open_ms + MINUTE_MS


async def test_the_same_question_has_the_same_answer(vendor: MarketDataPort, session: Session) -> None:
    as_of_ms = session.open_ms + 5 * MINUTE_MS
    first = await vendor.view(session, as_of_ms)
    await vendor.view(session, session.close_ms)
    assert await vendor.view(session, as_of_ms) == first


async def test_history_ends_before_the_session_and_is_in_order(
    vendor: MarketDataPort, session: Session
) -> None:
    symbols = await symbols_of(vendor, session)
    history = await vendor.history(symbols, session, session.open_ms + 10 * MINUTE_MS, sessions=5)
    assert sorted(history) == symbols
    for entry in history.values():
        days = [bar.session for bar in entry.bars]
        assert days == sorted(set(days))
        assert len(days) <= 5
        assert all(day < session.date for day in days)
        assert all(action.ex_session <= session.date for action in entry.actions)
        assert len(entry.volumes_to_now) <= 20


async def test_minutes_views_bars_and_last_prices_agree(vendor: MarketDataPort, session: Session) -> None:
    as_of_ms = session.open_ms + 12 * MINUTE_MS
    await vendor.load(session)
    view = await vendor.view(session, as_of_ms)
    symbols = [snapshot.symbol for snapshot in view.snapshots]
    last = await vendor.last_prices(symbols, session, as_of_ms)
    for snapshot in view.snapshots:
        assert tuple(await vendor.minutes(snapshot.symbol, session, as_of_ms)) == snapshot.minutes
        assert (snapshot.symbol in last) == bool(snapshot.minutes)
        for bar in snapshot.minutes[-3:]:
            assert vendor.bars_ending(session, bar.end_ms, [snapshot.symbol]) == {snapshot.symbol: bar}
        if snapshot.minutes:
            newest = last[snapshot.symbol]
            assert (newest.price_e4, newest.at_ms) == (
                snapshot.minutes[-1].close_e4,
                snapshot.minutes[-1].end_ms,
            )


async def test_bar_ends_go_forward_to_the_last_one(vendor: MarketDataPort, session: Session) -> None:
    await vendor.load(session)
    symbols = await symbols_of(vendor, session)
    end_ms, ends = vendor.next_bar_end_ms(session, 0), []
    while end_ms is not None:
        assert vendor.bars_ending(session, end_ms, symbols)
        ends.append(end_ms)
        end_ms = vendor.next_bar_end_ms(session, end_ms)
    assert ends == sorted(set(ends))
    assert ends
    assert vendor.bars_ending(session, ends[-1] + MINUTE_MS, symbols) == {}


async def test_instruments_are_known_by_symbol(vendor: MarketDataPort, session: Session) -> None:
    symbols = await symbols_of(vendor, session)
    for symbol in symbols:
        instrument = vendor.instrument(symbol)
        assert instrument is not None
        assert instrument.symbol == symbol
    assert vendor.instrument("NOSUCH") is None
    assert vendor.is_halted(session, symbols[0], session.open_ms - MINUTE_MS) is False
