"""Where a run stands between two sessions: enough to go on from there, in another process too."""

from dataclasses import dataclass
from typing import Protocol

from finagent.backtest.agenda import Agenda
from finagent.backtest.cells import Cell
from finagent.backtest.dataset import Dataset
from finagent.backtest.ledger import Ledger
from finagent.backtest.parameters import Parameters
from finagent.backtest.reference import Run
from finagent.backtest.stretches import Stretches
from finagent.backtest.venue import Venue


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """After ``sessions`` sessions: what was decided and done, and what waits; the data are not in it."""

    sessions: int
    ledger: Ledger
    venue: Venue
    agenda: Agenda
    cells: list[Cell]
    is_beyond: bool

    @classmethod
    def of(cls, run: Run, stretches: Stretches | None, sessions: int) -> "Standing":
        """Of a run between two sessions; it shares what the run goes on with, so it is kept at once or never."""
        return cls(
            sessions=sessions,
            ledger=run.ledger,
            venue=run.venue,
            agenda=run.agenda,
            cells=[] if stretches is None else stretches.cells,
            is_beyond=stretches is not None and stretches.is_beyond,
        )

    def run(self, dataset: Dataset, rules: Parameters) -> Run:
        """The run as it stood."""
        return Run(dataset, rules, self.ledger, self.venue, self.agenda)

    def hand_over(self, stretches: Stretches) -> None:
        """What the kernel had played by then."""
        stretches.cells, stretches.is_beyond = self.cells, self.is_beyond


class Keeper(Protocol):
    """Keeps where a run stands, so that what kills it does not cost all of it."""

    def kept(self, name: str) -> Standing | None:
        """The newest of an earlier try of the same question over the same data; None where it begins anew."""

    def keep(self, name: str, standing: Standing) -> None:
        """Called after every session; what comes too soon after the one before may be passed over."""
