"""What a dataset is built from: whole columns of bars, actions and texts, handed in by bootstrap."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from finagent.domain.market import CorporateAction, Earnings, Headline

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class DailyColumns:
    """Raw daily bars, one row a symbol and day: ``codes`` number ``symbols``, ``days`` count from 1970."""

    symbols: tuple[str, ...]
    codes: Ints
    days: Ints
    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints


@dataclass(frozen=True, slots=True, eq=False)
class MinuteColumns:
    """One session's minute bars, sorted by symbol and start (ms UTC)."""

    session: str
    symbols: tuple[str, ...]
    codes: Ints
    start_ms: Ints
    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints


@dataclass(frozen=True, slots=True, eq=False)
class QuoteColumns:
    """One session's quotes by minute, sorted by symbol and start; each is known when its minute has ended."""

    session: str
    symbols: tuple[str, ...]
    codes: Ints
    start_ms: Ints
    bid_e4: Ints
    ask_e4: Ints
    bid_size: Ints
    ask_size: Ints


@dataclass(frozen=True, slots=True)
class Halt:
    """A symbol that is not traded in [start, end), both in ms UTC."""

    symbol: str
    start_ms: int
    end_ms: int


class MarketColumns(Protocol):
    """Everything stored, in bulk; the bar store of a home provides it, a test may make it up."""

    @property
    def data_id(self) -> str:
        """Hash over the contents: the same data have the same one."""

    @property
    def stored_range(self) -> tuple[str, str] | None:
        """First and last date of any bar; None where there is none."""

    @property
    def symbols(self) -> Collection[str]:
        """Every symbol that has bars."""

    def daily(self) -> Iterator[DailyColumns]:
        """All daily bars, in any number of parts."""

    def minutes(self) -> Iterator[MinuteColumns]:
        """All minute bars, by session in order."""

    def quotes(self) -> Iterator[QuoteColumns]:
        """All quotes, by session in order."""

    def actions(self) -> Mapping[str, Sequence[CorporateAction]]:
        """Corporate actions by symbol, one a date, in order."""

    def headlines(self) -> Sequence[Headline]:
        """Texts in the order in which each symbol's became known; one said twice only once."""

    def earnings(self) -> Sequence[Earnings]:
        """Earnings dates by symbol and date."""

    def halts(self) -> Sequence[Halt]:
        """Trading halts; none where the source does not say."""
