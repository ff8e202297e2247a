"""The check for look-ahead: random sessions of a result, played once more with other data behind a decision.

Whatever came after an instant is altered: the session's later bars and quotes, high, low, close and volume of its day,
the sessions behind it, texts and corporate actions that were not known. What was decided until then has to be the same.
The files of the dataset are mapped copy-on-write: what is altered is a page in memory, never the disk.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from finagent.backtest.cells import SETTLING, Cell
from finagent.backtest.columns import SUFFIX
from finagent.backtest.dataset import ABSENT, OHLCV, QUOTE, DailyMatrix, Dataset, MinuteRows, QuoteRows
from finagent.backtest.errors import LookAheadError
from finagent.backtest.ledger import Ledger
from finagent.backtest.market import Flags
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.source import Ints
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.orders import ENTRY_LEG

INSTANTS = 3
"""So many decisions of a session on minutes are looked at; of one on daily bars there is the open alone."""
NEAR = 20
"""So many sessions behind it are altered."""
LATER_MS = 30 * 86_400_000
DECISIONS = ("scan", "score", "plan", "no_plan", "risk", "approved")
"""What daily bars decide at the open, beside the entries; the rest is what the day became."""
Told = Callable[[str, int, int], None]


def check_lookahead(
    dataset: Dataset,
    rules: Parameters,
    lines: Lines,
    ledger: Ledger,
    *,
    count: int,
    seed: str,
    told: Told | None = None,
) -> int:
    """Play ``count`` sessions with candidates (all, where there are fewer) with other futures; gives how many.

    LookAheadError names the session and the first decision that changed. The same seed chooses the same sessions and
    the same futures.
    """
    cells = _cells(dataset, ledger)
    chance = random.Random(seed)
    chosen = sorted(chance.sample(range(len(cells)), min(count, len(cells))))
    for number, cell in enumerate((cells[place] for place in chosen), 1):
        if told is not None:
            told(cell.session.date, number, len(chosen))
        truth = cell.played(dataset, rules, lines)
        for at_ms in _instants(truth, cell, chance):
            future = with_other_future(dataset, cell.session, at_ms, seed=chance.getrandbits(32))
            _compare(cell, at_ms, truth, _other(future, rules, lines, cell, at_ms))
    return len(chosen)


def _cells(dataset: Dataset, ledger: Ledger) -> list[Cell]:
    gained: dict[str, int] = {}
    for trade, date in zip(ledger.trades, ledger.exit_sessions, strict=True):
        gained[date] = gained.get(date, 0) + trade.pnl_e8
    sold, equity_e8, found = ledger.sold_by_session(), ledger.start_equity_e8, []
    before: list[str] = []
    for day in ledger.days:
        if day.candidates:
            recent = {date: sold[date] for date in before[-SETTLING:]}
            session = dataset.sessions[dataset.rows[day.session]]
            found.append(Cell(session, day.has_minutes, equity_e8, recent))
        if day.session in sold:
            before.append(day.session)
        equity_e8 += gained.get(day.session, 0)
    return found


def _other(dataset: Dataset, rules: Parameters, lines: Lines, cell: Cell, at_ms: int) -> Ledger:
    try:
        return cell.played(dataset, rules, lines)
    except Exception as error:  # whatever a rule does with these data: it did not with those that it had
        what = f"a rule fails: {type(error).__name__}: {error}"
        raise LookAheadError(f"{_when(cell, at_ms)} with another future behind it, {what}") from error


def _instants(truth: Ledger, cell: Cell, chance: random.Random) -> list[int]:
    """When something was decided: the first time, and some others."""
    session = cell.session
    if not cell.has_minutes:
        return [session.open_ms + MINUTE_MS]
    found = sorted({entry.at_ms for entry in truth.journal if entry.at_ms < session.close_ms})
    return [*found[:1], *sorted(chance.sample(found[1:], min(INSTANTS - 1, len(found[1:]))))]


def _compare(cell: Cell, at_ms: int, truth: Ledger, other: Ledger) -> None:
    decided, again = (_known(ledger, cell, at_ms) for ledger in (truth, other))
    for ours, theirs in zip_longest(decided, again):
        if ours != theirs:
            what, one = ("is no more", ours) if theirs is None else ("is another", theirs)
            raise LookAheadError(
                f"{_when(cell, at_ms)} with another future behind it, {one[0]} {one[1]} {what}"
            )


def _known(ledger: Ledger, cell: Cell, at_ms: int) -> list[tuple[str, str, object]]:
    """Everything decided and done up to an instant, each with its kind and what it is of."""
    is_daily = not cell.has_minutes
    entries: list[tuple[str, str, object]] = [
        (entry.kind, entry.ref, (entry.at_ms, entry.data))
        for entry in ledger.journal
        if (entry.kind in DECISIONS if is_daily else entry.at_ms <= at_ms)
    ]
    orders = [
        ("order", row.intent.client_order_id, row.intent)
        for row in ledger.orders.values()
        if (row.intent.leg == ENTRY_LEG if is_daily else row.created_at_ms <= at_ms)
    ]
    fills = [
        ("fill", row.fill.execution_id, row.fill)
        for row in ledger.fills
        if not is_daily and row.fill.at_ms <= at_ms - MINUTE_MS
    ]
    return [*entries, *sorted(orders, key=lambda row: row[1]), *fills]


def _when(cell: Cell, at_ms: int) -> str:
    minutes = (at_ms - cell.session.open_ms) // MINUTE_MS
    return f"session {cell.session.date}, {minutes} minutes after the open:"


def with_other_future(dataset: Dataset, session: Session, at_ms: int, *, seed: int) -> Dataset:
    """The same until an instant of a session, and other data behind it."""
    generator, row = np.random.default_rng(seed), dataset.rows[session.date]
    texts = dataset.texts
    known_ms = np.where(texts.known_ms > at_ms, texts.known_ms + LATER_MS, texts.known_ms)
    return replace(
        dataset,
        daily=_other_days(dataset, row, at_ms >= session.open_ms + MINUTE_MS, generator),
        minutes=_other_minutes(dataset, row, at_ms, generator),
        quotes=_other_quotes(dataset, row, at_ms, generator),
        actions={
            symbol: tuple(each for each in own if each.ex_session <= session.date)
            for symbol, own in dataset.actions.items()
        },
        halts={
            symbol: tuple((start, end) for start, end in spans if start <= at_ms)
            for symbol, spans in dataset.halts.items()
        },
        texts=replace(texts, known_ms=known_ms),
    )


def _writable(dataset: Dataset, name: str, column: Ints) -> Ints:
    """The column again, copy-on-write."""
    if not column.size:
        return column
    path = dataset.path / f"{name}{SUFFIX}"
    return np.memmap(path, column.dtype, mode="c", shape=column.shape).view(np.ndarray)


def _alter(columns: Sequence[Ints], place: slice, is_later: Flags, generator: np.random.Generator) -> None:
    """Half to twice the prices, each bar by its own factor; the last column, a volume or size, is any number."""
    *prices, volume = columns
    factors = generator.integers(50, 200, is_later.shape)
    for column in prices:
        most = np.iinfo(column.dtype).max
        values = np.clip(column[place].astype(np.int64) * factors // 100, 1, most)
        column[place] = np.where(is_later, values, column[place])
    shares = generator.integers(0, 100_000, is_later.shape)
    column = volume[place]
    volume[place] = np.where(is_later & (column != ABSENT), shares, column)


def _other_days(
    dataset: Dataset, row: int, is_open_known: bool, generator: np.random.Generator
) -> DailyMatrix:
    columns = [_writable(dataset, f"daily_{name}", getattr(dataset.daily, _field(name))) for name in OHLCV]
    own, behind = slice(row, row + 1), slice(row + 1, row + 1 + NEAR)
    for place, some in ((own, columns[1:] if is_open_known else columns), (behind, columns)):
        _alter(some, place, np.ones(columns[0][place].shape, np.bool_), generator)
    return DailyMatrix(*columns)


def _other_minutes(dataset: Dataset, row: int, at_ms: int, generator: np.random.Generator) -> MinuteRows:
    minutes = dataset.minutes
    columns = [_writable(dataset, f"minute_{name}", getattr(minutes, _field(name))) for name in OHLCV]
    for each in (row, row + 1):
        if each < len(dataset.sessions) and dataset.has_minutes(each):
            place, is_later = _later(minutes, dataset.sessions[each], each, at_ms)
            _alter(columns, place, is_later, generator)
    return MinuteRows(minutes.rows_of, minutes.offsets, minutes.minute, *columns)


def _other_quotes(dataset: Dataset, row: int, at_ms: int, generator: np.random.Generator) -> QuoteRows:
    quotes = dataset.quotes
    if int(quotes.rows_of[row]) < 0:
        return quotes
    columns = [_writable(dataset, f"quote_{name}", getattr(quotes, _field(name))) for name in QUOTE]
    place, is_later = _later(quotes, dataset.sessions[row], row, at_ms)
    _alter(columns, place, is_later, generator)
    return QuoteRows(quotes.rows_of, quotes.offsets, quotes.minute, *columns)


def _later(rows: MinuteRows | QuoteRows, session: Session, row: int, at_ms: int) -> tuple[slice, Flags]:
    """The rows of a session, and which of them end after an instant."""
    number = int(rows.rows_of[row])
    place = slice(int(rows.offsets[number, 0]), int(rows.offsets[number, -1]))
    ends = (rows.minute[place].astype(np.int64) + 1) * MINUTE_MS + session.open_ms
    return place, ends > at_ms


def _field(name: str) -> str:
    """A column's name in the dataset's rows."""
    return name if name == "volume" or name.endswith("size") else f"{name}_e4"
