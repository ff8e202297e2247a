"""Speed of the stress test's paths: python -m benchmarks.stress [--quick]; the last line is one JSON document."""

import argparse
import os
import sys
import time

import numpy as np

from benchmarks.figures import Figures, machine
from finagent.backtest.stress.resampling import bootstrap, reshuffled

PATHS, YEARS, BLOCK = 10_000, 10, 21
SESSIONS, TRADES = 3_304, 500


def measure_paths(figures: Figures, repeats: int) -> None:
    """10,000 paths of ten years in blocks of a month, drawn from thirteen years of sessions; returns and drawdowns."""
    returns = np.random.default_rng(1).normal(0.0003, 0.01, SESSIONS)
    runs = []
    for seed in range(repeats):
        began = time.perf_counter()
        found = bootstrap(returns, paths=PATHS, sessions=YEARS * 252, block=BLOCK, seed=seed)
        runs.append(time.perf_counter() - began)
        assert len(found.drawdowns) == PATHS
    figures.put_best("monte_carlo_s", runs)


def measure_orders(figures: Figures, repeats: int) -> None:
    """500 trades in 10,000 orders."""
    gains = np.random.default_rng(2).integers(-(10**10), 10**10, TRADES).tolist()
    runs = []
    for seed in range(repeats):
        began = time.perf_counter()
        reshuffled(gains, 10**13, orders=PATHS, seed=seed)
        runs.append(time.perf_counter() - began)
    figures.put_best("reshuffled_s", runs)


def main() -> int:
    """Measure, print the table, and the document as the last line; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    repeats = 1 if parser.parse_args().quick else 9
    load, figures = os.getloadavg(), Figures()
    measure_paths(figures, repeats)
    measure_orders(figures, repeats)
    print(figures.table())
    print(figures.document(machine(load)))
    return int(any(ratio > 1 for ratio in figures.ratios.values()))


if __name__ == "__main__":
    sys.exit(main())
