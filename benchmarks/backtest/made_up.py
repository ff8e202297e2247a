"""A made-up quarter of prices as files to import: walks in cents that gap now and then; minutes of three sessions."""

import datetime
import random
from dataclasses import dataclass
from pathlib import Path

HOLIDAYS = {"2016-01-18", "2016-02-15", "2016-03-25"}
FIRST, LAST = datetime.date(2016, 1, 4), datetime.date(2016, 3, 31)
MINUTE_DATES = ("2016-02-01", "2016-02-02", "2016-02-03")
SYMBOLS = 12
OPEN_UTC = datetime.time(14, 30)
Row = list[object]


@dataclass(frozen=True, slots=True)
class Cents:
    """A price."""

    cents: int


def write_files(folder: Path, seed: int = 7) -> None:
    """daily.parquet and minute.parquet in the layout of stored market data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    luck = random.Random(seed)
    daily: list[Row] = []
    minutes: list[Row] = []
    for number in range(SYMBOLS):
        symbol, close = f"S{number:02}", luck.randint(2_000, 20_000)
        for date in sessions():
            opened = max(int(close * (1 + luck.choice((0, 0, 0.03, -0.03)) + luck.gauss(0, 0.01))), 100)
            path = walk(luck, opened, 390)
            if date.isoformat() in MINUTE_DATES:
                start = datetime.datetime.combine(date, OPEN_UTC, datetime.UTC)
                minutes += [
                    [symbol, start + datetime.timedelta(minutes=at), *map(Cents, bar), 50_000]
                    for at, bar in enumerate(path)
                ]
            close = path[-1][3]
            high, low = max(bar[1] for bar in path), min(bar[2] for bar in path)
            daily.append([symbol, date, *map(Cents, (opened, high, low, close)), 5_000_000])
    folder.mkdir(parents=True)
    for name, rows in (("daily", daily), ("minute", minutes)):
        pq.write_table(
            pa.table(columns(rows, "date" if name == "daily" else "ts")), folder / f"{name}.parquet"
        )


def sessions() -> list[datetime.date]:
    """Weekdays of the quarter without its holidays."""
    days = [FIRST + datetime.timedelta(days=each) for each in range((LAST - FIRST).days + 1)]
    return [day for day in days if day.weekday() < 5 and day.isoformat() not in HOLIDAYS]


def walk(luck: random.Random, opened: int, count: int) -> list[tuple[int, int, int, int]]:
    """Bars in cents, each from the close of the one before."""
    bars = []
    for _ in range(count):
        close = max(opened + round(luck.gauss(0, opened * 0.001)), 50)
        high, low = max(opened, close) + luck.randint(0, 3), min(opened, close) - luck.randint(0, 3)
        bars.append((opened, high, low, close))
        opened = close
    return bars


def columns(rows: list[Row], time_name: str) -> dict[str, list[object]]:
    """Columns of the rows, prices in dollars."""
    names = ("symbol", time_name, "open", "high", "low", "close", "volume")
    found = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    return {name: [dollars(each) for each in values] for name, values in found.items()}


def dollars(value: object) -> object:
    """Cents in dollars, everything else as it is."""
    return value.cents / 100 if isinstance(value, Cents) else value
