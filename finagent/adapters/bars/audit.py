"""Lists what the bar store holds and looks for what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finagent.adapters.bars.errors import StoreCorruptError
from finagent.adapters.bars.files import Manifest, bars_dir, read_manifest
from finagent.adapters.bars.hours import trading_hours
from finagent.adapters.bars.report import Issue, IssueTally
from finagent.adapters.bars.source import Flags, Ints, sha256_of
from finagent.adapters.bars.store import BarStore
from finagent.adapters.bars.tables import DailyTable, load_daily, load_minutes
from finagent.domain.money import RATIO_SCALE
from finagent.ports import CalendarPort

FOLDERS = ("daily", "minute", "quotes", "actions", "earnings", "headlines")
JUMP_PERCENT = 40
"""An overnight move of raw prices from which a missing corporate action is suspected."""
BAD_ACTION_PERCENT = 25
MISMATCH_PERCENT = 10


def list_store(home: Path) -> dict[str, dict[str, object]]:
    """Per kind of data that is there: symbols, rows and files by number, and the first and last date."""
    manifest = read_manifest(bars_dir(home))
    found: dict[str, dict[str, object]] = {}
    for folder in FOLDERS:
        parts = manifest.of_kind(folder).values()
        if parts:
            found[folder] = {
                "symbols": len(manifest.symbols.get(folder, ())),
                "first": min(part.first for part in parts),
                "last": max(part.last for part in parts),
                "rows": sum(part.rows for part in parts),
                "files": len(parts),
            }
    return found


def check_store(home: Path, calendar: CalendarPort) -> tuple[Issue, ...]:
    """What is wrong with the store, by kind and symbol.

    Kinds: ``missing_file``, ``changed_file``, ``unlisted_file``, ``unreadable_file`` (the symbol names
    the file); ``hole`` (sessions missing between first and last); ``bad_action`` (an adjusted close <= 0 or a
    gap of 25 % on an ex-date); ``suspect_jump`` (a move of 40 % overnight without an action);
    ``identity_mismatch`` (first minute's open more than 10 % from the daily open).
    """
    root = bars_dir(home)
    manifest = read_manifest(root)
    tally = IssueTally()
    _check_files(root, manifest, tally)
    try:
        series = _Series.read(root, manifest, calendar)
        if series is not None:
            _check_series(series, BarStore(home), tally)
        _check_identity(root, manifest, calendar, tally)
    except StoreCorruptError as error:
        tally.add("unreadable_file", "", 1, error.message)
    return tally.issues()


def _check_files(root: Path, manifest: Manifest, tally: IssueTally) -> None:
    for name, part in manifest.parts.items():
        path = root / name
        if not path.exists():
            tally.add("missing_file", name, 1, "listed in the manifest; import its data again")
        elif path.stat().st_size != part.size_bytes or sha256_of(path) != part.sha256:
            tally.add("changed_file", name, 1, "differs from the manifest; import again to take it up")
    for path in sorted([*root.glob("*.parquet"), *root.glob("*/*.parquet")]):
        name = path.relative_to(root).as_posix()
        if path.parent.name != "quarantine" and name not in manifest.parts:
            tally.add("unlisted_file", name, 1, "not in the manifest; import again to take it up")


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """All daily bars by symbol and session; ``session`` numbers the calendar's sessions."""

    symbols: list[str]
    dates: list[str]
    code: Ints
    session: Ints
    open_e4: Ints
    close_e4: Ints

    @classmethod
    def read(cls, root: Path, manifest: Manifest, calendar: CalendarPort) -> "_Series | None":
        names = [name for name in manifest.of_kind("daily") if (root / name).exists()]
        if not names:
            return None
        years = [load_daily(root / name) for name in names]
        symbols = sorted({symbol for year in years for symbol in year.symbols})
        number = {symbol: index for index, symbol in enumerate(symbols)}
        hours = trading_hours(calendar.sessions("0000-01-01", "9999-12-31"))
        code = np.concatenate([_global_codes(year, number) for year in years])
        day = np.concatenate([year.time for year in years])
        session = np.searchsorted(hours.days.astype(np.int64), day)
        order = np.lexsort((session, code))
        opens = np.concatenate([year.columns[0] for year in years])
        closes = np.concatenate([year.columns[3] for year in years])
        dates: list[str] = hours.dates.tolist()
        return cls(symbols, dates, code[order], session[order], opens[order], closes[order])


def _global_codes(year: DailyTable, number: dict[str, int]) -> Ints:
    return np.array([number[symbol] for symbol in year.symbols], np.int64)[year.codes]


def _check_series(series: _Series, store: BarStore, tally: IssueTally) -> None:
    same = series.code[1:] == series.code[:-1]
    step = np.diff(series.session)
    for row in np.flatnonzero(same & (step > 1)).tolist():
        first = series.dates[int(series.session[row]) + 1]
        tally.add(
            "hole",
            series.symbols[int(series.code[row])],
            int(step[row]) - 1,
            f"first missing session {first}",
        )
    follows = same & (step == 1)
    dividend_e4, ratio_e6, has_action = _actions_of_rows(series, store)
    for kind, hit in _overnight(series, follows, dividend_e4, ratio_e6, has_action):
        for row in np.flatnonzero(hit).tolist():
            now = row + 1
            date = series.dates[int(series.session[now])]
            text = (
                f"{date}: close {series.close_e4[row] / 1e4:.4f}, next open {series.open_e4[now] / 1e4:.4f}"
            )
            tally.add(kind, series.symbols[int(series.code[now])], 1, text)


def _actions_of_rows(series: _Series, store: BarStore) -> tuple[Ints, Ints, Flags]:
    """Dividend and split ratio on each row's date, and whether there is an action."""
    dividend_e4 = np.zeros(len(series.code), np.int64)
    ratio_e6 = np.full(len(series.code), RATIO_SCALE, np.int64)
    has_action = np.zeros(len(series.code), np.bool_)
    session_of = {date: number for number, date in enumerate(series.dates)}
    keys = series.code * len(series.dates) + series.session
    for code, symbol in enumerate(series.symbols):
        for action in store.actions_of(symbol, "0000-01-01", "9999-12-31"):
            key = code * len(series.dates) + session_of.get(action.ex_session, -1)
            row = int(np.searchsorted(keys, key))
            if row < len(keys) and keys[row] == key:
                dividend_e4[row], ratio_e6[row] = action.dividend_e4, action.split_ratio_e6
                has_action[row] = True
    return dividend_e4, ratio_e6, has_action


def _overnight(
    series: _Series, follows: Flags, dividend_e4: Ints, ratio_e6: Ints, has_action: Flags
) -> Iterator[tuple[str, Flags]]:
    """Where the step from a close to the next open is a bad action, or a jump without one.

    In twentieths, so that prices up to 4e7 times ratios stay within int64.
    """
    expected = (series.close_e4[:-1] - dividend_e4[1:]) * RATIO_SCALE
    move = 20 * np.abs(series.open_e4[1:] * ratio_e6[1:] - expected)
    with_action = follows & has_action[1:]
    yield "bad_action", with_action & ((expected <= 0) | (move >= BAD_ACTION_PERCENT // 5 * expected))
    yield "suspect_jump", follows & ~has_action[1:] & (move >= JUMP_PERCENT // 5 * expected)


def _check_identity(root: Path, manifest: Manifest, calendar: CalendarPort, tally: IssueTally) -> None:
    years: dict[str, DailyTable] = {}
    for name in manifest.of_kind("minute"):
        date = Path(name).stem
        session = calendar.session(date)
        daily = root / "daily" / f"{date[:4]}.parquet"
        if session is None or not daily.exists() or not (root / name).exists():
            continue
        if date[:4] not in years:
            years = {date[:4]: load_daily(daily)}
        bars = years[date[:4]].on(date)
        minutes = load_minutes(root / name)
        for symbol in minutes.spans:
            first = minutes.bar_at(symbol, session.open_ms)
            bar = bars.get(symbol)
            if first is None or bar is None:
                continue
            if abs(first.open_e4 - bar.open_e4) * 100 > bar.open_e4 * MISMATCH_PERCENT:
                text = f"{date}: minute {first.open_e4 / 1e4:.4f}, daily {bar.open_e4 / 1e4:.4f}"
                tally.add("identity_mismatch", symbol, 1, text)
