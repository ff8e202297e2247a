"""Intervals of 95 % for what was counted in sessions: trades and gaps of one day are not independent of each other.

Every figure is given with the session of each of its values. Rates: the score interval of Wilson (JASA 22, 1927) with
the effective size of clustered samples (Korn and Graubard, Survey Methodology 24, 1998). Means: Student's t with the
variance between clusters (Liang and Zeger, Biometrika 73, 1986). Medians: order statistics (Conover, Practical
Nonparametric Statistics, 3.2). Ratios of sums: percentiles of a bootstrap of whole sessions (Efron, 1979).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finagent.backtest.source import Ints

Floats = npt.NDArray[np.float64]
Z = 1.959963984540054
"""Of the normal distribution: 2.5 % lie above."""
SMALL = 30
"""With fewer values a figure is an anecdote."""
RESAMPLES = 2_000
SEED = 20_180_216
SOURCES = {
    "rate": "Wilson (1927), effective size of samples clustered by session (Korn and Graubard 1998)",
    "mean": "Student's t, variance between sessions (Liang and Zeger 1986)",
    "median": "order statistics (Conover)",
    "ratio": f"bootstrap of whole sessions, {RESAMPLES} resamples, percentiles (Efron 1979)",
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; None where too little is known."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNKNOWN = Estimate(None)


def wilson(share: float, size: float) -> tuple[float, float]:
    """The score interval of a share seen in ``size`` independent values (a fraction of one is possible)."""
    spread = Z * math.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size))
    middle, scale = share + Z * Z / (2 * size), 1 + Z * Z / size
    low = (middle - spread) / scale if share > 0 else 0.0
    return low, (middle + spread) / scale if share < 1 else 1.0


def rate(hits: npt.NDArray[np.bool_], sessions: Ints) -> Estimate:
    """How often something was so; what happened in one session counts as partly the same."""
    if not hits.size:
        return UNKNOWN
    share = float(hits.mean())
    low, high = wilson(share, effective_size(hits, sessions))
    return Estimate(share, low, high)


def effective_size(hits: npt.NDArray[np.bool_], sessions: Ints) -> float:
    """How many independent values say as much; all of them where each is of a session of its own.

    Where all are alike nothing tells how alike those of a session are: one a session.
    """
    share, size = float(hits.mean()), hits.size
    sums, groups = _by_session(hits - share, sessions)
    plain = share * (1 - share) / size
    if not plain or groups < 2:
        return float(groups)
    between = float((sums * sums).sum()) / size**2
    return min(float(size), max(1.0, size * plain / between)) if between else float(size)


def mean(values: Floats, sessions: Ints) -> Estimate:
    """The average; without an interval where all values are of one session."""
    if not values.size:
        return UNKNOWN
    middle = float(values.mean())
    sums, groups = _by_session(values - middle, sessions)
    if groups < 2:
        return Estimate(middle)
    error = math.sqrt(groups / (groups - 1) * float((sums * sums).sum())) / values.size
    reach = student_t(groups - 1) * error
    return Estimate(middle, middle - reach, middle + reach)


def median(values: Floats) -> Estimate:
    """The middle value; without an interval where too few values are known to have one."""
    if not values.size:
        return UNKNOWN
    ordered = np.sort(values)
    size = ordered.size
    reach = Z * math.sqrt(size) / 2
    low, high = math.floor(size / 2 - reach), math.ceil(size / 2 + reach)
    middle = float(np.median(ordered))
    if low < 1 or high >= size:
        return Estimate(middle)
    return Estimate(middle, float(ordered[low - 1]), float(ordered[high]))


def ratio(above: Floats, below: Floats, sessions: Ints) -> Estimate:
    """Sum over sum; None where the lower one is zero, an end None where a resample has it so."""
    if not below.sum():
        return UNKNOWN
    value = float(above.sum() / below.sum())
    tops, groups = _by_session(above, sessions)
    bottoms, _ = _by_session(below, sessions)
    if groups < 2:
        return Estimate(value)
    drawn = np.random.default_rng(SEED).integers(0, groups, (RESAMPLES, groups))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = tops[drawn].sum(axis=1) / bottoms[drawn].sum(axis=1)
    found = np.sort(np.where(np.isnan(found), np.inf, found))
    low, high = float(found[int(RESAMPLES * 0.025)]), float(found[int(RESAMPLES * 0.975) - 1])
    return Estimate(value, _finite(low), _finite(high))


def student_t(degrees: int) -> float:
    """The quantile at 97.5 % (Abramowitz and Stegun 26.7.5; exact for one and two degrees of freedom)."""
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    x = Z
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160,
    )
    return x + sum(float(term / degrees**power) for power, term in enumerate(terms, 1))


def _by_session(values: npt.NDArray[np.generic], sessions: Ints) -> tuple[Floats, int]:
    """Sums by session, and how many sessions there are."""
    names, places = np.unique(sessions, return_inverse=True)
    sums: Floats = np.bincount(places, values.astype(np.float64), len(names)).astype(np.float64)
    return sums, len(names)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
