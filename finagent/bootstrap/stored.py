"""The home's stored market as whole columns, for the dataset that backtests map."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from finagent.adapters.bars.columns import StoredColumns
from finagent.adapters.bars.store import BarStore
from finagent.adapters.news.archive import NewsArchive
from finagent.backtest.source import DailyColumns, Halt, MinuteColumns, QuoteColumns
from finagent.domain.market import CorporateAction, Earnings, Headline

EARLIEST, LATEST = "0001-01-01", "9999-12-31"


class StoredMarket:
    """MarketColumns over the bar store and news archive of a home; texts are those that a replay would read."""

    def __init__(self, home: Path) -> None:
        self._store = BarStore(home)
        self._columns = StoredColumns(home)

    @property
    def data_id(self) -> str:
        """Hash over the store's contents, as a replay's identity has it."""
        return self._store.data_id

    @property
    def stored_range(self) -> tuple[str, str] | None:
        """First and last date of any bar."""
        return self._store.stored_range

    @property
    def symbols(self) -> Collection[str]:
        """Every symbol that has bars."""
        return self._store.symbols

    def daily(self) -> Iterator[DailyColumns]:
        """Daily bars by year."""
        for part in self._columns.daily():
            yield DailyColumns(part.symbols, part.codes, part.time, *part.values)

    def minutes(self) -> Iterator[MinuteColumns]:
        """Minute bars by session."""
        for part in self._columns.minutes():
            yield MinuteColumns(part.name, part.symbols, part.codes, part.time, *part.values)

    def quotes(self) -> Iterator[QuoteColumns]:
        """Quotes by session."""
        for part in self._columns.quotes():
            yield QuoteColumns(part.name, part.symbols, part.codes, part.time, *part.values)

    def actions(self) -> Mapping[str, Sequence[CorporateAction]]:
        """Corporate actions by symbol."""
        symbols = sorted(self._store.symbols)
        return {symbol: self._store.actions_of(symbol, EARLIEST, LATEST) for symbol in symbols}

    def headlines(self) -> Sequence[Headline]:
        """Texts that count, one said twice only once."""
        return NewsArchive(self._store).all_headlines()

    def earnings(self) -> Sequence[Earnings]:
        """Earnings dates by symbol and date."""
        return self._store.earnings()

    def halts(self) -> Sequence[Halt]:
        """The store holds no halts."""
        return ()
