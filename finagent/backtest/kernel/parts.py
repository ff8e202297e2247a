"""A part of a sweep: what a worker does, and all that it has to import."""

from pathlib import Path

import numpy as np

from finagent.backtest.errors import BacktestError
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.engine import play_many

TABLES = ("days", "rows", "sets", "equity")


def play_part(folder: str, first: int, last: int) -> None:
    """Play the sets from first to last (excluded) of a sweep's folder into their own rows; a worker's whole task."""
    days, rows, sets, equity = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in TABLES)
    played = play_many(
        np.asarray(days), np.asarray(rows), np.asarray(sets[first:last]), equity[first:last].tolist()
    )
    failed = np.flatnonzero(played.states[:, c.IS_BEYOND])
    if failed.size:
        raise BacktestError(
            f"set {first + int(failed[0])}: its account grows beyond the kernel's integers",
            hint="run it alone: the reference plays it",
            code="undeclared",
        )
    for name, values in (("gains", played.gains), ("tallies", played.tallies)):
        table = np.load(Path(folder) / f"{name}.npy", mmap_mode="r+")
        table[first:last] = values
        table.flush()
