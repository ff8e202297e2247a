"""Backtests: settings become parameters, stored bars a dataset, the schedule each session's lines."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from finagent.backtest.errors import BacktestError
from finagent.backtest.going_on import Keeper
from finagent.backtest.holding import market_held
from finagent.backtest.metrics import course_of
from finagent.backtest.parameters import DayLines, Lines, Parameters, ScanLine
from finagent.backtest.running import Bars, Engine, run_backtest
from finagent.backtest.unplayed import has_minutes, refuse_unanswerable
from finagent.bootstrap import rules
from finagent.bootstrap.backtest_report import REPORT, keep, report
from finagent.bootstrap.identity import playing_identity
from finagent.bootstrap.sessions import chosen_sessions
from finagent.context import Document, SurfaceError
from finagent.domain.fills import Ambiguity
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.steps import Step
from finagent.ports import CalendarPort
from finagent.runtime.clock import SystemTicker
from finagent.services.schedule import (
    DAY_CLOSE,
    DAY_OPEN,
    FLATTEN,
    SCAN,
    DaySchedule,
    ScheduleRules,
    local_ms,
)
from finagent.settings import Settings

DATASETS = "datasets"
SECTIONS = (
    "account",
    "universe",
    "scan",
    "scoring",
    "planning",
    "risk",
    "approval",
    "execution",
    "schedule",
    "news",
    "backtest",
)
"""The settings that a result depends on."""
DAY_MS = 86_400_000
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which sessions are tested, on which bars, with which symbols (none: all), by which engine, and how many of the
    kernel's sessions the reference plays again, and how many sessions are played with another future.
    """

    first: str
    last: str
    bars: str = "auto"
    engine: str = "kernel"
    check: int = 0
    lookahead: int = 0
    symbols: tuple[str, ...] = ()
    at: str | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The symbols in capitals, each once, in order."""
        return tuple(sorted({symbol.upper() for symbol in self.symbols}))


def backtest(
    settings: Settings,
    home: Path,
    request: Request,
    *,
    progress: Progress | None = None,
    building: Callable[[str], None] | None = None,
    keeper: Keeper | None = None,
) -> Document:
    """Test the rules of the settings on the home's stored bars, and keep the result under ``reports/backtests``.

    SurfaceError for a range without sessions or bars, an unknown symbol, a dataset that changed, or a session in which
    the engines differ. A ``keeper`` has it go on where an earlier try stood.
    """
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    started_ms = SystemTicker().monotonic_ms()
    rules.checked(settings)
    calendar = load_calendar(home)
    sessions = chosen_sessions(calendar, request.first, request.last)
    bars = Bars(request.bars)
    wanted = request.wanted or None
    with refused():
        dataset = find_or_build(StoredMarket(home), calendar, home / DATASETS, told=building)
        own = replace(parameters(settings), symbols=wanted)
        refuse_unanswerable(dataset, own, sessions, bars)
        refuse_unheard(request.at, has_minutes=has_minutes(dataset, sessions, bars))
        result = run_backtest(
            dataset,
            own,
            day_lines(settings, calendar, at=request.at),
            sessions,
            bars=bars,
            engine=Engine(request.engine),
            check=request.check,
            lookahead=request.lookahead,
            version=playing_identity(),
            schedule=schedule_document(settings, request.at),
            told=progress,
            keeper=keeper,
        )
    elapsed_ms = SystemTicker().monotonic_ms() - started_ms
    market = market_held(dataset, course_of(result.ledger))
    document: Document = {
        **report(result, bars=bars, at=request.at, elapsed_ms=elapsed_ms),
        "market": None if market is None else {**market},  # type: ignore[dict-item]  # a list of numbers is Json
        "version": playing_identity(),
        "symbols": [*(wanted or ())],
        "at": request.at,
        "settings": settings_document(settings),
    }
    folder = keep(home, document, result)
    return {**document, "folder": str(folder), "report": str(folder / REPORT)}


def settings_document(settings: Settings) -> Document:
    """The settings that a result follows, by section: none of them is a secret, none only says who computes."""
    kept: Document = settings.model_dump(
        mode="json", include=set(SECTIONS), exclude={"backtest": {"workers", "memory_mb"}}
    )
    return kept


def refuse_unheard(at: str | None, *, has_minutes: bool) -> None:
    """BacktestError for a time of the scan where no session has minutes: it would change nothing."""
    if at is not None and not has_minutes:
        raise BacktestError(
            f"--at {at}: sessions on daily bars alone are scanned at their open",
            hint="leave --at out, or take sessions with minutes (finagent data list shows them)",
            code="needs_minutes",
        )


def schedule_document(settings: Settings, at: str | None) -> JsonData:
    """What a session's lines are made of, as a part of a result's name."""
    return asdict(rules.schedule_rules(settings, at=at))


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What a backtest refuses, as one line with the mend."""
    try:
        yield
    except BacktestError as error:
        raise SurfaceError(error.message, hint=error.hint, code=error.code) from None


def parameters(settings: Settings) -> Parameters:
    """The rules of a run, exactly those that a replay under these settings follows."""
    profile = rules.risk_profile(settings, is_run=True)
    return Parameters(
        gap=rules.gap_rules(settings),
        weights=rules.score_weights(settings),
        planning=rules.planning_rules(settings),
        profile=profile,
        costs=rules.cost_rules(settings),
        ambiguity=Ambiguity(settings.execution.ambiguity),
        start_equity_e8=rules.start_equity_e8(settings),
        top=settings.scan.top,
        lookback_days=settings.news.lookback_days if settings.news.enabled else None,
        approval_delay_ms=settings.approval.simulated_delay_s * 1000,
        max_price_age_ms=settings.approval.max_quote_age_s * 1000,
        entry_ttl_ms=settings.execution.entry_ttl_s * 1000,
        open_slippage_e6=int(settings.backtest.open_slippage_bps * 100),
    )


def day_lines(settings: Settings, calendar: CalendarPort, *, at: str | None = None) -> Lines:
    """What is due in each session, by the schedule that the agent itself follows.

    Sessions with the same hours have the same lines, so each shape of a day is asked for once; with five-field cron
    lines every date may differ.
    """
    scheduled = rules.schedule_rules(settings, at=at)
    schedule = DaySchedule(calendar, scheduled)
    lines = (*(scan.when for scan in scheduled.scans), *scheduled.flatten, scheduled.day_close)
    has_cron = any(" " in line for line in lines)
    known: dict[object, DayLines] = {}

    def of(session: Session) -> DayLines:
        midnight_ms = local_ms(session.date, "00:00", scheduled.zone)
        shape = (
            session.open_ms - midnight_ms,
            session.close_ms - midnight_ms,
            session.date in scheduled.no_trade_days,
            tuple(window for window in scheduled.no_trade_windows if window[0] == session.date),
            session.date if has_cron else "",
        )
        if shape not in known:
            known[shape] = _moved(_asked(schedule, session, scheduled), -midnight_ms)
        return _moved(known[shape], midnight_ms)

    return cache(of)  # a backtest asks four times for a session, a search in each of its trials


def _asked(schedule: DaySchedule, session: Session, rules: ScheduleRules) -> DayLines:
    """The lines of one session from the schedule itself."""
    scans: list[ScanLine] = []
    found: dict[str, list[int]] = {FLATTEN: [], DAY_OPEN: [], DAY_CLOSE: []}
    midnight_ms = local_ms(session.date, "00:00", rules.zone)
    after_ms = midnight_ms - 1
    while (at_ms := schedule.next_ms(after_ms)) is not None:
        ticks = schedule.due(after_ms, at_ms, now_ms=at_ms)
        due = [each for each in ticks if each.session == session.date]
        if not due:
            break
        for each in due:
            kind, _, name = each.tick.name.partition(":")
            if kind == SCAN:
                job = next((job for job in each.jobs if job.type == Step.SCAN), None)
                what = "" if job is None else str(job.payload["kind"])
                scans.append(ScanLine(at_ms, name, what, each.skipped))
            else:
                found[kind].append(at_ms)
        after_ms = at_ms
    return DayLines(
        scans=tuple(scans),
        flatten_ms=tuple(found[FLATTEN]),
        day_open_ms=found[DAY_OPEN][0],
        day_close_ms=found[DAY_CLOSE][0],
        windows=tuple(schedule.entry_windows(session)),
        no_trade=tuple(_no_trade(session, rules, midnight_ms)),
    )


def _no_trade(session: Session, rules: ScheduleRules, midnight_ms: int) -> list[tuple[int, int]]:
    """The whole of a no-trade day, else its windows."""
    if session.date in rules.no_trade_days:
        return [(midnight_ms, midnight_ms + DAY_MS)]
    return [
        (local_ms(date, start, rules.zone), local_ms(date, end, rules.zone))
        for date, start, end in rules.no_trade_windows
        if date == session.date
    ]


def _moved(lines: DayLines, by_ms: int) -> DayLines:
    return DayLines(
        scans=tuple(replace(scan, at_ms=scan.at_ms + by_ms) for scan in lines.scans),
        flatten_ms=tuple(at_ms + by_ms for at_ms in lines.flatten_ms),
        day_open_ms=lines.day_open_ms + by_ms,
        day_close_ms=lines.day_close_ms + by_ms,
        windows=tuple((start + by_ms, end + by_ms) for start, end in lines.windows),
        no_trade=tuple((start + by_ms, end + by_ms) for start, end in lines.no_trade),
    )
