"""The made-up stocks: their names, sectors, sizes, habits, and the day on which some of them split."""

from dataclasses import dataclass
from datetime import date
from itertools import product

import numpy as np

from finagent.adapters.vendors.simulated_noise import Floats, Ints, Noise
from finagent.domain.errors import SettingsValueError
from finagent.domain.market import Instrument

BLOCK = 64
"""Weekdays in a block of days that is computed and kept as one; about a quarter."""
LEAST_SYMBOLS, MOST_SYMBOLS = 20, 400
MEGA, LIQUID, SMALL, WIDE, LOW_ADV, PENNY, PRICEY, INDEX = range(8)
SECTORS = (
    "Technology",
    "Health Care",
    "Energy",
    "Financials",
    "Industrials",
    "Consumer",
    "Materials",
    "Power",
)
INDEX_SYMBOLS = ("QQQ", "SPY")
NO_SPLIT_DAY = 1 << 40
_SPLITS = 60
_HEADS = (
    *("ZU", "QO", "XE", "VY", "JU", "KY", "WO", "YZ", "OZ", "UX"),
    *("ZE", "QI", "XA", "VU", "JI", "KO", "WY", "YU", "EX", "IZ"),
)
_TAILS = (
    *("MX", "LV", "VO", "RQ", "NX", "K", "DU", "GX", "BR", "TI"),
    *("SY", "FN", "P", "HZ", "ZD", "W", "CQ", "LM", "RZ", "N"),
)
_SHARES = (0.10, 0.60, 0.75, 0.83, 0.90, 0.96, 1.0)
"""Cumulative shares of the tiers from MEGA to PRICEY."""


@dataclass(frozen=True, slots=True)
class _Habit:
    """Ranges of a tier: base price in dollars, daily volume in shares, spread in bps, daily volatility."""

    price: tuple[float, float]
    volume: tuple[int, int]
    spread_bps: tuple[float, float]
    sigma: tuple[float, float]
    slot: int
    """Mean minutes between trades in the regular session."""
    quiet_slot: int
    """The same on a quiet morning before the open."""


_HABITS = (
    _Habit((80, 150), (12_000_000, 30_000_000), (1, 3), (0.008, 0.014), 1, 2),
    _Habit((18, 110), (3_000_000, 9_000_000), (3, 9), (0.012, 0.019), 1, 4),
    _Habit((6, 14), (3_000_000, 6_000_000), (6, 14), (0.015, 0.022), 1, 5),
    _Habit((8, 25), (1_000_000, 3_000_000), (45, 90), (0.016, 0.026), 1, 8),
    _Habit((5, 25), (40_000, 110_000), (10, 18), (0.018, 0.028), 3, 40),
    _Habit((0.5, 1.2), (10_000_000, 25_000_000), (10, 60), (0.02, 0.03), 1, 8),
    _Habit((420, 700), (300_000, 1_000_000), (8, 18), (0.01, 0.018), 2, 20),
    _Habit((330, 420), (40_000_000, 70_000_000), (0.4, 0.6), (0.002, 0.003), 1, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Everything about the stocks that does not change from day to day; arrays run along ``symbols``."""

    seed: int
    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    index: dict[str, int]
    ids: Ints
    tier: Ints
    base_price: Floats
    sigma: Floats
    beta: Floats
    volume: Ints
    spread_bps: Floats
    slot: Ints
    quiet_slot: Ints
    split_day: Ints
    """Weekday number from which the new shares trade; NO_SPLIT_DAY for most."""
    split_ratio: Ints
    dividend_e4: Ints
    dividend_phase: Ints
    """Weekday number modulo BLOCK of the ex-dividend day."""


def weekday_number(day: str) -> int:
    """Weekdays counted from the year 1: a day's place on the time axis without asking a calendar."""
    weeks, rest = divmod(date.fromisoformat(day).toordinal() - 1, 7)
    return weeks * 5 + min(rest, 4)


def weekday_date(number: int) -> str:
    """The date of a weekday number."""
    weeks, rest = divmod(number, 5)
    return date.fromordinal(weeks * 7 + rest + 1).isoformat()


def make_universe(seed: int, count: int) -> Universe:
    """A universe of ``count`` stocks and two index funds; SettingsValueError outside 20 to 400."""
    if not LEAST_SYMBOLS <= count <= MOST_SYMBOLS:
        raise SettingsValueError(
            f"symbols is {count}; choose a number from {LEAST_SYMBOLS} to {MOST_SYMBOLS}"
        )
    noise = Noise(seed)
    made_up = [head + tail for tail, head in product(_TAILS, _HEADS)]
    names = tuple(sorted([*made_up[:count], *INDEX_SYMBOLS]))
    ids = np.arange(len(names), dtype=np.int64)
    tier = _tiers(noise, names, ids)
    low, high = _range(tier, [habit.price for habit in _HABITS])
    base_price = low + (high - low) * noise.unit("price", ids)
    split_day, split_ratio = _splits(noise, ids, tier)
    base_price = np.where(split_ratio > 1, np.minimum(base_price, 60.0), base_price)
    low, high = _range(tier, [habit.volume for habit in _HABITS])
    volume = (low + (high - low) * noise.unit("adv", ids)).astype(np.int64)
    low, high = _range(tier, [habit.sigma for habit in _HABITS])
    sigma = low + (high - low) * noise.unit("sigma", ids)
    low, high = _range(tier, [habit.spread_bps for habit in _HABITS])
    dividend_e4, phase = _dividends(noise, ids, tier, base_price, split_ratio)
    is_index = tier == INDEX
    return Universe(
        seed=seed,
        symbols=names,
        instruments=_instruments(noise, names, ids, tier, volume),
        index={name: place for place, name in enumerate(names)},
        ids=ids,
        tier=tier,
        base_price=base_price,
        sigma=sigma,
        beta=np.where(is_index, 1.0, 0.5 + noise.unit("beta", ids)),
        volume=volume,
        spread_bps=low + (high - low) * noise.unit("spread", ids),
        slot=_ints([habit.slot for habit in _HABITS])[tier],
        quiet_slot=_ints([habit.quiet_slot for habit in _HABITS])[tier],
        split_day=split_day,
        split_ratio=split_ratio,
        dividend_e4=dividend_e4,
        dividend_phase=phase,
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _range(tier: Ints, ranges: list[tuple[float, float]] | list[tuple[int, int]]) -> tuple[Floats, Floats]:
    table = np.array(ranges, dtype=np.float64)
    return table[tier, 0], table[tier, 1]


def _tiers(noise: Noise, names: tuple[str, ...], ids: Ints) -> Ints:
    is_index = np.isin(np.array(names), INDEX_SYMBOLS)
    stocks = ids[~is_index]
    shuffled = stocks[np.argsort(noise.words("tier", stocks), kind="stable")]
    bounds = np.rint(np.array(_SHARES) * len(stocks)).astype(np.int64)
    tier = np.full(len(ids), INDEX, dtype=np.int64)
    tier[shuffled] = np.searchsorted(bounds, np.arange(len(stocks)), side="right")
    return tier


def _splits(noise: Noise, ids: Ints, tier: Ints) -> tuple[Ints, Ints]:
    """One split about every quarter from 2014 on, each stock at most once."""
    day = np.full(len(ids), NO_SPLIT_DAY, dtype=np.int64)
    ratio = np.ones(len(ids), dtype=np.int64)
    liquid = ids[tier == LIQUID]
    chosen = liquid[np.argsort(noise.words("splitters", liquid), kind="stable")][:_SPLITS]
    first_block = weekday_number("2014-01-01") // BLOCK
    blocks = first_block + np.arange(len(chosen), dtype=np.int64) * _SPLITS // len(chosen)
    day[chosen] = blocks * BLOCK + 8 + noise.below("split-day", _ints([48]), chosen)
    ratio[chosen] = 3 + noise.below("split-ratio", _ints([2]), chosen)
    return day, ratio


def _dividends(noise: Noise, ids: Ints, tier: Ints, price: Floats, ratio: Ints) -> tuple[Ints, Ints]:
    pays = (noise.unit("pays", ids) < 0.4) & (ratio == 1) & np.isin(tier, (MEGA, LIQUID, PRICEY))
    pays |= tier == INDEX
    cents = np.maximum(1, np.rint(price * (0.2 + 0.5 * noise.unit("yield", ids)))).astype(np.int64)
    return np.where(pays, cents * 100, 0), noise.below("dividend-day", _ints([BLOCK]), ids)


def _instruments(
    noise: Noise, names: tuple[str, ...], ids: Ints, tier: Ints, volume: Ints
) -> tuple[Instrument, ...]:
    sector = noise.below("sector", _ints([len(SECTORS)]), ids)
    turnover = 8 + noise.below("float", _ints([60]), ids)
    easy = noise.unit("borrow", ids)
    return tuple(
        Instrument(symbol=name, shortable=True, easy_to_borrow=True)
        if tier[place] == INDEX
        else Instrument(
            symbol=name,
            sector=SECTORS[int(sector[place])],
            float_shares=int(volume[place] * turnover[place]) // 1000 * 1000,
            shortable=bool(easy[place] > 0.08),
            easy_to_borrow=bool(easy[place] > 0.25),
        )
        for place, name in enumerate(names)
    )
