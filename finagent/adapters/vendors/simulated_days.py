"""The daily story of the made-up market: who gaps, why a gapper would be dropped, each day's exact daily bar.

A close is base * exp(sum over the last 128 weekdays of w(k) * r(t - k)) with w falling linearly from 1 to 0:
recent returns count in full, old ones are forgotten, so the price stays within bounds and no chain has to be
followed.
"""

from dataclasses import dataclass

import numpy as np

from finagent.adapters.vendors.simulated_noise import Flags, Floats, Ints, Noise
from finagent.adapters.vendors.simulated_universe import (
    BLOCK,
    INDEX,
    LIQUID,
    LOW_ADV,
    MEGA,
    PENNY,
    PRICEY,
    SMALL,
    WIDE,
    Universe,
    weekday_date,
    weekday_number,
)
from finagent.domain.market import Session
from finagent.domain.money import PRICE_SCALE
from finagent.ports import CalendarPort

MEMORY = 128
"""Weekdays after which a return is forgotten."""
_SLACK = 10
"""Weekdays in which every calendar has a session, to find the one before a block."""
_LOG_SCALE = 1_000_000_000
PREMARKET_MINUTES = 330

(IDLE, GOOD, FEW_TRADES, STALE, THIN_VOLUME, NEWS_HALT, LOW_RVOL, WIDE_SPREAD, POOR, CHEAP, DEAR) = range(11)
TREND, FADE, SIDEWAYS = range(3)
_EXTRAS = (
    (LOW_RVOL, 0.40),
    (WIDE_SPREAD, 0.45),
    (POOR, 0.40),
    (CHEAP, 0.35),
    (DEAR, 0.20),
    (FEW_TRADES, 0.30),
    (STALE, 0.30),
    (THIN_VOLUME, 0.35),
    (NEWS_HALT, 0.25),
)
_MOST_EXTRAS = 5
NO_HALT = -100_000
"""Both ends of a halt that does not happen, in minutes from the open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The sessions of one block; arrays are [session, symbol], prices raw, volumes in shares."""

    sessions: tuple[Session, ...]
    rows: dict[str, int]
    weekday: Ints
    role: Ints
    path: Ints
    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints
    prior_e4: Floats
    """Close of the session before, adjusted by this session's action."""
    dividend_e4: Ints
    split_ratio: Ints
    premarket_volume: Ints
    premarket_slot: Ints
    premarket_last: Ints
    """Minutes from 04:00 after which nothing more trades before the open."""
    news_minute: Ints
    """Minute from 04:00 at which the story is out; -1 when it was out the evening before."""
    halt_from: Ints
    halt_to: Ints
    spread_bps: Floats


@dataclass(frozen=True, slots=True)
class _Story:
    """Who gaps on each day, with log returns overnight and in the session."""

    role: Ints
    path: Ints
    gap: Floats
    move: Floats


def round_tick(price_e4: Floats) -> Ints:
    """The nearest price on the tick grid, at least one tick."""
    cents = np.rint(price_e4 / 100).astype(np.int64) * 100
    fine = np.maximum(1, np.rint(price_e4).astype(np.int64))
    return np.where(cents >= PRICE_SCALE, cents, np.minimum(fine, PRICE_SCALE))


def make_days(universe: Universe, calendar: CalendarPort, block: int) -> Days:
    """All sessions of a block of weekdays, from the calendar and the universe alone."""
    start = block * BLOCK
    first = start - _SLACK - MEMORY
    sessions = tuple(calendar.sessions(weekday_date(first), weekday_date(start + BLOCK - 1)))
    weekday = np.array([weekday_number(session.date) for session in sessions], dtype=np.int64)
    noise = Noise(universe.seed)
    story = _story(universe, noise, weekday)
    fair = _fair_prices(universe, story, weekday, first)
    begin = max(1, int(np.searchsorted(weekday, start)))  # a calendar's first session follows none
    keep = slice(begin, None)
    shares = np.where(weekday[:, None] < universe.split_day, universe.split_ratio, 1)
    raw = round_tick(fair * shares * PRICE_SCALE)
    days, before = weekday[keep, None], weekday[begin - 1 : -1, None]
    ratio = np.where((before < universe.split_day) & (universe.split_day <= days), universe.split_ratio, 1)
    due = (days - universe.dividend_phase) // BLOCK > (before - universe.dividend_phase) // BLOCK
    dividend = np.where(due, universe.dividend_e4, 0)
    prior = (raw[begin - 1 : -1] - dividend) / ratio
    close = raw[keep]
    opening = round_tick(prior * np.exp(story.gap[keep]))
    high, low = _extremes(universe, noise, story.role[keep], days, opening, close)
    role = story.role[keep]
    half = np.array([session.is_half_day for session in sessions[begin:]], dtype=np.bool_)[:, None]
    volume, early = _volumes(universe, noise, role, days, half)
    halt_from, halt_to = _halts(universe, noise, role, days)
    slot = np.where(role == IDLE, universe.quiet_slot, 1)
    last = np.full(role.shape, PREMARKET_MINUTES, dtype=np.int64)
    last = np.where(role == STALE, 280 + noise.below("stale", _one(25), days, universe.ids), last)
    return Days(
        sessions=sessions[begin:],
        rows={session.date: row for row, session in enumerate(sessions[begin:])},
        weekday=weekday[keep],
        role=role,
        path=story.path[keep],
        open_e4=opening,
        high_e4=high,
        low_e4=low,
        close_e4=close,
        volume=volume,
        prior_e4=prior,
        dividend_e4=dividend,
        split_ratio=ratio,
        premarket_volume=early,
        premarket_slot=np.where(role == FEW_TRADES, 110, slot),
        premarket_last=np.where(role == NEWS_HALT, PREMARKET_MINUTES - 20, last),
        news_minute=_news_minutes(universe, noise, role, days),
        halt_from=halt_from,
        halt_to=halt_to,
        spread_bps=universe.spread_bps * (0.85 + 0.3 * noise.unit("spread", days, universe.ids)),
    )


def _one(value: int) -> Ints:
    return np.array([value], dtype=np.int64)


def _story(universe: Universe, noise: Noise, weekday: Ints) -> _Story:
    """Roles and returns; an idle stock never gaps by 3 %, a gapper always by more than 4.5 %."""
    days, ids = weekday[:, None], universe.ids
    role = _roles(universe, noise, weekday)
    path = np.searchsorted(np.array([0.36, 0.70]), noise.unit("path", days, ids), side="right")
    market_gap = 0.0035 * noise.normal("market-gap", days)
    market_move = 0.006 * noise.normal("market-move", days)
    own = np.where(universe.tier == INDEX, 0.0004, 0.0045)
    calm_gap = universe.beta * market_gap + own * noise.normal("gap", days, ids)
    calm_gap = np.minimum(np.maximum(calm_gap, -0.024), 0.024)
    calm_move = universe.beta * market_move + universe.sigma * noise.normal("move", days, ids)
    sign = np.where(noise.unit("sign", days, ids) < 0.62, 1.0, -1.0)
    size = 0.049 + 0.075 * noise.unit("size", days, ids) ** 2
    wild = noise.unit("wild", days, ids)
    going = np.where(path == FADE, -0.04 - 0.04 * wild, 0.016 * (wild - 0.5))
    going = np.where(path == TREND, 0.10 + 0.05 * wild, going)
    gaps = role != IDLE
    return _Story(
        role=role,
        path=path.astype(np.int64),
        gap=np.where(gaps, sign * size, calm_gap),
        move=np.where(gaps, sign * going, calm_move),
    )


def _roles(universe: Universe, noise: Noise, weekday: Ints) -> Ints:
    """4 or 5 gappers that should pass the default filters and up to 5 that each fail one of them."""
    days, ids = weekday[:, None], universe.ids
    role = np.full((len(weekday), len(ids)), IDLE, dtype=np.int64)
    rank = noise.unit("rank", days, ids)
    splitting = (universe.split_day <= days) & (days <= universe.split_day + 5)
    rank = np.where(splitting, 2.0, rank)
    wanted = np.stack([noise.unit(f"extra-{extra}", weekday) < chance for extra, chance in _EXTRAS], axis=1)
    wanted &= np.cumsum(wanted, axis=1) <= _MOST_EXTRAS
    asks = dict(zip((extra for extra, _ in _EXTRAS), wanted.T, strict=True))
    always = np.ones(len(weekday), dtype=np.bool_)
    fifth = noise.unit("fifth", weekday) < 0.5
    leaders = [(GOOD, always)] * 4 + [(GOOD, fifth)]
    leaders += [(extra, asks[extra]) for extra in (FEW_TRADES, STALE, THIN_VOLUME, NEWS_HALT)]
    _pick(role, rank, ids[np.isin(universe.tier, (LIQUID, SMALL))], leaders)
    failing = ((MEGA, LOW_RVOL), (WIDE, WIDE_SPREAD), (LOW_ADV, POOR), (PENNY, CHEAP), (PRICEY, DEAR))
    for tier, extra in failing:
        _pick(role, rank, ids[universe.tier == tier], [(extra, asks[extra])])
    return role


def _pick(role: Ints, rank: Floats, pool: Ints, jobs: list[tuple[int, Flags]]) -> None:
    """Give the first of the pool in the day's order their roles, where the day asks for them."""
    order = pool[np.argsort(rank[:, pool], axis=1, kind="stable")]
    everyday = np.arange(len(role))
    for place, (extra, asked) in enumerate(jobs):
        role[everyday[asked], order[asked, place]] = extra


def _fair_prices(universe: Universe, story: _Story, weekday: Ints, first: int) -> Floats:
    """Close of each session in dollars per share of today, not rounded; the sum is exact, in integers."""
    returns = np.zeros((_SLACK + MEMORY + BLOCK, len(universe.ids)), dtype=np.int64)
    returns[weekday - first] = np.rint((story.gap + story.move) * _LOG_SCALE).astype(np.int64)
    total = np.cumsum(np.pad(returns, ((MEMORY, 0), (0, 0))), axis=0)
    forgotten = np.cumsum(total, axis=0)
    # sum of w(k) r(t-k), w(k) = (MEMORY - k) / MEMORY, is the mean over MEMORY of the windows that end at t
    windows = MEMORY * total[MEMORY:] - (forgotten[MEMORY - 1 : -1] - _shifted(forgotten))
    return universe.base_price * np.exp(windows[weekday - first] / (MEMORY * _LOG_SCALE))


def _shifted(forgotten: Ints) -> Ints:
    """Running sums up to MEMORY + 1 steps ago."""
    return np.pad(forgotten, ((1, 0), (0, 0)))[: len(forgotten) - MEMORY]


def _extremes(
    universe: Universe, noise: Noise, role: Ints, days: Ints, opening: Ints, close: Ints
) -> tuple[Ints, Ints]:
    """Day's high and low: beyond open and close by a part of the usual range, little for a gapper."""
    found = []
    for name, sign in (("high", 1), ("low", -1)):
        calm = 0.0005 + 0.55 * universe.sigma * np.abs(noise.normal(name, days, universe.ids))
        beyond = np.where(role == IDLE, calm, 0.003 + 0.009 * noise.unit(name, days, universe.ids))
        edge = np.maximum(opening, close) if sign > 0 else np.minimum(opening, close)
        found.append(round_tick(edge * (1 + sign * beyond)))
    return np.maximum(found[0], np.maximum(opening, close)), np.minimum(found[1], np.minimum(opening, close))


def _volumes(universe: Universe, noise: Noise, role: Ints, days: Ints, half: Flags) -> tuple[Ints, Ints]:
    """Shares in the regular session and before it; raw, so a stock trades fewer of them before its split."""
    share = noise.unit("volume", days, universe.ids)
    times = np.where(role == LOW_RVOL, 1.1 + 0.2 * share, 3.0 + 4.0 * share)
    times = np.where(role == IDLE, 0.7 + 0.6 * share, times)
    volume = universe.volume * times * np.where(half, 0.55, 1.0)
    part = noise.unit("premarket", days, universe.ids)
    early = universe.volume * (0.004 + 0.004 * part)
    early = np.where(universe.tier == MEGA, universe.volume * (0.010 + 0.001 * part), early)
    early = np.where(role == LOW_RVOL, universe.volume * 0.0135, early)
    # a stock before its split has fewer shares, so what must stay above 100k is scaled up with it
    shares = np.where(days < universe.split_day, universe.split_ratio, 1)
    busy = np.isin(role, (GOOD, STALE, NEWS_HALT, WIDE_SPREAD, CHEAP, DEAR))
    much = np.maximum(160_000 * shares * (1 + part), universe.volume * (0.05 + 0.08 * part))
    early = np.where(busy, much, early)
    early = np.where(role == POOR, 125_000 + 50_000 * part, early)
    early = np.where(role == THIN_VOLUME, 30_000 + 40_000 * part, early)
    early = np.where(role == FEW_TRADES, 700, early)
    return (volume / shares).astype(np.int64), (early / shares).astype(np.int64)


def _halts(universe: Universe, noise: Noise, role: Ints, days: Ints) -> tuple[Ints, Ints]:
    """A pause of 5 or 10 minutes for one gapper in eight, and a news halt from 09:10 past the open."""
    ids = universe.ids
    paused = (role == GOOD) & (noise.unit("pause", days, ids) < 0.125)
    start = np.where(paused, 15 + noise.below("pause-at", _one(135), days, ids), NO_HALT)
    stop = np.where(paused, start + 5 + 5 * noise.below("pause-length", _one(2), days, ids), NO_HALT)
    is_news = role == NEWS_HALT
    stop = np.where(is_news, 10 + noise.below("resume", _one(40), days, ids), stop)
    return np.where(is_news, -20, start), stop


def _news_minutes(universe: Universe, noise: Noise, role: Ints, days: Ints) -> Ints:
    """Half of the stories are out the evening before, the others between 05:30 and 08:30."""
    morning = 90 + noise.below("news-minute", _one(180), days, universe.ids)
    evening = noise.unit("evening", days, universe.ids) < 0.5
    return np.where((role == IDLE) | evening, -1, morning)
