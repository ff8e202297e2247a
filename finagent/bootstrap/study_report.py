"""A study as documents: what the command prints, and what is kept beside its journal."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from finagent.backtest.pages.study import study_page
from finagent.backtest.parameters import Parameters
from finagent.backtest.search.measures import MEASURES, front, score
from finagent.backtest.search.study import Search, best
from finagent.backtest.search.trials import State, Trial, as_line
from finagent.bootstrap.studies import RESULT, Study
from finagent.bootstrap.study_worth import scattered, sensitivity, worth
from finagent.context import Document, Json
from finagent.domain.money import money_text

TOP = 20
PAGE = "report.html"


def report(search: Search, trials: Sequence[Trial], facts: Document, *, base: Parameters) -> Document:
    """What was asked, how the trials ended, the best, the front of the objectives, and the statistics."""
    leading = search.objectives[0]
    ranked = sorted(
        (trial for trial in trials if trial.is_eligible),
        key=lambda trial: (-score(leading, trial.measures), trial.number),
    )
    winner = best(trials, leading)
    return {
        **facts,
        "method": search.method,
        "seed": search.seed,
        "params": [
            {"name": each.name, "values": len(each.texts), "from": each.texts[0], "to": each.texts[-1]}
            for each in search.space
        ],
        "objectives": [{"name": name, "better": MEASURES[name]} for name in search.objectives],
        "requirements": [each.text for each in search.requirements],
        "trials": _counts(search, trials),
        "trials_hash": trials_hash(trials),
        "best": None if winner is None else row(winner),
        "front": [row(ranked[at]) for at in front([each.measures for each in ranked], search.objectives)],
        "top": [row(trial) for trial in ranked[:TOP]],
        "failed": _failed(trials),
        "worth": worth(trials, winner, base.start_equity_e8),
        "sensitivity": sensitivity(search, trials),
        "points": scattered(trials),
        "start_equity": money_text(base.start_equity_e8),
    }


def _failed(trials: Sequence[Trial]) -> list[Json]:
    """Trials that a rule or the settings ended, the first of them."""
    ended = [trial for trial in trials if trial.state in (State.FAILED, State.REFUSED)]
    return [
        {"number": each.number, "values": dict(each.values), "state": each.state.value, "note": each.note}
        for each in ended[:TOP]
    ]


def row(trial: Trial) -> Json:
    """A trial for a reader: number, values, measures; its gains are in the journal."""
    return {
        "number": trial.number,
        "values": dict(trial.values),
        "state": trial.state.value,
        "measures": dict(trial.measures),
        "unmet": [*trial.unmet],
    }


def trials_hash(trials: Sequence[Trial]) -> str:
    """Over everything that the journal says of every trial: equal where two studies came to the same bits."""
    text = "\n".join(json.dumps(as_line(trial), sort_keys=True) for trial in trials)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(study: Study, document: Document) -> None:
    """The document and its page, beside the journal."""
    study.write(RESULT, json.dumps(document, ensure_ascii=False) + "\n")
    study.write(PAGE, study_page(document))


def _counts(search: Search, trials: Sequence[Trial]) -> Json:
    states = Counter(trial.state for trial in trials)
    return {
        "asked": search.trials,
        **{state.value: states[state] for state in State},
        "eligible": sum(trial.is_eligible for trial in trials),
    }
