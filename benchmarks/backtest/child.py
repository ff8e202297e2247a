"""One measurement of the program in a process of its own: `python -m benchmarks.backtest.child NAME SIZE HOME WORKS`.

The last line is a JSON document; trades are left beside the work, as every contestant leaves them.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.backtest.rules import lines, parameters
from benchmarks.backtest.sizes import SIZES, Size
from benchmarks.backtest.work import E4, Ints, write_daily, write_minutes
from finagent.backtest.candidates import CandidateMonth, find_or_build_month
from finagent.backtest.dataset import Dataset, open_dataset
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.domain.market import Session
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


def months_of(dataset: Dataset, rules: Parameters, sessions: Sequence[Session]) -> dict[str, CandidateMonth]:
    """The candidate index of the sessions, built where it is missing."""
    dates = sorted({session.date[:7] for session in sessions})
    return {month: find_or_build_month(dataset, rules, month) for month in dates}


def prepare(size: Size, home: Path, works: Path) -> Document:
    """The dataset, the candidate index and the arrays of each work, each timed."""
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.backtests import DATASETS
    from finagent.bootstrap.stored import StoredMarket

    calendar = load_calendar(home)
    built, dataset = timed(lambda: find_or_build(StoredMarket(home), calendar, home / DATASETS))
    sessions = dataset.between(*size.daily)
    indexed, _ = timed(lambda: months_of(dataset, parameters(size.daily_rule), sessions))
    write_daily(works / "daily", dataset, sessions, size.daily_rule, size.sets)
    write_daily(works / "quarter", dataset, dataset.between(*size.quarter), size.daily_rule)
    write_minutes(works / "minutes", dataset, dataset.between(*size.minutes), size.minute_rule)
    bars = int((np.asarray(dataset.daily.volume) >= 0).sum())
    return {"dataset_build_s": built, "index_build_s": indexed, "daily_bars": bars}


def daily(size: Size, home: Path, works: Path) -> Document:
    """One set over all sessions: reading the bars, the tables, the kernel on them, and a whole run with its trades."""
    from finagent.backtest.kernel.engine import play_one
    from finagent.backtest.kernel.tables import candidate_rows, day_rows, set_row

    dataset, rules = opened(home), parameters(size.daily_rule)
    sessions = dataset.between(*size.daily)
    months = months_of(dataset, rules, sessions)
    chosen, equity_e8 = set_row(rules), rules.start_equity_e8
    best: dict[str, list[float]] = {}

    def tables() -> tuple[Ints, Ints]:
        rows, edges = candidate_rows(dataset, months, sessions, rules)
        return day_rows(dataset, sessions, edges, lines, {}), rows

    days, rows = tables()
    play_one(days, rows, chosen, equity_e8, is_compiled=size.is_compiled)
    for _ in range(size.passes):
        found = {
            "tables": timed(tables)[0],
            "kernel": timed(lambda: play_one(days, rows, chosen, equity_e8, is_compiled=size.is_compiled))[0],
            "read": timed(lambda: read_bars(dataset))[0],
        }
        for name, value in found.items():
            best.setdefault(name, []).append(value)
    ran, result = timed(
        lambda: run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.KERNEL)
    )
    told = {name: min(values) for name, values in best.items()}
    return {
        "seconds": {**told, "run": ran},
        "candidates": len(rows),
        **kept(works / "daily", dataset, result),
    }


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
    """Minute bars by the kernel where it plays them, and by the reference; the document says who was `run`."""
    dataset, rules = opened(home), parameters(size.minute_rule)
    sessions = dataset.between(*size.minutes)

    def run(engine: Engine) -> Result:
        return run_backtest(dataset, rules, lines, sessions, bars=Bars.MINUTE, engine=engine)

    seconds, result = timed(lambda: run(Engine.KERNEL))
    told = {"run": seconds, "reference": seconds}
    if result.engine is Engine.KERNEL:  # the first run read indexes and code
        told = {
            "run": timed(lambda: run(Engine.KERNEL))[0],
            "reference": timed(lambda: run(Engine.REFERENCE))[0],
        }
    return {"seconds": told, "engine": result.engine.value, **kept(works / "minutes", dataset, result)}


def sweep(size: Size, home: Path, works: Path) -> Document:
    """All sets over all sessions, by one process and by two; and the kernel alone, by the trade."""
    from finagent.backtest.sweeping import sweep as play_sets

    dataset = opened(home)
    sessions = dataset.between(*size.daily)
    sets = [
        parameters(replace(size.daily_rule, gap=gap, stop=stop, target_r=target))
        for gap, stop, target in size.sets
    ]
    alone, one = timed(lambda: play_sets(dataset, sets, lines, sessions, workers=1))
    shared, two = timed(lambda: play_sets(dataset, sets, lines, sessions, workers=WORKERS))
    if one.sweep_hash != two.sweep_hash:
        raise MeasuredWrongError(f"{WORKERS} workers came to {two.sweep_hash}, one to {one.sweep_hash}")
    table = np.stack([one.trades, one.gains_e8.sum(1) // E4], 1)
    np.save(works / "daily" / "of_finagent_sets.npy", table)
    trades = int(one.trades.sum())
    return {"seconds": {"one": alone, "two": shared}, "sets": len(sets), "trades": trades}


def first(size: Size, home: Path, works: Path) -> Document:
    """A first result, from nothing loaded: one set over all sessions by the kernel as it plays one."""
    from finagent.backtest.kernel.engine import play_one
    from finagent.backtest.kernel.tables import candidate_rows, day_rows, set_row

    dataset, rules = opened(home), parameters(size.daily_rule)
    sessions = dataset.between(*size.daily)
    rows, edges = candidate_rows(dataset, months_of(dataset, rules, sessions), sessions, rules)
    days = day_rows(dataset, sessions, edges, lines, {})
    played = play_one(days, rows, set_row(rules), rules.start_equity_e8, is_compiled=size.is_compiled)
    return {"gained_e8": int(played.gains.sum())}


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
    "first": first,
}

if __name__ == "__main__":
    name, size_name, home_name, works_name = sys.argv[1:]
    print(json.dumps(KINDS[name](SIZES[size_name], Path(home_name), Path(works_name))))
