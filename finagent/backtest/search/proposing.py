"""Which sets are tried next: a grid in order, Sobol's points, or Optuna's samplers told of every trial before."""

from collections.abc import Sequence
from typing import Protocol

from finagent.backtest.search.space import Dimension, SetKey, Values, grid_values, set_key, unseen
from finagent.backtest.search.trials import Trial

METHODS = ("grid", "sobol", "nsga2", "tpe")
BATCH = 256
SPARE = 16
"""So many times as many points are looked through for sets that are new; what is missing then is taken in the order
of a grid."""


class Proposer(Protocol):
    """Asked for whole batches in order from 0, each after the trials of the batches before: a function of these.

    No set is proposed twice, so there may be no more trials than the space has sets.
    """

    batch: int
    """Trials that are proposed at once; a part of the method, whatever plays them."""

    def propose(self, first: int, count: int) -> list[Values]:
        """The sets of the trials from number ``first`` on."""

    def learn(self, trials: Sequence[Trial]) -> None:
        """What the proposed trials came to, in their order."""


class Grid:
    """Every combination once."""

    batch = BATCH

    def __init__(self, space: Sequence[Dimension]) -> None:
        self._space = space

    def propose(self, first: int, count: int) -> list[Values]:
        """The next combinations."""
        return [grid_values(self._space, number) for number in range(first, first + count)]

    def learn(self, trials: Sequence[Trial]) -> None:
        """A grid does not look back."""


class Sobol:
    """Scrambled Sobol points: any first 2^k of them cover the space evenly.

    I. M. Sobol, "On the distribution of points in a cube and the approximate evaluation of integrals" (1967); scrambled
    as by A. B. Owen (1998), by scipy.stats.qmc. Points that fall on a set that is there already are passed over.
    """

    batch = BATCH

    def __init__(self, space: Sequence[Dimension], *, trials: int, seed: int) -> None:
        from scipy.stats import qmc

        power = max(0, (trials - 1).bit_length())
        points = qmc.Sobol(len(space), scramble=True, rng=seed)
        found: dict[SetKey, Values] = {}
        for number in range(SPARE):
            for point in points.random(1 << power) if number else points.random_base2(power):
                values = _on_grid(space, point.tolist())
                found.setdefault(set_key(values), values)
            if len(found) >= trials:
                break
        while len(found) < trials:
            values = unseen(space, found, 0)
            found[set_key(values)] = values
        self._sets = list(found.values())[:trials]

    def propose(self, first: int, count: int) -> list[Values]:
        """The next points, each coordinate on the grid of its setting."""
        return self._sets[first : first + count]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Sobol's points do not look back."""


def _on_grid(space: Sequence[Dimension], point: Sequence[float]) -> Values:
    return {
        each.name: each.texts[min(int(at * len(each.texts)), len(each.texts) - 1)]
        for each, at in zip(space, point, strict=True)
    }
