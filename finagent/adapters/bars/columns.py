"""The bar store in bulk: whole files as columns, for what is built from all of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finagent.adapters.bars.files import bars_dir, read_manifest
from finagent.adapters.bars.tables import Ints, load_daily, load_minutes, load_quotes
from finagent.adapters.bars.tables import SymbolTable as _Table


class Columns(NamedTuple):
    """One file: ``codes`` number ``symbols``; ``time`` is days since 1970 or the start in ms UTC."""

    name: str
    symbols: tuple[str, ...]
    codes: Ints
    time: Ints
    values: tuple[Ints, ...]
    """Open, high, low, close, volume; of quotes bid, ask and their sizes."""


class StoredColumns:
    """The files of the store under a home, each read once and not kept."""

    def __init__(self, home: Path) -> None:
        self._root = bars_dir(home)
        self._manifest = read_manifest(self._root)

    def daily(self) -> Iterator[Columns]:
        """Daily bars by year."""
        for name in self._manifest.of_kind("daily"):
            yield _columns(Path(name).stem, load_daily(self._root / name))

    def minutes(self) -> Iterator[Columns]:
        """Minute bars by session."""
        for name in self._manifest.of_kind("minute"):
            yield _columns(Path(name).stem, load_minutes(self._root / name))

    def quotes(self) -> Iterator[Columns]:
        """Quotes by session."""
        for name in self._manifest.of_kind("quotes"):
            yield _columns(Path(name).stem, load_quotes(self._root / name))


def _columns(name: str, table: _Table) -> Columns:
    """The table is sorted by symbol, so each symbol's rows are its span."""
    lengths = [end - start for start, end in table.spans.values()]
    codes = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    return Columns(name, tuple(table.spans), codes, table.time, table.columns)
