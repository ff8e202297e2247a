"""A small made-up market as data files: three symbols, eight sessions, pre-market, a split, quotes, texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finagent.domain.market import MINUTE_MS, Session
from finagent.ports import CalendarPort

SYMBOLS = ("AAA", "BBB", "CCC")
FIRST, LAST = "2018-02-07", "2018-02-16"
Row = tuple[object, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of each file; a test may cut or change them before they are written."""

    daily: list[Row]
    minute: list[Row]
    quotes: list[Row]
    actions: list[Row]
    earnings: list[Row]
    headlines: list[Row]


DAILY = ("symbol", "date", "open", "high", "low", "close", "volume")
MINUTE = ("symbol", "ts", "open", "high", "low", "close", "volume")
QUOTES = (
    *("symbol", "ts"),
    *(f"{side}_{part}" for side in ("bid", "ask") for part in ("open", "high", "low", "close", "size")),
)
ACTIONS = ("symbol", "ex_date", "dividend", "split_ratio")


def made_up(calendar: CalendarPort, seed: int = 7) -> Rows:
    """The market of a seed; BBB has no minutes, CCC no pre-market."""
    random = np.random.default_rng(seed)
    rows = Rows([], [], [], [], [], [])
    for session in calendar.sessions(FIRST, LAST):
        for number, symbol in enumerate(SYMBOLS):
            price = 20.0 * (number + 1) + round(float(random.normal()), 2)
            rows.daily.append((symbol, session.date, *_bar(random, price), 1_000_000 + number))
            if symbol != "BBB":
                _minutes(rows, random, session, symbol, price)
    rows.actions.append(("AAA", "2018-02-14", 0.0, 2.0))
    rows.actions.append(("AAA", "2018-02-16", 0.1, 1.0))
    rows.earnings.extend([("AAA", "2018-02-15"), ("CCC", "2018-02-20")])
    rows.headlines.append(("AAA", 1_518_700_000_000, "AAA beats estimates"))
    return rows


def _bar(random: np.random.Generator, price: float) -> tuple[float, float, float, float]:
    close = round(price + float(random.normal()) / 10, 2)
    return (round(price, 2), round(max(price, close) + 0.05, 2), round(min(price, close) - 0.05, 2), close)


def _minutes(rows: Rows, random: np.random.Generator, session: Session, symbol: str, price: float) -> None:
    before = 10 if symbol == "AAA" else 0
    for minute in range(-before, 25):
        if random.random() < 0.1 and minute != 0:
            continue
        start_ms = session.open_ms + minute * MINUTE_MS
        rows.minute.append((symbol, start_ms, *_bar(random, price), int(random.integers(100, 900))))
        bid = round(price - 0.01, 2)
        ask = round(price + 0.01, 2)
        rows.quotes.append((symbol, start_ms, bid, bid, bid, bid, 100 + minute, ask, ask, ask, ask, 200))


def write(folder: Path, rows: Rows) -> Path:
    """Write the files of a market into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    table(folder / "daily.parquet", DAILY, rows.daily)
    table(folder / "minute.parquet", MINUTE, rows.minute)
    table(folder / "quotes.parquet", QUOTES, rows.quotes)
    table(folder / "actions.parquet", ACTIONS, rows.actions)
    table(folder / "earnings.parquet", ("symbol", "date"), rows.earnings)
    table(folder / "headlines.parquet", ("symbol", "published_at", "headline"), rows.headlines)
    return folder


def table(path: Path, names: Sequence[str], rows: Sequence[Row]) -> Path:
    """Write rows under column names; ISO dates become dates, ms become UTC times, prices floats."""
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    pq.write_table(
        pa.table({name: _array(name, values) for name, values in zip(names, columns, strict=True)}), path
    )
    return path


def _array(name: str, values: Sequence[object]) -> pa.Array:
    if name in ("date", "ex_date"):
        return pa.array([date.fromisoformat(str(value)) for value in values], pa.date32())
    if name in ("ts", "published_at"):
        return pa.array(values, pa.int64()).cast(pa.timestamp("ms", "UTC"))
    if name in ("volume", "bid_size", "ask_size"):
        return pa.array(values, pa.int64())
    if name in ("symbol", "headline"):
        return pa.array(values, pa.string())
    kinds = {type(value) for value in values}
    return pa.array(values, pa.string() if str in kinds else pa.float64())
