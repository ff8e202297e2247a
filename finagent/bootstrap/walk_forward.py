"""A study's walk-forward: in each window a search of its own, and what its choice came to in the sessions after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finagent.backtest.search.measures import Floats, measure, returns_of
from finagent.backtest.search.playing import Played, Player
from finagent.backtest.search.study import Make, Search, Told, best, run
from finagent.backtest.search.trials import Journal, Trial
from finagent.backtest.search.walking import Window
from finagent.backtest.source import Ints
from finagent.context import Document, Json
from finagent.domain.market import Session


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """A window with its choice (None where no trial may be chosen) and what that did where it is judged."""

    window: Window
    choice: Trial | None
    played: Played | None


def walked(
    search: Search,
    make: Make,
    player: Player,
    windows: Sequence[Window],
    journal_of: Callable[[str], Journal],
    told: Callable[[int], Told | None],
) -> list[Walked]:
    """Search in each window's choosing part, then play the choice, from a whole account, in its judging part.

    Each search has a journal of its own: one that is killed goes on where it stopped.
    """
    found = []
    for number, window in enumerate(windows, 1):
        journal = journal_of(f"window-{number:03}")
        trials = run(search, make, player, window.train, journal, told(number))
        choice = best(trials, search.objectives[0])
        played = None if choice is None else player.play([make(choice.values)], window.test)[0]
        found.append(Walked(window, choice, played))
    return found


def walk_document(rows: Sequence[Walked], start_equity_e8: int) -> Document:
    """Each window, all judging parts joined to one course, and how much of the choosing parts' yearly return is left.

    The last is the walk-forward efficiency of R. Pardo, "The Evaluation and Optimization of Trading Strategies" (2008),
    ch. 11: null where the choosing parts lose on average, since a share of a loss says nothing.
    """
    joined = _joined(rows, start_equity_e8)
    trades = sum(row.played.trades for row in rows if row.played)
    wins = sum(row.played.wins for row in rows if row.played)
    outside = measure(joined, start_equity_e8, trades=trades, wins=wins)
    inside = [row.choice.measures.get("cagr") for row in rows if row.choice]
    known = [value for value in inside if value is not None]
    mean = float(np.mean(known)) if known else None
    cagr = outside["cagr"]
    equity = (np.cumsum(joined) + start_equity_e8) / start_equity_e8 - 1
    return {
        "windows": [_row(number, row, start_equity_e8) for number, row in enumerate(rows, 1)],
        "outside": dict(outside),
        "inside_cagr": mean,
        "efficiency": cagr / mean if mean is not None and mean > 0 and cagr is not None else None,
        "course": {
            "sessions": [session.date for row in rows for session in row.window.test],
            "return": equity.tolist(),
        },
    }


def _joined(rows: Sequence[Walked], start_equity_e8: int) -> Ints:
    """The judging parts' returns, one after the other, as gains of one account; 0 where nothing was chosen."""
    parts: list[Floats] = []
    for row in rows:
        returns = np.zeros(len(row.window.test))
        if row.played is not None:
            own = returns_of(row.played.gains_e8, start_equity_e8)
            returns[: len(own)] = own
        parts.append(returns)
    equity = start_equity_e8 * np.concatenate(([1.0], np.cumprod(1 + np.concatenate(parts))))
    found: Ints = np.diff(np.rint(equity).astype(np.int64))
    return found


def _row(number: int, row: Walked, start_equity_e8: int) -> Json:
    choice, played = row.choice, row.played
    outside: Json = None
    if played is not None:
        found = measure(played.gains_e8, start_equity_e8, trades=played.trades, wins=played.wins)
        outside = {**found}
    return {
        "window": number,
        "inside": _span(row.window.train),
        "outside": _span(row.window.test),
        "trial": None if choice is None else choice.number,
        "values": None if choice is None else dict(choice.values),
        "measures_inside": None if choice is None else dict(choice.measures),
        "measures_outside": outside,
        "failure": played.failure or None if played is not None else None,
    }


def _span(sessions: Sequence[Session]) -> Json:
    return {"from": sessions[0].date, "to": sessions[-1].date, "sessions": len(sessions)}
