"""Runs the kernel over tables: compiled on arrays, or as it is written on lists, with the same result.

To compile takes seconds, which only many sets are worth; what was compiled once is loaded in a moment.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.compiling import machine_code
from finagent.backtest.kernel.gathering import Tables
from finagent.backtest.kernel.minutes import play_minutes
from finagent.backtest.kernel.playing import play
from finagent.backtest.kernel.threads import parts_for, play_at_once
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
ROWS_A_THREAD = 500_000
"""So many candidates times sets are worth a thread."""
Functions = Mapping[int, Callable[..., None]]


def play_one(
    tables: Tables, chosen: Sequence[int], equity_e8: int, *, is_compiled: bool | None = None
) -> Played:
    """One set, with its plans, its fills, and counts by day; ``is_compiled`` None: as it pays."""
    plans = tables.room(chosen[c.TOP])
    fills = plans * c.FILLS_A_PLAN
    sets, _ = in_order(np.asarray([chosen], np.int64))
    machine = _machine(tables, 1, is_compiled)
    while True:
        gains = np.zeros((1, len(tables.days)), np.int64)
        found = _play(tables, sets, [equity_e8], gains, machine, (plans, fills))
        needed = int(found.states[0, c.FILLS_KEPT])
        if needed <= fills:
            return found
        fills = needed


def play_many(
    tables: Tables,
    sets: Ints,
    equity_e8: Sequence[int],
    *,
    threads: int = 1,
    is_compiled: bool | None = None,
) -> Played:
    """Any number of sets: gains of each day and counts of each set, no plans and no fills.

    Sets that choose alike are played one after the other, and among them those that differ only in their gap. As
    machine code so many ``threads`` play a part each; their number changes nothing but the time.
    """
    together, order = in_order(sets)
    own = [equity_e8[number] for number in order.tolist()]
    machine = _machine(tables, len(sets), is_compiled)
    gains = np.zeros((len(sets), len(tables.days)), np.int64)
    states = np.zeros((len(sets), c.STATE_WIDTH), np.int64)
    tallies = np.zeros((len(sets), c.TALLY_WIDTH), np.int64)

    def play_part(first: int, last: int) -> None:
        found = _play(tables, marked(together[first:last]), own[first:last], gains, machine)
        states[order[first:last]], tallies[order[first:last]] = found.states, found.tallies

    size = _size(tables, len(sets))
    count = min(threads, max(1, size // ROWS_A_THREAD)) if machine is not None else 1
    parts = parts_for(together, count) if machine is not None else [(0, len(sets))]
    play_at_once([partial(play_part, *part) for part in parts], count)
    states[:, c.FILLS_KEPT] = 0  # only how many were not shared
    return Played(states, gains, tallies, *_nothing_kept())


def in_order(sets: Ints) -> tuple[Ints, Ints]:
    """The sets in the order in which they are played, marked with what they share; and that order."""
    others = [column for column in c.SHARED if column not in c.CHOOSING]
    order = np.lexsort([sets[:, column] for column in (c.MIN_GAP, *others, *c.CHOOSING)])
    found = sets[order]
    found[:, c.PLACE] = order
    return marked(found), order


def marked(sets: Ints) -> Ints:
    """Sets in that order, with what each shares with those before it."""
    found = sets.copy()
    is_alike, is_kin = (
        np.append(False, (found[1:][:, columns] == found[:-1][:, columns]).all(1))[: len(found)]
        for columns in (c.CHOOSING, c.SHARED)
    )
    found[:, c.IS_ALIKE], found[:, c.IS_KIN] = is_alike, is_kin
    found[:, c.HAS_KIN] = is_kin | np.append(is_kin[1:], False)
    firsts = np.flatnonzero(~is_alike)
    group = np.cumsum(~is_alike) - 1
    gaps = found[:, c.MIN_GAP]
    least, most = np.minimum.reduceat(gaps, firsts)[group], np.maximum.reduceat(gaps, firsts)[group]
    found[:, c.LEAST_GAP], found[:, c.HAS_MORE_GAPS] = least, most > least
    return found


def _size(tables: Tables, sets: int) -> int:
    """How much there is to play."""
    return (len(tables.rows) + len(tables.bars) // BARS_A_ROW) * sets


def _machine(tables: Tables, sets: int, is_compiled: bool | None) -> Functions | None:
    """Machine code for the kinds of sessions that there are, by whether they are on minutes; None: as it is written."""
    size = _size(tables, sets)
    if not (size >= SOME_ROWS if is_compiled is None else is_compiled):
        return None
    is_made = size >= MANY_ROWS if is_compiled is None else True
    kinds = set(tables.days[:, c.IS_ON_MINUTES].tolist())
    found = {kind: machine_code(_written()[kind], TABLES[kind], is_made=is_made) for kind in kinds}
    made = {kind: code for kind, code in found.items() if code is not None}
    return made if len(made) == len(kinds) else None


def _written() -> Functions:
    return {0: play, 1: play_minutes}


def _nothing_kept() -> tuple[Ints, Ints]:
    return np.empty((0, c.KEPT_WIDTH), np.int64), np.empty((0, c.FILL_WIDTH), np.int64)


def _play(
    tables: Tables,
    sets: Ints,
    equity_e8: Sequence[int],
    gains: Ints,
    machine: Functions | None,
    room: tuple[int, int] | None = None,
) -> Played:
    """Play sets into their places of ``gains``; with ``room`` for plans and fills one set, with counts by day."""
    days, rows = tables.days, tables.rows
    states = np.zeros((len(sets), c.STATE_WIDTH), np.int64)
    states[:, c.EQUITY] = equity_e8
    on_minutes = sets.copy()
    on_minutes[:, c.SIZING_SLIPPAGE] = sets[:, c.MINUTE_SIZING]
    plans, fills = room or (0, 0)
    given: tuple[Ints, ...] = (
        days,
        rows,
        tables.lines,
        tables.bars,
        sets,
        on_minutes,
        states,
        gains,
        np.zeros((len(sets) if room is None else len(days), c.TALLY_WIDTH), np.int64),
        np.zeros((int(sets[:, c.TOP].max(initial=0)) * tables.most_plans + 1, c.PLAN_WIDTH), np.int64),
        np.zeros((tables.most_daily + 1, c.DAILY_PLAN_WIDTH), np.int64),
        np.zeros((tables.most_candidates + 1, 3), np.int64),
        np.zeros((c.RANK_ROWS, max(tables.most_daily, tables.most_candidates) + 1), np.int64),
        np.empty((plans, c.KEPT_WIDTH), np.int64),  # each row that is kept is written whole
        np.empty((fills, c.FILL_WIDTH), np.int64),
    )
    if machine is not None:
        _call(machine, given, days, is_by_day=room is not None)
        done = given
    else:
        lists = tuple(table.tolist() for table in given)
        _call(_written(), lists, days, is_by_day=room is not None)
        done = tuple(
            np.asarray(each, np.int64).reshape(table.shape) for each, table in zip(lists, given, strict=True)
        )
        gains[:] = done[7]
    states, tallies, kept_plans, kept_fills = done[6], done[8], done[13], done[14]
    kept, filled = int(states[0, c.PLANS_KEPT]), int(states[0, c.FILLS_KEPT])
    return Played(states, gains, tallies, kept_plans[:kept], kept_fills[:filled])


def _call(functions: Functions, given: Sequence[Any], kinds: Ints, *, is_by_day: bool) -> None:
    """Play all sessions, stretch by stretch."""
    (
        days, rows, lines, bars, sets, on_minutes, states, gains, tallies, plans, daily_plans, looks, ranks, kept,
        fills,
    ) = given  # fmt: skip
    for first, last, is_on_minutes in _stretches(kinds):
        if is_on_minutes:
            functions[1](
                first, last, days, rows, lines, bars, on_minutes, states, gains, tallies, plans, looks, ranks,
                kept, fills, is_by_day,
            )  # fmt: skip
        else:
            functions[0](
                first, last, days, rows, bars, sets, states, gains, tallies, daily_plans, ranks, kept, fills,
                is_by_day,
            )  # fmt: skip


def _stretches(days: Ints) -> Iterator[tuple[int, int, bool]]:
    """Sessions of one kind that follow each other: first, last (excluded), and whether they are played on minutes."""
    kinds = days[:, c.IS_ON_MINUTES]
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    for first, last in pairwise(edges):
        if first < last:
            yield first, last, bool(kinds[first])
