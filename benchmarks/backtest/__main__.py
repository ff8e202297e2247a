"""`python -m benchmarks.backtest`: equal results first, then time; the last line is one JSON document.

Every contestant does the same work in each of some rounds, in a process of its own. Ratios are taken within a round and
their median is told: above 1 the program is faster, but daily_vs_read_limit, which says how many times as long as
reading the bars one set takes. `--quick` tries the benchmark on made-up prices without any peer.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.backtest.agreement import DisagreementError
from benchmarks.backtest.agreements import agreed
from benchmarks.backtest.contest import OURS, PEER_RUNS, Document, Place, say
from benchmarks.backtest.sizes import SIZES
from benchmarks.environments import CACHE, environment
from benchmarks.figures import machine, rounded
from benchmarks.processes import finagent

Round = Mapping[str, Document]


def engine(found: Round, name: str, part: str) -> float:
    """Least seconds of a part of a contestant's measurement."""
    seconds = found[name]["seconds"][part]
    return min(seconds) if isinstance(seconds, list) else float(seconds)


def played(found: Round) -> float:
    """Seconds of the kernel alone on minutes, of the whole run where the reference plays them."""
    return engine(found, "minutes", "kernel" if "kernel" in found["minutes"]["seconds"] else "run")


def a_set(found: Round) -> float:
    """Seconds that vectorbt takes for a set, on average over sets spread across the sweep."""
    return statistics.fmean(found["vectorbt_daily"]["swept_s"])


RATIOS: Mapping[str, tuple[float, bool, tuple[str, ...], Callable[[Round], float]]] = {
    "daily_vs_vectorbt": (
        20.0, True, ("daily", "vectorbt_daily"),
        lambda one: engine(one, "vectorbt_daily", "engine") / engine(one, "daily", "kernel"),
    ),
    "minute_vs_vectorbt": (
        30.0, True, ("minutes", "vectorbt_minutes"),
        lambda one: engine(one, "vectorbt_minutes", "engine") / played(one),
    ),
    "sweep_vs_vectorbt": (
        150.0, True, ("sweep", "vectorbt_daily"),
        lambda one: a_set(one) * one["sweep"]["sets"] / engine(one, "sweep", "one"),
    ),
    "reference_vs_backtesting_py": (
        4.0, True, ("quarter", "backtesting_quarter"),
        lambda one: engine(one, "backtesting_quarter", "whole") / engine(one, "quarter", "run"),
    ),
    "reference_vs_nautilus": (
        10.0, True, ("quarter", "nautilus_quarter"),
        lambda one: engine(one, "nautilus_quarter", "whole") / engine(one, "quarter", "run"),
    ),
    "daily_vs_read_limit": (
        2.5, False, ("daily",), lambda one: engine(one, "daily", "kernel") / engine(one, "daily", "read"),
    ),
}  # fmt: skip
"""Ratio -> target, whether more is better, whose figures it takes, and how."""
LIMITS_S: Mapping[str, float] = {"first_result_s": 1.0, "backtest_typed_s": 5.0}
POOL_TARGET, TRADE_TARGET_NS = 0.85, 20.0


def ratios(rounds: Sequence[Round]) -> dict[str, float]:
    """Each within its round, then the median; those whose contestants did not run are left out."""
    return {
        name: rounded(statistics.median(take(one) for one in rounds))
        for name, (_, _, whose, take) in RATIOS.items()
        if all(each in rounds[0] for each in whose)
    }


def absolute(rounds: Sequence[Round], prepared: Document, waits: Mapping[str, float]) -> dict[str, float]:
    """Medians of seconds, and what is told by the trade, by the worker, by the bar."""
    found: dict[str, float] = {**{name: rounded(value) for name, value in prepared.items()}, **waits}
    for name, first in rounds[0].items():
        for part in first["seconds"]:
            found[f"{name}_{part}_s"] = rounded(statistics.median(engine(one, name, part) for one in rounds))
    halves = {
        "pool_efficiency_2": ("alone", "by_one", "by_two"),
        "sweep_pool_efficiency_2": ("sweep", "many_by_one", "many_by_two"),
        "thread_efficiency_2": ("sweep", "many_by_one", "many_by_threads"),
    }
    for name, (whose, by_one, by_two) in halves.items():
        pairs = [(engine(one, whose, by_one), engine(one, whose, by_two)) for one in rounds]
        found[name] = rounded(statistics.median(one / two / 2 for one, two in pairs))
    trades = rounds[0]["sweep"]["trades"]
    found["sweep_trades"], found["sweep_threads"] = trades, rounds[0]["sweep"]["threads"]
    for name, part in (("sweep_ns_a_trade", "one"), ("sweep_ns_a_trade_by_all_threads", "all")):
        found[name] = rounded(statistics.median(engine(one, "sweep", part) for one in rounds) / trades * 1e9)
    return found


def table(measured: Mapping[str, float], figures: Mapping[str, float]) -> str:
    """Ratios and limited figures for a person."""
    rows = [f"{'figure':<32}{'measured':>10}{'target':>9}"]
    for name, value in measured.items():
        target, is_more, _, _ = RATIOS[name]
        is_missed = value < target if is_more else value > target
        rows.append(f"{name:<32}{value:>10g}{target:>9g}{' MISSED' * is_missed}")
    by_trade = ("sweep_ns_a_trade", "sweep_ns_a_trade_by_all_threads")
    limits = {**LIMITS_S, **dict.fromkeys(by_trade, TRADE_TARGET_NS)}
    rows += [
        f"{name:<32}{figures[name]:>10g}{limit:>9g}{' MISSED' * (figures[name] > limit)}"
        for name, limit in limits.items()
    ]
    pool = figures["pool_efficiency_2"]
    rows.append(f"{'pool_efficiency_2':<32}{pool:>10g}{POOL_TARGET:>9g}{' MISSED' * (pool < POOL_TARGET)}")
    return "\n".join(rows)


def waited(place: Place, count: int) -> dict[str, float]:
    """Seconds from a command typed: the first result of a cold process, and `finagent backtest` to the report kept."""
    span = SIZES[place.size].daily
    typed = ("backtest", "--from", span[0], "--to", span[1], "--bars", "daily")
    place.child("first")
    finagent(*typed, home=place.home)
    found = {
        "first_result_s": [place.child("first").seconds for _ in range(count)],
        "backtest_typed_s": [finagent(*typed, home=place.home).seconds for _ in range(count)],
    }
    return {name: rounded(statistics.median(values)) for name, values in found.items()}


def measured_rounds(place: Place, count: int, peers: Sequence[str]) -> tuple[list[Round], Document]:
    """Every contestant in each round; DisagreementError after the first where results differ without a reason."""
    rounds: list[Round] = []
    differences: Document = {}
    for number in range(1, count + 1):
        found: dict[str, Document] = {}
        for name in (*OURS, *peers):
            say(f"round {number} of {count}: {name}")
            found[name] = (
                PEER_RUNS[name].run(place.works) if name in PEER_RUNS else place.child(name).document
            )
        if number == 1:
            say("comparing the trades")
            differences = agreed(place, found)
        rounds.append(found)
    return rounds, differences


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, compare, print the table, then the document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs (default 3)")
    parser.add_argument(
        "--quick", action="store_true", help="made-up prices, no peer; its figures mean little"
    )
    chosen = parser.parse_args(argv)
    data = Path(os.environ.get("FINAGENT_REAL_DATA", "../shared/data")).resolve()
    if not chosen.quick and not data.is_dir():
        sys.exit(f"the real market data is not at {data}: set FINAGENT_REAL_DATA, or try --quick")
    peers = [] if chosen.quick else list(PEER_RUNS)
    for name in peers:
        environment(PEER_RUNS[name].name)
    before, count = os.getloadavg(), 1 if chosen.quick else chosen.rounds
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="backtest-", dir=None if chosen.quick else CACHE) as folder:
        place = Place("quick" if chosen.quick else "real", Path(folder))
        say("importing, building, writing the works")
        prepared = place.fill(None if chosen.quick else data)
        try:
            rounds, differences = measured_rounds(place, count, peers)
        except DisagreementError as error:
            sys.exit(f"no ratio is told: {error}")
        say("waiting as a user does")
        figures = absolute(rounds, prepared, waited(place, count))
    measured = ratios(rounds)
    print(table(measured, figures))
    print(json.dumps({
        "ratios": measured, "absolute": figures, "differences": differences,
        "minutes_by": rounds[0]["minutes"]["engine"], "rounds": count, "machine": machine(before),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
