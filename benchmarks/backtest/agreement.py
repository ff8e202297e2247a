"""Equal results first: each contestant's trades against the plain rule's, every difference counted under its reason.

A contestant is allowed what its arithmetic, its path inside a bar or its respect for the volume is known to make of the
same rule; whatever else differs ends the benchmark before it tells a ratio.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.backtest.plain import Trades, gaps, levels, ticks
from benchmarks.backtest.work import PRICES, Arrays, Rule

MARGIN = 1e-9
HALF_CENT = 50
SHOWN = 5
GAP_TIE, TOUCH_TIE = "gap exactly at the limit", "price touched exactly"
BOTH, THIN, CENT = "stop and target in one bar", "more shares than the bar's volume", "gain in whole cents"
REASONS = {
    THIN: "finagent fills no more than the volume; what the stop did not sell leaves at the close",
    GAP_TIE: "the ratio of two float64 prices falls below a limit that it equals",
    TOUCH_TIE: "stop or target as a ratio of float64 misses a bar that ends exactly there",
    CENT: "its money has two decimals, the same prices and shares come to a gain rounded to them",
    BOTH: "the engine's path within the bar meets the target first",
}


class DisagreementError(Exception):
    """A contestant traded something else, and nothing explains it."""


def as_trades(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Trades:
    """Rows of session, symbol, shares, entry, exit and gain."""
    found = {(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in table.tolist()}
    if len(found) != len(table):
        raise DisagreementError(f"{len(table) - len(found)} symbols were traded twice in a session")
    return found


def told_by(folder: Path, name: str) -> Trades:
    """The trades that a contestant left beside the work."""
    return as_trades(np.load(folder / f"of_{name}.npy"))


def compare(
    name: str, expected: Trades, found: Trades, allowed: Mapping[tuple[int, int], frozenset[str]]
) -> dict[str, int]:
    """How many trades differ under each allowed reason; DisagreementError names the first that have none."""
    counts: Counter[str] = Counter()
    odd: list[str] = []
    for at in sorted(expected.keys() | found.keys()):
        wanted, seen = expected.get(at), found.get(at)
        if wanted == seen:
            continue
        reason = _reason(wanted, seen, allowed.get(at, frozenset()))
        if reason is None:
            odd.append(f"session {at[0]}, symbol {at[1]}: {seen} for {wanted}")
        else:
            counts[reason] += 1
    if odd:
        raise DisagreementError(
            f"{name}: {len(odd)} trades differ without a reason; " + "; ".join(odd[:SHOWN])
        )
    return dict(sorted(counts.items()))


def _reason(wanted: object, seen: object, known: frozenset[str]) -> str | None:
    """A missing or extra trade can only be a tie of the gap, another exit only one of the other two."""
    if wanted is None or seen is None:
        return GAP_TIE if GAP_TIE in known else None
    assert isinstance(wanted, tuple)
    assert isinstance(seen, tuple)
    if wanted[:3] == seen[:3]:
        return CENT if CENT in known and abs(wanted[3] - seen[3]) <= HALF_CENT else None
    if wanted[:2] != seen[:2]:  # shares and entry
        return None
    return next((reason for reason in (BOTH, TOUCH_TIE, THIN) if reason in known), None)


def allowances(
    arrays: Arrays, rule: Rule, expected: Trades, *, name: str
) -> dict[tuple[int, int], frozenset[str]]:
    """By trade what may differ at this contestant."""
    ties = [] if name == "finagent" else _ties(arrays, rule)  # whose integers know no tie
    found: dict[tuple[int, int], frozenset[str]] = dict.fromkeys(ties, frozenset({GAP_TIE}))
    opened, high, low, close = (ticks(arrays, each) for each in PRICES)
    for at, (shares, *_) in expected.items():
        place, symbol = at
        own = (place, symbol) if opened.ndim == 2 else (place, slice(1, None), symbol)
        reference = opened[at] if opened.ndim == 2 else close[place, 0, symbol]
        stop, target = levels(int(reference), rule)
        known = set(found.get(at, frozenset()))
        if name == "vectorbt" and (np.any(low[own] == stop) or np.any(high[own] == target)):
            known.add(TOUCH_TIE)
        if name == "nautilus":
            known.add(CENT)
        if name == "nautilus" and np.any((low[own] <= stop) & (high[own] >= target)):
            known.add(BOTH)
        if name == "finagent" and "volume" in arrays and arrays["volume"][at] < shares:
            known.add(THIN)
        if known:
            found[at] = frozenset(known)
    return found


def _ties(arrays: Arrays, rule: Rule) -> list[tuple[int, int]]:
    opened = ticks(arrays, "open")
    if opened.ndim == 3:
        opened = opened[:, 0, :]
    near = list(gaps(arrays, opened, rule))
    prev = arrays["prev"]
    return [at for at in near if abs(opened[at] / 10_000 / float(prev[at]) - 1 - rule.gap) < MARGIN]
