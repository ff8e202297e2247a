"""Plants a bug into the running program, lets seeds look for it, and takes it out again."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from finagent.adapters.sqlite import facts
from finagent.simulation.silence import quiet
from finagent.simulation.world import SimulatedWorld


class MutantGoneError(Exception):
    """What a mutant changes is no longer there: plant it anew."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug in a sentence, the invariants of which one must be broken by it, and how it is planted.

    ``first_seed`` is the first of 0, 1, 2 ... that sees it. It only saves time: whatever it is, the others are tried
    after it.
    """

    bug: str
    seen_by: tuple[str, ...]
    plant: Callable[["Garden"], None]
    first_seed: int


class Garden:
    """Replaces names of the program and puts them back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put what ``make`` makes of a name in its place; MutantGoneError when there is none."""
        if not hasattr(owner, name):
            raise MutantGoneError(f"{owner} has no {name} any more")
        original = getattr(owner, name)
        self._undo.append(lambda: setattr(owner, name, original))
        setattr(owner, name, make(original))

    def writer(self, kind: type, make: Callable[[Any], Any]) -> None:
        """Put what ``make`` makes of the writer of a kind of facts in its place."""
        original = facts._apply.dispatch(kind)
        if original is facts._apply.dispatch(object):
            raise MutantGoneError(f"nothing writes {kind.__name__} any more")
        self._undo.append(lambda: facts._apply.register(kind, original) and None)
        facts._apply.register(kind, make(original))

    def clear(self) -> None:
        """Put everything back, the last first."""
        while self._undo:
            self._undo.pop()()


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The program with one bug."""
    garden = Garden()
    try:
        mutant.plant(garden)
        yield
    finally:
        garden.clear()


def seeing(mutant: Mutant, seeds: Iterable[int]) -> Iterator[int]:
    """The seeds that see the bug by an invariant that is meant for it."""
    for seed in seeds:
        with planted(mutant), quiet() as keeper:
            result = SimulatedWorld(seed, keeper=keeper).run()
        if any(each.invariant in mutant.seen_by for each in result.violations):
            yield seed
