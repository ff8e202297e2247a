"""Stress: a result, a study's choice or the settings in force, in worse worlds and other orders; kept with a page."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from finagent.backtest.pages.stress import stress_page
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.backtest.scratch import scratch
from finagent.backtest.search.measures import YEAR, measure, returns_of
from finagent.backtest.search.playing import Played, as_played
from finagent.backtest.stress.resampling import (
    bootstrap,
    interval,
    reshuffled,
    sharpes,
    worst_stretch,
)
from finagent.backtest.stress.shocks import Base, Shocked, shocks
from finagent.backtest.unplayed import has_minutes, refuse_unanswerable
from finagent.bootstrap import backtest_store, optimizing, rules
from finagent.bootstrap.backtest_report import assumptions
from finagent.bootstrap.backtests import (
    DATASETS,
    day_lines,
    parameters,
    refuse_unheard,
    refused,
    schedule_document,
)
from finagent.bootstrap.identity import playing_identity
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.studies import FOLDER as STUDIES
from finagent.context import Document, Json, SurfaceError
from finagent.domain.money import money_text
from finagent.domain.positions import ExitReason
from finagent.runtime.clock import SystemTicker
from finagent.runtime.files import write_whole
from finagent.settings import Settings
from finagent.settings.tuning import with_values

FOLDER = Path("reports") / "stress"
STRETCHES = (1, 5, 21, 63, 252)
HISTOGRAM = 40
LEAST_BLOCKS = 10
"""A block is at most this part of the sessions: longer ones would only repeat them."""
Progress = Callable[[str, int, int], None]
STEPS = 8
"""About so many things are told while it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is stressed (sessions, or the id of a result or a study) and how."""

    of: str = ""
    first: str = ""
    last: str = ""
    bars: str = "auto"
    symbols: tuple[str, ...] = ()
    at: str | None = None
    paths: int = 10_000
    years: int = 10
    block: int = 21
    confidence_pct: int = 95
    seed: int = 7


def stress(
    settings: Settings, home: Path, request: Request, *, workers: int = 1, progress: Progress | None = None
) -> Document:
    """Play it again under shocks, and draw paths from its sessions; kept under ``reports/stress``.

    SurfaceError for an id that is none, or whose settings or data are no longer those in force, and for a range in
    which nothing was traded.
    """
    started_ms = SystemTicker().monotonic_ms()
    told = _counted(progress)
    with refused():
        base, source = _base(settings, home, request, workers, told)
        with scratch(home / DATASETS, "stress") as folder:
            shocked = list(shocks(base, seed=request.seed, folder=folder, told=told))
        told("paths")
        document = _document(base, shocked, request, source)
        base.dataset.check_unchanged()
    where = _keep(home, document)
    elapsed_ms = SystemTicker().monotonic_ms() - started_ms
    return {**document, "folder": str(where), "elapsed_ms": elapsed_ms}


def _counted(progress: Progress | None) -> Callable[[str], None]:
    count = 0

    def told(what: str) -> None:
        nonlocal count
        count += 1
        if progress is not None:
            progress(what, min(count, STEPS), STEPS)

    return told


def _base(
    settings: Settings, home: Path, request: Request, workers: int, told: Callable[[str], None]
) -> tuple[Base, Document]:
    """What is stressed, played once."""
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    rules.checked(settings)
    asked, values, source = _source(settings, home, request)
    told("base")
    calendar = load_calendar(home)
    sessions = chosen_sessions(calendar, asked.first, asked.last)
    bars = Bars(asked.bars)
    wanted = tuple(sorted({symbol.upper() for symbol in asked.symbols})) or None
    own = replace(parameters(with_values(settings, values)), symbols=wanted)
    dataset = find_or_build(StoredMarket(home), calendar, home / DATASETS)
    lines = day_lines(settings, calendar, at=asked.at)
    refuse_unanswerable(dataset, own, sessions, bars)
    refuse_unheard(asked.at, has_minutes=has_minutes(dataset, sessions, bars))
    result = run_backtest(
        dataset,
        own,
        lines,
        sessions,
        bars=bars,
        engine=Engine.KERNEL,
        version=playing_identity(),
        schedule=schedule_document(settings, asked.at),
    )
    _refuse_other(source, result)
    if result.failure is not None:
        raise SurfaceError(
            f"a rule fails in {result.failure.session}: {result.failure.error}",
            hint="end the range before it, or mend the rule",
            code="partial",
        )
    if not result.ledger.trades:
        raise SurfaceError(
            f"no trade from {asked.first} to {asked.last}", hint="take a longer range", code="no_trades"
        )
    heard: Document = {} if asked.at is None else {"at": asked.at}
    return Base(dataset, own, lines, sessions, bars, result, workers), {**source, **heard}


def _source(settings: Settings, home: Path, request: Request) -> tuple[Request, Mapping[str, str], Document]:
    """The sessions, the values that differ from the settings, and what a reader is told of both."""
    if not request.of:
        return request, {}, {"kind": "settings"}
    is_study = any((home / STUDIES).glob(f"{request.of}*/study.json")) if request.of.isalnum() else False
    if is_study:
        study, values, study_id = optimizing.chosen(settings, home, request.of)
        asked = replace(
            request, first=study.first, last=study.last, bars=study.bars, symbols=study.symbols, at=study.at
        )
        return asked, values, {"kind": "study", "id": study_id, "values": dict(values)}
    found = backtest_store.load_result(home, request.of)
    symbols, at = found["symbols"], found["at"]
    asked = replace(
        request,
        first=str(found["from"]),
        last=str(found["to"]),
        bars=str(found["bars"]),
        symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
        at=None if at is None else str(at),
    )
    return asked, {}, {"kind": "backtest", "id": found["result_id"]}


def _refuse_other(source: Document, result: Result) -> None:
    if source["kind"] == "backtest" and source["id"] != result.result_id:
        raise SurfaceError(
            f"result {source['id']} was made by other settings, data, symbols or version than these",
            hint="bring those back, or stress what is in force: finagent stress --from D --to D",
            code="changed_result",
        )


def _document(base: Base, shocked: Sequence[Shocked], request: Request, source: Document) -> Document:
    played = as_played(base.result)
    returns = returns_of(played.gains_e8, base.rules.start_equity_e8)
    confidence = request.confidence_pct / 100
    sessions = [session.date for session in base.sessions]
    trades = base.result.ledger.trades
    start = base.rules.start_equity_e8
    block = max(1, min(request.block, len(returns) // LEAST_BLOCKS))
    paths = bootstrap(
        returns, paths=request.paths, sessions=request.years * YEAR, block=block, seed=request.seed
    )
    again = bootstrap(returns, paths=request.paths, sessions=len(returns), block=block, seed=request.seed + 1)
    ratios = sharpes(returns, paths=request.paths, block=block, seed=request.seed + 2)
    orders = reshuffled(
        [trade.pnl_e8 for trade in trades], start, orders=request.paths, seed=request.seed + 3
    )
    document: Document = {
        "source": source,
        "from": sessions[0],
        "to": sessions[-1],
        "sessions": len(sessions),
        "bars": base.bars.value,
        "assumptions": [*assumptions(base.result, at if isinstance(at := source.get("at"), str) else None)],
        "dataset_id": base.dataset.dataset_id,
        "seed": request.seed,
        "confidence_pct": request.confidence_pct,
        "base": _measured(played, start),
        "shocks": [_shock(each, played, start) for each in shocked],
        "intervals": {
            "return": _plain(interval(again.returns, confidence)),
            "max_drawdown": _plain(interval(again.drawdowns, confidence)),
            "sharpe": _plain(interval(ratios, confidence)),
        },
        "paths": {
            "paths": request.paths,
            "years": request.years,
            "block": block,
            "return": _plain(interval(paths.returns, confidence)),
            "max_drawdown": _plain(interval(paths.drawdowns, confidence)),
            "loss_probability": float((paths.returns < 0).mean()),
            "half_lost_probability": float((paths.drawdowns >= 0.5).mean()),
            "returns": _histogram(paths.returns),
            "drawdowns": _histogram(paths.drawdowns),
        },
        "reshuffled": {
            "orders": request.paths,
            "trades": len(trades),
            "stops": sum(trade.exit_reason is ExitReason.STOP for trade in trades),
            "max_drawdown": _plain(interval(orders, confidence)),
            "drawdowns": _histogram(orders),
        },
        "worst": _worst(base, played, sessions),
    }
    text = json.dumps([asdict(request), document], sort_keys=True)
    return {"stress_id": hashlib.sha256(text.encode()).hexdigest()[:16], **document}


def _measured(played: Played, start_equity_e8: int) -> Document:
    found = measure(played.gains_e8, start_equity_e8, trades=played.trades, wins=played.wins)
    return {"pnl": money_text(int(played.gains_e8.sum())), **found}


def _shock(shocked: Shocked, base: Played, start_equity_e8: int) -> Json:
    row: Document = {"name": shocked.name, "how": shocked.how, "words": shocked.words}
    if shocked.played is None:
        return {**row, "applies": False, "measures": None, "pnl_change": None, "failure": None}
    change = int(shocked.played.gains_e8.sum()) - int(base.gains_e8.sum())
    return {
        **row,
        "applies": True,
        "measures": _measured(shocked.played, start_equity_e8),
        "pnl_change": money_text(change),
        "failure": shocked.played.failure or None,
    }


def _worst(base: Base, played: Played, dates: Sequence[str]) -> list[Json]:
    """The worst stretch of each length that there is."""
    found: list[Json] = []
    for length in STRETCHES:
        stretch = worst_stretch(played.gains_e8, base.rules.start_equity_e8, length)
        if stretch is not None:
            row: Document = {"sessions": length, "from": dates[stretch.first], "to": dates[stretch.last]}
            found.append({**row, "return": stretch.result})
    return found


def _plain(found: Mapping[str, float] | None) -> Json:
    return None if found is None else dict(found)


def _histogram(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Json:
    """The middle 99 of 100 values, for a chart."""
    if not len(values):
        return None
    low, high = np.quantile(values, (0.005, 0.995)).tolist()
    counts, edges = np.histogram(np.clip(values, low, high), bins=HISTOGRAM)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _keep(home: Path, document: Document) -> Path:
    folder = home / FOLDER / str(document["stress_id"])
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "result.json", (json.dumps(document, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "report.html", stress_page(document).encode())
    return folder
