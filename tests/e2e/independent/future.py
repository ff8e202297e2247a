"""Copies of the raw inputs for one instant: as they are, and with everything later altered, cut or made up."""

from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

PRICES = ["open", "high", "low", "close"]
GHOST = "ZZGHOST"
Alter = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
DAILY = ("equities_daily", "equities_daily_bigtech_2023_2024", "equities_daily_lean")
MINUTES = ("equities_minute_2018", "equities_minute_extended")


class Inputs:
    """The raw files as frames, read once, and slices of them around a session written as an import folder."""

    def __init__(self, folder: Path) -> None:
        names = (*DAILY, *MINUTES, "equities_minute_quotes", "corporate_actions", "earnings_dates")
        texts = ("news_tweets", "news_headlines")
        self._frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in (*names, *texts)}

    def around(self, session: str) -> dict[str, pd.DataFrame]:
        """What a scan of the session may look at, and some sessions after it."""
        day = Date.fromisoformat(session)
        found = {}
        for name, frame in self._frames.items():
            column = next(c for c in ("date", "ex_date", "ts", "published_at") if c in frame.columns)
            values = frame[column]
            if column in ("ts", "published_at"):
                values = values.dt.tz_convert("UTC") if values.dt.tz is not None else values
                values = values.dt.date
            back = 40 if name in MINUTES else 110
            part = frame[(values >= day - timedelta(days=back)) & (values <= day + timedelta(days=8))]
            if len(part):
                found[name] = part.reset_index(drop=True)
        return found


def altered(
    frames: dict[str, pd.DataFrame], session: str, as_of_ms: int, is_open_known: bool, seed: int
) -> dict[str, pd.DataFrame]:
    """The same inputs with another future; what was known at the instant is untouched."""
    rng = np.random.default_rng(seed)
    as_of, day = pd.Timestamp(as_of_ms, unit="ms", tz="UTC"), Date.fromisoformat(session)
    found = {}
    for name, frame in frames.items():
        if name in DAILY:
            frame = _scrambled(frame, frame["date"] > day, rng)
            frame = _today(frame, frame["date"] == day, is_open_known, rng)
            found[name] = _with_ghost(frame, date=day)
        elif name in MINUTES:
            later = frame["ts"] + pd.Timedelta(minutes=1) > as_of
            found[name] = _with_ghost(_scrambled(frame, later, rng), ts=as_of.floor("min"))
        elif name == "equities_minute_quotes":
            later = frame["ts"] + pd.Timedelta(minutes=1) > as_of
            found[name] = _quotes(frame, later, rng)
        elif name == "corporate_actions":
            later = frame["ex_date"] > day
            found[name] = _with(frame, later, rng, dividend=(0.0, 9.0), split_ratio=(0.1, 9.0))
        elif name == "earnings_dates":
            found[name] = _cut(frame, frame["date"] > day, rng)
        else:
            delay = pd.Timedelta(0) if name == "news_tweets" else pd.Timedelta(days=1)
            published = frame["published_at"]
            published = published.dt.tz_localize("UTC") if published.dt.tz is None else published
            found[name] = _shouted(frame, published + delay > as_of, rng)
    return found


def write(frames: dict[str, pd.DataFrame], folder: Path) -> Path:
    """The frames as files that an import reads."""
    folder.mkdir(parents=True)
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


def _cut(frame: pd.DataFrame, later: "pd.Series[bool]", rng: np.random.Generator) -> pd.DataFrame:
    """A part of the future is gone: none, half or all of it."""
    share = rng.choice([0.0, 0.5, 1.0])
    gone = later & (rng.random(len(frame)) < share)
    return frame[~gone].reset_index(drop=True)


def _random_bars(rows: int, rng: np.random.Generator) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Valid bars at invented prices: open, high, low, close of two decimals."""
    base = rng.uniform(3, 400, (rows, 1)) * rng.uniform(0.8, 1.25, (rows, 4))
    base = np.round(base, 2)
    base[:, 1], base[:, 2] = base.max(axis=1), base.min(axis=1)
    return base


def _scrambled(frame: pd.DataFrame, later: "pd.Series[bool]", rng: np.random.Generator) -> pd.DataFrame:
    frame = frame.copy()
    rows = int(later.sum())
    frame.loc[later, PRICES] = _random_bars(rows, rng)
    frame.loc[later, "volume"] = rng.integers(1, 10**8, rows)
    later_column = frame.assign(_later=later)
    kept = _cut(later_column, later_column["_later"], rng)
    return kept.drop(columns="_later")


def _today(
    frame: pd.DataFrame, today: "pd.Series[bool]", is_open_known: bool, rng: np.random.Generator
) -> pd.DataFrame:
    """The session's daily bars: nothing but the official open is true, and that only once it is known."""
    frame = frame.copy()
    rows = int(today.sum())
    bars = _random_bars(rows, rng)
    if is_open_known:
        bars[:, 0] = frame.loc[today, "open"].to_numpy()
        bars[:, 1], bars[:, 2] = bars.max(axis=1), bars.min(axis=1)
    frame.loc[today, PRICES] = bars
    frame.loc[today, "volume"] = rng.integers(1, 10**9, rows)
    return frame


def _with_ghost(frame: pd.DataFrame, **when: object) -> pd.DataFrame:
    """One more symbol that only the future knows."""
    row = frame.iloc[[0]].copy()
    row["symbol"] = GHOST
    for column, value in when.items():
        row[column] = value
        row[column] = row[column].astype(frame[column].dtype)
    return pd.concat([frame, row], ignore_index=True)


def _quotes(frame: pd.DataFrame, later: "pd.Series[bool]", rng: np.random.Generator) -> pd.DataFrame:
    frame = frame.copy()
    rows = int(later.sum())
    bids = _random_bars(rows, rng)
    for index, part in enumerate(PRICES):
        frame.loc[later, f"bid_{part}"] = bids[:, index]
        frame.loc[later, f"ask_{part}"] = np.round(bids[:, index] + 0.5, 2)
    return _cut(frame.assign(_later=later), later, rng).drop(columns="_later")


def _with(
    frame: pd.DataFrame,
    later: "pd.Series[bool]",
    rng: np.random.Generator,
    **ranges: tuple[float, float],
) -> pd.DataFrame:
    frame = frame.copy()
    for column, (low, high) in ranges.items():
        frame.loc[later, column] = np.round(rng.uniform(low, high, int(later.sum())), 4)
    return _cut(frame, later, rng)


def _shouted(frame: pd.DataFrame, later: "pd.Series[bool]", rng: np.random.Generator) -> pd.DataFrame:
    """Later texts say the most that the lexicon knows."""
    frame = frame.copy()
    column = "text" if "text" in frame.columns else "headline"
    frame.loc[later, column] = [
        f"record profit, beats estimates, raises guidance, upgrade, merger {number}"
        for number in rng.integers(0, 10**9, int(later.sum()))
    ]
    return _cut(frame, later, rng)
