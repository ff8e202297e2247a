"""What the scripts of the backtest's peers share: the work as it is read, its rule in ticks, a sample as it is told.

Each peer runs in its own environment, so nothing but numpy is imported here.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

E4 = 10_000
OHLC = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Work:
    """The rule and the arrays of [sessions, symbols]; `opens`, `highs`, `lows`, `closes` in dollars."""

    folder: Path
    rule: dict
    symbols: list
    arrays: dict

    def __getattr__(self, name):
        return self.arrays[name]


def read(folder):
    """Everything that was written for the contestants."""
    path = Path(folder)
    document = json.loads((path / "work.json").read_text())
    arrays = {each.stem: np.load(each) for each in path.glob("*.npy") if not each.stem.startswith("of_")}
    return Work(path, document["rule"], document["symbols"], arrays)


def gaps(opened, prev, reference, rule):
    """Where a share opens far enough above its adjusted previous close, can be bought, and has room for its exits."""
    ticks, low, high = levels(reference, rule)
    with np.errstate(invalid="ignore"):
        is_far = (opened / prev - 1.0 >= rule["gap"]) & (reference <= rule["notional"])
    return is_far & (low < ticks) & (ticks < high)


def levels(reference, rule):
    """Reference, stop and target in 1e-4, both rounded to the tick towards the reference."""
    ticks = np.rint(np.nan_to_num(reference) * E4).astype(np.int64)
    low = -(-(ticks * (1_000_000 - round(rule["stop"] * 1e6))) // 1_000_000)
    tick = np.where(low >= E4, 100, 1)
    low = -(-low // tick) * tick
    high = ticks + (ticks - low) * round(rule["target_r"] * 1e6) // 1_000_000
    tick = np.where(high >= E4, 100, 1)
    return ticks, low, high // tick * tick


def plans(work, symbol):
    """By place among the symbol's own bars the shares, stop and target of its trades; with the places of these bars."""
    rule, opened = work.rule, work.open[:, symbol]
    places = np.flatnonzero(~np.isnan(opened))
    _ticks, low, high = levels(opened, rule)
    chosen = gaps(opened, work.prev[:, symbol], opened, rule)[places]
    found = {
        own: (int(rule["notional"] / opened[place]), int(low[place]) / E4, int(high[place]) / E4)
        for own, place in enumerate(places.tolist())
        if chosen[own]
    }
    return found, places


def stretched(work, symbol, places, rows):
    """Each day as a flat bar at its open, the day, and with three `rows` a flat bar at its close."""
    opened, high, low, close = (getattr(work, name)[places, symbol] for name in OHLC)
    table = np.empty((len(places), rows, 4))
    table[:, 0, :] = opened[:, None]
    table[:, 1, :] = np.stack([opened, high, low, close], 1)
    if rows == 3:
        table[:, 2, :] = close[:, None]
    return table.reshape(-1, 4)


def row(place, symbol, shares, entry, exit_price, pnl):
    """A trade as whole numbers: session, symbol, shares, prices and gain in 1e-4."""
    return [
        int(place),
        int(symbol),
        round(shares),
        *(round(each * E4) for each in (entry, exit_price, pnl)),
    ]


def tell(work, name, seconds, trades, **more):
    """Keep the trades, and print the sample as the last line."""
    table = np.asarray(trades, np.int64).reshape(-1, 6)
    np.save(work.folder / f"of_{name}.npy", table)
    print(json.dumps({"seconds": seconds, "trades": len(table), **more}))


def timed(call):
    """Its seconds and what it gave."""
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def asked():
    """Folder, kind of work, repeats (0: once, cold) of the command line."""
    return read(sys.argv[1]), sys.argv[2], int(sys.argv[3])
