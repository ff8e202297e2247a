"""The built-in news: reasons for gaps, told before they show, with earnings dates that fit."""

from collections import Counter

import pytest

from finagent.adapters.news.simulated import SimulatedNews
from finagent.adapters.vendors.simulated import SimulatedVendor
from finagent.domain.catalyst import earnings_catalyst, headline_catalysts
from finagent.domain.market import MINUTE_MS, Session
from finagent.ports import CalendarPort, NewsPort

FIRST, LAST = "2026-01-05", "2026-02-17"


@pytest.fixture(scope="module")
def vendor(calendar: CalendarPort) -> SimulatedVendor:
    """The market that gaps."""
    return SimulatedVendor(7, calendar)


@pytest.fixture(scope="module")
def news(calendar: CalendarPort, vendor: SimulatedVendor) -> SimulatedNews:
    """The news of that market."""
    return SimulatedNews(7, calendar, vendor)


def closed_ms(calendar: CalendarPort, session: Session) -> int:
    """The close before a session."""
    before = calendar.session(session.previous)
    assert before is not None
    return before.close_ms


async def test_most_gaps_have_a_reason_that_the_domain_recognises(
    news: SimulatedNews, vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """By 09:25 a headline of a known event class is out for nine gappers in ten, in every class."""
    port: NewsPort = news
    assert news.name == "simulated"
    found, reasoned, total = Counter[str](), 0, 0
    for session in calendar.sessions(FIRST, LAST):
        gappers = list(vendor.surprises(session))
        told = await port.headlines(gappers, closed_ms(calendar, session), session.open_ms - 5 * MINUTE_MS)
        for symbol in gappers:
            total += 1
            names = {catalyst.name for catalyst in headline_catalysts(told.get(symbol, ()))} - {"news"}
            reasoned += bool(names)
            found.update(names)
    assert 0.8 < reasoned / total < 0.98
    wanted = {"earnings", "guidance", "upgrade", "merger", "contract"}
    wanted |= {"downgrade", "offering", "lawsuit", "trial"}
    assert wanted <= set(found)


async def test_headlines_are_known_in_order_and_not_before_their_time(
    news: SimulatedNews, vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Cutting a day at any hour gives the beginning of the day, and two halves give the whole."""
    session = calendar.after("2026-01-11")
    since_ms, until_ms = closed_ms(calendar, session), session.close_ms
    whole = await news.headlines(vendor.symbols, since_ms, until_ms)
    assert len(whole) > 20
    for step in range(1, 12):
        cut_ms = since_ms + (until_ms - since_ms) * step // 12
        one = await news.headlines(vendor.symbols, since_ms, cut_ms)
        other = await news.headlines(vendor.symbols, cut_ms, until_ms)
        for symbol, lines in whole.items():
            assert [*one.get(symbol, ()), *other.get(symbol, ())] == lines
            assert all(line.known_at_ms <= cut_ms for line in one.get(symbol, ()))
    assert await news.headlines(vendor.symbols, until_ms, until_ms) == {}


async def test_a_morning_story_is_out_when_the_price_jumps(
    news: SimulatedNews, vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """No bar that ended before the story is more than 2 % away from the previous close."""
    checked = 0
    for session in list(calendar.sessions(FIRST, LAST))[:12]:
        view = await vendor.view(session, session.open_ms)
        for story in news.stories(session):
            (snapshot,) = (item for item in view.snapshots if item.symbol == story.symbol)
            if story.symbol in vendor.surprises(session) and snapshot.action is None:
                assert snapshot.previous is not None
                close_e4 = snapshot.previous.close_e4
                quiet = [bar for bar in snapshot.minutes if bar.end_ms <= story.published_ms]
                assert all(abs(bar.close_e4 - close_e4) < 0.02 * close_e4 for bar in quiet)
                checked += len(quiet) > 0
    assert checked > 10


async def test_earnings_dates_fit_their_gaps(
    news: SimulatedNews, vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """A report after the close has the date of that session, one before the open that of the gap."""
    timings = Counter[str | None]()
    for session in calendar.sessions(FIRST, LAST):
        dates = await news.earnings(vendor.symbols, session.previous, session.date)
        for story in news.stories(session):
            if story.kind.startswith("earnings_"):
                found = earnings_catalyst(
                    dates[story.symbol],
                    story.symbol,
                    session=session.date,
                    previous_close_ms=closed_ms(calendar, session),
                )
                assert found is not None
        timings.update(item.timing for items in dates.values() for item in items)
        assert all(item.session in (session.previous, session.date) for v in dates.values() for item in v)
    assert timings["bmo"] > 10
    assert timings["amc"] > 10
    assert set(timings) == {"bmo", "amc"}
    assert await news.earnings(vendor.symbols, "2026-01-10", "2026-01-11") == {}


async def test_the_order_of_questions_changes_nothing(
    news: SimulatedNews, vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """A second source of the same seed, asked for one day only, tells the same."""
    session = calendar.after("2026-02-01")
    await news.earnings(["SPY"], FIRST, LAST)
    other = SimulatedNews(7, calendar, SimulatedVendor(7, calendar))
    assert other.stories(session) == news.stories(session)
    assert SimulatedNews(8, calendar, vendor).stories(session) != news.stories(session)
