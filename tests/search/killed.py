"""A study as a process of its own, which kills itself when so many trials are written down; run by its path."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from finagent.backtest.search import proposing
from finagent.backtest.search.trials import Trial
from tests.search.world import search, study

BATCH = 8


def main(root: Path, method: str, trials: int, kill_at: int) -> None:
    """Batches of eight, so that there is something between them."""

    def told(done: Sequence[Trial], count: int) -> None:
        if len(done) >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    proposing.Sobol.batch = proposing.Grid.batch = BATCH
    study(root, search(method, trials), told=told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
