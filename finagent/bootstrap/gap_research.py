"""Research on gaps: how often they fill, how fast, where the day ends, and what came first, target or stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from finagent.backtest import intervals
from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.gap_groups import Grouping, group
from finagent.backtest.gaps import MULTIPLES, NEVER, NO, UNDECIDED, YES, GapQuestion, Gaps, chosen, find_gaps
from finagent.backtest.intervals import Estimate
from finagent.backtest.running import Bars, refuse_empty, refuse_unknown
from finagent.bootstrap import rules
from finagent.bootstrap.backtests import DATASETS, refused
from finagent.bootstrap.scales import percent_e6
from finagent.bootstrap.sessions import chosen_sessions
from finagent.context import Document, Json
from finagent.domain.gap import GapStyle
from finagent.domain.market import Session
from finagent.domain.money import ratio_number
from finagent.runtime.clock import SystemTicker
from finagent.settings import Settings

CONFIDENCE = 0.95
ASSUMED = (
    "entry at the opening price itself: no slippage, no fees, no limit on price or volume",
    "a gap counts as filled when a regular trade touches the adjusted previous close before the same close",
)
DAILY_ASSUMED = "open assumed known; a day that touched both stop and target does not tell which came first"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRequest:
    """Which gaps, and how they are grouped (``by`` one of ``WAYS``, None: all together); None: as the settings say."""

    first: str
    last: str
    symbols: tuple[str, ...] = ()
    by: str | None = None
    bars: str = "auto"
    min_gap_pct: Decimal | None = None
    stop_pct: Decimal | None = None


def gap_research(settings: Settings, home: Path, request: GapRequest) -> Document:
    """What became of the gaps of some sessions of the home's stored bars, with intervals.

    SurfaceError for a range without sessions or bars, an unknown symbol, a dataset that changed.
    """
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    started_ms = SystemTicker().monotonic_ms()
    rules.checked(settings)
    calendar = load_calendar(home)
    sessions = chosen_sessions(calendar, request.first, request.last)
    question = _question(settings, request)
    with refused():
        dataset = find_or_build(StoredMarket(home), calendar, home / DATASETS)
        refuse_unknown(dataset.symbols, question.symbols)
        refuse_empty(dataset, sessions, question.bars)
        found = find_gaps(dataset, sessions, question)
        gaps = found.gaps
        grouped = Grouping(("all",), np.zeros(len(gaps), np.int64))
        if request.by is not None:
            grouped = group(dataset, found, request.by)
        dataset.check_unchanged()
    groups = [_group(name, chosen(gaps, grouped.of == place)) for place, name in enumerate(grouped.names)]
    shown = [each for each in groups if each["n"]]
    return {
        "from": sessions[0].date,
        "to": sessions[-1].date,
        "by": request.by,
        "known": grouped.known,
        "symbols": None if question.symbols is None else [*question.symbols],
        "bars": question.bars.value,
        "min_gap_pct": ratio_number(question.min_gap_e6 * 100),
        "stop_pct": ratio_number(question.stop_e6 * 100),
        "style": settings.scan.style,
        "sessions": _sessions(dataset, sessions, question.bars),
        "n": len(gaps),
        "left_out": {reason: count for reason, count in found.left_out.items() if count},
        "confidence": CONFIDENCE,
        "intervals": {kind: intervals.SOURCES[kind] for kind in ("rate", "mean", "median")},
        "small": intervals.SMALL,
        "assumptions": [*ASSUMED, *([] if gaps.has_minutes.all() else [DAILY_ASSUMED])],
        "groups": [*shown],
        "dataset_id": dataset.dataset_id,
        "elapsed_ms": SystemTicker().monotonic_ms() - started_ms,
    }


def _question(settings: Settings, request: GapRequest) -> GapQuestion:
    gap_pct, stop_pct = request.min_gap_pct, request.stop_pct
    return GapQuestion(
        min_gap_e6=percent_e6(settings.scan.min_gap_pct if gap_pct is None else gap_pct),
        stop_e6=percent_e6(settings.planning.stop_pct if stop_pct is None else stop_pct),
        is_fade=rules.gap_rules(settings).style is GapStyle.FADE,
        bars=Bars(request.bars),
        symbols=tuple(sorted({symbol.upper() for symbol in request.symbols})) or None,
    )


def _sessions(dataset: Dataset, sessions: Sequence[Session], bars: Bars) -> Json:
    """How many were looked at by which bars, and how many have none."""
    rows = [dataset.rows[session.date] for session in sessions]
    by_minute = sum(bars is not Bars.DAILY and dataset.has_minutes(row) for row in rows)
    has_day = (dataset.daily.volume[rows[0] : rows[-1] + 1] != ABSENT).any(axis=1)
    by_day = 0
    if bars is not Bars.MINUTE:
        by_day = sum(
            bool(has_bar) and (bars is Bars.DAILY or not dataset.has_minutes(row))
            for row, has_bar in zip(rows, has_day, strict=True)
        )
    return {"minute": by_minute, "daily": by_day, "without": len(rows) - by_minute - by_day}


def _group(name: str, gaps: Gaps) -> Document:
    """One kind of gap: counts, rates, averages, and what came before the stop."""
    sessions = gaps.row
    took = gaps.minutes_to_fill[gaps.minutes_to_fill != NEVER]
    move = 100 * (gaps.close_e4 / gaps.open_e4 - 1)
    return {
        "group": name,
        "n": len(gaps),
        "sessions": int(np.unique(sessions).size),
        "is_small": len(gaps) < intervals.SMALL,
        "fill": _shown(intervals.rate(gaps.is_filled, sessions)),
        "half_fill": _shown(intervals.rate(gaps.is_half_filled, sessions)),
        "minutes_to_fill": {
            "n": int(took.size),
            "of": int((gaps.has_minutes & gaps.is_filled).sum()),
            **_shown(intervals.median(took.astype(np.float64)), name="median"),
        },
        "open_to_close_pct": _shown(intervals.mean(move, sessions), name="mean"),
        "with_gap_pct": _shown(intervals.mean(move * gaps.sign, sessions), name="mean"),
        "before_stop": [_before_stop(gaps, place) for place in range(len(MULTIPLES))],
    }


def _before_stop(gaps: Gaps, place: int) -> Json:
    """At least and at most so often: what bars do not tell lies between, and the interval is around both."""
    reached = gaps.reached[:, place]
    least = intervals.rate(reached == YES, gaps.row)
    most = intervals.rate(reached != NO, gaps.row)
    return {
        "r": MULTIPLES[place],
        "at_least": least.value,
        "at_most": most.value,
        "low": least.low,
        "high": most.high,
        "undecided": int((reached == UNDECIDED).sum()),
    }


def _shown(found: Estimate, *, name: str = "rate") -> dict[str, Json]:
    return {name: found.value, "low": found.low, "high": found.high}
