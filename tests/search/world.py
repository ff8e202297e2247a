"""A small search: a made-up market of three days, rules that values change, and a study of it in a folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars
from finagent.backtest.search.measures import requirement
from finagent.backtest.search.playing import Player
from finagent.backtest.search.space import Dimension, Values
from finagent.backtest.search.study import Search, Told, checked, run
from finagent.backtest.search.trials import Journal, Trial
from finagent.runtime.append_log import AppendLog
from tests.conformance.trading import DAY, FREE, lines
from tests.kernel.test_engine import LATER, three_days

SPACE = (
    Dimension("planning.target_r", tuple(str(number) for number in range(1, 9)), True),
    Dimension("planning.stop_pct", ("0.5", "1", "2", "3"), True),
)


def make(values: Values) -> Parameters:
    """The rules of a set; a stop of 0.5 % with a target of 8 R is refused."""
    stop, target = values.get("planning.stop_pct", "3"), values.get("planning.target_r", "3")
    if (stop, target) == ("0.5", "8"):
        raise ValueError("these do not fit together")
    planning = replace(FREE.planning, stop_e6=int(float(stop) * 10_000), target_r_e6=int(target) * 1_000_000)
    return replace(FREE, planning=planning)


def search(method: str = "grid", trials: int = 0, *, requires: Sequence[str] = (), **more: bool) -> Search:
    """What is searched."""
    return checked(
        Search(
            space=SPACE,
            method=method,
            trials=trials,
            seed=7,
            objectives=("return", "max_drawdown"),
            requirements=tuple(map(requirement, requires)),
            **more,
        ),
        3,
    )


def study(
    root: Path, asked: Search, *, name: str = "trials", workers: int = 1, told: Told | None = None
) -> list[Trial]:
    """Run it, or what is left of it."""
    dataset = three_days().dataset(root)
    journal = Journal.open(AppendLog(root / f"{name}.jsonl"))
    player = Player(dataset, lines, Bars.DAILY, workers)
    try:
        return run(asked, make, player, dataset.between(DAY, LATER), journal, told)
    finally:
        player.close()
