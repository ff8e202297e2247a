"""Serves imported headlines, messages and earnings dates as they were known at an instant."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

from finagent.domain.market import Earnings, Headline


class TextSource(Protocol):
    """Where the texts are kept; the bar store provides it."""

    def headlines(self) -> Sequence[Headline]:
        """All texts that count, by symbol and the instant from which they are known."""

    def earnings(self) -> Sequence[Earnings]:
        """All earnings dates by symbol and date."""


class NewsArchive:
    """Imported news, a NewsPort. A text repeated for a symbol counts once, when it was first known."""

    def __init__(self, source: TextSource) -> None:
        self._source = source

    def load(self) -> None:
        """Read everything at once, so that no scan waits for it."""
        self._texts, self._earnings  # noqa: B018  # reading a cached property fills it

    def all_headlines(self) -> Sequence[Headline]:
        """Every text once, each symbol's in the order in which they became known."""
        return [text for symbol in sorted(self._texts) for text in self._texts[symbol]]

    async def headlines(
        self, symbols: Sequence[str], since_ms: int, as_of_ms: int
    ) -> Mapping[str, Sequence[Headline]]:
        """Headlines known in (since, as_of], oldest first, for each symbol that has any."""
        found = {}
        for symbol in symbols:
            texts = self._texts.get(symbol, [])
            low = bisect_right(texts, since_ms, key=_known_at)
            high = bisect_right(texts, as_of_ms, key=_known_at)
            if low < high:
                found[symbol] = tuple(texts[low:high])
        return found

    async def earnings(
        self, symbols: Sequence[str], first: str, last: str
    ) -> Mapping[str, Sequence[Earnings]]:
        """Earnings dates between two sessions inclusive, for each symbol that has any."""
        found = {}
        for symbol in symbols:
            dates = self._earnings.get(symbol, [])
            low = bisect_left(dates, first, key=_session)
            high = bisect_right(dates, last, key=_session)
            if low < high:
                found[symbol] = tuple(dates[low:high])
        return found

    @cached_property
    def _texts(self) -> dict[str, list[Headline]]:
        found: dict[str, list[Headline]] = {}
        seen: set[tuple[str, str]] = set()
        for headline in self._source.headlines():
            key = (headline.symbol, " ".join(headline.text.casefold().split()))
            if key not in seen:
                seen.add(key)
                found.setdefault(headline.symbol, []).append(headline)
        return found

    @cached_property
    def _earnings(self) -> dict[str, list[Earnings]]:
        found: dict[str, list[Earnings]] = {}
        for date in self._source.earnings():
            found.setdefault(date.symbol, []).append(date)
        return found


def _known_at(headline: Headline) -> int:
    return headline.known_at_ms


def _session(earnings: Earnings) -> str:
    return earnings.session
