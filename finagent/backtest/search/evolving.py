"""Optuna's samplers behind a Proposer: told of every trial in order, they propose the same sets again after a kill.

No storage of Optuna's own is used: the journal of the study holds all that a sampler was ever told, and a sampler with
the same seed that is asked and told the same comes to the same state. A set that a sampler asks for again is no trial:
the sampler is told what came of it before.
"""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from finagent.backtest.search.measures import MEASURES, Requirement
from finagent.backtest.search.space import Dimension, SetKey, Values, set_key, space_size, unseen
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
PATIENCE = 20
"""Sets in a row that were asked for before; then one that was not is drawn at random."""
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
        self._asked: dict[SetKey, list[Asked]] = {}
        """Those that wait for the outcome of a set: the first, and who asked for the same meanwhile."""
        self._known: dict[SetKey, Trial] = {}
        self._random = Random(seed)
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
        """What the sampler asks for next that it has not asked for before."""
        found: list[Values] = []
        repeats = 0
        while len(found) < count:
            if repeats >= PATIENCE:
                self._draw()
            asked = self._study.ask(self._axes)
            values = self._values(asked)
            key = set_key(values)
            repeats += 1
            if key in self._known:
                self._tell(asked, self._known[key])
            elif key in self._asked:
                self._asked[key].append(asked)
            else:
                self._asked[key] = [asked]
                found.append(values)
                repeats = 0
        return found

    def learn(self, trials: Sequence[Trial]) -> None:
        """Measures and what was missed; trials that failed or tell nothing are told as failed."""
        for trial in trials:
            key = set_key({each.name: trial.values[each.name] for each in self._space})
            self._known[key] = trial
            for asked in self._asked.pop(key):
                self._tell(asked, trial)

    def _tell(self, asked: "Asked", trial: Trial) -> None:
        values = [trial.measures.get(name) for name in self._objectives]
        for each in self._requirements:
            asked.set_constraint(each.text, each.excess(trial.measures))
        asked.set_constraint(GIVEN_UP, BEYOND if trial.state is State.PRUNED else -BEYOND)
        if trial.state in (State.DONE, State.PRUNED) and all(value is not None for value in values):
            self._study.tell(asked, [float(value) for value in values if value is not None])
        else:
            self._study.tell(asked, state=self._failed)

    def _values(self, asked: "Asked") -> Values:
        return {
            each.name: each.texts[asked.params[each.name]]
            if each.is_ordered
            else str(asked.params[each.name])
            for each in self._space
        }

    def _draw(self) -> None:
        """Have the next set be one at random of those that nobody asked for."""
        values = unseen(
            self._space, {*self._known, *self._asked}, self._random.randrange(space_size(self._space))
        )
        self._study.enqueue_trial(
            {
                each.name: each.texts.index(values[each.name]) if each.is_ordered else values[each.name]
                for each in self._space
            }
        )
