"""The dataset: an immutable, content-hashed folder of integer columns that every engine and worker maps."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from finagent.backtest.errors import DatasetChangedError
from finagent.backtest.sealing import Sealed, Stamp, check_unchanged, open_sealed
from finagent.backtest.source import Ints
from finagent.domain.market import CorporateAction, Earnings, Headline, Session

LIST = "dataset.json"
IDENTITY = "dataset_id"
FORMAT = 1
ABSENT = -1
"""Volume of a symbol that has no daily bar in a session."""
SUM_SESSIONS = 20
"""Dollar volume is summed over so many sessions: the largest sum that a rule makes of daily bars."""
TIMINGS = (None, "bmo", "amc")
OHLCV = ("open", "high", "low", "close", "volume")
QUOTE = ("bid", "ask", "bid_size", "ask_size")


@dataclass(frozen=True, slots=True, eq=False)
class DailyMatrix:
    """Raw daily bars, one row a session of the calendar and one column a symbol; prices in 1e-4.

    ``volume`` is ``ABSENT`` where there is no bar. The previous close of row d is ``close[d - 1]``: rows are
    sessions without a hole.
    """

    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints


@dataclass(frozen=True, slots=True, eq=False)
class MinuteRows:
    """Minute bars of all sessions that have some, by session, symbol and start.

    The rows of symbol s in minute session m are ``offsets[m, s]`` to ``offsets[m, s + 1]``; ``minute`` counts from the
    session's open (the first regular bar is 0, pre-market is below).
    """

    rows_of: Ints
    """By row of the daily matrix its number among the minute sessions, -1 without minutes."""
    offsets: Ints
    minute: Ints
    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints


@dataclass(frozen=True, slots=True, eq=False)
class QuoteRows:
    """Quotes by minute, laid out as the minute bars are."""

    rows_of: Ints
    offsets: Ints
    minute: Ints
    bid_e4: Ints
    ask_e4: Ints
    bid_size: Ints
    ask_size: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Headlines and earnings dates by symbol and the instant from which they are known."""

    spans: Ints
    known_ms: Ints
    published_ms: Ints
    source: Ints
    sources: tuple[str, ...]
    ends: Ints
    letters: Ints
    earnings: Mapping[str, tuple[Earnings, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """All of it; opened by ``open_dataset``. Arrays are mapped read-only, nothing is copied or pickled."""

    path: Path
    dataset_id: str
    """Hash over the contents: two datasets with the same one hold the same."""
    inputs_id: str
    data_id: str
    symbols: tuple[str, ...]
    sessions: tuple[Session, ...]
    daily: DailyMatrix
    minutes: MinuteRows
    quotes: QuoteRows
    actions: Mapping[str, tuple[CorporateAction, ...]]
    actions_on: Mapping[str, Mapping[str, CorporateAction]]
    """By ex-date and symbol."""
    halts: Mapping[str, tuple[tuple[int, int], ...]]
    texts: Texts
    seal: Mapping[str, Stamp]
    rows: Mapping[str, int] = field(default_factory=dict)
    """Row of each session's date."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Number of each symbol."""

    def session(self, date: str) -> Session | None:
        """The session of a date, None on a holiday or outside the dataset."""
        row = self.rows.get(date)
        return None if row is None else self.sessions[row]

    def between(self, first: str, last: str) -> Sequence[Session]:
        """The sessions from first to last inclusive."""
        dates = [session.date for session in self.sessions]
        return self.sessions[bisect_left(dates, first) : bisect_right(dates, last)]

    def has_minutes(self, row: int) -> bool:
        """Whether a session has minute bars at all."""
        return bool(self.minutes.rows_of[row] >= 0)

    def headlines(self, symbol: str, since_ms: int, as_of_ms: int) -> tuple[Headline, ...]:
        """The symbol's texts known in (since, as_of], oldest first."""
        number = self.numbers.get(symbol)
        if number is None:
            return ()
        texts = self.texts
        start, end = int(texts.spans[number]), int(texts.spans[number + 1])
        if start == end:
            return ()
        known = texts.known_ms[start:end]
        low, high = np.searchsorted(known, (since_ms, as_of_ms), side="right").tolist()
        return tuple(self._headline(symbol, row) for row in range(start + low, start + high))

    def earnings(self, symbol: str, first: str, last: str) -> tuple[Earnings, ...]:
        """The symbol's earnings dates between two sessions inclusive."""
        found = self.texts.earnings.get(symbol, ())
        return tuple(each for each in found if first <= each.session <= last)

    def is_halted(self, symbol: str, at_ms: int) -> bool:
        """Whether trading in the symbol is halted at an instant."""
        spans = self.halts.get(symbol)
        return spans is not None and any(start <= at_ms < end for start, end in spans)

    def halted(self, symbols: Iterable[str], at_ms: int) -> frozenset[str]:
        """Which of some symbols are halted at an instant."""
        return (
            frozenset(each for each in symbols if self.is_halted(each, at_ms)) if self.halts else frozenset()
        )

    def check_unchanged(self) -> None:
        """DatasetChangedError when a file is not what it was when the dataset was opened."""
        check_unchanged(self.path, self.seal)

    def _headline(self, symbol: str, row: int) -> Headline:
        texts = self.texts
        start, end = (int(texts.ends[row - 1]) if row else 0), int(texts.ends[row])
        return Headline(
            symbol=symbol,
            published_ms=int(texts.published_ms[row]),
            known_at_ms=int(texts.known_ms[row]),
            text=texts.letters[start:end].tobytes().decode("utf-8", "surrogatepass"),
            source=texts.sources[int(texts.source[row])],
        )


def open_dataset(path: Path) -> Dataset:
    """Map a dataset; DatasetChangedError where a file is not what was written.

    Every file is hashed the first time it is seen with this size, time and inode, and not again before that changes.
    """
    return _assembled(open_sealed(path, list_name=LIST, identity=IDENTITY))


def _assembled(found: Sealed) -> Dataset:
    document, arrays = found.document, found.arrays
    symbols = tuple(map(str, _listed(document, "symbols")))
    sessions = _sessions(arrays, str(document["before"]))
    shape = (len(sessions), len(symbols))
    actions = _actions(arrays, symbols)
    return Dataset(
        path=found.path,
        dataset_id=str(document["dataset_id"]),
        inputs_id=str(document["inputs_id"]),
        data_id=str(document["data_id"]),
        symbols=symbols,
        sessions=sessions,
        daily=DailyMatrix(*(arrays[f"daily_{name}"].reshape(shape) for name in OHLCV)),
        minutes=MinuteRows(*_by_session(arrays, "minute", OHLCV, len(symbols))),
        quotes=QuoteRows(*_by_session(arrays, "quote", QUOTE, len(symbols))),
        actions=actions,
        actions_on=_by_date(actions),
        halts=_halts(arrays, symbols),
        texts=_texts(arrays, symbols, tuple(map(str, _listed(document, "sources")))),
        seal=dict(found.seal),
        rows={session.date: row for row, session in enumerate(sessions)},
        numbers={symbol: number for number, symbol in enumerate(symbols)},
    )


def _listed(document: Mapping[str, object], name: str) -> Sequence[object]:
    value = document[name]
    if not isinstance(value, list):
        raise DatasetChangedError(f"the dataset's list holds no {name}")
    return value


def _sessions(arrays: Mapping[str, Ints], before: str) -> tuple[Session, ...]:
    dates = days_to_dates(arrays["session_day"])
    rows = zip(
        dates,
        [before, *dates[:-1]],
        arrays["session_open"].tolist(),
        arrays["session_close"].tolist(),
        arrays["session_half"].tolist(),
        strict=True,
    )
    return tuple(
        Session(date=date, open_ms=open_ms, close_ms=close_ms, previous=previous, is_half_day=bool(half))
        for date, previous, open_ms, close_ms, half in rows
    )


def _by_session(arrays: Mapping[str, Ints], kind: str, values: Sequence[str], symbols: int) -> list[Ints]:
    offsets = arrays[f"{kind}_offsets"].reshape(-1, symbols + 1)
    return [
        arrays[f"{kind}_sessions"],
        offsets,
        arrays[f"{kind}_minute"],
        *(arrays[f"{kind}_{name}"] for name in values),
    ]


def _actions(arrays: Mapping[str, Ints], symbols: Sequence[str]) -> dict[str, tuple[CorporateAction, ...]]:
    found: dict[str, list[CorporateAction]] = {}
    rows = zip(
        arrays["action_symbol"].tolist(),
        days_to_dates(arrays["action_day"]),
        arrays["action_dividend"].tolist(),
        arrays["action_split"].tolist(),
        strict=True,
    )
    for number, date, dividend_e4, ratio_e6 in rows:
        action = CorporateAction(ex_session=date, dividend_e4=dividend_e4, split_ratio_e6=ratio_e6)
        found.setdefault(symbols[number], []).append(action)
    return {symbol: tuple(actions) for symbol, actions in found.items()}


def _by_date(actions: Mapping[str, Sequence[CorporateAction]]) -> dict[str, dict[str, CorporateAction]]:
    found: dict[str, dict[str, CorporateAction]] = {}
    for symbol, own in actions.items():
        for action in own:
            found.setdefault(action.ex_session, {})[symbol] = action
    return found


def _halts(arrays: Mapping[str, Ints], symbols: Sequence[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    found: dict[str, list[tuple[int, int]]] = {}
    rows = zip(*(arrays[f"halt_{name}"].tolist() for name in ("symbol", "start", "end")), strict=True)
    for number, start_ms, end_ms in rows:
        found.setdefault(symbols[number], []).append((start_ms, end_ms))
    return {symbol: tuple(spans) for symbol, spans in found.items()}


def _texts(arrays: Mapping[str, Ints], symbols: Sequence[str], sources: tuple[str, ...]) -> Texts:
    earnings: dict[str, list[Earnings]] = {}
    rows = zip(
        arrays["earnings_symbol"].tolist(),
        days_to_dates(arrays["earnings_day"]),
        arrays["earnings_timing"].tolist(),
        strict=True,
    )
    for number, date, timing in rows:
        symbol = symbols[number]
        earnings.setdefault(symbol, []).append(Earnings(symbol=symbol, session=date, timing=TIMINGS[timing]))
    return Texts(
        spans=arrays["text_spans"],
        known_ms=arrays["text_known"],
        published_ms=arrays["text_published"],
        source=arrays["text_source"],
        sources=sources,
        ends=arrays["text_ends"],
        letters=arrays["text_letters"],
        earnings={symbol: tuple(dates) for symbol, dates in earnings.items()},
    )


def days_to_dates(days: Ints) -> list[str]:
    """ISO dates of day numbers since 1970."""
    dates: list[str] = np.asarray(days, np.int64).astype("datetime64[D]").astype(str).tolist()
    return dates
