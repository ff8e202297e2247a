"""A backtest as a job's worker computes it, which dies by SIGKILL as it comes to a session: HOME SESSION."""

import os
import signal
import sys
from pathlib import Path

from finagent.adapters.pool.child import Channel, TaskContext
from finagent.bootstrap.backtest_keeping import Checkpoints
from finagent.bootstrap.backtests import Request, backtest
from finagent.context import Document
from finagent.settings import Settings
from tests.contract.queue_world import ManualTicker
from tests.integration.data.market_files import FIRST, LAST


def tried(home: Path, told: list[str], *, dies_at: str = "") -> Document:
    """One try, which keeps where it stands after every session; ``told`` gets the sessions that it came to."""

    def show(session: str, number: int, count: int) -> None:
        told.append(session)
        if session == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with (home / "channel").open("wb") as channel:
        context = TaskContext(1, Channel(channel.fileno()), attempt=1, scratch=home / "scratch")
        keeper = Checkpoints(context, ManualTicker(), every_ms=0)
        request = Request(first=FIRST, last=LAST, engine="reference")
        return backtest(Settings(), home, request, progress=show, keeper=keeper)


if __name__ == "__main__":
    tried(Path(sys.argv[1]), [], dies_at=sys.argv[2])
