"""Which sets are tried next: a grid in order, Sobol's points, or Optuna's samplers told of every trial before."""

from collections.abc import Sequence
from typing import Protocol

from finagent.backtest.search.space import Dimension, Values, grid_values
from finagent.backtest.search.trials import Trial

METHODS = ("grid", "sobol", "nsga2", "tpe")
BATCH = 256


class Proposer(Protocol):
    """Asked for whole batches in order from 0, each after the trials of the batches before: a function of these."""

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
    as by A. B. Owen (1998), by scipy.stats.qmc.
    """

    batch = BATCH

    def __init__(self, space: Sequence[Dimension], *, trials: int, seed: int) -> None:
        from scipy.stats import qmc

        self._space = space
        power = max(0, (trials - 1).bit_length())
        self._points = qmc.Sobol(len(space), scramble=True, rng=seed).random_base2(power)[:trials]

    def propose(self, first: int, count: int) -> list[Values]:
        """The next points, each coordinate on the grid of its setting."""
        return [
            {
                each.name: each.texts[min(int(at * len(each.texts)), len(each.texts) - 1)]
                for each, at in zip(self._space, point.tolist(), strict=True)
            }
            for point in self._points[first : first + count]
        ]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Sobol's points do not look back."""
