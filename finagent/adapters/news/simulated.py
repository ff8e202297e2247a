"""Headlines and earnings dates of the built-in market: the reasons of its gaps among the chatter of a day."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from finagent.domain.market import MINUTE_MS, Earnings, Headline, Instrument, Session
from finagent.ports import CalendarPort

SOURCE = "simulated"
DAYS_KEPT = 45
SESSIONS_KEPT = 16
"""Headlines older than this before ``as_of`` are no longer answered."""
_DAY_MS = 86_400_000
_NIGHT_MS = 8 * 3_600_000
_EARNINGS = ("earnings_beat", "earnings_miss")
_UP = (
    ("earnings_beat", "{name} ({symbol}) beats quarterly earnings estimates, revenue tops expectations"),
    ("earnings_beat", "{name} ({symbol}) reports record quarterly profit, earnings beat consensus"),
    ("guidance_raised", "{name} ({symbol}) raises full-year guidance on strong demand"),
    ("upgrade", "{name} ({symbol}) upgraded to buy, price target raised"),
    ("merger", "{name} ({symbol}) to be acquired at a premium in merger agreement"),
    ("contract", "{name} ({symbol}) wins large multi-year contract award"),
)
_DOWN = (
    ("earnings_miss", "{name} ({symbol}) misses quarterly earnings estimates, shares fall on weak results"),
    ("earnings_miss", "{name} ({symbol}) posts surprise quarterly loss, earnings miss consensus"),
    ("guidance_cut", "{name} ({symbol}) cuts full-year guidance, warns of weak demand"),
    ("downgrade", "{name} ({symbol}) downgraded to sell on growth concerns"),
    ("offering", "{name} ({symbol}) prices public offering of common stock at a discount"),
    ("lawsuit", "{name} ({symbol}) sued by regulator, faces fraud investigation and class action lawsuit"),
)
_FDA = ("fda_approval", "{name} ({symbol}) wins FDA approval for its lead drug")
_CHATTER = (
    "{name} ({symbol}) to present at an industry conference next week",
    "{name} ({symbol}) names new member of its board of directors",
    "{name} ({symbol}) opens a regional office",
    "Options activity in {symbol} is in line with its average",
    "{name} ({symbol}) publishes its annual sustainability report",
    "{symbol} among the most watched stocks of its sector",
)
_IN_LINE = "{name} ({symbol}) reports quarterly results in line with expectations"
_SUFFIXES = {
    "Technology": "Systems",
    "Health Care": "Therapeutics",
    "Energy": "Energy",
    "Financials": "Capital",
    "Industrials": "Industries",
    "Consumer": "Brands",
    "Materials": "Materials",
    "Power": "Utilities",
}


class GappingMarket(Protocol):
    """What the news must know of the market it talks about; the simulated vendor is one."""

    @property
    def symbols(self) -> Sequence[str]:
        """All symbols, sorted."""

    def instrument(self, symbol: str) -> Instrument | None:
        """The stock."""

    def surprises(self, session: Session) -> Mapping[str, tuple[bool, int]]:
        """The session's gappers: whether up, and the instant (ms) from which the reason may be told."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of a stock between two closes; ``kind`` is its event class, ``none`` for chatter."""

    symbol: str
    kind: str
    published_ms: int
    text: str


class SimulatedNews:
    """Texts and earnings dates of the built-in market, a NewsPort; a pure function of the seed.

    Nine gaps in ten have a reason of a known event class, told the evening before or in the morning; the
    others and one quiet stock in seven get chatter; a few quiet stocks report earnings that move nothing.
    """

    def __init__(self, seed: int, calendar: CalendarPort, market: GappingMarket) -> None:
        self._seed = seed
        self._calendar = calendar
        self._market = market
        self._kept: dict[str, tuple[Story, ...]] = {}

    @property
    def name(self) -> str:
        """The source's name."""
        return SOURCE

    async def headlines(
        self, symbols: Sequence[str], since_ms: int, as_of_ms: int
    ) -> Mapping[str, Sequence[Headline]]:
        """Headlines published in (since, as_of], oldest first; at most 45 days back."""
        since_ms = max(since_ms, as_of_ms - DAYS_KEPT * _DAY_MS)
        wanted = set(symbols)
        told = [
            story
            for session in self._between(since_ms, as_of_ms)
            for story in self.stories(session)
            if story.symbol in wanted and since_ms < story.published_ms <= as_of_ms
        ]
        found: dict[str, list[Headline]] = {}
        for story in sorted(told, key=lambda story: (story.symbol, story.published_ms)):
            headline = Headline(
                symbol=story.symbol,
                published_ms=story.published_ms,
                known_at_ms=story.published_ms,
                text=story.text,
                source=SOURCE,
            )
            found.setdefault(story.symbol, []).append(headline)
        return found

    async def earnings(
        self, symbols: Sequence[str], first: str, last: str
    ) -> Mapping[str, Sequence[Earnings]]:
        """Earnings dates, known in advance; one told after a close (``amc``) has that session's date."""
        wanted = set(symbols)
        found: dict[str, list[Earnings]] = {}
        sessions = list(self._calendar.sessions(first, last))
        if not sessions:
            return found
        for session in [*sessions, self._calendar.after(sessions[-1].date)]:
            for story in self.stories(session):
                if story.symbol not in wanted or story.kind not in (*_EARNINGS, "earnings_in_line"):
                    continue
                is_evening = story.published_ms < session.open_ms - _NIGHT_MS
                date = session.previous if is_evening else session.date
                if first <= date <= last:
                    timing = "amc" if is_evening else "bmo"
                    earnings = Earnings(symbol=story.symbol, session=date, timing=timing)
                    found.setdefault(story.symbol, []).append(earnings)
        return found

    def stories(self, session: Session) -> Sequence[Story]:
        """All that is told from the close before a session to its own, by symbol; the last few are kept."""
        kept = self._kept.get(session.date)
        if kept is None:
            surprises = self._market.surprises(session)
            kept = tuple(
                story
                for symbol in self._market.symbols
                if (story := self._story(session, symbol, surprises.get(symbol))) is not None
            )
            self._kept[session.date] = kept
            if len(self._kept) > SESSIONS_KEPT:
                del self._kept[next(iter(self._kept))]
        return kept

    def _story(self, session: Session, symbol: str, surprise: tuple[bool, int] | None) -> Story | None:
        digest = blake2b(f"{self._seed}:{session.date}:{symbol}".encode(), digest_size=8).digest()
        which, chance, later = (
            digest[0],
            int.from_bytes(digest[1:3], "big"),
            int.from_bytes(digest[3:5], "big"),
        )
        if surprise is not None:
            is_up, told_ms = surprise
            kind, text = self._reason(symbol, which, is_up=is_up) if chance % 10 else ("none", _pick(which))
            # the evening's stories are spread over 45 minutes; a morning's moves the price at once
            spread_ms = later % 45 * MINUTE_MS if told_ms < session.open_ms - _NIGHT_MS else 0
            return self._told(symbol, kind, told_ms + spread_ms, text)
        morning_ms = session.open_ms - 150 * MINUTE_MS + later % 120 * MINUTE_MS
        if chance % 128 == 0:
            return self._told(symbol, "earnings_in_line", morning_ms, _IN_LINE)
        if chance % 7 == 0:
            return self._told(symbol, "none", morning_ms + later % 420 * MINUTE_MS, _pick(which))
        return None

    def _reason(self, symbol: str, which: int, *, is_up: bool) -> tuple[str, str]:
        instrument = self._market.instrument(symbol)
        reasons = _UP if is_up else _DOWN
        if is_up and instrument is not None and instrument.sector == "Health Care" and which % 3:
            return _FDA
        return reasons[which % len(reasons)]

    def _told(self, symbol: str, kind: str, published_ms: int, text: str) -> Story:
        instrument = self._market.instrument(symbol)
        sector = instrument.sector if instrument is not None else None
        name = f"{symbol.capitalize()} {_SUFFIXES.get(sector or '', 'Fund')}"
        return Story(symbol, kind, published_ms, text.format(name=name, symbol=symbol))

    def _between(self, since_ms: int, as_of_ms: int) -> Iterator[Session]:
        """Sessions whose stories may be told in (since, as_of], with the one that follows the evening."""
        if since_ms >= as_of_ms:
            return
        last = self._calendar.after(self._calendar.session_at(as_of_ms).date)
        yield from self._calendar.sessions(self._calendar.session_at(since_ms).date, last.date)


def _pick(which: int) -> str:
    return _CHATTER[which % len(_CHATTER)]
