"""Optuna's samplers behind a Proposer: told of every trial in order, they propose the same sets again after a kill.

No storage of Optuna's own is used: the journal of the study holds all that a sampler was ever told, and a sampler with
the same seed that is asked and told the same comes to the same state.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finagent.backtest.search.measures import MEASURES, Requirement
from finagent.backtest.search.space import Dimension, Values
from finagent.backtest.search.trials import State, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial as Asked

POPULATION = 50
"""Sets of a generation of NSGA-II, as its authors and Optuna have it at most."""
LEAST_POPULATION = 8
GENERATIONS = 10
TPE_BATCH = 16
GIVEN_UP = "given up"
BEYOND = 1.0
"""How far a trial that was given up misses: as a trial that breaks a requirement."""


class Evolving:
    """NSGA-II (K. Deb and others, IEEE Transactions on Evolutionary Computation 6, 2002) or the tree-structured Parzen
    estimator (J. Bergstra and others, NeurIPS 2011), by Optuna.
    """

    def __init__(
        self,
        space: Sequence[Dimension],
        *,
        method: str,
        trials: int,
        seed: int,
        objectives: Sequence[str],
        requirements: Sequence[Requirement],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        population = max(LEAST_POPULATION, min(POPULATION, trials // GENERATIONS))
        self.batch = population if method == "nsga2" else TPE_BATCH
        self._space, self._objectives, self._requirements = space, objectives, requirements
        self._asked: dict[int, Asked] = {}
        self._axes: dict[str, BaseDistribution] = {
            each.name: optuna.distributions.IntDistribution(0, len(each.texts) - 1)
            if each.is_ordered
            else optuna.distributions.CategoricalDistribution(each.texts)
            for each in space
        }
        sampler: BaseSampler = (
            optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
            if method == "nsga2"
            else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        )
        self._failed = optuna.trial.TrialState.FAIL
        directions = [
            optuna.study.StudyDirection.MAXIMIZE
            if MEASURES[name] == "max"
            else optuna.study.StudyDirection.MINIMIZE
            for name in objectives
        ]
        self._study = optuna.create_study(directions=directions, sampler=sampler)

    def propose(self, first: int, count: int) -> list[Values]:
        """What the sampler asks for next."""
        found: list[Values] = []
        for number in range(first, first + count):
            trial = self._asked[number] = self._study.ask(self._axes)
            found.append(
                {
                    each.name: each.texts[trial.params[each.name]]
                    if each.is_ordered
                    else str(trial.params[each.name])
                    for each in self._space
                }
            )
        return found

    def learn(self, trials: Sequence[Trial]) -> None:
        """Measures and what was missed; trials that failed or tell nothing are told as failed."""
        for trial in trials:
            asked = self._asked.pop(trial.number)
            values = [trial.measures.get(name) for name in self._objectives]
            for each in self._requirements:
                asked.set_constraint(each.text, each.excess(trial.measures))
            asked.set_constraint(GIVEN_UP, BEYOND if trial.state is State.PRUNED else -BEYOND)
            if trial.state in (State.DONE, State.PRUNED) and all(value is not None for value in values):
                self._study.tell(asked, [float(value) for value in values if value is not None])
            else:
                self._study.tell(asked, state=self._failed)
