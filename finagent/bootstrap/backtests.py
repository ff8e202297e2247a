"""Backtests: settings become parameters, stored bars a dataset, the schedule each session's lines."""

from collections.abc import Sequence
from dataclasses import replace

from finagent.backtest.parameters import DayLines, Lines, Parameters, ScanLine
from finagent.bootstrap import rules
from finagent.domain.market import Session
from finagent.domain.steps import Step
from finagent.ports import CalendarPort
from finagent.services.schedule import (
    DAY_CLOSE,
    DAY_OPEN,
    FLATTEN,
    SCAN,
    DaySchedule,
    entry_windows,
    local_ms,
)
from finagent.settings import Settings


def parameters(settings: Settings) -> Parameters:
    """The rules of a run, exactly those that a replay under these settings follows."""
    profile = rules.risk_profile(settings, is_run=True)
    return Parameters(
        gap=rules.gap_rules(settings),
        weights=rules.score_weights(settings),
        planning=rules.planning_rules(settings),
        profile=profile,
        costs=rules.cost_rules(settings),
        ambiguity=rules.venue_rules(settings, profile).ambiguity,
        start_equity_e8=rules.start_equity_e8(settings),
        top=settings.scan.top,
        lookback_days=settings.news.lookback_days if settings.news.enabled else None,
        approval_delay_ms=settings.approval.simulated_delay_s * 1000,
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
    windows = [(window.start, window.end) for window in settings.schedule.entry_windows]
    lines = (*(scan.when for scan in scheduled.scans), *scheduled.flatten, scheduled.day_close)
    has_cron = any(" " in line for line in lines)
    known: dict[object, DayLines] = {}

    def of(session: Session) -> DayLines:
        midnight_ms = local_ms(session.date, "00:00", scheduled.zone)
        shape = (
            session.open_ms - midnight_ms,
            session.close_ms - midnight_ms,
            session.date in scheduled.no_trade_days,
            session.date if has_cron else "",
        )
        if shape not in known:
            known[shape] = _moved(_asked(schedule, session, windows, scheduled.zone), -midnight_ms)
        return _moved(known[shape], midnight_ms)

    return of


def _asked(
    schedule: DaySchedule, session: Session, windows: Sequence[tuple[str, str]], zone: str
) -> DayLines:
    """The lines of one session from the schedule itself."""
    scans: list[ScanLine] = []
    found: dict[str, list[int]] = {FLATTEN: [], DAY_OPEN: [], DAY_CLOSE: []}
    after_ms = local_ms(session.date, "00:00", zone) - 1
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
        windows=tuple(entry_windows(session, windows, zone, until_ms=schedule.flatten_start_ms(session))),
    )


def _moved(lines: DayLines, by_ms: int) -> DayLines:
    return DayLines(
        scans=tuple(replace(scan, at_ms=scan.at_ms + by_ms) for scan in lines.scans),
        flatten_ms=tuple(at_ms + by_ms for at_ms in lines.flatten_ms),
        day_open_ms=lines.day_open_ms + by_ms,
        day_close_ms=lines.day_close_ms + by_ms,
        windows=tuple((start + by_ms, end + by_ms) for start, end in lines.windows),
    )
