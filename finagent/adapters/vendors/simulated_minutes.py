"""Minute bars of the made-up market; they add up to the daily bar, and volumes are known without bars."""

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from finagent.adapters.vendors.simulated_days import (
    FADE,
    IDLE,
    PREMARKET_MINUTES,
    TREND,
    Days,
    round_tick,
)
from finagent.adapters.vendors.simulated_noise import (
    NORMAL_SCALE,
    Flags,
    Floats,
    Ints,
    Noise,
    below,
    normal_steps,
    unit,
)
from finagent.adapters.vendors.simulated_universe import Universe
from finagent.domain.market import MINUTE_MS, Bar, Session

_CURVE_BITS = 20
_SHARES_PER_TRADE = 1_000
Which = Ints | slice
"""Some rows of the universe."""
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class MinuteTable:
    """A session's minutes from 04:00 on, arrays [symbol, minute]; a minute without volume has no bar.

    Bars that were asked for are kept, because each scan asks again for all of the day so far.
    """

    start_ms: int
    open_e4: Ints
    high_e4: Ints
    low_e4: Ints
    close_e4: Ints
    volume: Ints
    _kept: dict[int, tuple[int, list[Bar]]] = field(default_factory=dict, repr=False, compare=False)
    """By row: among how many minutes bars were made so far, and these bars."""

    def ended(self, as_of_ms: int) -> int:
        """How many minutes have ended at an instant."""
        return min(max(0, (as_of_ms - self.start_ms) // MINUTE_MS), int(self.volume.shape[1]))

    def bars(self, row: int, ended: int) -> tuple[Bar, ...]:
        """The bars of a symbol among the first ``ended`` minutes."""
        made, kept = self._kept.get(row, (0, []))
        if ended < made:
            return tuple(kept[: bisect_left(kept, self.start_ms + ended * MINUTE_MS, key=_start_ms)])
        if ended > made:
            kept.extend(self._make(row, made, ended))
            self._kept[row] = (ended, kept)
        return tuple(kept)

    def forget_bars(self) -> None:
        """Free the kept bars of a session that nobody scans any more; asked again, they are made again."""
        self._kept.clear()

    def bar(self, row: int, minute: int) -> Bar | None:
        """The bar of one minute, None where nothing traded."""
        volume = int(self.volume[row, minute])
        if volume == 0:
            return None
        return Bar(
            self.start_ms + minute * MINUTE_MS,
            int(self.open_e4[row, minute]),
            int(self.high_e4[row, minute]),
            int(self.low_e4[row, minute]),
            int(self.close_e4[row, minute]),
            volume,
        )

    def _make(self, row: int, made: int, ended: int) -> list[Bar]:
        traded = np.flatnonzero(self.volume[row, made:ended]) + made
        starts = (self.start_ms + traded * MINUTE_MS).tolist()
        columns = (self.open_e4, self.high_e4, self.low_e4, self.close_e4, self.volume)
        return list(map(Bar, starts, *(column[row, traded].tolist() for column in columns)))

    def last_traded(self, row: int, ended: int) -> int | None:
        """The last of the first ``ended`` minutes that has a bar."""
        traded = np.flatnonzero(self.volume[row, :ended])
        return int(traded[-1]) if len(traded) else None

    def trades(self, ended: int) -> list[int]:
        """By row, trades before the open among the first ``ended`` minutes."""
        volumes = self.volume[:, : min(ended, PREMARKET_MINUTES)]
        counts: list[int] = np.sum(
            np.where(volumes > 0, 1 + volumes // _SHARES_PER_TRADE, 0), axis=1
        ).tolist()
        return counts


def _start_ms(bar: Bar) -> int:
    return bar.start_ms


def premarket_start_ms(session: Session) -> int:
    """04:00 local: five and a half hours before the session, on either side of a clock change."""
    return session.open_ms - PREMARKET_MINUTES * MINUTE_MS


def premarket_volume(universe: Universe, days: Days, row: int, ended: Ints, which: Which = ALL) -> Ints:
    """Shares traded before the open in the first ``ended`` minutes from 04:00; [symbol, minute]."""
    noise = Noise(universe.seed)
    day, ids = days.weekday[row : row + 1, None], universe.ids[which, None]
    slot = days.premarket_slot[row][which, None]
    count = _last_active(noise, "premarket", day, ids, slot, np.minimum(ended, PREMARKET_MINUTES))
    count = np.minimum(count, days.premarket_last[row][which, None])
    share = _curve_share(noise, "premarket", day, ids, count, _premarket_curve())
    return _part(days.premarket_volume[row][which, None], share)


def regular_volume(universe: Universe, days: Days, row: int, ended: Ints, which: Which = ALL) -> Ints:
    """Shares of a session traded in its first ``ended`` regular minutes; [symbol, minute]."""
    noise = Noise(universe.seed)
    day, ids = days.weekday[row : row + 1, None], universe.ids[which, None]
    length = days.sessions[row].minutes
    count = np.minimum(np.maximum(ended, 0), length)
    halt_from, halt_to = days.halt_from[row][which, None], days.halt_to[row][which, None]
    count = np.where((count > halt_from) & (count <= halt_to), np.maximum(halt_from, 0), count)
    active = _last_active(noise, "regular", day, ids, universe.slot[which, None], count)
    active = np.where(count >= length, length, np.where(count >= 1, np.maximum(active, 1), 0))
    share = _curve_share(noise, "regular", day, ids, active, _regular_curve(length))
    return _part(days.volume[row][which, None], share)


def make_minutes(universe: Universe, days: Days, session: Session) -> MinuteTable:
    """All minutes of a session; every bar lies within the daily bar, whose extremes are reached."""
    row = days.rows[session.date]
    steps = np.arange(session.minutes + 1, dtype=np.int64)[None, :]
    early_steps = np.arange(PREMARKET_MINUTES + 1, dtype=np.int64)[None, :]
    early = np.diff(premarket_volume(universe, days, row, early_steps), axis=1)
    regular = np.diff(regular_volume(universe, days, row, steps), axis=1)
    before = _premarket_prices(universe, days, row)
    after = _regular_prices(universe, days, row, regular > 0)
    opening, high, low, close = (np.concatenate(pair, axis=1) for pair in zip(before, after, strict=True))
    volume = np.concatenate((early, regular), axis=1)
    return MinuteTable(premarket_start_ms(session), opening, high, low, close, volume)


def _last_active(noise: Noise, name: str, day: Ints, ids: Ints, slot: Ints, ended: Ints) -> Ints:
    """Minutes up to and with the last one that trades among ``ended``: one minute of every slot trades."""
    place = ended // slot
    within = ended - place * slot
    current = below(noise.words(f"{name}-slot", day, ids, place + 1), slot)
    earlier = below(noise.words(f"{name}-slot", day, ids, place), slot)
    this_one, one_before = place * slot + current + 1, (place - 1) * slot + earlier + 1
    return np.where(within > current, this_one, np.maximum(0, one_before))


def _curve_share(noise: Noise, name: str, day: Ints, ids: Ints, count: Ints, curve: Ints) -> Ints:
    """Cumulative share of the day's volume; shaken so that minutes differ, yet never falling."""
    end = len(curve) - 1
    shaken = count * 256 + below(noise.words(f"{name}-volume", day, ids, count), np.array([230])) - 115
    shaken = np.where((count == 0) | (count == end), count * 256, shaken)
    place, part = shaken >> 8, shaken & 255
    step = curve[np.minimum(place + 1, end)] - curve[place]
    share: Ints = curve[place] + (step * part >> 8)
    return share


def _part(volume: Ints, share: Ints) -> Ints:
    return (volume * share) >> _CURVE_BITS


@cache
def _premarket_curve() -> Ints:
    minutes = np.arange(PREMARKET_MINUTES + 1) / PREMARKET_MINUTES
    return _whole(0.25 * minutes + 0.75 * minutes * minutes * minutes)


@cache
def _regular_curve(length: int) -> Ints:
    """Much at the open, little at noon, a closing auction in the last minute."""
    minute = np.arange(length) / length
    weight = 1.0 + 4.0 * (minute - 0.55) * (minute - 0.55) * 2 + 12.0 / (1.0 + np.arange(length))
    weight[-1] += 0.07 * float(np.sum(weight))
    return _whole(np.concatenate(([0.0], np.cumsum(weight) / float(np.sum(weight)))))


def _whole(curve: Floats) -> Ints:
    whole = np.rint(curve * (1 << _CURVE_BITS)).astype(np.int64)
    whole.flags.writeable = False  # kept for every session
    return whole


def _bridge(noise: Noise, name: str, day: int, ids: Ints, length: int) -> Floats:
    """Random walks of standard deviation about 1 tied to 0 at both ends; [symbol, minute end]."""
    minutes = np.arange(length, dtype=np.int64)
    steps = normal_steps(noise.words(name, np.array([day]), ids[:, None], minutes))
    walk = np.cumsum(steps, axis=1)
    tied = walk * length - walk[:, -1:] * (minutes + 1)
    return tied / (length * NORMAL_SCALE * float(np.sqrt(length)))


def _premarket_prices(universe: Universe, days: Days, row: int) -> tuple[Ints, Ints, Ints, Ints]:
    """From the adjusted previous close to the open; a story moves the price in the minute it is out."""
    day = int(days.weekday[row])
    minutes = np.arange(PREMARKET_MINUTES)[None, :]
    news = days.news_minute[row][:, None]
    told = np.where(days.role[row] == IDLE, 0.3, 0.88)[:, None]
    ramp = told + (1 - told) * (minutes + 1 - news) / (PREMARKET_MINUTES - news)
    ramp = np.where(minutes < news, 0.0, ramp)
    gap = np.log(days.open_e4[row] / days.prior_e4[row])[:, None]
    wander = np.where(days.role[row] == IDLE, 0.15 * universe.sigma, 0.004)[:, None]
    walk = _bridge(Noise(universe.seed), "premarket-walk", day, universe.ids, PREMARKET_MINUTES)
    close = days.prior_e4[row][:, None] * np.exp(gap * ramp + wander * walk)
    # a told story opens its first minute at the new price: no bar spans the jump
    opening = np.where(minutes == news, close, np.concatenate((close[:, :1], close[:, :-1]), axis=1))
    high, low = _wicks(universe, day, "premarket-wick", opening, close, 0.1)
    return round_tick(opening), round_tick(high), round_tick(low), round_tick(close)


def _regular_prices(universe: Universe, days: Days, row: int, traded: Flags) -> tuple[Ints, Ints, Ints, Ints]:
    """From the day's open to its close, between its low and its high, touching both."""
    day, length = int(days.weekday[row]), traded.shape[1]
    first, last = days.open_e4[row][:, None], days.close_e4[row][:, None]
    passed = ((np.arange(length) + 1) / length)[None, :]
    path = days.path[row][:, None]
    is_calm = (days.role[row] == IDLE)[:, None]
    early = 1 - (1 - passed) * np.sqrt(1 - passed)
    is_going = ~is_calm & ((path == TREND) | (path == FADE))
    shape = np.where(is_going, early, passed)
    wander = np.where(is_calm, 0.8 * universe.sigma[:, None], np.where(is_going, 0.013, 0.008))
    walk = _bridge(Noise(universe.seed), "walk", day, universe.ids, length)
    close = first * np.exp(np.log(last / first) * shape + wander * walk)
    opening = np.concatenate((first.astype(np.float64), close[:, :-1]), axis=1)
    high, low = _wicks(universe, day, "wick", opening, close, 0.15)
    fit = _Fit.of(days, row, np.where(traded, high, 0.0), np.where(traded, low, np.inf))
    top, bottom = days.high_e4[row][:, None], days.low_e4[row][:, None]
    opening_e4, high_e4, low_e4, close_e4 = (
        np.clip(round_tick(fit.into(price)), bottom, top) for price in (opening, high, low, close)
    )
    rows = np.arange(len(universe.ids))
    opening_e4[rows, np.argmax(traded, axis=1)] = days.open_e4[row]
    close_e4[:, -1] = days.close_e4[row]
    high_e4[rows, fit.peak] = days.high_e4[row]
    low_e4[rows, fit.trough] = days.low_e4[row]
    high_e4 = np.maximum(high_e4, np.maximum(opening_e4, close_e4))
    low_e4 = np.minimum(low_e4, np.minimum(opening_e4, close_e4))
    return opening_e4, high_e4, low_e4, close_e4


@dataclass(frozen=True, slots=True)
class _Fit:
    """Stretches a path so that what lies beyond open and close ends at the day's high and low."""

    ceiling: Floats
    floor: Floats
    up: Floats
    down: Floats
    peak: Ints
    trough: Ints

    @classmethod
    def of(cls, days: Days, row: int, high: Floats, low: Floats) -> "_Fit":
        """The fit for a path with these highs (0 where no bar is) and lows (infinite where no bar is)."""
        ceiling = np.maximum(days.open_e4[row], days.close_e4[row])[:, None].astype(np.float64)
        floor = np.minimum(days.open_e4[row], days.close_e4[row])[:, None].astype(np.float64)
        over = high.max(axis=1, keepdims=True) - ceiling
        under = floor - low.min(axis=1, keepdims=True)
        up = np.where(over > 0, (days.high_e4[row][:, None] - ceiling) / np.where(over > 0, over, 1.0), 0.0)
        down = np.where(under > 0, (floor - days.low_e4[row][:, None]) / np.where(under > 0, under, 1.0), 0.0)
        return cls(ceiling, floor, up, down, np.argmax(high, axis=1), np.argmin(low, axis=1))

    def into(self, price: Floats) -> Floats:
        """The price within the day's range; the order of prices is kept."""
        above = self.ceiling + (price - self.ceiling) * self.up
        below_floor = self.floor - (self.floor - price) * self.down
        return np.where(price > self.ceiling, above, np.where(price < self.floor, below_floor, price))


def _wicks(
    universe: Universe, day: int, name: str, opening: Floats, close: Floats, part: float
) -> tuple[Floats, Floats]:
    """Highs and lows a little beyond opens and closes."""
    minutes = np.arange(opening.shape[1], dtype=np.int64)
    words = Noise(universe.seed).words(name, np.array([day]), universe.ids[:, None], minutes)
    reach = part * universe.sigma[:, None] * 0.25
    over, under = unit(words), unit(words << np.uint64(32))
    return np.maximum(opening, close) * (1 + reach * over), np.minimum(opening, close) * (1 - reach * under)
