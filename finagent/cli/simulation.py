"""The proof by simulation: ``finagent sim`` runs seeds of a world in which everything fails."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from finagent.cli import render_sim
from finagent.cli.failures import SIGNALLED, usage
from finagent.cli.invocation import answer, tell
from finagent.cli.options import AsJson
from finagent.cli.progress import steps
from finagent.context import Document

MOST_SEEDS = 1_000_000


def sim(
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="One seed.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="A..B", help="All seeds from A to B [0..99].")
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Tell what happened, line by line; with --seed.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Processes; default one a core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the agent in a simulated world of faults and crashes; exit 1 where a promise was broken."""
    chosen = _chosen(seed, seeds)
    if trace and len(chosen) != 1:
        raise usage("--trace tells one seed", "Name it with --seed N")
    if trace:
        from finagent.simulation.seeds import run_seed

        result = run_seed(chosen[0], keep_trace=True)
        print("\n".join(result.lines), file=sys.stderr if as_json else sys.stdout, flush=True)
    with _signals() as heard:
        document = _run(chosen, workers, lambda: bool(heard))
    answer(document, as_json=as_json, render=render_sim.sim)
    if document["partial"]:
        raise typer.Exit(SIGNALLED + heard[0])
    if document["violations"]:
        raise typer.Exit(1)


def _run(chosen: range, workers: int | None, is_stopped: Callable[[], bool]) -> Document:
    """Run the seeds; each broken promise is told as its seed ends."""
    from finagent.simulation.seeds import default_workers, run_seeds, shape
    from finagent.simulation.world import SeedResult

    with steps("sim", sys.stderr) as progress:
        told = -1

        def tell_seed(result: SeedResult, number: int, count: int) -> None:
            nonlocal told
            for each in result.violations:
                tell(f"sim: BROKEN seed {each.seed} step {each.step}  {each.invariant}  {each.detail}")
            percent = number * 20 // count
            if percent > told or count <= 20:
                told = percent
                progress(f"seed {result.seed}", number, count)

        report = run_seeds(
            chosen, workers=workers or default_workers(), told=tell_seed, is_stopped=is_stopped
        )
    return shape(report)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The Ctrl-C or SIGTERM that was heard: it ends the run between two seeds; a second one ends it as usual."""
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        put_back()

    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        put_back()


def _chosen(seed: int | None, seeds: str | None) -> range:
    """The seeds that were named."""
    if seed is not None and seeds is not None:
        raise usage("--seed and --seeds exclude each other", "Give one of them")
    if seed is not None:
        return range(seed, seed + 1)
    match = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", seeds or "0..99")
    if match is None:
        raise usage(f"--seeds {seeds} is no range", "Write it like 0..199")
    first, last = int(match[1]), int(match[2])
    if last < first or last - first >= MOST_SEEDS:
        raise usage(f"--seeds {seeds} names {last - first + 1} seeds", f"Name 1 to {MOST_SEEDS}, A <= B")
    return range(first, last + 1)
