"""A whole market of daily bars: the coarse universe of 2014, or a made-up one, as a file to import."""

import datetime
from pathlib import Path

COARSE = "lean_coarse_universe_2014.parquet"
LAST_SESSION = "2014-04-07"
MADE_UP_SYMBOLS = 60
MADE_UP_SESSIONS = ("2014-03-31", "2014-04-01", "2014-04-02", "2014-04-03", "2014-04-04", LAST_SESSION)


def write_universe(source: Path | None, folder: Path) -> None:
    """Write ``universe.parquet`` in the layout of daily bars, with open = high = low = close.

    The source has no open: the session's close stands in for the indication. Without a source some sixty
    symbols are made up.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source is None:
        columns = _made_up()
    else:
        table = pq.read_table(source, columns=["symbol", "date", "close", "volume"])
        columns = {name: table[name] for name in table.column_names}
    close = columns.pop("close")
    folder.mkdir(parents=True)
    bars = {**columns, "open": close, "high": close, "low": close, "close": close}
    pq.write_table(pa.table(bars), folder / "universe.parquet")


def _made_up() -> dict[str, object]:
    """Quiet symbols, of which every tenth gaps up by 6 % in the last session."""
    rows = [
        (f"S{number:03}", datetime.date.fromisoformat(date), _close(number, date), 1_000_000 + number)
        for date in MADE_UP_SESSIONS
        for number in range(MADE_UP_SYMBOLS)
    ]
    symbols, dates, closes, volumes = (list(column) for column in zip(*rows, strict=True))
    return {"symbol": symbols, "date": dates, "close": closes, "volume": volumes}


def _close(number: int, date: str) -> float:
    base = 20.0 + number
    return round(base * 1.06, 2) if date == LAST_SESSION and number % 10 == 0 else base
