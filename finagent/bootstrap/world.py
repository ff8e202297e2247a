"""The market the agent looks at: calendar, prices and news, by vendor."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from finagent.ports import CalendarPort, MarketDataPort, NewsPort
from finagent.settings import Settings


@dataclass(frozen=True, slots=True)
class World:
    """What is outside: sessions, prices, texts; ``data_id`` names the data for a result's identity."""

    calendar: CalendarPort
    market: MarketDataPort
    news: NewsPort
    data_id: str
    symbols: Callable[[], Collection[str]] = tuple
    """Every symbol the market knows; empty where that cannot be told."""


class NoNews:
    """News switched off: nothing is known."""

    async def headlines(self, symbols: object, since_ms: int, as_of_ms: int) -> dict[str, tuple[()]]:
        """None."""
        return {}

    async def earnings(self, symbols: object, first: str, last: str) -> dict[str, tuple[()]]:
        """None."""
        return {}


def load_world(
    settings: Settings, home: Path, *, vendor: str | None = None, seed: int | None = None
) -> World:
    """Calendar, prices and news of the chosen vendor; heavy libraries are loaded only here."""
    from finagent.adapters.vendors.calendar import load_calendar

    calendar = load_calendar(home)
    if (vendor or settings.data.vendor) == "replay":
        return _replay(settings, home, calendar)
    from finagent.adapters.news.simulated import SimulatedNews
    from finagent.adapters.vendors.simulated import SimulatedVendor

    number = settings.data.seed if seed is None else seed
    market = SimulatedVendor(number, calendar, settings.data.symbols)
    news: NewsPort = SimulatedNews(number, calendar, market) if settings.news.enabled else NoNews()
    return World(
        calendar=calendar, market=market, news=news, data_id=market.data_id, symbols=lambda: market.symbols
    )


def _replay(settings: Settings, home: Path, calendar: CalendarPort) -> World:
    from finagent.adapters.bars.store import BarStore
    from finagent.adapters.news.archive import NewsArchive
    from finagent.adapters.vendors.replay import ReplayVendor

    store = BarStore(home)
    market = ReplayVendor(store, calendar)
    news: NewsPort = NoNews()
    if settings.news.enabled:
        archive = NewsArchive(store)
        archive.load()
        news = archive
    return World(
        calendar=calendar, market=market, news=news, data_id=market.data_id, symbols=lambda: store.symbols
    )
