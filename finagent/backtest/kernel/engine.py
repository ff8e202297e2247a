"""Runs the kernel over tables: compiled on arrays, or as it is written on lists, with the same result.

To compile takes seconds, which only many sets are worth; what was compiled once is loaded in a moment.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.compiling import machine_code
from finagent.backtest.kernel.gathering import Tables
from finagent.backtest.kernel.minutes import play_minutes
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


TABLES = (11, 13)
"""How many the functions for daily bars and for minutes take."""
SOME_ROWS, MANY_ROWS = 5_000, 1_000_000
"""From so many candidates times sets on, machine code is worth its loading, and its making."""
BARS_A_ROW = 20
"""So many minute bars take as long as a candidate."""


def play_one(
    tables: Tables, chosen: Sequence[int], equity_e8: int, *, is_compiled: bool | None = None
) -> Played:
    """One set, with its plans, its fills, and counts by day; ``is_compiled`` None: as it pays."""
    plans = tables.room(chosen[c.TOP])
    fills = plans * c.FILLS_A_PLAN
    while True:
        sets, _ = in_order(np.asarray([chosen], np.int64))
        found = _play(tables, sets, [equity_e8], (plans, fills), is_by_day=True, is_compiled=is_compiled)
        needed = int(found.states[0, c.FILLS_KEPT])
        if needed <= fills:
            return found
        fills = needed


def play_many(
    tables: Tables, sets: Ints, equity_e8: Sequence[int], *, is_compiled: bool | None = None
) -> Played:
    """Any number of sets: gains of each day and counts of each set, no plans and no fills.

    Sets that choose alike are played one after the other, and among them those that differ only in their gap.
    """
    together, order = in_order(sets)
    own = [equity_e8[number] for number in order.tolist()]
    found = _play(tables, together, own, (0, 0), is_by_day=False, is_compiled=is_compiled)
    if (order[1:] > order[:-1]).all():
        return found
    back = np.argsort(order)
    return replace(found, states=found.states[back], gains=found.gains[back], tallies=found.tallies[back])


def in_order(sets: Ints) -> tuple[Ints, Ints]:
    """The sets in the order in which they are played, marked with what they share; and that order."""
    others = [column for column in c.SHARED if column not in c.CHOOSING]
    order = np.lexsort([sets[:, column] for column in (c.MIN_GAP, *others, *c.CHOOSING)])
    found = sets[order]
    is_alike, is_kin = (
        np.append(False, (found[1:][:, columns] == found[:-1][:, columns]).all(1))[: len(found)]
        for columns in (c.CHOOSING, c.SHARED)
    )
    found[:, c.IS_ALIKE], found[:, c.IS_KIN] = is_alike, is_kin
    firsts = np.flatnonzero(~is_alike)
    group = np.cumsum(~is_alike) - 1
    gaps = found[:, c.MIN_GAP]
    least, most = np.minimum.reduceat(gaps, firsts)[group], np.maximum.reduceat(gaps, firsts)[group]
    found[:, c.LEAST_GAP], found[:, c.HAS_MORE_GAPS] = least, most > least
    return found, order


def _play(
    tables: Tables,
    sets: Ints,
    equity_e8: Sequence[int],
    room: tuple[int, int],
    *,
    is_by_day: bool,
    is_compiled: bool | None,
) -> Played:
    days, rows = tables.days, tables.rows
    states = np.zeros((len(sets), c.STATE_WIDTH), np.int64)
    states[:, c.EQUITY] = equity_e8
    on_minutes = sets.copy()
    on_minutes[:, c.SIZING_SLIPPAGE] = sets[:, c.MINUTE_SIZING]
    given = (
        days,
        rows,
        tables.lines,
        tables.bars,
        sets,
        on_minutes,
        states,
        np.zeros((len(sets), len(days)), np.int64),
        np.zeros((len(days) if is_by_day else len(sets), c.TALLY_WIDTH), np.int64),
        np.zeros((int(sets[:, c.TOP].max(initial=0)) * tables.most_plans + 1, c.PLAN_WIDTH), np.int64),
        np.zeros((tables.most_daily + 1, c.DAILY_PLAN_WIDTH), np.int64),
        np.zeros((tables.most_candidates + 1, 3), np.int64),
        np.zeros((c.RANK_ROWS, max(tables.most_daily, tables.most_candidates) + 1), np.int64),
        np.empty((room[0], c.KEPT_WIDTH), np.int64),  # each row that is kept is written whole
        np.empty((room[1], c.FILL_WIDTH), np.int64),
    )
    size = (len(rows) + len(tables.bars) // BARS_A_ROW) * len(sets)
    is_loaded = size >= SOME_ROWS if is_compiled is None else is_compiled
    is_made = size >= MANY_ROWS if is_compiled is None else is_compiled
    done = _called(given, is_by_day, is_loaded, is_made)
    states, gains, tallies, kept, fills = done[6], done[7], done[8], done[13], done[14]
    return Played(
        states, gains, tallies, kept[: int(states[0, c.PLANS_KEPT])], fills[: int(states[0, c.FILLS_KEPT])]
    )


def _called(given: tuple[Ints, ...], is_by_day: bool, is_loaded: bool, is_made: bool) -> tuple[Ints, ...]:
    kinds = set(given[0][:, c.IS_ON_MINUTES].tolist())
    functions: dict[int, Callable[..., None]] = {0: play, 1: play_minutes}
    if is_loaded:
        found = {kind: machine_code(functions[kind], TABLES[kind], is_made=is_made) for kind in kinds}
        made = {kind: code for kind, code in found.items() if code is not None}
        functions = made if len(made) == len(kinds) else functions
    is_machine = functions.get(0) is not play and functions.get(1) is not play_minutes
    tables = given if is_machine else tuple(table.tolist() for table in given)
    (
        days, rows, lines, bars, sets, on_minutes, states, gains, tallies, plans, daily_plans, looks, ranks, kept,
        fills,
    ) = tables  # fmt: skip
    for first, last, is_on_minutes in _stretches(given[0]):
        if is_on_minutes:
            functions[1](
                first, last, days, rows, lines, bars, on_minutes, states, gains, tallies, plans, looks, ranks,
                kept, fills, is_by_day,
            )  # fmt: skip
        else:
            functions[0](
                first,
                last,
                days,
                rows,
                bars,
                sets,
                states,
                gains,
                tallies,
                daily_plans,
                ranks,
                kept,
                fills,
                is_by_day,
            )
    if is_machine:
        return given
    return tuple(
        np.asarray(rows, np.int64).reshape(table.shape) for rows, table in zip(tables, given, strict=True)
    )


def _stretches(days: Ints) -> Iterator[tuple[int, int, bool]]:
    """Sessions of one kind that follow each other: first, last (excluded), and whether they are played on minutes."""
    kinds = days[:, c.IS_ON_MINUTES]
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    for first, last in pairwise(edges):
        if first < last:
            yield first, last, bool(kinds[first])
