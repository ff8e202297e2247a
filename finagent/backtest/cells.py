"""A session by itself: with the account that it began with it is played once more, apart from its run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from finagent.backtest.dataset import Dataset
from finagent.backtest.ledger import Ledger
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.reference import Run
from finagent.domain.market import Session

SETTLING = 3
"""Sales of more sessions before have settled."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A session with the account it began with: enough to play it again."""

    session: Session
    has_minutes: bool
    equity_e8: int
    sold_before: Mapping[str, int]
    """By date what the sales of the last sessions before brought."""

    def played(self, dataset: Dataset, rules: Parameters, lines: Lines) -> Ledger:
        """The session alone by the reference engine."""
        run = Run.begin(dataset, replace(rules, start_equity_e8=self.equity_e8))
        run.ledger.carry_sales(self.sold_before)
        run.play(self.session, lines(self.session), use_minutes=self.has_minutes)
        return run.ledger
