"""Progress on stderr: a live bar on a terminal, else one line for each session."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO, runtime_checkable

Progress = Callable[[str, int, int], None]


@runtime_checkable
class FileStep(Protocol):
    """How far an import has come: the file under way, its number, and how many there are."""

    @property
    def file(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def files(self) -> int: ...


@contextmanager
def steps(verb: str, stream: TextIO) -> Iterator[Progress]:
    """A function that is told each step as it begins, with its number and how many there are."""
    if not stream.isatty():
        yield lambda name, number, count: print(
            f"{verb}: {name} ({number} of {count})", file=stream, flush=True
        )
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    look = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*look, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(verb, total=None)

        def show(name: str, number: int, count: int) -> None:
            bar.update(task, description=f"{verb} {name}", completed=number - 1, total=count)

        yield show


MANY = 2_000
"""What has fewer is done before anybody looks."""


@contextmanager
def tenths(verb: str) -> Iterator[Progress]:
    """A function that is told how far something is, and says each tenth of what takes long as a line on stderr."""
    told: dict[str, int] = {}

    def show(name: str, done: int, total: int) -> None:
        reached = done * 10 // max(1, total)
        if total >= MANY and reached > told.get(name, 0):
            told[name] = reached
            print(f"{verb}: {reached * 10} % of {total} {name}", file=sys.stderr, flush=True)

    yield show


def by_file(progress: Progress) -> Callable[[object], None]:
    """Tell each file once, however often its rows are told."""
    told = ""

    def show(step: object) -> None:
        nonlocal told
        if isinstance(step, FileStep) and step.file != told:
            told = step.file
            progress(step.file, step.number, step.files)

    return show
