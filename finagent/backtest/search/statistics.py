"""What the best of many trials is worth: the Sharpe ratio deflated by their number, and how often the choice fails."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from finagent.backtest.search.measures import Floats

NORMAL = NormalDist()
EULER = 0.5772156649015329
"""The Euler-Mascheroni constant."""
BLOCKS = 16
"""Parts of the sessions for the cross-validation, as in the paper: 12,870 ways to choose half of them."""
LEAST_BLOCK = 5
"""Sessions that a part has to have."""
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """Sharpe ratio of a session (not of a year), skewness and kurtosis (3 for a normal distribution)."""

    sharpe: float
    skew: float
    kurtosis: float
    count: int


def shape_of(returns: Floats) -> Shape | None:
    """The moments of returns; None where there are fewer than three or no variance."""
    count = len(returns)
    spread = float(returns.std(ddof=1)) if count > 2 else 0.0
    if not spread:
        return None
    centred = returns - returns.mean()
    variance = float(np.square(centred).mean())
    return Shape(
        float(returns.mean()) / spread,
        float((centred**3).mean()) / variance**1.5,
        float((centred**4).mean()) / variance**2,
        count,
    )


def probabilistic_sharpe(shape: Shape, benchmark: float) -> float | None:
    """Probability that the true Sharpe ratio is above a benchmark, both of a session.

    PSR(SR*) = Z[(SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)]: D. H. Bailey and M. Lopez de Prado,
    "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012), eq. 11. None where the root is of nothing.
    """
    below = 1 - shape.skew * shape.sharpe + (shape.kurtosis - 1) / 4 * shape.sharpe**2
    if below <= 0:
        return None
    return NORMAL.cdf((shape.sharpe - benchmark) * math.sqrt(shape.count - 1) / math.sqrt(below))


def expected_best_sharpe(variance: float, trials: int) -> float:
    """The Sharpe ratio that the best of so many trials is expected to have where none has any skill.

    SR0 = sqrt(V) ((1 - g) Z^-1[1 - 1/N] + g Z^-1[1 - 1/(N e)]), g Euler-Mascheroni: D. H. Bailey and M. Lopez de
    Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014). Of one trial it is 0.
    """
    if trials < 2:
        return 0.0
    highest = (1 - EULER) * NORMAL.inv_cdf(1 - 1 / trials)
    highest += EULER * NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * highest


def deflated_sharpe(shape: Shape, *, variance: float, trials: int) -> float | None:
    """Probability that the best trial's Sharpe ratio is above what the best of as many without skill would have.

    DSR = PSR(SR0), from the same paper; ``variance`` is that of the trials' Sharpe ratios of a session.
    """
    return probabilistic_sharpe(shape, expected_best_sharpe(variance, trials))


@dataclass(frozen=True, slots=True)
class Overfitting:
    """``probability``: how often the best of one half of the sessions is below the median in the other half."""

    probability: float
    loss_probability: float
    """How often it loses there."""
    blocks: int
    splits: int
    degradation: float | None
    """Slope of the chosen trial's Sharpe ratio outside on that inside: below 0, better looks did worse."""
    logits: tuple[float, ...]


def overfitting(returns: Floats) -> Overfitting | None:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation; None for too little.

    ``returns``: one row a session, one column a trial. For each way to choose half of the blocks the trial with the
    best Sharpe ratio there is ranked in the rest: w = rank / (N + 1), logit = ln(w / (1 - w)), PBO = share of logits
    at or below 0. D. H. Bailey, J. M. Borwein, M. Lopez de Prado and Q. J. Zhu, "The Probability of Backtest
    Overfitting", Journal of Computational Finance 20 (2017), section 2. Of equal trials each has their middle rank.
    """
    sessions, trials = returns.shape
    blocks = min(BLOCKS, sessions // LEAST_BLOCK) // 2 * 2
    if trials < 2 or blocks < 2:
        return None
    size = sessions // blocks
    parts = returns[: size * blocks].reshape(blocks, size, trials)
    sums, squares = parts.sum(axis=1), np.square(parts).sum(axis=1)
    chosen = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, places in enumerate(combinations(range(blocks), blocks // 2)):
        chosen[row, list(places)] = 1
    logits, inside, outside = [], [], []
    for first in range(0, len(chosen), AT_ONCE):
        rows = chosen[first : first + AT_ONCE]
        seen = _sharpes(rows @ sums, rows @ squares, size * blocks // 2)
        unseen = _sharpes((1 - rows) @ sums, (1 - rows) @ squares, size * blocks // 2)
        best = seen.argmax(axis=1)
        at = np.arange(len(rows))
        reached = unseen[at, best]
        below = (unseen < reached[:, None]).sum(axis=1)
        equal = (unseen == reached[:, None]).sum(axis=1)
        rank = (below + (equal + 1) / 2) / (trials + 1)
        logits.append(np.log(rank / (1 - rank)))
        inside.append(seen[at, best])
        outside.append(reached)
    all_logits, all_in, all_out = (np.concatenate(each) for each in (logits, inside, outside))
    spread = float(all_in.var())
    slope = float(((all_in - all_in.mean()) * (all_out - all_out.mean())).mean()) / spread if spread else None
    return Overfitting(
        probability=float((all_logits <= 0).mean()),
        loss_probability=float((all_out < 0).mean()),
        blocks=blocks,
        splits=len(chosen),
        degradation=slope,
        logits=tuple(all_logits.tolist()),
    )


def _sharpes(sums: Floats, squares: Floats, count: int) -> Floats:
    """Sharpe ratios from sums; 0 without variance: a trial that never traded has none."""
    mean = sums / count
    variance = np.maximum(squares / count - np.square(mean), 0) * count / (count - 1)
    tiny = 1e-18
    found: Floats = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > tiny)
    return np.round(found, 12)


@dataclass(frozen=True, slots=True)
class Group:
    """Trials with a value (or a range of values) of a setting."""

    label: str
    count: int
    mean: float
    median: float
    best: float


def groups(labels: Sequence[str], values: Sequence[float], order: Sequence[str]) -> list[Group]:
    """Trials by label, in order; labels without a trial are left out."""
    found = []
    for label in order:
        own = [value for name, value in zip(labels, values, strict=True) if name == label]
        if own:
            found.append(
                Group(label, len(own), float(np.mean(own)), float(np.median(own)), float(np.max(own)))
            )
    return found


def explained(labels: Sequence[str], values: Sequence[float]) -> float | None:
    """Share of the variance between trials that lies between the labels (eta squared); None without variance.

    Sum of squares between groups over the total: R. A. Fisher, "Statistical Methods for Research Workers" (1925).
    """
    numbers = np.asarray(values, np.float64)
    total = float(np.square(numbers - numbers.mean()).sum()) if len(numbers) else 0.0
    if not total:
        return None
    names = np.asarray(labels)
    between = 0.0
    for name in sorted(set(labels)):
        own = numbers[names == name]
        between += len(own) * float(own.mean() - numbers.mean()) ** 2
    return between / total
