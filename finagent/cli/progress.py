"""Progress on stderr: a live bar on a terminal, else one line for each step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[str], None]


@contextmanager
def steps(verb: str, stream: TextIO) -> Iterator[Progress]:
    """A function that takes one line for each step of a long verb."""
    if not stream.isatty():
        yield lambda line: print(f"{verb}: {line}", file=stream, flush=True)
        return
    from rich.console import Console

    console = Console(file=stream)
    with console.status(f"{verb} …", spinner="dots") as status:

        def show(line: str) -> None:
            console.print(f"{verb}: {line}", markup=False, highlight=False)
            status.update(f"{verb} … after {line}")

        yield show
