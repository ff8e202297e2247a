"""A part of a sweep: what a worker does, and all that it has to import."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from finagent.backtest.errors import BacktestError
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.engine import Played, play_many
from finagent.backtest.kernel.gathering import Tables
from finagent.backtest.source import Ints

TABLES = ("days", "rows", "lines", "bars", "sets", "equity", "numbers")


def play_sets(
    tables: Tables, sets: Ints, equity_e8: Sequence[int], numbers: Sequence[int], threads: int = 1
) -> Played:
    """Play sets; BacktestError by its number for one that the kernel cannot play to the end."""
    played = play_many(tables, sets, equity_e8, threads=threads)
    failed = np.flatnonzero(played.states[:, c.IS_BEYOND])
    if failed.size:
        number, state = numbers[int(failed[0])], played.states[int(failed[0])]
        is_beyond = state[c.IS_BEYOND] == c.BEYOND
        reason = (
            "grows beyond the kernel's integers"
            if is_beyond
            else "has an order or a halt that it does not play"
        )
        raise BacktestError(
            f"set {number}: its account {reason} in session {int(state[c.STOPPED]) + 1} of {len(tables.days)}",
            hint="run it alone: the reference plays it",
            code="undeclared",
        )
    return played


def play_part(folder: str, first: int, last: int) -> None:
    """Play the sets from first to last (excluded) of a group's folder into their own rows of the sweep's, which is the
    folder above; a worker's whole task.
    """
    (
        days,
        rows,
        lines,
        bars,
        sets,
        equity,
        numbers,
    ) = (  # "c": machine code for tables that are only read would be another
        np.asarray(np.load(Path(folder) / f"{name}.npy", mmap_mode="c")) for name in TABLES
    )
    played = play_sets(
        Tables(days, rows, lines, bars),
        sets[first:last],
        equity[first:last].tolist(),
        numbers[first:last].tolist(),
    )
    for name, values in (("gains", played.gains), ("tallies", played.tallies)):
        table = np.load(Path(folder).parent / f"{name}.npy", mmap_mode="r+")
        table[numbers[first:last]] = values
