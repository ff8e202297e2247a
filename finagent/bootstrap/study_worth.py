"""What a study's choice is worth, as a document: the deflated Sharpe ratio, overfitting, and what each setting does."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from finagent.backtest.search.measures import Floats, returns_of
from finagent.backtest.search.space import Dimension
from finagent.backtest.search.statistics import (
    deflated_sharpe,
    expected_best_sharpe,
    explained,
    groups,
    overfitting,
    probabilistic_sharpe,
    shape_of,
)
from finagent.backtest.search.study import Search
from finagent.backtest.search.trials import State, Trial
from finagent.context import Document, Json

MOST_COLUMNS = 2_000
"""Of more trials so many, evenly, are cross-validated."""
MOST_GROUPS = 10
MOST_MAPPED = 4
"""Settings of which each pair has a map."""
HISTOGRAM = 21


def worth(trials: Sequence[Trial], winner: Trial | None, start_equity_e8: int) -> Document:
    """``{deflated_sharpe, overfitting}``, each null where the trials are too few to tell."""
    done = [trial for trial in trials if trial.state is State.DONE and len(trial.gains_e8)]
    return {
        "deflated_sharpe": None if winner is None else _deflated(done, winner, start_equity_e8),
        "overfitting": _overfitting(done, start_equity_e8),
    }


def _deflated(done: Sequence[Trial], winner: Trial, start_equity_e8: int) -> Json:
    shapes = [shape_of(returns_of(trial.gains_e8, start_equity_e8)) for trial in done]
    sharpes = [shape.sharpe for shape in shapes if shape is not None]
    shape = shape_of(returns_of(winner.gains_e8, start_equity_e8))
    if shape is None or len(sharpes) < 2:
        return None
    variance = float(np.var(sharpes, ddof=1))
    year = 252**0.5
    return {
        "probability": deflated_sharpe(shape, variance=variance, trials=len(sharpes)),
        "undeflated": probabilistic_sharpe(shape, 0.0),
        "sharpe": shape.sharpe * year,
        "sharpe_without_skill": expected_best_sharpe(variance, len(sharpes)) * year,
        "trials": len(sharpes),
        "sessions": shape.count,
        "skew": shape.skew,
        "kurtosis": shape.kurtosis,
    }


def _overfitting(done: Sequence[Trial], start_equity_e8: int) -> Json:
    taken = done[:: max(1, -(-len(done) // MOST_COLUMNS))]
    if len(taken) < 2:
        return None
    columns: list[Floats] = [returns_of(trial.gains_e8, start_equity_e8) for trial in taken]
    found = overfitting(np.column_stack(columns))
    if found is None:
        return None
    counts, edges = np.histogram(found.logits, bins=HISTOGRAM)
    return {
        "probability": found.probability,
        "loss_probability": found.loss_probability,
        "degradation": found.degradation,
        "blocks": found.blocks,
        "splits": found.splits,
        "trials": len(taken),
        "logits": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def sensitivity(search: Search, trials: Sequence[Trial]) -> Document:
    """How the first objective depends on each setting, and on each pair of the first ones, over the trials played."""
    leading = search.objectives[0]
    done = [
        trial for trial in trials if trial.state is State.DONE and trial.measures.get(leading) is not None
    ]
    values = [float(trial.measures[leading] or 0) for trial in done]
    labels = {each.name: _labelled(each, done) for each in search.space}
    orders = {each.name: _order(each) for each in search.space}
    mapped = [each.name for each in search.space if len(each.texts) > 1][:MOST_MAPPED]
    return {
        "measure": leading,
        "trials": len(done),
        "settings": [
            {
                "name": each.name,
                "explained": explained(labels[each.name], values),
                "groups": [
                    {"value": g.label, "trials": g.count, "mean": g.mean, "median": g.median, "best": g.best}
                    for g in groups(labels[each.name], values, orders[each.name])
                ],
            }
            for each in search.space
        ],
        "maps": [_map(one, other, labels, orders, values) for one, other in combinations(mapped, 2)],
    }


def _map(
    one: str,
    other: str,
    labels: dict[str, list[str]],
    orders: dict[str, list[str]],
    values: Sequence[float],
) -> Json:
    """The median of the trials of each pair of values, null where there is none."""
    cells: dict[tuple[str, str], list[float]] = {}
    for x, y, value in zip(labels[one], labels[other], values, strict=True):
        cells.setdefault((x, y), []).append(value)
    table: list[Json] = [
        [float(np.median(found)) if (found := cells.get((x, y))) else None for x in orders[one]]
        for y in orders[other]
    ]
    return {"x": one, "y": other, "xs": [*orders[one]], "ys": [*orders[other]], "medians": table}


def _bins(each: Dimension) -> int:
    """How many values share a label: one, where there are few or they are choices."""
    if not each.is_ordered or len(each.texts) <= MOST_GROUPS:
        return 1
    return -(-len(each.texts) // MOST_GROUPS)


def _label(each: Dimension, place: int) -> str:
    size = _bins(each)
    if size == 1:
        return each.texts[place]
    first = place // size * size
    return f"{each.texts[first]} to {each.texts[min(first + size, len(each.texts)) - 1]}"


def _order(each: Dimension) -> list[str]:
    return [_label(each, place) for place in range(0, len(each.texts), _bins(each))]


def _labelled(each: Dimension, trials: Sequence[Trial]) -> list[str]:
    places = {text: place for place, text in enumerate(each.texts)}
    return [_label(each, places[trial.values[each.name]]) for trial in trials]


def scattered(trials: Sequence[Trial]) -> Json:
    """Every trial played as a point of the first two objectives, for a chart; evenly fewer where there are many."""
    done = [trial for trial in trials if trial.state is State.DONE]
    taken = done[:: max(1, -(-len(done) // MOST_COLUMNS))]
    return {
        "number": [trial.number for trial in taken],
        **{
            name: [trial.measures.get(name) for trial in taken]
            for name in ("return", "max_drawdown", "sharpe")
        },
        "eligible": [trial.is_eligible for trial in taken],
    }
