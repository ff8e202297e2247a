"""Walk-forward: sessions in windows, each with a part in which a set is chosen and a part after it that judges it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from finagent.backtest.errors import BacktestError
from finagent.domain.market import Session


@dataclass(frozen=True, slots=True)
class Window:
    """Where a set is chosen, and where it is judged, both in order; no session is in both."""

    train: tuple[Session, ...]
    test: tuple[Session, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """``train`` sessions choose, the next ``test`` judge, then both move on by ``test``.

    ``purge`` sessions before each judging part are left out of the choosing: what is known there may still work in the
    part that judges. ``embargo`` sessions after each judging part are left out of later choosing, too: they still know
    of it. M. Lopez de Prado, "Advances in Financial Machine Learning" (2018), ch. 7.
    """

    train: int
    test: int
    purge: int = 0
    embargo: int = 0


def walk(text: str, *, purge: int, embargo: int) -> Walk:
    """A walk as it is written, ``504:126``; BacktestError for what is none."""
    found = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text.strip())
    train, test = (int(found[1]), int(found[2])) if found else (0, 0)
    if train < 1 or test < 1:
        raise BacktestError(
            f"--walk-forward {text}: no two numbers of sessions",
            hint="write how many choose and how many judge: 504:126",
            code="walk",
        )
    if purge >= train:
        raise BacktestError(
            f"--purge {purge} leaves nothing of {train} sessions", hint="give a smaller one", code="walk"
        )
    return Walk(train=train, test=test, purge=purge, embargo=embargo)


def windows(sessions: Sequence[Session], walk: Walk) -> list[Window]:
    """All windows that fit, the last judging part perhaps shorter; BacktestError where none does.

    What purge and embargo take away is not made up for: a choosing part is at most ``train`` sessions long.
    """
    found: list[Window] = []
    embargoed: set[str] = set()
    for first in range(walk.train, len(sessions), walk.test):
        train = sessions[first - walk.train : first - walk.purge]
        test = sessions[first : first + walk.test]
        kept = tuple(each for each in train if each.date not in embargoed)
        if not kept:
            raise BacktestError(
                f"--embargo {walk.embargo} leaves nothing to choose by before {test[0].date}",
                hint="give a smaller one, or more sessions to choose by",
                code="walk",
            )
        found.append(Window(kept, tuple(test)))
        after = sessions[first + walk.test : first + walk.test + walk.embargo]
        embargoed |= {each.date for each in after}
    if not found:
        raise BacktestError(
            f"{len(sessions)} sessions are no more than the {walk.train} that choose",
            hint="take a longer range or a shorter --walk-forward",
            code="walk",
        )
    return found
