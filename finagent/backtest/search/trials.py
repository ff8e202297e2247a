"""A trial: the set that was tried, what it came to, and its line in the study's journal."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from finagent.backtest.search.space import Values
from finagent.backtest.source import Ints
from finagent.runtime.append_log import AppendLog, Line


class State(StrEnum):
    """How a trial ended."""

    DONE = "done"
    PRUNED = "pruned"
    """Given up after its first sessions: it could no longer come to anything."""
    FAILED = "failed"
    """A rule failed on some day; the sessions before count."""
    REFUSED = "refused"
    """The settings do not fit together."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """``gains_e8``: of each session played, in 1e-8; ``measures``: None for what the sessions do not tell."""

    number: int
    values: Values
    state: State
    measures: Mapping[str, float | None] = field(default_factory=dict)
    gains_e8: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    note: str = ""
    """Why it was pruned, where it failed, what was refused."""
    unmet: tuple[str, ...] = ()
    """Requirements that it does not meet."""
    early: float | None = None
    """The first objective over the first sessions, where trials may be pruned there."""

    @property
    def is_eligible(self) -> bool:
        """Whether it may be chosen: played to its end, with every requirement met."""
        return self.state is State.DONE and not self.unmet


def as_line(trial: Trial) -> Line:
    """A trial as a line of the journal: of the same trial the same bytes."""
    packed = zlib.compress(np.asarray(trial.gains_e8, "<i8").tobytes(), 1)
    return {
        "number": trial.number,
        "values": dict(trial.values),
        "state": trial.state.value,
        "note": trial.note,
        "unmet": list(trial.unmet),
        "early": trial.early,
        "measures": dict(trial.measures),
        "gains": base64.b64encode(packed).decode(),
    }


def from_line(line: Line) -> Trial:
    """The trial of a line."""
    packed = base64.b64decode(str(line["gains"]))
    values, measures, unmet = line["values"], line["measures"], line["unmet"]
    assert isinstance(values, dict)
    assert isinstance(measures, dict)
    assert isinstance(unmet, list)
    early = line["early"]
    return Trial(
        number=int(str(line["number"])),
        values={str(name): str(text) for name, text in values.items()},
        state=State(str(line["state"])),
        measures={str(name): None if value is None else float(value) for name, value in measures.items()},
        gains_e8=np.frombuffer(zlib.decompress(packed), "<i8").astype(np.int64),
        note=str(line["note"]),
        unmet=tuple(map(str, unmet)),
        early=None if early is None else float(str(early)),
    )


@dataclass(slots=True, eq=False)
class Journal:
    """The trials of one search on the disk, in the order of their numbers; what is written outlives SIGKILL."""

    log: AppendLog
    trials: list[Trial] = field(default_factory=list)

    @classmethod
    def open(cls, log: AppendLog) -> "Journal":
        """With what is there; LogDamagedError for what no crash explains."""
        return cls(log, [from_line(line) for line in log.lines()])

    def append(self, trials: Sequence[Trial]) -> None:
        """On the disk when it returns."""
        self.log.extend([as_line(trial) for trial in trials])
        self.trials.extend(trials)
