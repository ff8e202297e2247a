"""The gap scan over a session of the dataset: whole columns sort out what cannot pass, the domain judges the rest."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finagent.backtest.averages import averages_by_column, sessions_needed
from finagent.backtest.dataset import ABSENT
from finagent.backtest.market import FEED, NO_HISTORY, Flags, SessionMarket
from finagent.backtest.source import Ints
from finagent.domain.gap import Candidate, DataIssue, Dropped, GapRules, Measured
from finagent.domain.gap_filters import averages_of, screen
from finagent.domain.gap_measure import measure
from finagent.domain.gap_scan import rank, second_look_rank
from finagent.domain.market import MINUTE_MS
from finagent.domain.money import RATIO_SCALE
from finagent.domain.scoring import ScoredCandidate, ScoreWeights, rank_scored, score

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A scan's result: every symbol of the universe is a candidate, dropped (by reason) or a data issue."""

    as_of_ms: int
    universe: int
    candidates: tuple[Candidate, ...]
    dropped: dict[str, int]
    issues: tuple[DataIssue, ...]


@dataclass(frozen=True, slots=True)
class _Sorted:
    """What whole columns can tell: symbols dropped by reason, and those that the domain has to look at."""

    universe: int
    dropped: dict[str, int]
    rest: list[int]


def scan_session(
    market: SessionMarket,
    as_of_ms: int,
    rules: GapRules,
    *,
    symbols: Collection[str] | None = None,
    is_second_look: bool = False,
) -> Scanned:
    """The scan as of an instant; ``symbols`` narrows the universe.

    Its candidates and the number of symbols dropped for each reason are those of the domain's own scan over every
    symbol.
    """
    found = _sort_out(market, as_of_ms, rules, symbols)
    dropped = dict(found.dropped)
    candidates: list[Candidate] = []
    issues: list[DataIssue] = []
    for outcome in _judged(
        market, [market.dataset.symbols[number] for number in found.rest], as_of_ms, rules
    ):
        if isinstance(outcome, Candidate):
            candidates.append(outcome)
        elif isinstance(outcome, DataIssue):
            issues.append(outcome)
        else:
            dropped[outcome.reason] = dropped.get(outcome.reason, 0) + 1
    ranked = rank(candidates)
    return Scanned(
        as_of_ms=as_of_ms,
        universe=found.universe,
        candidates=second_look_rank(ranked) if is_second_look else ranked,
        dropped=dict(sorted(dropped.items())),
        issues=tuple(sorted(issues, key=lambda issue: issue.symbol)),
    )


def score_candidates(
    market: SessionMarket,
    candidates: Sequence[Candidate],
    weights: ScoreWeights,
    *,
    as_of_ms: int,
    lookback_days: int | None,
    is_explained: bool = True,
) -> tuple[ScoredCandidate, ...]:
    """Scores in rank, in words too or not; ``lookback_days`` None: no texts and no earnings are known."""
    session, dataset = market.session, market.dataset
    before = dataset.session(session.previous)
    previous_close_ms = before.close_ms if before is not None else session.open_ms - DAY_MS
    since_ms = min(previous_close_ms, as_of_ms - (lookback_days or 0) * DAY_MS)
    has_news = lookback_days is not None
    return rank_scored(
        score(
            candidate,
            headlines=dataset.headlines(candidate.symbol, since_ms, as_of_ms) if has_news else (),
            earnings=dataset.earnings(candidate.symbol, session.previous, session.date) if has_news else (),
            weights=weights,
            as_of_ms=as_of_ms,
            previous_close_ms=previous_close_ms,
            is_explained=is_explained,
        )
        for candidate in candidates
    )


def _judged(
    market: SessionMarket, symbols: Sequence[str], as_of_ms: int, rules: GapRules
) -> Iterator[Candidate | Dropped | DataIssue]:
    """What the domain says of each symbol; the past is read of those alone whose gap is large enough."""
    measured: list[Measured] = []
    for snapshot in market.snapshots(symbols, as_of_ms):
        outcome = measure(
            snapshot,
            session=market.session,
            as_of_ms=as_of_ms,
            has_minutes=market.has_minutes,
            rules=rules,
        )
        if isinstance(outcome, Measured):
            measured.append(outcome)
        else:
            yield outcome
    known = averages_by_column(market, [each.symbol for each in measured], rules)
    others = [each.symbol for each, averages in zip(measured, known, strict=True) if averages is None]
    bars = dict(zip(others, market.past_bars(others, sessions_needed(rules)), strict=True))
    for each, averages in zip(measured, known, strict=True):
        if averages is None:
            averages = averages_of(each, bars[each.symbol], market.past_actions(each.symbol), rules)
        history = market.past_volumes(each.symbol, as_of_ms) if market.has_minutes else NO_HISTORY
        yield screen(each, history, rules=rules, feed=FEED, averages=averages)


def _sort_out(
    market: SessionMarket, as_of_ms: int, rules: GapRules, symbols: Collection[str] | None
) -> _Sorted:
    """Drop by column what needs no exact rational: no bar, no print, a gap that is surely too small."""
    dataset, row = market.dataset, market.row
    is_opened = as_of_ms >= market.session.open_ms + MINUTE_MS
    indication, reason_of = (_by_minutes if market.has_minutes else _by_day)(market, as_of_ms, is_opened)
    universe = market.universe | (reason_of.is_trading if market.has_minutes else False)
    universe = universe & _wanted(market, symbols)
    left = universe.copy()
    dropped: dict[str, int] = {}

    def drop(reason: str, which: Flags) -> None:
        nonlocal left
        count = int(np.count_nonzero(left & which))
        if count:
            dropped[reason] = dropped.get(reason, 0) + count
        left = left & ~which

    special = _special(market)
    drop("excluded", _numbered(market, rules.exclude))
    if row == 0:
        drop("no_prev_close", left & ~special)
        return _Sorted(int(np.count_nonzero(universe)), dropped, np.flatnonzero(left).tolist())
    previous = dataset.daily.close_e4[row - 1].astype(np.int64)
    ordinary = ~special
    drop("no_prev_close", ordinary & (dataset.daily.volume[row - 1] == ABSENT))
    for reason, which in reason_of.reasons:
        drop(reason, ordinary & which)
    official = dataset.daily.open_e4[row].astype(np.int64)
    has_official = (dataset.daily.volume[row] != ABSENT) & is_opened
    is_clean = ordinary & (indication > 0) & (previous > 0)
    is_clean &= ~has_official | ((official > 0) & (np.abs(official - indication) * 10 <= indication))
    is_small = np.abs(indication - previous) * RATIO_SCALE < rules.min_gap_e6 * previous
    drop("gap_below_min", is_clean & is_small)
    return _Sorted(int(np.count_nonzero(universe)), dropped, np.flatnonzero(left).tolist())


@dataclass(frozen=True, slots=True)
class _Reasons:
    """Symbols without an indication, by reason in the order in which the domain finds them."""

    is_trading: Flags
    reasons: tuple[tuple[str, Flags], ...]


def _by_minutes(market: SessionMarket, as_of_ms: int, is_opened: bool) -> tuple[Ints, _Reasons]:
    """The opening print, before the first minute has ended the close of the last pre-market bar."""
    minutes, offsets = market.dataset.minutes, market.dataset.minutes.offsets[market.minute_row]
    first, last = int(offsets[0]), int(offsets[-1])
    minute = minutes.minute[first:last]
    limit = (as_of_ms - MINUTE_MS - market.session.open_ms) // MINUTE_MS
    edges = offsets - first
    ended = _count_by_symbol(minute <= limit, edges)
    early = _count_by_symbol(minute < 0, edges)
    starts = edges[:-1]
    size = max(last - first, 1)
    if is_opened:
        at = np.minimum(starts + early, size - 1)
        has_print = (ended > early) & (minute[at] == 0) if last > first else ended > 0
        price = minutes.open_e4[first:last][at] if last > first else ended
        reasons = (("no_minutes", ~has_print & (ended == 0)), ("no_print", ~has_print))
        return np.where(has_print, price, 0).astype(np.int64), _Reasons(ended > 0, reasons)
    known = np.minimum(early, ended)
    at = np.maximum(starts + known - 1, 0)
    price = minutes.close_e4[first:last][at] if last > first else ended
    return np.where(known > 0, price, 0).astype(np.int64), _Reasons(
        ended > 0, (("no_premarket", known == 0),)
    )


def _by_day(market: SessionMarket, as_of_ms: int, is_opened: bool) -> tuple[Ints, _Reasons]:
    """The daily open, from the end of the first minute on."""
    daily = market.dataset.daily
    has_bar = daily.volume[market.row] != ABSENT
    reason = "no_print" if is_opened else "no_indication"
    price = np.where(has_bar, daily.open_e4[market.row], 0).astype(np.int64)
    return price, _Reasons(has_bar, ((reason, ~has_bar if is_opened else np.ones_like(has_bar)),))


def _count_by_symbol(which: Flags, edges: Ints) -> Ints:
    summed = np.concatenate(([0], np.cumsum(which, dtype=np.int64)))
    return summed[edges[1:]] - summed[edges[:-1]]


def _special(market: SessionMarket) -> Flags:
    """Symbols with an action today or any halt: the domain judges them from the start."""
    today = market.dataset.actions_on.get(market.session.date, {})
    return _numbered(market, [*today, *market.dataset.halts])


def _numbered(market: SessionMarket, symbols: Collection[str]) -> Flags:
    flags = np.zeros(len(market.dataset.symbols), np.bool_)
    for symbol in symbols:
        number = market.dataset.numbers.get(symbol)
        if number is not None:
            flags[number] = True
    return flags


def _wanted(market: SessionMarket, symbols: Collection[str] | None) -> Flags:
    if symbols is None:
        return np.ones(len(market.dataset.symbols), np.bool_)
    return _numbered(market, symbols)
