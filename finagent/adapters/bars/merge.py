"""Merges checked rows into what the store holds: the stored row wins, a real difference is a conflict."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from finagent.adapters.bars import kinds
from finagent.adapters.bars.source import Flags, Ints

PRICE_TOLERANCE_E4 = 50
PRICE_TOLERANCE = 1e-4
VOLUME_TOLERANCE = 100
VOLUME_TOLERANCE_RATIO = 0.01
"""Rounding between vendors: half a cent or 1e-4 of a price, 100 shares or 1 % of a volume."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows of a kind are told apart, compared and sorted."""

    key: tuple[str, ...]
    order: tuple[str, ...]
    prices: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


_OHLC_E4 = tuple(f"{name}_e4" for name in kinds.OHLC)
_TEXT = Shape(("symbol", "published_ms", "text"), ("symbol", "published_ms", "text"))
SHAPES = {
    kinds.DAILY: Shape(("symbol", "date"), ("symbol", "date"), _OHLC_E4, ("volume",)),
    kinds.MINUTE: Shape(("symbol", "start_ms"), ("symbol", "start_ms"), _OHLC_E4, ("volume",)),
    kinds.QUOTES: Shape(
        ("symbol", "start_ms"),
        ("symbol", "start_ms"),
        tuple(f"{name}_e4" for name in kinds.BID_ASK),
        ("bid_size", "ask_size"),
    ),
    kinds.ACTIONS: Shape(
        ("symbol", "ex_date", "dividend_e4", "split_ratio_e6"),
        ("symbol", "ex_date", "dividend_e4", "split_ratio_e6"),
    ),
    kinds.EARNINGS: Shape(("symbol", "date"), ("symbol", "date")),
    kinds.HEADLINES: _TEXT,
    kinds.TWEETS: _TEXT,
}


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The partition afterwards; per incoming row whether it was taken and which conflict it has."""

    table: pa.Table
    is_taken: Flags
    conflicts: dict[str, Flags]

    @property
    def taken(self) -> int:
        """How many incoming rows were taken."""
        return int(self.is_taken.sum())


def merge(kind: str, stored: pa.Table | None, incoming: pa.Table) -> Merged:
    """Add the incoming rows whose key is not there yet; the first of equal keys wins."""
    shape = SHAPES[kind]
    incoming = incoming.combine_chunks()
    base = stored.num_rows if stored is not None else 0
    table = pa.concat_tables([stored, incoming]).combine_chunks() if stored is not None else incoming
    codes = row_codes([table[name] for name in shape.key])
    _, first_row, group = np.unique(codes, return_index=True, return_inverse=True)
    winner = first_row[group]
    is_first = winner == np.arange(len(codes))
    conflicts: dict[str, Flags] = {}
    if kind == kinds.ACTIONS and base:
        clash = _on_stored_day(table, base) & is_first[base:]
        is_first[base:] &= ~clash
        conflicts["conflict"] = clash
    else:
        conflicts["conflict"] = _differs(
            table, winner, base, shape.prices, PRICE_TOLERANCE_E4, PRICE_TOLERANCE
        )
        volume = _differs(table, winner, base, shape.volumes, VOLUME_TOLERANCE, VOLUME_TOLERANCE_RATIO)
        conflicts["volume_conflict"] = volume
    merged = table if is_first.all() else table.filter(pa.array(is_first))
    if is_first[base:].any():
        merged = merged.take(pa.array(sorted_rows([merged[name] for name in shape.order])))
    return Merged(merged, is_first[base:], conflicts)


def row_codes(columns: list[pa.ChunkedArray]) -> Ints:
    """One dense integer per distinct combination of the columns' values."""
    codes = _dense(columns[0])
    for column in columns[1:]:
        more = _dense(column)
        codes = codes * (int(more.max(initial=0)) + 1) + more
        if int(codes.max(initial=0)) > 1 << 40:
            codes = _dense(pa.chunked_array([pa.array(codes)]))
    return codes


def sorted_rows(columns: list[pa.ChunkedArray]) -> Ints:
    """Row numbers in the order of the columns, the first column first."""
    return np.asarray(np.lexsort([_ranks(column) for column in reversed(columns)]), np.int64)


def _dense(column: pa.ChunkedArray) -> Ints:
    encoded = pc.dictionary_encode(column).combine_chunks()
    return np.asarray(_one(encoded).indices.to_numpy(), np.int64)


def _ranks(column: pa.ChunkedArray) -> Ints:
    if not pa.types.is_string(column.type):
        days_or_numbers = pc.cast(column, pa.int32()) if pa.types.is_date(column.type) else column
        return np.asarray(days_or_numbers.to_numpy(), np.int64)
    encoded = _one(pc.dictionary_encode(column).combine_chunks())
    order = np.asarray(pc.sort_indices(encoded.dictionary).to_numpy(), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[np.asarray(encoded.indices.to_numpy(), np.int64)], np.int64)


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def _differs(
    table: pa.Table, winner: Ints, base: int, names: tuple[str, ...], least: int, ratio: float
) -> Flags:
    """Per incoming row whether any column is further from the winner's than rounding explains."""
    other = winner[base:]
    differs = np.zeros(len(other), np.bool_)
    rows = np.flatnonzero(other != np.arange(base, len(winner)))
    for name in names:
        values = np.asarray(table[name].to_numpy(), np.int64)
        mine, theirs = values[base + rows], values[other[rows]]
        differs[rows] |= np.abs(mine - theirs) > np.maximum(least, np.abs(theirs) * ratio)
    return differs


def _on_stored_day(table: pa.Table, base: int) -> npt.NDArray[np.bool_]:
    """Per incoming action whether the store already had one of that symbol and day."""
    codes = row_codes([table["symbol"], table["ex_date"]])
    return np.asarray(np.isin(codes[base:], codes[:base]), np.bool_)
