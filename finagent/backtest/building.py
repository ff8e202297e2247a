"""Builds the dataset of a home's stored bars once, and finds it again while the inputs stay the same."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finagent.backtest.columns import Column, ColumnWriter
from finagent.backtest.dataset import (
    ABSENT,
    FORMAT,
    IDENTITY,
    LIST,
    OHLCV,
    QUOTE,
    SUM_SESSIONS,
    TIMINGS,
    Dataset,
    open_dataset,
)
from finagent.backtest.errors import DatasetChangedError, DatasetRefusedError, NothingStoredError
from finagent.backtest.sealing import settle, write_list
from finagent.backtest.source import Ints, MarketColumns, MinuteColumns, QuoteColumns
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import MAX_INT64
from finagent.ports import CalendarPort

TYPICAL = 3
"""VWAP sums three prices of each bar."""

Told = Callable[[str], None]


def inputs_id(source: MarketColumns, sessions: Sequence[Session]) -> str:
    """16 hex digits over what a dataset is built from: stored data, calendar, and the layout written here."""
    days = [[session.date, session.open_ms, session.close_ms] for session in sessions]
    halts = [[halt.symbol, halt.start_ms, halt.end_ms] for halt in source.halts()]
    text = json.dumps([FORMAT, source.data_id, days, halts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_or_build(
    source: MarketColumns, calendar: CalendarPort, root: Path, *, told: Told | None = None
) -> Dataset:
    """The dataset of these inputs under ``root``, built where it is not there yet.

    DatasetRefusedError for data whose sums could pass 2^62, or none at all; DatasetChangedError where one of the
    right name was tampered with. A build that is killed leaves nothing that counts.
    """
    sessions = _sessions_of(source, calendar)
    path = root / inputs_id(source, sessions)
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        scratch = root / f".building-{os.getpid()}-{path.name}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            _build(scratch, source, sessions, told or _silent, path.name)
            settle(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    found = open_dataset(path)
    if found.inputs_id != path.name:
        raise DatasetChangedError(f"dataset {path} was built from other inputs")
    return found


def _build(scratch: Path, source: MarketColumns, sessions: Sequence[Session], told: Told, name: str) -> None:
    """Four bytes a price, which hold up to 214,748 dollars; eight where one is higher."""
    for kind in ("<i4", "<i8"):
        scratch.mkdir()
        try:
            _Build(scratch, source, sessions, told, kind).run(name)
            return
        except OverflowError:
            shutil.rmtree(scratch)
    raise DatasetRefusedError("a price is beyond 64 bits", hint="finagent data check")


def _silent(what: str) -> None:
    return


def _sessions_of(source: MarketColumns, calendar: CalendarPort) -> tuple[Session, ...]:
    stored = source.stored_range
    sessions = () if stored is None else tuple(calendar.sessions(*stored))
    if not sessions:
        raise NothingStoredError
    return sessions


class _Build:
    """One build into a scratch folder; lives for one call of ``run``."""

    def __init__(
        self, folder: Path, source: MarketColumns, sessions: Sequence[Session], told: Told, price_kind: str
    ) -> None:
        self._folder, self._source, self._sessions, self._told = folder, source, sessions, told
        self._price_kind = price_kind
        self._columns: list[Column] = []
        self._rows = {session.date: row for row, session in enumerate(sessions)}
        self._numbers: dict[str, int] = {}
        self._files = ExitStack()

    def run(self, name: str) -> None:
        """Write every column, then the list that names and hashes them."""
        with self._files:
            self._write_all(name)

    def _write_all(self, name: str) -> None:
        symbols = sorted(self._source.symbols)
        self._numbers = {symbol: number for number, symbol in enumerate(symbols)}
        self._write_sessions()
        left_out = self._write_daily()
        left_out += self._write_rows("minute", self._source.minutes(), OHLCV)
        left_out += self._write_rows("quote", self._source.quotes(), QUOTE)
        self._write_actions()
        sources = self._write_texts()
        document: dict[str, object] = {
            "format": FORMAT,
            "inputs_id": name,
            "data_id": self._source.data_id,
            "before": self._sessions[0].previous,
            "symbols": symbols,
            "sources": sources,
            "left_out": left_out,
        }
        write_list(self._folder, self._columns, document, list_name=LIST, identity=IDENTITY)

    def _put(self, name: str, kind: str, *blocks: npt.NDArray[np.generic] | Sequence[int]) -> None:
        writer = self._writer(name, kind)
        for block in blocks:
            writer.append(np.asarray(block) if len(block) else np.empty(0, kind))
        self._columns.append(writer.close())

    def _writer(self, name: str, kind: str) -> ColumnWriter:
        return self._files.enter_context(ColumnWriter(self._folder, name, kind))

    def _write_sessions(self) -> None:
        days = [_day(session.date) for session in self._sessions]
        self._put("session_day", "<i8", days)
        self._put("session_open", "<i8", [session.open_ms for session in self._sessions])
        self._put("session_close", "<i8", [session.close_ms for session in self._sessions])
        self._put("session_half", "|u1", [int(session.is_half_day) for session in self._sessions])

    def _write_daily(self) -> int:
        """The matrix of all daily bars; gives how many are on no session."""
        shape = (len(self._sessions), len(self._numbers))
        days = np.asarray([_day(session.date) for session in self._sessions], np.int64)
        matrix = [np.zeros(shape, np.int64) for _ in OHLCV]
        matrix[-1].fill(ABSENT)
        left_out = 0
        for part in self._source.daily():
            self._told("daily bars")
            row = np.minimum(np.searchsorted(days, part.days), len(days) - 1)
            is_session = days[row] == part.days
            left_out += int((~is_session).sum())
            column = self._codes(part.symbols)[part.codes]
            at = (row[is_session], column[is_session])
            values = (part.open_e4, part.high_e4, part.low_e4, part.close_e4, part.volume)
            for target, source in zip(matrix, values, strict=True):
                target[at] = source[is_session]
            self._refuse_large(part.close_e4, part.volume, SUM_SESSIONS, part.symbols, part.codes)
        for name, target in zip(OHLCV, matrix, strict=True):
            kind = "<i8" if name == "volume" else self._price_kind
            self._put(f"daily_{name}", kind, target.reshape(-1))
        return left_out

    def _write_rows(
        self, kind: str, parts: Iterable[MinuteColumns | QuoteColumns], values: Sequence[str]
    ) -> int:
        """Bars or quotes of each session behind one another, with each symbol's rows; gives how many are left out."""
        kinds = ["<i8" if name in ("volume", "bid_size", "ask_size") else self._price_kind for name in values]
        writers = [self._writer(f"{kind}_{name}", each) for name, each in zip(values, kinds, strict=True)]
        minute, offsets = self._writer(f"{kind}_minute", "<i2"), self._writer(f"{kind}_offsets", "<i8")
        sessions = np.full(len(self._sessions), -1, np.int64)
        left_out = kept = 0
        for part in parts:
            self._told(f"{kind} bars of {part.session}")
            row = self._rows.get(part.session)
            if row is None:
                left_out += part.codes.size
                continue
            sessions[row], kept = kept, kept + 1
            codes = self._codes(part.symbols)[part.codes]
            order = np.lexsort((part.start_ms, codes))
            codes, start_ms = codes[order], part.start_ms[order]
            _refuse_unordered(part.session, codes, start_ms)
            edges = np.searchsorted(codes, np.arange(len(self._numbers) + 1))
            offsets.append(edges + minute.count)
            minute.append((start_ms - self._sessions[row].open_ms) // MINUTE_MS)
            for name, writer in zip(values, writers, strict=True):
                field = name if name in ("volume", "bid_size", "ask_size") else f"{name}_e4"
                writer.append(getattr(part, field)[order])
            if isinstance(part, MinuteColumns):
                self._refuse_long(part)
        for writer in (minute, offsets, *writers):
            self._columns.append(writer.close())
        self._put(f"{kind}_sessions", "<i8", sessions)
        return left_out

    def _codes(self, symbols: Sequence[str]) -> Ints:
        """The dataset's number of each of a part's symbols; one without bars has none and comes last."""
        return np.asarray([self._numbers.get(symbol, len(self._numbers)) for symbol in symbols], np.int64)

    def _write_actions(self) -> None:
        rows = [
            (self._numbers[symbol], _day(action.ex_session), action.dividend_e4, action.split_ratio_e6)
            for symbol, actions in sorted(self._source.actions().items())
            if symbol in self._numbers
            for action in actions
        ]
        self._write_table("action", ("symbol", "day", "dividend", "split"), rows)
        halts = [
            (self._numbers[halt.symbol], halt.start_ms, halt.end_ms)
            for halt in self._source.halts()
            if halt.symbol in self._numbers
        ]
        self._write_table("halt", ("symbol", "start", "end"), halts)
        dates = [
            (self._numbers[each.symbol], _day(each.session), TIMINGS.index(each.timing))
            for each in self._source.earnings()
            if each.symbol in self._numbers
        ]
        self._write_table("earnings", ("symbol", "day", "timing"), dates)

    def _write_table(self, kind: str, names: Sequence[str], rows: Sequence[tuple[int, ...]]) -> None:
        for place, name in enumerate(names):
            self._put(f"{kind}_{name}", "<i8", [row[place] for row in rows])

    def _write_texts(self) -> list[str]:
        """Headlines by symbol, their letters behind one another; gives the sources by number."""
        kept = [each for each in self._source.headlines() if each.symbol in self._numbers]
        kept.sort(key=lambda each: self._numbers[each.symbol])  # stable: within a symbol as they became known
        sources = sorted({each.source for each in kept})
        places = {source: place for place, source in enumerate(sources)}
        letters = [each.text.encode("utf-8", "surrogatepass") for each in kept]
        counts = np.bincount(
            [self._numbers[each.symbol] for each in kept] or [0], minlength=len(self._numbers)
        ) * bool(kept)
        self._put("text_spans", "<i8", np.concatenate(([0], np.cumsum(counts))))
        self._put("text_known", "<i8", [each.known_at_ms for each in kept])
        self._put("text_published", "<i8", [each.published_ms for each in kept])
        self._put("text_source", "<i8", [places[each.source] for each in kept])
        self._put("text_ends", "<i8", np.cumsum([len(each) for each in letters]))
        self._put("text_letters", "|u1", np.frombuffer(b"".join(letters), np.uint8))
        return sources

    def _refuse_large(
        self, price_e4: Ints, volume: Ints, times: int, symbols: Sequence[str], codes: Ints
    ) -> None:
        """Refuse bars of which ``times`` together could pass 2^62; the estimate errs on the careful side."""
        if not price_e4.size:
            return
        worth = price_e4.astype(np.float64) * volume
        at = int(worth.argmax())
        if worth[at] * times * 1.001 >= MAX_INT64:
            raise DatasetRefusedError(
                f"{symbols[int(codes[at])]}: {int(volume[at])} shares at {int(price_e4[at])} (1e-4) could make sums"
                " beyond 2^62",
                hint="look at that bar: finagent data check; mend it and import again",
            )

    def _refuse_long(self, part: MinuteColumns) -> None:
        """Refuse a session of which three prices times the volume of all its bars could pass 2^62."""
        worth = np.bincount(part.codes, part.high_e4.astype(np.float64) * part.volume)
        if not worth.size:
            return
        at = int(worth.argmax())
        if worth[at] * TYPICAL * 1.001 >= MAX_INT64:
            raise DatasetRefusedError(
                f"{part.symbols[at]}: the minute bars of {part.session} could make sums beyond 2^62",
                hint="look at those bars: finagent data check; mend them and import again",
            )


def _day(date: str) -> int:
    return int(np.datetime64(date, "D").astype(np.int64))


def _refuse_unordered(session: str, codes: Ints, start_ms: Ints) -> None:
    """Two bars of one symbol and minute contradict each other; a start within a minute has no place."""
    is_same = (np.diff(codes) == 0) & (np.diff(start_ms) <= 0)
    if is_same.any() or (start_ms % MINUTE_MS).any():
        raise DatasetRefusedError(
            f"the minute bars of {session} hold a minute twice or a start within a minute",
            hint="import them again: finagent data import DIR",
        )


def kept_bytes(dataset: Dataset) -> Mapping[str, int]:
    """Size of each file of a dataset."""
    return {name: size for name, (size, _, _) in sorted(dataset.seal.items())}
