"""How much is done: the real thing over thirteen years, or a made-up quarter that only tries the benchmark."""

from dataclasses import dataclass
from itertools import product

from benchmarks.backtest.work import Rule

DAILY, MINUTE = Rule(), Rule(gap=0.005, stop=0.01)
Sets = tuple[tuple[float, float, float], ...]


def grid(count: int, finer: int = 1) -> Sets:
    """(gap, stop, target_r) of a sweep: ``count`` values of each, of stops and targets ``finer`` times as many."""
    gaps = [round(0.02 + 0.005 * number, 4) for number in range(count)]
    stops = [round(0.005 + 0.005 / finer * number, 6) for number in range(count * finer)]
    targets = [round(1 + 0.5 / finer * number, 4) for number in range(count * finer)]
    return tuple(product(gaps, stops, targets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """First and last session of each work, the rules, the sets of a sweep, of a large one, and played alone."""

    daily: tuple[str, str]
    quarter: tuple[str, str]
    minutes: tuple[str, str]
    sets: Sets
    many_sets: Sets
    sets_alone: int
    passes: int
    is_compiled: bool
    daily_rule: Rule = DAILY
    minute_rule: Rule = MINUTE


SIZES = {
    "real": Size(
        daily=("2005-01-04", "2018-03-16"),
        quarter=("2016-01-04", "2016-03-31"),
        minutes=("2018-02-16", "2018-03-16"),
        sets=grid(10),
        many_sets=grid(10, 3),
        sets_alone=60,
        passes=5,
        is_compiled=True,
    ),
    "quick": Size(
        daily=("2016-01-05", "2016-03-31"),
        quarter=("2016-01-05", "2016-01-29"),
        minutes=("2016-02-01", "2016-02-03"),
        sets=grid(2),
        many_sets=grid(2, 2),
        sets_alone=2,
        passes=1,
        is_compiled=False,
    ),
}
