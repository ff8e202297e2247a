"""Progress on stderr: a live bar on a terminal, else one line for each session."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[str, int, int], None]


@contextmanager
def sessions(verb: str, stream: TextIO) -> Iterator[Progress]:
    """A function that is told each session as it begins, with its number and how many there are."""
    if not stream.isatty():
        yield lambda name, number, count: print(
            f"{verb}: session {name} ({number} of {count})", file=stream, flush=True
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
