"""Optimisation: the settings' rules with other values tried on stored bars, in a study that survives a kill."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from finagent.backtest.dataset import Dataset
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.running import Bars, Engine, refuse_empty, refuse_unknown, result_id
from finagent.backtest.search.measures import known, requirement
from finagent.backtest.search.playing import Player
from finagent.backtest.search.space import Dimension, Values, dimension
from finagent.backtest.search.study import Search, Told, best, checked, run
from finagent.backtest.search.trials import Journal, Trial
from finagent.backtest.search.walking import Window, walk, windows
from finagent.backtest.unplayed import as_daily, has_minutes, names, needs_minutes, refuse_unanswerable
from finagent.bootstrap import rules
from finagent.bootstrap.backtest_report import (
    DRILLED,
    EXITS_ATTACHED,
    MINUTE_STOP_FIRST,
    OPEN_ASSUMED,
    scanned_at,
)
from finagent.bootstrap.backtests import DATASETS, day_lines, parameters, refuse_unheard, refused
from finagent.bootstrap.identity import playing_identity
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.studies import Study, asked, held
from finagent.bootstrap.study_report import keep, report
from finagent.bootstrap.walk_forward import Walked, walk_document, walked
from finagent.context import Document, SurfaceError
from finagent.domain.errors import SettingsValueError
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Session
from finagent.runtime.clock import SystemTicker
from finagent.settings import Settings, SettingsError
from finagent.settings.tuning import value_of, with_values

Progress = Callable[[str, int, int], None]
SOBOL_TRIALS = 256
DECIDE_WHETHER = ("planning.preset", "planning.classic_entry", "planning.trail_after_r", "planning.trail_atr")
"""Settings of which some values need minutes: where they are varied, each set is judged alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an optimisation is asked; the same request over the same data and settings is the same study.

    ``trials`` 0: all of a grid, 256 of another method.
    """

    first: str
    last: str
    params: tuple[str, ...]
    method: str = "sobol"
    trials: int = 0
    seed: int = 7
    objectives: tuple[str, ...] = ("return", "max_drawdown")
    require: tuple[str, ...] = ()
    prunes: bool = False
    bars: str = "auto"
    symbols: tuple[str, ...] = ()
    at: str | None = None
    walk_forward: str = ""
    purge: int = 0
    embargo: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request with all that it means on this home."""

    request: Request
    study_id: str
    search: Search
    dataset: Dataset
    lines: Lines
    sessions: Sequence[Session]
    base: Parameters
    make: Callable[[Values], Parameters]
    windows: Sequence[Window] = ()


class InterruptedStudyError(KeyboardInterrupt):
    """Ctrl-C during a study: what was done is kept."""

    def __init__(self, study_id: str, done: int, trials: int) -> None:
        super().__init__(study_id)
        self.study_id, self.done, self.trials = study_id, done, trials


def optimize(
    settings: Settings, home: Path, request: Request, *, workers: int = 1, progress: Progress | None = None
) -> Document:
    """Try the sets of a request, those that are not tried yet, and keep the result under ``reports/optimize``.

    SurfaceError for what is asked wrongly, and for a study that another process works on; InterruptedStudyError at
    Ctrl-C. SettingsError for a setting that is none, or a value outside its bounds.
    """
    started_ms = SystemTicker().monotonic_ms()
    question = _asked(settings, home, request)
    with held(home, question.study_id, _as_document(request, question.study_id)) as study:
        trials, rows = _searched(question, study, workers, progress)
        document = report(question.search, trials, _facts(question), base=question.base)
        equity_e8 = question.base.start_equity_e8
        document["walk_forward"] = walk_document(rows, equity_e8) if rows else None
        elapsed_ms = SystemTicker().monotonic_ms() - started_ms
        keep(study, document)
    return {**document, "folder": str(study.folder), "elapsed_ms": elapsed_ms}


def resumed(settings: Settings, home: Path, study_id: str) -> Request:
    """What a study was asked; SurfaceError where settings, data or version are no longer those it began with."""
    document = asked(home, study_id)
    names = {field.name: field for field in fields(Request)}
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document.items()
        if name in names
    }
    request = Request(**given)  # type: ignore[arg-type]  # written by _as_document
    found = _asked(settings, home, request)
    if found.study_id != document["study_id"]:
        raise SurfaceError(
            f"study {document['study_id']} began with other settings, data or version than these",
            hint="bring those back, or begin a new study without --resume",
            code="changed_study",
        )
    return request


def chosen(settings: Settings, home: Path, study_id: str) -> tuple[Request, Mapping[str, str], str]:
    """The request of a study, the values of the trial that it chose, and the study's whole id."""
    request = resumed(settings, home, study_id)
    question = _asked(settings, home, request)
    with held(home, question.study_id, _as_document(request, question.study_id)) as study:
        trial = best(study.journal().trials, question.search.objectives[0])
    if trial is None:
        raise SurfaceError(
            f"study {question.study_id} has no trial that meets its requirements",
            hint="look at it with finagent optimize --resume ID",
            code="no_trial",
        )
    return request, trial.values, question.study_id


def _asked(settings: Settings, home: Path, request: Request) -> Asked:
    """Everything that can be wrong is found here, before anything is played."""
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    rules.checked(settings)
    calendar = load_calendar(home)
    sessions = chosen_sessions(calendar, request.first, request.last)
    bars = Bars(request.bars)
    wanted = tuple(sorted({symbol.upper() for symbol in request.symbols})) or None

    def make(values: Values) -> Parameters:
        try:
            return replace(parameters(with_values(settings, values)), symbols=wanted)
        except SettingsValueError as error:
            raise SettingsError(str(error)) from None

    with refused():
        space = tuple(dimension(spec, value_of) for spec in request.params)
        search = Search(
            space=_distinct(space, make),
            method=request.method,
            trials=request.trials or (0 if request.method == "grid" else SOBOL_TRIALS),
            seed=request.seed,
            objectives=tuple(known(name, option="--objective") for name in request.objectives),
            requirements=tuple(requirement(text) for text in request.require),
            prunes=request.prunes,
        )
        search = checked(search, len(sessions))
        steps = _windows(request, sessions)
        dataset = find_or_build(StoredMarket(home), calendar, home / DATASETS)
        base = make({})
        refuse_unknown(dataset.symbols, wanted)
        refuse_empty(dataset, sessions, bars)
        is_daily = not has_minutes(dataset, sessions, bars)
        if is_daily:
            _refuse_unplayed(search.space, make)
            if not any(each.name in DECIDE_WHETHER for each in search.space):
                refuse_unanswerable(dataset, base, sessions, bars)
        refuse_unheard(request.at, has_minutes=not is_daily)
    sets = _on_daily_bars(make) if is_daily else make
    lines = day_lines(settings, calendar, at=request.at)
    name = result_id(dataset, base, sessions, bars=bars, engine=Engine.KERNEL, version=playing_identity())
    parts = [name, asdict(request), [asdict(lines(session)) for session in sessions]]
    study_id = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return Asked(request, study_id, search, dataset, lines, sessions, base, sets, steps)


def _windows(request: Request, sessions: Sequence[Session]) -> Sequence[Window]:
    if request.walk_forward:
        return windows(sessions, walk(request.walk_forward, purge=request.purge, embargo=request.embargo))
    if request.purge or request.embargo:
        raise SurfaceError(
            "--purge and --embargo are of a walk-forward", hint="add --walk-forward 504:126", code="walk"
        )
    return ()


def _distinct(space: Sequence[Dimension], make: Callable[[Values], Parameters]) -> tuple[Dimension, ...]:
    """SurfaceError for a setting that stands there twice, or whose values change nothing in a backtest."""
    if not space:
        raise SurfaceError("nothing is varied", hint="add --param scan.min_gap_pct=2:8:1", code="param")
    for place, each in enumerate(space):
        if each.name in (other.name for other in space[:place]):
            raise SurfaceError(f"--param {each.name} stands there twice", hint="name it once", code="param")
        try:
            made = [make({each.name: text}) for text in (each.texts[0], each.texts[-1])]
        except SettingsError:  # it needs another one beside it
            continue
        if len(each.texts) > 1 and made[0] == made[1]:
            raise SurfaceError(
                f"{each.name} changes nothing in a backtest", hint="leave it out", code="param"
            )
    return tuple(space)


def _refuse_unplayed(space: Sequence[Dimension], make: Callable[[Values], Parameters]) -> None:
    """SurfaceError for a setting that daily bars never ask, whatever its value."""
    first = {each.name: each.texts[0] for each in space}
    for each in space:
        try:
            made = [as_daily(make({**first, each.name: text})) for text in (each.texts[0], each.texts[-1])]
        except SettingsError:  # these do not fit together
            continue
        if len(each.texts) > 1 and made[0] == made[1]:
            raise SurfaceError(
                f"{each.name} changes nothing on daily bars: it acts within the session",
                hint="leave it out, or take sessions with minutes",
                code="param",
            )


def _on_daily_bars(make: Callable[[Values], Parameters]) -> Callable[[Values], Parameters]:
    """A set that means nothing without minutes is refused."""

    def made(values: Values) -> Parameters:
        found = make(values)
        reason = needs_minutes(found)
        if reason is not None:
            raise SettingsError(f"{reason[0]} within the session, which daily bars alone do not show")
        return found

    return made


def _searched(
    question: Asked, study: Study, workers: int, progress: Progress | None
) -> tuple[list[Trial], list[Walked]]:
    """The search over all sessions, and one in each window of a walk-forward."""
    journals: list[Journal] = []

    def journal_of(name: str) -> Journal:
        journals.append(study.journal(name))
        return journals[-1]

    search, make = question.search, question.make
    player = Player(question.dataset, question.lines, Bars(question.request.bars), workers)
    try:
        with refused():
            trials = run(search, make, player, question.sessions, journal_of(""), _shown(question, progress))
            return trials, walked(
                search, make, player, question.windows, journal_of,
                lambda number: _shown(question, progress, number),
            )  # fmt: skip
    except KeyboardInterrupt:
        done, count = sum(len(each.trials) for each in journals), search.trials * (1 + len(question.windows))
        raise InterruptedStudyError(study.study_id, done, count) from None
    finally:
        player.close()


def _shown(question: Asked, progress: Progress | None, window: int = 0) -> Told | None:
    """Trials that are done, with the best so far; of all searches one after the other."""
    if progress is None:
        return None
    objective = question.search.objectives[0]

    def show(trials: Sequence[Trial], count: int) -> None:
        leader = best(trials, objective)
        value = None if leader is None else leader.measures[objective]
        words = "no trial yet" if value is None else f"best {objective} {value:.4g}"
        if window:
            words = f"window {window} of {len(question.windows)}, {words}"
        total = count * (1 + len(question.windows))
        progress(words, min(count * window + len(trials) + 1, total), total)

    return show


def _facts(question: Asked) -> Document:
    request = question.request
    return {
        "study_id": question.study_id,
        "from": question.sessions[0].date,
        "to": question.sessions[-1].date,
        "sessions": len(question.sessions),
        "bars": request.bars,
        "dataset_id": question.dataset.dataset_id,
        "assumptions": [*_assumed(question)],
    }


def _assumed(question: Asked) -> Iterator[str]:
    """What every trial takes for granted."""
    dataset, is_daily = question.dataset, question.request.bars == Bars.DAILY
    minutes = sum(dataset.has_minutes(dataset.rows[each.date]) for each in question.sessions)
    daily = len(question.sessions) - (0 if is_daily else minutes)
    if daily:
        yield OPEN_ASSUMED
        yield from scanned_at(question.request.at, daily)
        unseen = names(question.base)
        if unseen:
            yield f"not played on daily bars: {', '.join(unseen)}"
    yield EXITS_ATTACHED
    if _asks_minutes(question):
        yield from [DRILLED] if daily else []
        yield from [MINUTE_STOP_FIRST] if daily < len(question.sessions) else []


def _asks_minutes(question: Asked) -> bool:
    """Whether some trial asks the minutes about an ambiguous daily bar."""
    varied = [
        text for each in question.search.space if each.name == "execution.ambiguity" for text in each.texts
    ]
    return Ambiguity.MINUTES in (varied or [question.base.ambiguity])


def _as_document(request: Request, study_id: str) -> Document:
    plain: Document = json.loads(json.dumps(asdict(request)))
    return {"study_id": study_id, **plain}
