"""Runs the kernel over tables: compiled on arrays, or as it is written on lists, with the same result.

Loading numba takes longer than one set over thirteen years takes as it is written: machine code is for many sets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.compiling import machine_code
from finagent.backtest.kernel.playing import play
from finagent.backtest.source import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What sets came to: each set's state and gain of each day, counts by day (of one set) or by set, and what is
    kept of plans and fills (of one set).
    """

    states: Ints
    gains: Ints
    tallies: Ints
    kept: Ints
    fills: Ints


MANY_ROWS = 1_000_000
"""From so many candidates times sets on, machine code is worth its loading."""


def play_one(
    days: Ints, rows: Ints, chosen: Sequence[int], equity_e8: int, *, is_compiled: bool | None = None
) -> Played:
    """One set, with its plans, its fills, and counts by day; ``is_compiled`` None: as it pays."""
    plans = int(np.minimum(days[:, c.LAST] - days[:, c.FIRST], chosen[c.TOP]).sum())
    sets = np.asarray([chosen], np.int64)
    return _play(days, rows, sets, [equity_e8], plans, is_by_day=True, is_compiled=is_compiled)


def play_many(
    days: Ints, rows: Ints, sets: Ints, equity_e8: Sequence[int], *, is_compiled: bool | None = None
) -> Played:
    """Any number of sets: gains of each day and counts of each set, no plans and no fills."""
    return _play(days, rows, sets, equity_e8, 0, is_by_day=False, is_compiled=is_compiled)


def _play(
    days: Ints,
    rows: Ints,
    sets: Ints,
    equity_e8: Sequence[int],
    plans: int,
    *,
    is_by_day: bool,
    is_compiled: bool | None,
) -> Played:
    states = np.zeros((len(sets), c.STATE_WIDTH), np.int64)
    states[:, c.EQUITY] = equity_e8
    tables = (
        days,
        rows,
        sets,
        states,
        np.zeros((len(sets), len(days)), np.int64),
        np.zeros((len(days) if is_by_day else len(sets), c.TALLY_WIDTH), np.int64),
        np.zeros((int(sets[:, c.TOP].max(initial=0)) + 1, c.PLAN_WIDTH), np.int64),
        np.zeros((plans, c.KEPT_WIDTH), np.int64),
        np.zeros((plans * c.FILLS_A_PLAN, c.FILL_WIDTH), np.int64),
    )
    if is_compiled is None:
        is_compiled = len(rows) * len(sets) >= MANY_ROWS
    done = _called(tables, is_by_day, machine_code(play) if is_compiled else None)
    states, gains, tallies, kept, fills = done[3], done[4], done[5], done[7], done[8]
    return Played(
        states, gains, tallies, kept[: int(states[0, c.PLANS_KEPT])], fills[: int(states[0, c.FILLS_KEPT])]
    )


def _called(
    tables: tuple[Ints, ...], is_by_day: bool, machine: Callable[..., None] | None
) -> tuple[Ints, ...]:
    if machine is not None:
        machine(*tables, is_by_day)
        return tables
    written: Callable[..., None] = play
    lists = [table.tolist() for table in tables]
    written(*lists, is_by_day)
    return tuple(
        np.asarray(rows, np.int64).reshape(table.shape) for rows, table in zip(lists, tables, strict=True)
    )
