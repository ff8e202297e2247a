"""One measurement of the program in a process of its own: `python -m benchmarks.backtest.child NAME SIZE HOME WORKS`.

The last line is a JSON document; trades are left beside the work, as every contestant leaves them.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.backtest.rules import lines, parameters
from benchmarks.backtest.sizes import SIZES, Size
from benchmarks.backtest.work import E4, write_daily, write_minutes
from finagent.backtest.candidates import find_or_build_month
from finagent.backtest.dataset import Dataset, open_dataset
from finagent.backtest.kernel import engine
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.domain.money import SHARE_E4

T = TypeVar("T")
Document = dict[str, object]
Seconds = dict[str, float]
WORKERS = 2


class MeasuredWrongError(Exception):
    """A measured run did not end as it must."""


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Its seconds and what it gave."""
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def opened(home: Path) -> Dataset:
    """The one dataset of the home."""
    (path,) = [each for each in (home / "datasets").iterdir() if not each.name.startswith(".")]
    return open_dataset(path)


def prepare(size: Size, home: Path, works: Path) -> Document:
    """The dataset, the candidate index and the arrays of each work, each timed."""
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.backtests import DATASETS
    from finagent.bootstrap.stored import StoredMarket

    calendar = load_calendar(home)
    built, dataset = timed(lambda: find_or_build(StoredMarket(home), calendar, home / DATASETS))
    sessions = dataset.between(*size.daily)
    months, rules = sorted({session.date[:7] for session in sessions}), parameters(size.daily_rule)
    indexed, _ = timed(lambda: [find_or_build_month(dataset, rules, month) for month in months])
    write_daily(works / "daily", dataset, sessions, size.daily_rule, size.sets)
    write_daily(works / "quarter", dataset, dataset.between(*size.quarter), size.daily_rule)
    write_minutes(works / "minutes", dataset, dataset.between(*size.minutes), size.minute_rule)
    bars = int((np.asarray(dataset.daily.volume) >= 0).sum())
    return {"dataset_build_s": built, "index_build_s": indexed, "daily_bars": bars}


def daily(size: Size, home: Path, works: Path) -> Document:
    """One set over all sessions: a whole run with its trades, the kernel alone on that run's tables, the bars read."""
    dataset, rules = opened(home), parameters(size.daily_rule)
    sessions = dataset.between(*size.daily)
    ran, asked, result = spied(
        lambda: run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.KERNEL)
    )
    read = [timed(lambda: read_bars(dataset))[0] for _ in range(size.passes)]
    seconds = {"run": ran, "kernel": kernel_s(asked, size), "read": min(read)}
    return {"seconds": seconds, **kept(works / "daily", dataset, result)}


Asked = list[tuple[object, ...]]


def spied(call: Callable[[], Result]) -> tuple[float, Asked, Result]:
    """A run's seconds, what it asked of the kernel, and its result."""
    asked: Asked = []
    real = engine.play_one

    def spy(*given: Any) -> Any:
        asked.append(given)
        return real(*given)

    engine.play_one = spy  # type: ignore[assignment]  # this process measures nothing else
    try:
        seconds, result = timed(call)
    finally:
        engine.play_one = real
    return seconds, asked, result


def kernel_s(asked: Asked, size: Size) -> float:
    """Least seconds of the kernel alone for all that a run asked of it, compiled and loaded before."""
    play: Callable[..., object] = engine.play_one

    def again() -> None:
        for given in asked:
            play(*given, is_compiled=size.is_compiled)

    again()
    return min(timed(again)[0] for _ in range(size.passes))


def read_bars(dataset: Dataset) -> int:
    """Every price and volume of the daily bars, once: what no engine that reads them all can go below."""
    bars = dataset.daily
    columns = (bars.open_e4, bars.high_e4, bars.low_e4, bars.close_e4, bars.volume)
    return sum(int(np.asarray(column).sum()) for column in columns)


def quarter(size: Size, home: Path, works: Path) -> Document:
    """The reference with its full ledger, on daily bars."""
    dataset, rules = opened(home), parameters(size.daily_rule)
    sessions = dataset.between(*size.quarter)

    def run() -> Result:
        return run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.REFERENCE)

    found = [timed(run) for _ in range(1 if size.passes == 1 else 2)]
    seconds = {"run": min(each for each, _ in found)}
    return {"seconds": seconds, **kept(works / "quarter", dataset, found[-1][1])}


def minutes(size: Size, home: Path, works: Path) -> Document:
    """Minute bars by the kernel where it plays them, that alone too, and by the reference; ``engine`` says who ran."""
    dataset, rules = opened(home), parameters(size.minute_rule)
    sessions = dataset.between(*size.minutes)

    def run(engine: Engine) -> Result:
        return run_backtest(dataset, rules, lines, sessions, bars=Bars.MINUTE, engine=engine)

    seconds, asked, result = spied(lambda: run(Engine.KERNEL))
    told = {"run": seconds, "reference": seconds}
    if result.engine is Engine.KERNEL:  # the first run read the indexes
        by_kernel, _ = timed(lambda: run(Engine.KERNEL))
        by_reference, _ = timed(lambda: run(Engine.REFERENCE))
        told = {"run": by_kernel, "reference": by_reference, "kernel": kernel_s(asked, size)}
    return {"seconds": told, "engine": result.engine.value, **kept(works / "minutes", dataset, result)}


def sweep(size: Size, home: Path, works: Path) -> Document:
    """All sets over all sessions by one thread and by all; and so many more, as of a large optimisation, by one thread,
    by two, and by two workers.
    """
    from finagent.backtest.kernel.threads import default_threads
    from finagent.backtest.sweeping import sweep as play_sets

    dataset = opened(home)
    sessions = dataset.between(*size.daily)
    sets, many = (
        [
            parameters(replace(size.daily_rule, gap=gap, stop=stop, target_r=target))
            for gap, stop, target in own
        ]
        for own in (size.sets, size.many_sets)
    )
    play_sets(dataset, sets[:1], lines, sessions)  # the machine code is loaded once a process
    seconds, one = timed(lambda: play_sets(dataset, sets, lines, sessions, threads=1))
    at_once, by_all = timed(lambda: play_sets(dataset, sets, lines, sessions))
    several = {"many_by_one": (1, 1), "many_by_threads": (WORKERS, 1), "many_by_two": (1, WORKERS)}
    told = {
        name: timed(
            lambda own=own: (
                play_sets(dataset, many, lines, sessions, threads=own[0], workers=own[1]).sweep_hash
            )
        )
        for name, own in several.items()
    }
    hashes = {one.sweep_hash, by_all.sweep_hash}, {found for _, found in told.values()}
    if any(len(each) > 1 for each in hashes):
        raise MeasuredWrongError(f"threads and workers came to other gains than one: {hashes}")
    table = np.stack([one.trades, one.gains_e8.sum(1) // E4], 1)
    np.save(works / "daily" / "of_finagent_sets.npy", table)
    return {
        "seconds": {"one": seconds, "all": at_once, **{name: each for name, (each, _) in told.items()}},
        "sets": len(sets),
        "many_sets": len(many),
        "threads": default_threads(),
        "trades": int(one.trades.sum()),
    }


def alone(size: Size, home: Path, works: Path) -> Document:
    """Sets that the kernel leaves to the reference (slippage by the bar's range), each by itself: here, and by two
    workers with their start.
    """
    from finagent.backtest.search.playing import Player

    dataset, rules = opened(home), parameters(size.daily_rule)
    sessions = dataset.between(*size.quarter)
    sets = [
        replace(rules, costs=replace(rules.costs, slippage_range_e6=1_000 * (number + 1)))
        for number in range(size.sets_alone)
    ]

    def played(workers: int) -> list[list[int]]:
        player = Player(dataset, lines, Bars.DAILY, workers=workers)
        try:
            return [each.gains_e8.tolist() for each in player.play(sets, sessions)]
        finally:
            player.close()

    played(1)
    by_one, here = timed(lambda: played(1))
    by_two, there = timed(lambda: played(WORKERS))
    if here != there:
        raise MeasuredWrongError("two workers came to other gains than none")
    return {"seconds": {"by_one": by_one, "by_two": by_two}, "sets": len(sets)}


def first(size: Size, home: Path, works: Path) -> Document:
    """A first result, from nothing loaded: what one set gained over all sessions, by machine code from the cache."""
    from finagent.backtest.sweeping import sweep as play_sets

    if size.is_compiled:
        engine.MANY_ROWS = 0
    dataset, rules = opened(home), parameters(size.daily_rule)
    found = play_sets(dataset, [rules], lines, dataset.between(*size.daily))
    return {"gained_e8": int(found.gains_e8.sum())}


def kept(work: Path, dataset: Dataset, result: Result) -> Document:
    """Leave the trades of a run beside its work; gives how many, and how many were ambiguous."""
    if result.failure is not None:
        raise MeasuredWrongError(f"session {result.failure.session}: {result.failure.error}")
    symbols = json.loads((work / "work.json").read_text())["symbols"]
    places = {session.date: place for place, session in enumerate(result.sessions)}
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    table = [
        [
            places[trade.session], numbers[trade.symbol], trade.quantity_e4 // SHARE_E4,
            trade.entry_price_e4, trade.exit_price_e4, trade.pnl_e8 // E4,
        ]
        for trade in result.ledger.trades
    ]  # fmt: skip
    np.save(work / "of_finagent.npy", np.asarray(table, np.int64).reshape(-1, 6))
    return {"trades": len(table), "ambiguous": sum(trade.is_ambiguous for trade in result.ledger.trades)}


KINDS: dict[str, Callable[[Size, Path, Path], Document]] = {
    "prepare": prepare,
    "daily": daily,
    "quarter": quarter,
    "minutes": minutes,
    "sweep": sweep,
    "alone": alone,
    "first": first,
}

if __name__ == "__main__":
    name, size_name, home_name, works_name = sys.argv[1:]
    print(json.dumps(KINDS[name](SIZES[size_name], Path(home_name), Path(works_name))))
