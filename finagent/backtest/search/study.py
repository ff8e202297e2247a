"""One search: sets are proposed in batches, played, judged and written down; nothing that is there is played again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from finagent.backtest.errors import BacktestError
from finagent.backtest.parameters import Parameters
from finagent.backtest.search.measures import Requirement, measure, score
from finagent.backtest.search.playing import Played, Player
from finagent.backtest.search.proposing import METHODS, Grid, Proposer, Sobol
from finagent.backtest.search.space import Dimension, Values, grid_size, space_size
from finagent.backtest.search.trials import Journal, State, Trial
from finagent.backtest.sweeping import MOST_BYTES
from finagent.domain.market import Session

EARLY_SHARE = 4
"""Trials may be given up after a quarter of the sessions."""
EARLY_TRIALS = 10
"""Trials that have come so far before one is held against their median."""
CHUNK = 16
"""Trials that are played before they are written down, where the kernel does not play them all at once."""
Make = Callable[[Values], Parameters]
"""Rules of a set; raises where its values do not fit together."""
Told = Callable[[Sequence[Trial], int], None]
"""The trials so far, and how many there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched: the same values give the same trials, however often it is interrupted."""

    space: tuple[Dimension, ...]
    method: str
    trials: int
    seed: int
    objectives: tuple[str, ...]
    requirements: tuple[Requirement, ...] = ()
    prunes: bool = False


def checked(search: Search, sessions: int) -> Search:
    """With the number of trials that it comes to, at most one a set; BacktestError for more than memory holds."""
    count = min(search.trials, space_size(search.space))
    if search.method == "grid":
        count = grid_size(search.space)
        if search.trials and search.trials < count:
            raise BacktestError(
                f"--trials {search.trials}: the grid has {count} sets",
                hint=f"leave --trials out, take larger steps, or --method {' or '.join(METHODS[1:3])}",
                code="trials",
            )
    size = count * sessions * 8
    if size > MOST_BYTES:
        raise BacktestError(
            f"{count:,} sets over {sessions:,} sessions take {size >> 20:,} MiB, more than {MOST_BYTES >> 20:,}",
            hint=f"at most {MOST_BYTES // (sessions * 8):,} sets fit: take larger steps or fewer trials",
            code="too_many_sets",
        )
    return Search(
        space=search.space,
        method=search.method,
        trials=count,
        seed=search.seed,
        objectives=search.objectives,
        requirements=search.requirements,
        prunes=search.prunes,
    )


def proposer(search: Search) -> Proposer:
    """The method by name."""
    if search.method == "grid":
        return Grid(search.space)
    if search.method == "sobol":
        return Sobol(search.space, trials=search.trials, seed=search.seed)
    from finagent.backtest.search.evolving import Evolving

    return Evolving(
        search.space,
        method=search.method,
        trials=search.trials,
        seed=search.seed,
        objectives=search.objectives,
        requirements=search.requirements,
    )


def run(
    search: Search,
    make: Make,
    player: Player,
    sessions: Sequence[Session],
    journal: Journal,
    told: Told | None = None,
) -> list[Trial]:
    """All trials, those of the journal first; each new one is in the journal before the next is played.

    BacktestError where the journal holds other sets than would be proposed.
    """
    method = proposer(search)
    for first in range(0, search.trials, method.batch):
        count = min(method.batch, search.trials - first)
        proposed = method.propose(first, count)
        _refuse_others(proposed, journal.trials[first : first + count])
        earlier = tuple(journal.trials[:first])
        while (number := len(journal.trials)) < first + count:
            chunk = proposed[number - first :][: _chunk(player, sessions)]
            if told is not None:
                told(journal.trials, search.trials)
            journal.append(_Batch(search, make, player, sessions, earlier).play(number, chunk))
        method.learn(journal.trials[first : first + count])
    if told is not None:
        told(journal.trials, search.trials)
    return list(journal.trials)


def _chunk(player: Player, sessions: Sequence[Session]) -> int:
    return 10**9 if player.is_swift(sessions) else CHUNK * player.workers


def _refuse_others(proposed: Sequence[Values], written: Sequence[Trial]) -> None:
    for ours, trial in zip(proposed, written, strict=False):
        if dict(ours) != dict(trial.values):
            raise BacktestError(
                f"trial {trial.number} of the journal tried another set than this version would",
                hint="go on with the version that began the study, or begin a new one with another --seed",
                code="other_trials",
            )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some trials of a batch; ``earlier`` are those of the batches before, by which trials are given up."""

    search: Search
    make: Make
    player: Player
    sessions: Sequence[Session]
    earlier: Sequence[Trial]

    def play(self, first: int, proposed: Sequence[Values]) -> list[Trial]:
        found: dict[int, Trial] = {}
        sets: dict[int, Parameters] = {}
        for number, values in enumerate(proposed, first):
            try:
                sets[number] = self.make(values)
            except (
                Exception
            ) as error:  # settings that do not fit together: the trial says so, the rest goes on
                found[number] = Trial(number, values, State.REFUSED, note=str(error))
        early = self._give_up(sets, proposed, first, found) if self.search.prunes else {}
        left = [number for number in sets if number not in found]
        for number, played in zip(
            left, self.player.play([sets[each] for each in left], self.sessions), strict=True
        ):
            found[number] = self._judged(
                number, proposed[number - first], sets[number], played, early=early.get(number)
            )
        return [found[number] for number in range(first, first + len(proposed))]

    def _give_up(
        self,
        sets: Mapping[int, Parameters],
        proposed: Sequence[Values],
        first: int,
        found: dict[int, Trial],
    ) -> dict[int, float]:
        """Play the first quarter and end what cannot come to anything; gives the others' objective there."""
        part = self.sessions[: max(1, len(self.sessions) // EARLY_SHARE)]
        known = [trial.early for trial in self.earlier if trial.early is not None]
        bar = median(known) if len(known) >= EARLY_TRIALS else -float("inf")
        early: dict[int, float] = {}
        for number, played in zip(sets, self.player.play(list(sets.values()), part), strict=True):
            trial = self._judged(number, proposed[number - first], sets[number], played)
            reached = score(self.search.objectives[0], trial.measures)
            reason = _beyond(self.search.requirements, trial)
            if not reason and reached < bar:
                reason = f"{self.search.objectives[0]} below the median after {len(part)} sessions"
            if reason and trial.state is State.DONE:
                found[number] = Trial(
                    number,
                    trial.values,
                    State.PRUNED,
                    trial.measures,
                    trial.gains_e8,
                    reason,
                    trial.unmet,
                    _finite(reached),
                )
            elif _finite(reached) is not None:
                early[number] = reached
        return early

    def _judged(
        self, number: int, values: Values, rules: Parameters, played: Played, *, early: float | None = None
    ) -> Trial:
        measures = measure(
            np.asarray(played.gains_e8), rules.start_equity_e8, trades=played.trades, wins=played.wins
        )
        return Trial(
            number=number,
            values=values,
            state=State.FAILED if played.failure else State.DONE,
            measures=measures,
            gains_e8=np.asarray(played.gains_e8),
            note=played.failure,
            unmet=tuple(each.text for each in self.search.requirements if not each.is_met(measures)),
            early=early,
        )


def _beyond(requirements: Sequence[Requirement], trial: Trial) -> str:
    """A requirement that more sessions cannot mend: the deepest drawdown only grows."""
    for each in requirements:
        if each.name == "max_drawdown" and each.operator.startswith("<") and not each.is_met(trial.measures):
            return f"{each.text} is missed already"
    return ""


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def best(trials: Sequence[Trial], objective: str) -> Trial | None:
    """Of the trials that may be chosen the best by a measure, the first of equals; None where there is none."""
    able = [
        trial for trial in trials if trial.is_eligible and score(objective, trial.measures) != -float("inf")
    ]
    return max(able, key=lambda trial: (score(objective, trial.measures), -trial.number), default=None)
