"""Checks every row of a data file and turns the good ones into the store's integer columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from finagent.adapters.bars import kinds
from finagent.adapters.bars.hours import TradingHours
from finagent.adapters.bars.source import Flags, Floats, Ints, days, floats, instants_ms, texts
from finagent.domain.market import MINUTE_MS
from finagent.domain.money import MAX_INT64, PRICE_SCALE, RATIO_SCALE

HEADLINE_DELAY_MS = 24 * 3_600_000
OFF_TICK_E4 = 1e-3
"""A price may miss a multiple of 1e-4 by a thousandth of it: that is float64 noise up to prices of 1e8."""
MAX_PRICE = 1e8

REASONS: Mapping[str, str] = {
    "no_symbol": "the symbol is empty",
    "not_a_date": "the date or time is missing or no date",
    "not_a_session": "the exchange does not trade on that date",
    "outside_hours": "the time is outside 04:00 to 20:00 New York of a session",
    "not_on_minute": "the bar does not start on a whole minute",
    "not_a_number": "a value is missing or no number",
    "not_positive": "a price is zero or negative",
    "high_below_low": "the high is below the low, or does not contain open and close",
    "low_above": "the low is above the open or the close",
    "off_tick": "a price has more than 4 decimals",
    "bad_volume": "the volume is missing, negative or not whole",
    "too_large": "price times volume does not fit 62 bits",
    "bad_action": "the dividend is negative or the split ratio not positive",
    "no_text": "the text is empty",
}
CODES = {reason: number for number, reason in enumerate(REASONS, start=1)}
NAMES = ("", *REASONS)


@dataclass(slots=True)
class Checked:
    """A batch after its checks.

    ``good``: the valid rows in the store's columns; ``parts``/``part_of``: the store file of each valid row;
    ``reasons``: per source row 0 or the number of the first reason that refuses it; ``notes``: kinds of issue
    that valid rows are kept with.
    """

    good: pa.Table
    parts: tuple[str, ...]
    part_of: Ints
    reasons: npt.NDArray[np.int16]
    notes: dict[str, Flags] = field(default_factory=dict)


class _Verdict:
    """Collects the first reason against each row."""

    def __init__(self, rows: int) -> None:
        self.reasons = np.zeros(rows, np.int16)

    def refuse(self, where: Flags, reason: str) -> None:
        self.reasons[where & (self.reasons == 0)] = CODES[reason]

    @property
    def good(self) -> Flags:
        return np.asarray(self.reasons == 0, np.bool_)


def check(kind: str, table: pa.Table, hours: TradingHours) -> Checked:
    """Check a batch of a known kind."""
    return _CHECKS[kind](table, hours)


def _daily(table: pa.Table, hours: TradingHours) -> Checked:
    verdict, symbols = _start(table)
    date = _session_days(table["date"], hours, verdict)
    prices = _prices(table, kinds.OHLC, verdict)
    _bar_shape(prices, verdict)
    volume = _volume(table["volume"], prices["high"], verdict)
    good = verdict.good
    columns = {
        "symbol": symbols,
        "date": pa.array(date, pa.date32()),
        **_e4(prices),
        "volume": pa.array(volume),
    }
    years = date[good].astype("datetime64[Y]").astype(np.int64) + 1970
    return _checked(columns, verdict, *_parts("daily", years), _bar_notes(prices, volume, good))


def _minute(table: pa.Table, hours: TradingHours) -> Checked:
    verdict, symbols = _start(table)
    start_ms, session = _bar_starts(table["ts"], hours, verdict)
    prices = _prices(table, kinds.OHLC, verdict)
    _bar_shape(prices, verdict)
    volume = _volume(table["volume"], prices["high"], verdict)
    good = verdict.good
    columns = {"symbol": symbols, "start_ms": pa.array(start_ms), **_e4(prices), "volume": pa.array(volume)}
    parts = _parts("minute", hours.dates[session[good]])
    return _checked(columns, verdict, *parts, _bar_notes(prices, volume, good))


def _quotes(table: pa.Table, hours: TradingHours) -> Checked:
    verdict, symbols = _start(table)
    start_ms, session = _bar_starts(table["ts"], hours, verdict)
    prices = _prices(table, kinds.BID_ASK, verdict)
    for side in ("bid", "ask"):
        _bar_shape({part: prices[f"{side}_{part}"] for part in kinds.OHLC}, verdict)
    sizes = {
        name: pa.array(_volume(table[name], prices[f"{name[:3]}_high"], verdict))
        for name in ("bid_size", "ask_size")
    }
    good = verdict.good
    columns = {"symbol": symbols, "start_ms": pa.array(start_ms), **_e4(prices), **sizes}
    crossed = (prices["bid_close"] > prices["ask_close"])[good]
    return _checked(
        columns, verdict, *_parts("quotes", hours.dates[session[good]]), {"crossed_quote": crossed}
    )


def _actions(table: pa.Table, hours: TradingHours) -> Checked:
    verdict, symbols = _start(table)
    date = _session_days(table["ex_date"], hours, verdict)
    dividend, ratio = floats(table["dividend"]), floats(table["split_ratio"])
    verdict.refuse(~(np.isfinite(dividend) & np.isfinite(ratio)), "not_a_number")
    verdict.refuse((dividend < 0) | (ratio < 0.5 / RATIO_SCALE), "bad_action")
    verdict.refuse((dividend > MAX_PRICE) | (ratio > MAX_PRICE), "too_large")
    good = verdict.good
    columns = {
        "symbol": symbols,
        "ex_date": pa.array(date, pa.date32()),
        "dividend_e4": pa.array(_scaled(dividend, PRICE_SCALE)),
        "split_ratio_e6": pa.array(_scaled(ratio, RATIO_SCALE)),
    }
    rounded = (_tick_error(dividend) > OFF_TICK_E4)[good]
    return _checked(columns, verdict, *_one_part("actions.parquet", good), {"rounded_dividend": rounded})


def _earnings(table: pa.Table, hours: TradingHours) -> Checked:
    verdict, symbols = _start(table)
    date, bad = days(table["date"])
    verdict.refuse(bad, "not_a_date")
    if "timing" in table.column_names:
        text = pc.utf8_lower(pc.utf8_trim_whitespace(texts(table["timing"])))
        timing = pc.if_else(pc.is_in(text, pa.array(["bmo", "amc"])), text, None)
    else:
        timing = pa.nulls(table.num_rows, pa.string())
    good = verdict.good
    columns = {"symbol": symbols, "date": pa.array(date, pa.date32()), "timing": timing}
    off = ~np.isin(date[good], hours.days)
    return _checked(columns, verdict, *_one_part("earnings.parquet", good), {"earnings_off_session": off})


def _headlines(table: pa.Table, hours: TradingHours) -> Checked:
    return _texts(table, "headline", HEADLINE_DELAY_MS, lang=None)


def _tweets(table: pa.Table, hours: TradingHours) -> Checked:
    return _texts(table, "text", 0, lang="lang")


def _texts(table: pa.Table, column: str, delay_ms: int, *, lang: str | None) -> Checked:
    verdict, symbols = _start(table)
    published_ms, bad = instants_ms(table["published_at"])
    verdict.refuse(bad, "not_a_date")
    text = pc.utf8_trim_whitespace(pc.fill_null(texts(table[column]), ""))
    verdict.refuse(np.asarray(pc.equal(text, "").to_numpy(), np.bool_), "no_text")
    good = verdict.good
    language = _optional_text(table, lang or "", "")
    retweet = _optional_flag(table, "is_retweet")
    columns = {
        "symbol": symbols,
        "published_ms": pa.array(published_ms),
        "known_ms": pa.array(published_ms + delay_ms),
        "text": text,
        "source": _optional_text(table, "source", "unknown"),
        "lang": language,
        "is_retweet": pa.array(retweet),
        "kind": pa.array(np.full(table.num_rows, "headline" if lang is None else "message")),
    }
    foreign = np.zeros(table.num_rows, np.bool_)
    if lang is not None:
        foreign = ~np.asarray(pc.equal(language, "en").to_numpy(), np.bool_)
    years = published_ms[good].astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
    notes = {"retweet": retweet[good], "not_english": foreign[good]}
    return _checked(columns, verdict, *_parts("headlines", years), notes)


_CHECKS: Mapping[str, Callable[[pa.Table, TradingHours], Checked]] = {
    kinds.DAILY: _daily,
    kinds.MINUTE: _minute,
    kinds.QUOTES: _quotes,
    kinds.ACTIONS: _actions,
    kinds.EARNINGS: _earnings,
    kinds.HEADLINES: _headlines,
    kinds.TWEETS: _tweets,
}


def _start(table: pa.Table) -> tuple[_Verdict, pa.ChunkedArray]:
    verdict = _Verdict(table.num_rows)
    symbols = pc.utf8_trim_whitespace(pc.fill_null(texts(table["symbol"]), ""))
    verdict.refuse(np.asarray(pc.equal(symbols, "").to_numpy(), np.bool_), "no_symbol")
    return verdict, symbols


def _session_days(
    column: pa.ChunkedArray, hours: TradingHours, verdict: _Verdict
) -> npt.NDArray[np.datetime64]:
    date, bad = days(column)
    verdict.refuse(bad, "not_a_date")
    verdict.refuse(~np.isin(date, hours.days), "not_a_session")
    return date


def _bar_starts(column: pa.ChunkedArray, hours: TradingHours, verdict: _Verdict) -> tuple[Ints, Ints]:
    """Start of each bar and the number of its session."""
    start_ms, bad = instants_ms(column)
    verdict.refuse(bad, "not_a_date")
    session = hours.session_of(start_ms)
    verdict.refuse(session < 0, "outside_hours")
    verdict.refuse(start_ms % MINUTE_MS != 0, "not_on_minute")
    return start_ms, session


def _prices(table: pa.Table, names: tuple[str, ...], verdict: _Verdict) -> dict[str, Floats]:
    prices = {name: floats(table[name]) for name in names}
    for price in prices.values():
        verdict.refuse(~np.isfinite(price), "not_a_number")
    for price in prices.values():
        verdict.refuse(price <= 0, "not_positive")
        verdict.refuse(price > MAX_PRICE, "too_large")
        verdict.refuse(_tick_error(price) > OFF_TICK_E4, "off_tick")
    good = verdict.good
    return {name: np.where(good, price, 0.0) for name, price in prices.items()}


def _bar_shape(prices: Mapping[str, Floats], verdict: _Verdict) -> None:
    body_high = np.maximum(prices["open"], prices["close"])
    body_low = np.minimum(prices["open"], prices["close"])
    verdict.refuse((prices["high"] < prices["low"]) | (prices["high"] < body_high), "high_below_low")
    verdict.refuse(prices["low"] > body_low, "low_above")


def _volume(column: pa.ChunkedArray, high: Floats, verdict: _Verdict) -> Ints:
    """Whole shares up to 2^53, which float64 holds exactly."""
    number = floats(column)
    with np.errstate(invalid="ignore"):
        verdict.refuse(~np.isfinite(number) | (number < 0) | (number != np.rint(number)), "bad_volume")
    whole = np.where(verdict.good, number, 0.0)
    verdict.refuse((whole >= 2.0**53) | (high * PRICE_SCALE * whole >= MAX_INT64), "too_large")
    return np.where(verdict.good, whole, 0.0).astype(np.int64)


def _tick_error(price: Floats) -> Floats:
    """How far a price is from a multiple of 1e-4, in units of 1e-4."""
    scaled = np.where(np.isfinite(price) & (np.abs(price) <= MAX_PRICE), price, 0) * PRICE_SCALE
    return np.asarray(np.abs(scaled - np.rint(scaled)), np.float64)


def _scaled(value: Floats, scale: int) -> Ints:
    usable = np.where(np.isfinite(value) & (np.abs(value) <= MAX_PRICE), value, 0)
    return np.asarray(np.rint(usable * scale), np.int64)


def _e4(prices: Mapping[str, Floats]) -> dict[str, pa.Array]:
    return {f"{name}_e4": pa.array(_scaled(price, PRICE_SCALE)) for name, price in prices.items()}


def _bar_notes(prices: Mapping[str, Floats], volume: Ints, good: Flags) -> dict[str, Flags]:
    return {"zero_volume": (volume == 0)[good], "flat_bar": (prices["high"] == prices["low"])[good]}


def _parts(folder: str, labels: npt.NDArray[np.generic]) -> tuple[tuple[str, ...], Ints]:
    names, part_of = np.unique(labels, return_inverse=True)
    return tuple(f"{folder}/{name}.parquet" for name in names.tolist()), np.asarray(part_of, np.int64)


def _one_part(name: str, good: Flags) -> tuple[tuple[str, ...], Ints]:
    return (name,), np.zeros(int(good.sum()), np.int64)


def _optional_text(table: pa.Table, name: str, default: str) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names:
        return pa.array(np.full(table.num_rows, default))
    return pc.fill_null(texts(table[name]), default)


def _optional_flag(table: pa.Table, name: str) -> Flags:
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    return np.asarray(
        pc.is_in(pc.utf8_lower(texts(table[name])), pa.array(["true", "1"])).to_numpy(), np.bool_
    )


def _checked(
    columns: Mapping[str, pa.Array],
    verdict: _Verdict,
    parts: tuple[str, ...],
    part_of: Ints,
    notes: dict[str, Flags],
) -> Checked:
    table = pa.table(dict(columns))
    good = verdict.good
    if not good.all():
        table = table.filter(pa.array(good))
    return Checked(table, parts, part_of, verdict.reasons, notes)
